"""Regroup: the standard laws; its algebra as a permutation, and tokens as maps."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import regroup

JUDGE = {"oracle": naive.regroup, "oracle_backward": naive.regroup_backward, "step": "complex"}


@given(cases.strategy("regroup"))
def test_standard(case):
    check.operator(regroup, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("regroup"))
def test_corners(case):
    check.operator(regroup, case, **JUDGE)


@given(cases.strategy("regroup"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(regroup, case, only=["special values"])


def order(C, heads, inverse=False):
    """The channels of 0, 1, …, C - 1 after regrouping."""
    return regroup.forward(np.arange(float(C))[None], heads=heads, inverse=inverse)[0][0].astype(int)


def test_twelve_channels_of_four_heads(backend):
    assert order(12, 4).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


@pytest.mark.parametrize(("N", "M"), [(1, 5), (5, 1), (2, 3), (3, 2), (4, 4), (3, 7), (4, 16)])
def test_p1_the_inverse_undoes_it_and_is_the_same_with_heads_and_groups_exchanged(backend, N, M):
    C = N * M
    there, back = order(C, N), order(C, N, inverse=True)
    assert (there[back] == np.arange(C)).all() and (back[there] == np.arange(C)).all()
    assert (back == order(C, M)).all()
    assert (there == np.arange(C)).all() == (N == 1 or M == 1), "the identity for one head or one group only"
    assert (there[there] == np.arange(C)).all() == (N == M or N == 1 or M == 1)


@pytest.mark.parametrize(("C", "period"), [(64, 3), (128, 7), (256, 4), (96, 18), (192, 95), (384, 191)])
def test_p1_how_often_four_heads_must_be_regrouped_to_come_back(backend, C, period):
    step, now = order(C, 4), np.arange(C)
    for n in range(1, period + 1):
        now = now[step]
        assert (now == np.arange(C)).all() == (n == period)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_every_axis(backend, axis):
    x = np.arange(2.0 * 6 * 6 * 6).reshape([2 if a == (axis + 1) % 4 else 6 for a in range(4)])
    y, _ = regroup.forward(x, heads=3, axis=axis)
    assert (y == np.take(x, order(6, 3), axis)).all()
    assert (regroup.forward(x, heads=3, axis=axis - 4)[0] == y).all()


def test_tokens_become_a_map_and_come_back(backend):
    B, T, C = 2, 35, 19
    tokens = np.random.default_rng(0).standard_normal((B, T, C))
    maps, _ = regroup.forward(tokens.reshape(B, T * C), heads=T)
    assert (maps.reshape(B, C, T) == tokens.swapaxes(1, 2)).all()
    assert (regroup.forward(maps, heads=T, inverse=True)[0].reshape(B, T, C) == tokens).all()


@pytest.mark.parametrize(("shape", "heads", "axis"), [((3, 37 * 29, 31), 37, 1), ((3, 293 * 311), 293, 1), ((311 * 67, 5), 311, 0),
                                                      ((2, 3, 67 * 9), 67, 2), ((130, 4 * 16), 4, -1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_arrays_in_several_tasks(backend, shape, heads, axis, dtype):
    x = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    y, cache = regroup.forward(x, heads=heads, axis=axis)
    moved = np.moveaxis(x, axis, -1)
    expected = moved.reshape(*moved.shape[:-1], heads, -1).swapaxes(-1, -2).reshape(moved.shape)
    assert (y == np.moveaxis(expected, -1, axis)).all()
    assert (regroup.backward(y, cache).x == x).all()


def test_c1_axis_is_an_axis_of_x(refuses):
    refuses(regroup, "C1", "axis", np.zeros((2, 4)), heads=2, axis=2)
    refuses(regroup, "C1", "x", np.zeros(()), heads=1, axis=0)


def test_c2_heads_divide_the_channels(refuses):
    refuses(regroup, "C2", "heads", np.zeros((2, 6)), heads=4)


def test_heads_and_inverse_are_what_they_should_be(backend):
    for heads, error in ((0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="heads must be a whole number"):
            regroup.forward(np.zeros((2, 4)), heads=heads)
    with pytest.raises(TypeError, match="inverse must be True or False; got 1"):
        regroup.forward(np.zeros((2, 4)), heads=2, inverse=1)
