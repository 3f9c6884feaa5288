"""Tanh: the standard laws; it is a stretched sigmoid, limits, tails, NaN."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import sigmoid, tanh

JUDGE = {"oracle": naive.tanh, "oracle_backward": naive.tanh_backward, "step": "complex"}


@given(cases.strategy("tanh"))
def test_standard(case):
    check.operator(tanh, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("tanh"))
def test_corners(case):
    check.operator(tanh, case, **JUDGE)


@given(cases.strategy("tanh"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(tanh, case, only=["special values"])


@given(cases.strategy("tanh"))
def test_a_stretched_sigmoid(case):
    x = case.arrays["x"]
    check.assert_close(tanh.forward(x)[0], 2 * sigmoid.forward(2 * x)[0] - 1, "2σ(2x) - 1", noise=2e-16)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_odd_to_the_last_bit(backend, dtype):
    x = np.concatenate([np.linspace(-20, 20, 999), np.logspace(-30, 2, 97)]).astype(dtype)
    assert (tanh.forward(x)[0] == -tanh.forward(-x)[0]).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_small_numbers_keep_their_digits(backend, dtype):
    """Each within a few units in its last place, however small: one minus an exponential would not do."""
    x = np.logspace(-30, 1, 2001).astype(dtype)
    exact = np.tanh(x.astype(np.longdouble))
    y, cache = tanh.forward(x)
    assert (np.abs(y - exact) <= 4 * np.finfo(dtype).eps * exact).all()
    slope = tanh.backward(np.ones_like(x), cache).x
    assert (np.abs(slope - 1 / np.cosh(x.astype(np.longdouble)) ** 2) <= 64 * np.finfo(dtype).eps * slope).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits_and_nan(backend, dtype):
    x = np.array([np.inf, 1e30, -np.inf, -1e30, np.nan, 0.0], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = tanh.forward(x)
        (dx,) = tanh.backward(np.ones_like(x), cache)
    assert y[:4].tolist() == [1, 1, -1, -1] and not dx[:4].any()
    assert y[5] == 0 and dx[5] == 1 and np.isnan(y[4]) and np.isnan(dx[4])


def test_no_axes(backend):
    y, cache = tanh.forward(np.array(0.5))
    assert y.shape == () and tanh.backward(np.array(1.0), cache).x.shape == ()
