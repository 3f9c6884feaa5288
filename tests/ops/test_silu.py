"""SiLU: the standard laws; it is x times sigmoid, limits, NaN."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import sigmoid, silu

JUDGE = {"oracle": naive.silu, "oracle_backward": naive.silu_backward, "step": "complex"}


@given(cases.strategy("silu"))
def test_standard(case):
    check.operator(silu, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("silu"))
def test_corners(case):
    check.operator(silu, case, **JUDGE)


@given(cases.strategy("silu"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(silu, case, only=["special values"])


@given(cases.strategy("silu"))
def test_x_times_sigmoid(case):
    x = case.arrays["x"]
    check.assert_close(silu.forward(x)[0], x * sigmoid.forward(x)[0], "x·σ(x)")


def test_difference_to_its_reflection_is_the_identity(backend):
    x = np.linspace(-50, 50, 1001)
    check.assert_close(silu.forward(x)[0] - silu.forward(-x)[0], x, "silu(x) - silu(-x)")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits_and_nan(backend, dtype):
    """0·∞ never happens: at the ends value and derivative are their limits."""
    x = np.array([np.inf, 1e30, -np.inf, -1e30, np.nan, -0.0], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = silu.forward(x)
        (dx,) = silu.backward(np.ones_like(x), cache)
    assert (y[:2] == x[:2]).all() and (dx[:2] == 1).all()
    assert (y[[2, 3, 5]] == 0).all() and np.signbit(y[[2, 3, 5]]).all() and (dx[[2, 3]] == 0).all() and dx[5] == 0.5
    assert np.isnan(y[4]) and np.isnan(dx[4])


def test_no_axes(backend):
    y, cache = silu.forward(np.array(0.5))
    assert y.shape == () and silu.backward(np.array(1.0), cache).x.shape == ()
