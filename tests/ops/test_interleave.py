"""Interleave: the standard laws; a permutation of the channels of both maps side by side."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import interleave

JUDGE = {"oracle": naive.interleave, "oracle_backward": naive.interleave_backward, "step": "complex"}


@given(cases.strategy("interleave"))
def test_standard(case):
    check.operator(interleave, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("interleave"))
def test_corners(case):
    check.operator(interleave, case, **JUDGE)


@given(cases.strategy("interleave"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(interleave, case, only=["special values"])


def test_channels_alternate(backend):
    a, b = np.arange(3.0).reshape(1, 3, 1, 1), 10 + np.arange(3.0).reshape(1, 3, 1, 1)
    y, cache = interleave.forward(a, b)
    assert y.ravel().tolist() == [0, 10, 1, 11, 2, 12]
    back = interleave.backward(y, cache)
    assert (back.a == a).all() and (back.b == b).all()


def test_it_is_not_a_concatenation(backend):
    """Of six channels side by side, 0 3 1 4 2 5 is the order that comes out."""
    x = np.arange(6.0).reshape(1, 6, 1, 1)
    assert interleave.forward(x[:, :3].copy(), x[:, 3:].copy())[0].ravel().tolist() == [0, 3, 1, 4, 2, 5]


def test_one_nan_stays_one(backend):
    a, b = np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2))
    b[0, 1, 0, 1] = np.nan
    assert np.argwhere(np.isnan(interleave.forward(a, b)[0])).tolist() == [[0, 3, 0, 1]]


def test_c1_both_maps_have_one_shape(refuses):
    refuses(interleave, "C1", "a", np.zeros((2, 3, 3)), np.zeros((2, 3, 3)))
    refuses(interleave, "C1", "b", np.zeros((1, 2, 3, 3)), np.zeros((1, 3, 3, 3)))
