"""Shift: the standard laws; adjoint, composition and where it fails."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import shift

JUDGE = {"oracle": naive.shift, "oracle_backward": naive.shift_backward, "step": "complex"}


@given(cases.strategy("shift"))
def test_standard(case):
    check.operator(shift, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("shift"))
def test_corners(case):
    check.operator(shift, case, **JUDGE)


@given(cases.strategy("shift"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(shift, case, only=["special values"])


def moved(x, s, t):
    return shift.forward(x, offset=(s, t))[0]


def test_the_offset_says_where_a_value_is_read(backend):
    x = np.arange(12.0).reshape(3, 4)
    down_right = moved(x, -1, -1)
    assert down_right[1, 1] == x[0, 0]
    assert not down_right[0].any() and not down_right[:, 0].any()
    assert (moved(x, 1, 0)[:-1] == x[1:]).all()


@pytest.mark.parametrize("offset", [(-3, 2), (3, 0), (0, -4), (7, 7), (-(2**31), 0), (2**31 - 1, -1)])
def test_beyond_the_map_everything_is_zero_at_any_distance(backend, offset):
    x = np.ones((3, 4))
    assert (moved(x, *offset) == naive.shift(x, offset=offset)).all()


@given(cases.strategy("shift"))
def test_p3_the_adjoint_is_the_opposite_shift_bit_for_bit(case):
    (x,), offset = case.arrays.values(), naive.pair(case.config["offset"])
    dy = case.cotangent(x.shape)
    (dx,) = shift.backward(dy, shift.Cache(x, offset))
    check.assert_close(dx, moved(dy, -offset[0], -offset[1]), "dx", exact=True)


def test_p3_fails_if_the_border_is_mirrored():
    """With reflection instead of zeros the opposite shift is no adjoint."""
    random = np.random.default_rng(3)
    x, h = random.integers(-4, 5, (2, 5, 5)).astype(float)
    mirrored = np.pad(x, 1, mode="reflect")[2:, 1:-1]  # Shift by (1, 0) with a mirrored border
    back = np.pad(h, 1, mode="reflect")[:-2, 1:-1]  # and by (-1, 0)
    assert (mirrored * h).sum() != (x * back).sum()
    assert (moved(x, 1, 0) * h).sum() == (x * moved(h, -1, 0)).sum()


@given(cases.strategy("shift"))
def test_p4_shifts_in_the_same_direction_add_up(case):
    (x,), (s, t) = case.arrays.values(), naive.pair(case.config["offset"])
    for more_s, more_t in ((1 if s >= 0 else -1, 2 if t >= 0 else -2), (0, 0)):
        twice = moved(moved(x, s, t), more_s, more_t)
        check.assert_close(twice, moved(x, s + more_s, t + more_t), "twice", exact=True)


def test_p4_fails_in_opposite_directions(backend):
    """What was pushed out is lost; inside, where nothing left the frame, the two agree."""
    x = np.ones((4, 4))
    there_and_back = moved(moved(x, 1, 0), -1, 0)
    assert (there_and_back != x).any()
    assert (there_and_back[1:] == x[1:]).all() and not there_and_back[0].any()


def test_one_nan_reaches_exactly_the_pixels_that_read_it(backend):
    x = np.ones((1, 3, 3))
    x[0, 1, 2] = np.nan
    y = moved(x, 0, 1)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 1, 1]]


def test_c1_x_has_two_axes(refuses):
    refuses(shift, "C1", "x", np.zeros(4), offset=1)
