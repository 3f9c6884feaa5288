"""ELU plus one: the standard laws; the two sides meet at 0, limits, NaN."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import elu_plus_one

JUDGE = {"oracle": naive.elu_plus_one, "oracle_backward": naive.elu_plus_one_backward, "step": "complex"}


@given(cases.strategy("elu_plus_one"))
def test_standard(case):
    check.operator(elu_plus_one, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("elu_plus_one"))
def test_corners(case):
    check.operator(elu_plus_one, case, **JUDGE)


@given(cases.strategy("elu_plus_one"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(elu_plus_one, case, only=["special values"])


@given(cases.strategy("elu_plus_one"))
def test_linear_on_the_right_an_exponential_on_the_left(case):
    x = case.arrays["x"]
    y, _ = elu_plus_one.forward(x)
    check.assert_close(y, np.where(x > 0, x + 1, np.exp(np.minimum(x, 0))), "y")
    assert (y > 0).all()


def test_the_sides_meet_with_the_same_slope(backend):
    x = np.array([-1e-9, 0.0, 1e-9])
    y, cache = elu_plus_one.forward(x)
    (dx,) = elu_plus_one.backward(np.ones(3), cache)
    check.assert_close(y, 1 + x, "y")
    check.assert_close(dx, np.ones(3), "slope", noise=1e-9)
    assert y[1] == 1 and dx[1] == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits_and_nan(backend, dtype):
    x = np.array([np.inf, 1e30, -np.inf, -1e30, np.nan], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = elu_plus_one.forward(x)
        (dx,) = elu_plus_one.backward(np.ones_like(x), cache)
    assert (y[:2] == x[:2]).all() and (dx[:2] == 1).all() and not y[2:4].any() and not dx[2:4].any()
    assert np.isnan(y[4]) and np.isnan(dx[4])


def test_no_axes(backend):
    y, cache = elu_plus_one.forward(np.array(0.5))
    assert y.shape == () and elu_plus_one.backward(np.array(1.0), cache).x.shape == ()
