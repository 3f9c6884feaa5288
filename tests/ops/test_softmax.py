"""Softmax: the standard laws; a constant changes nothing, sums, extreme logits, NaN."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import softmax

JUDGE = {"oracle": naive.softmax, "oracle_backward": naive.softmax_backward, "step": "complex"}


@given(cases.strategy("softmax"))
def test_standard(case):
    check.operator(softmax, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("softmax"))
def test_corners(case):
    check.operator(softmax, case, **JUDGE)


@given(cases.strategy("softmax"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(softmax, case, only=["special values"])


def rows(x, axis=-1):
    return softmax.forward(x, axis=axis)[0]


@given(cases.strategy("softmax"))
def test_positive_and_sums_to_one(case):
    x, axis = case.arrays["x"], case.config["axis"]
    a = rows(x, axis)
    assert (a >= 0).all() and (a <= 1).all()
    if x.shape[axis]:
        check.assert_close(a.sum(axis), np.ones(a.sum(axis).shape), "sum")


@given(cases.strategy("softmax"))
def test_p8_a_constant_changes_nothing(case):
    """Chosen so that the sum is exact; then the largest is taken out again and not one bit differs."""
    x, axis = np.round(case.arrays["x"] * 8) / 8, case.config["axis"]
    shape = list(x.shape)
    shape[axis] = 1
    constant = case.random(1).integers(-100, 100, shape).astype(float)
    check.assert_close(rows(x + constant, axis), rows(x, axis), "a", exact=True)


def test_p8_fails_for_a_constant_that_differs_within_the_row(backend):
    x = np.zeros((1, 3))
    assert (rows(x + np.array([0.0, 1.0, 0.0])) != rows(x)).any()


def test_gradients_sum_to_zero(backend):
    """What a row gains one place it loses elsewhere: the other side of "a constant changes nothing"."""
    random = np.random.default_rng(1)
    y, cache = softmax.forward(random.standard_normal((4, 7)), axis=1)
    dx = softmax.backward(random.standard_normal(y.shape), cache).x
    check.assert_close(dx.sum(1), np.zeros(4), "sum of dx", noise=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_in_the_thousands_stay_finite(backend, dtype):
    x = np.array([[1000, 0, -1000], [-5000, -5001, -5000.5], [3e4, 3e4, 3e4]], dtype)
    a, cache = softmax.forward(x)
    assert np.isfinite(a).all() and (a[0] == [1, 0, 0]).all()
    check.assert_close(a[2], np.full(3, 1 / 3, dtype), "equal logits")
    assert np.isfinite(softmax.backward(np.ones_like(x), cache).x).all()


@pytest.mark.parametrize("bad", [[np.nan, 0, 1], [np.inf, 0, 1], [-np.inf] * 3, [np.nan, np.inf, -np.inf]])
def test_a_row_without_a_meaning_is_nan_and_alone_so(backend, bad):
    with np.errstate(invalid="ignore"):
        a = rows(np.array([bad, [0.0, 1.0, 2.0]]))
    assert np.isnan(a[0]).all() and np.isfinite(a[1]).all()


def test_minus_infinity_is_a_zero_weight(backend):
    a = rows(np.array([-np.inf, 0.0, 0.0]))
    assert (a == [0, 0.5, 0.5]).all()


def test_c1_axis_exists(refuses):
    refuses(softmax, "C1", "axis", np.zeros((2, 3)), axis=2)
    refuses(softmax, "C1", "axis", np.zeros((2, 3)), axis=-3)
    refuses(softmax, "C1", "x", np.zeros(()))
