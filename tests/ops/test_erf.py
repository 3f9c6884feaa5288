"""Error function: the standard laws; its error in units of the last place against the library's, tails, oddness, limits."""

import math

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import erf

JUDGE = {"oracle": naive.erf, "oracle_backward": naive.erf_backward, "step": "complex"}


@given(cases.strategy("erf"))
def test_standard(case):
    check.operator(erf, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("erf"))
def test_corners(case):
    check.operator(erf, case, **JUDGE)


@given(cases.strategy("erf"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(erf, case, only=["special values"])


GRID = np.concatenate([np.linspace(-6.5, 6.5, 130_001), np.geomspace(1e-300, 30, 5_001), -np.geomspace(1e-12, 30, 5_001), [0.0, -0.0]])


def library(function, x):
    return np.array([function(float(v)) for v in x])


@pytest.mark.parametrize(("dtype", "absolute"), [(np.float64, 4e-16), (np.float32, 2e-7)])
def test_error_is_a_few_units_in_the_last_place(backend, dtype, absolute):
    x = GRID.astype(dtype)
    y, _ = erf.forward(x)
    expected = library(math.erf, x)
    error = np.abs(y - expected)
    assert y.dtype == dtype and error.max() <= absolute
    normal = np.abs(expected) >= np.finfo(dtype).tiny
    assert (error[normal] <= 3 * np.spacing(np.abs(expected[normal]).astype(dtype))).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_complement_and_gaussian_keep_their_digits(dtype):
    """exp(-z²) R(z) = erfc(z) to a few units of its own size, not of 1: what the left tail of GELU needs."""
    z = np.linspace(0, 26 if dtype == np.float64 else 9, 20_001).astype(dtype)
    expected = library(math.erfc, z)
    relative = np.abs(erf.gauss(z, 1.0) * erf.scaled_complement(z) - expected) / expected
    assert relative.max() <= 12 * np.finfo(dtype).eps


def test_scaled_complement_far_out():
    """R(z) = 1/(z√π)·(1 - 1/(2z²) + 3/(4z⁴) - …) where erfc itself is zero."""
    z = np.array([20.0, 28.0, 100.0, 1e6])
    asymptotic = (1 - 1 / (2 * z**2) + 3 / (4 * z**4) - 15 / (8 * z**6) + 105 / (16 * z**8) - 945 / (32 * z**10)) / (z * math.sqrt(math.pi))
    check.assert_close(erf.scaled_complement(z) * z, asymptotic * z, "z·R(z)")


@given(cases.strategy("erf"))
def test_odd(case):
    x = case.arrays["x"]
    check.assert_close(erf.forward(-x)[0], -erf.forward(x)[0], "erf(-x)", exact=True)


def test_increasing(backend):
    """Up to two units in the last place, also where the series gives way to the complement."""
    y = erf.forward(np.linspace(0.9, 1.1, 100_001))[0]
    assert (np.diff(y) >= -2 * np.spacing(1.0)).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits_and_nan(backend, dtype):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, np.finfo(dtype).max, -np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = erf.forward(x)
        (dx,) = erf.backward(np.ones_like(x), cache)
    assert np.isnan(y[2]) and np.isnan(dx[2])
    assert (y[[0, 1, 3, 4, 5, 6]] == [1, -1, 0, 0, 1, -1]).all() and (np.signbit(y[[3, 4]]) == [False, True]).all()
    assert y[7] > 0 and (dx[[0, 1, 5, 6]] == 0).all() and dx[3] == dtype(2 / math.sqrt(math.pi))


def test_no_axes(backend):
    y, cache = erf.forward(np.array(0.5))
    assert y.shape == () and erf.backward(np.array(1.0), cache).x.shape == ()
