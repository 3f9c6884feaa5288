"""Roll: the standard laws; it is a permutation with the opposite roll as inverse and adjoint."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import roll

JUDGE = {"oracle": naive.roll, "oracle_backward": naive.roll_backward, "step": "complex"}


@given(cases.strategy("roll"))
def test_standard(case):
    check.operator(roll, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("roll"))
def test_corners(case):
    check.operator(roll, case, **JUDGE)


@given(cases.strategy("roll"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(roll, case, only=["special values"])


def rolled(x, s, t):
    return roll.forward(x, offset=(s, t))[0]


def test_the_offset_says_how_far_the_picture_moves(backend):
    x = np.arange(12.0).reshape(1, 3, 4, 1)
    y = rolled(x, 1, -1)
    assert y[0, 1, 0, 0] == x[0, 0, 1, 0] and y[0, 0, 3, 0] == x[0, 2, 0, 0]


@given(cases.strategy("roll"))
def test_there_and_back_is_the_identity(case):
    (x,), (s, t) = case.arrays.values(), naive.pair(case.config["offset"])
    check.assert_close(rolled(rolled(x, s, t), -s, -t), x, "x", exact=True)
    check.assert_close(rolled(x, s + 7 * x.shape[1], t - 3 * x.shape[2]), rolled(x, s, t), "whole turns", exact=True)


@pytest.mark.parametrize("offset", [(-(2**31), 2**31 - 1), (2**31 - 1, -(2**31)), (10**9 + 7, -5)])
def test_any_distance(backend, offset):
    x = np.random.default_rng(1).standard_normal((2, 3, 5, 2))
    y, cache = roll.forward(x, offset=offset)
    check.assert_close(y, naive.roll(x, offset=offset), "y", exact=True)
    check.assert_close(roll.backward(y, cache).x, x, "dx", exact=True)


def test_one_nan_stays_one(backend):
    x = np.zeros((1, 2, 3, 1))
    x[0, 1, 2, 0] = np.nan
    assert np.argwhere(np.isnan(rolled(x, 1, 1))).tolist() == [[0, 0, 0, 0]]


def test_c1_x_is_a_batch_of_maps(refuses):
    refuses(roll, "C1", "x", np.zeros((3, 4, 5)), offset=1)
