"""Sigmoid: the standard laws; symmetry, digits of both tails, no overflow, limits, NaN."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import sigmoid

JUDGE = {"oracle": naive.sigmoid, "oracle_backward": naive.sigmoid_backward, "step": "complex"}


@given(cases.strategy("sigmoid"))
def test_standard(case):
    check.operator(sigmoid, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("sigmoid"))
def test_corners(case):
    check.operator(sigmoid, case, **JUDGE)


@given(cases.strategy("sigmoid"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(sigmoid, case, only=["special values"])


@given(cases.strategy("sigmoid"))
def test_reflection_adds_up_to_one(case):
    x = case.arrays["x"]
    check.assert_close(sigmoid.forward(x)[0] + sigmoid.forward(-x)[0], np.ones_like(x), "σ(x) + σ(-x)")


@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 700), (np.float32, 85)])
def test_tails_keep_their_digits(backend, dtype, far):
    """Left of 0 σ(x) ≈ eˣ, on both sides σ'(x) ≈ e^-|x|; the expected values come in float64."""
    x = np.linspace(-far, far, 4001).astype(dtype)
    wide = x.astype(np.float64)
    e = np.exp(-np.abs(wide))
    y, cache = sigmoid.forward(x)
    (dx,) = sigmoid.backward(np.ones_like(x), cache)
    for got, expected in ((y, np.where(wide < 0, e, 1) / (1 + e)), (dx, e / (1 + e) ** 2)):
        assert (np.abs(got - expected) <= 8 * np.finfo(dtype).eps * expected).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits_and_nan(backend, dtype):
    x = np.array([np.inf, -np.inf, 1e30, -1e30, np.nan, 0.0], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = sigmoid.forward(x)
        (dx,) = sigmoid.backward(np.ones_like(x), cache)
    assert (y[[0, 1, 2, 3, 5]] == [1, 0, 1, 0, 0.5]).all() and (dx[[0, 1, 2, 3, 5]] == [0, 0, 0, 0, 0.25]).all()
    assert np.isnan(y[4]) and np.isnan(dx[4])


def test_no_axes(backend):
    y, cache = sigmoid.forward(np.array(0.5))
    assert y.shape == () and sigmoid.backward(np.array(1.0), cache).x.shape == ()
