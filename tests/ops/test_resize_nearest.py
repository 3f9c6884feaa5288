"""Nearest resize: the standard laws; repetition, subsampling, and that every value is one of the old."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import resize_nearest

JUDGE = {"oracle": naive.resize_nearest, "oracle_backward": naive.resize_nearest_backward, "step": "complex"}


@given(cases.strategy("resize_nearest"))
def test_standard(case):
    check.operator(resize_nearest, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("resize_nearest"))
def test_corners(case):
    check.operator(resize_nearest, case, **JUDGE)


@given(cases.strategy("resize_nearest"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(resize_nearest, case, only=["special values"])


def drawn(*shape):
    return np.random.default_rng(list(shape)).standard_normal(shape)


def test_whole_factors_repeat_and_subsample(backend):
    x = drawn(2, 3, 4)
    large, cache = resize_nearest.forward(x, size=(6, 12))
    assert (large == x.repeat(2, 1).repeat(3, 2)).all()
    assert (resize_nearest.forward(large, size=(3, 4))[0] == x).all()
    assert (resize_nearest.forward(x, size=(3, 4))[0] == x).all()
    check.assert_close(resize_nearest.backward(np.ones_like(large), cache).x, np.full_like(x, 6.0), "dx", exact=True)


def test_a_size_that_does_not_divide(backend):
    """From 3 to 5: positions 0, 0.6, 1.2, 1.8, 2.4. From 5 to 3: 0, 1.67, 3.33."""
    assert resize_nearest.forward(np.array([[0.0, 1.0, 2.0]]), size=(1, 5))[0].tolist() == [[0, 0, 1, 1, 2]]
    assert resize_nearest.forward(np.arange(5.0)[:, None], size=(3, 1))[0].ravel().tolist() == [0, 1, 3]


@pytest.mark.parametrize(("old", "new"), [(3, 49), (7, 49), (49, 7), (29, 87), (1, 9), (41, 123)])
def test_quotients_are_whole_and_never_rounded(backend, old, new):
    """Floating-point quotients fall just short of whole numbers now and then."""
    y, _ = resize_nearest.forward(np.arange(float(old))[None], size=(1, new))
    assert y[0].tolist() == [i * old // new for i in range(new)]


def test_c1_there_is_a_map(refuses):
    for shape in [(3,), (2, 0, 3), (2, 3, 0)]:
        refuses(resize_nearest, "C1", "x", np.zeros(shape), size=2)
