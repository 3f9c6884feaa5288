"""GELU: the standard laws; digits of the left tail, closeness of the two forms, limits, NaN."""

import math

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import backend as seam
from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import gelu

JUDGE = {"oracle": naive.gelu, "oracle_backward": naive.gelu_backward, "step": "complex"}


@given(cases.strategy("gelu"))
def test_standard(case):
    check.operator(gelu, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("gelu"))
def test_corners(case):
    check.operator(gelu, case, **JUDGE)


@given(cases.strategy("gelu"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(gelu, case, only=["special values"])


def exact(x):
    return np.array([float(v) * math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_left_tail_keeps_its_digits(backend, dtype):
    """Relative error, down to the smallest normal numbers; the expected values come in float64."""
    x = np.linspace(-13, 13, 20_001).astype(dtype)
    y, expected = gelu.forward(x)[0], exact(x)
    unfused = backend == "rust" and seam.core().get_simd() == "portable"
    rounding = x * x if dtype == np.float64 or unfused else 0  # of x/√2, in the expected values; of x²/2, without a fused product
    assert (np.abs(y - expected) <= np.finfo(dtype).eps * (8 + rounding) * np.abs(expected)).all()


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_difference_to_its_reflection_is_the_identity(backend, approximate):
    """gelu(x) - gelu(-x) = x, since Φ(x) + Φ(-x) = 1."""
    x = np.linspace(-9, 9, 1001)
    difference = gelu.forward(x, approximate=approximate)[0] - gelu.forward(-x, approximate=approximate)[0]
    check.assert_close(difference, x, "gelu(x) - gelu(-x)")


def test_the_two_forms_are_close_and_not_equal(backend):
    x = np.linspace(-6, 6, 4001)
    difference = np.abs(gelu.forward(x)[0] - gelu.forward(x, approximate="tanh")[0])
    assert 4e-4 < difference.max() < 5e-4


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_limits_and_nan(backend, approximate, dtype):
    """0·∞ never happens: at the ends value and derivative are their limits."""
    x = np.array([np.inf, 1e30, np.finfo(dtype).max, -np.inf, -1e30, -np.finfo(dtype).max, np.nan, -0.0, 50, -50], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = gelu.forward(x, approximate=approximate)
        (dx,) = gelu.backward(np.ones_like(x), cache)
    assert (y[:3] == x[:3]).all() and (dx[:3] == 1).all() and y[8] == 50 and dx[8] == 1
    assert (y[[3, 4, 5, 7, 9]] == 0).all() and np.signbit(y[[3, 4, 5, 7, 9]]).all() and (dx[[3, 4, 5, 9]] == 0).all()
    assert np.isnan(y[6]) and np.isnan(dx[6]) and dx[7] == 0.5


def test_no_axes(backend):
    y, cache = gelu.forward(np.array(0.5))
    assert y.shape == () and gelu.backward(np.array(1.0), cache).x.shape == ()


def test_c1_the_form_has_a_name(refuses):
    refuses(gelu, "C1", "approximate", np.zeros(3), approximate="sigmoid")
    refuses(gelu, "C1", "approximate", np.zeros(3), approximate=None)
