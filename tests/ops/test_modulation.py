"""Modulation: the standard laws; what is linear, what stays apart, and which pixel a token is."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import modulation

JUDGE = {"oracle": naive.modulation, "oracle_backward": naive.modulation_backward, "step": "complex"}


@given(cases.strategy("modulation"))
def test_standard(case):
    check.operator(modulation, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("modulation"))
def test_corners(case):
    check.operator(modulation, case, **JUDGE)


@given(cases.strategy("modulation"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(modulation, case, only=["special values"])


def test_tokens_count_the_pixels_row_by_row(backend):
    modulator = np.arange(6.0).reshape(1, 1, 2, 3)
    z, _ = modulation.forward(np.ones((1, 6, 1)), modulator)
    assert z[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_height_and_width_are_not_exchanged(backend):
    """A wide map and a high one of as many pixels: with the same memory they modulate alike, transposed they do not."""
    v, modulator = normal(1, 12, 2), normal(1, 2, 3, 4)
    z, _ = modulation.forward(v, modulator)
    assert (modulation.forward(v, modulator.reshape(1, 2, 4, 3))[0] == z).all()
    assert (modulation.forward(v, np.ascontiguousarray(modulator.swapaxes(2, 3)))[0] != z).any()


def test_p8_linear_in_the_values_and_diagonal(backend):
    """A token reaches itself alone, channel by channel."""
    v, modulator = normal(2, 6, 3), normal(2, 3, 2, 3)
    z, _ = modulation.forward(v, modulator)
    moved = v.copy()
    moved[1, 4, 2] += 1
    changed = modulation.forward(moved, modulator)[0] != z
    assert changed.sum() == 1 and changed[1, 4, 2]
    check.assert_close(modulation.forward(2 * v, modulator)[0], 2 * z, "z", exact=True)


@pytest.mark.parametrize(("T", "C"), [((61, 67), 37), ((7, 7), 512), ((56, 56), 64), ((1, 1), 3), ((1, 130), 65)])
def test_large_maps_in_several_tasks(backend, T, C):
    case = check.Case({"v": normal(3, T[0] * T[1], C), "modulator": normal(3, C, *T)}, {}, 5, batched=("v", "modulator"))
    check.operator(modulation, case, oracle=lambda v, m: v * m.reshape(*m.shape[:2], -1).swapaxes(1, 2), only=["value", "parity", "batch"])


def test_c1_v_is_tokens(refuses):
    refuses(modulation, "C1", "v", np.zeros((1, 2, 2, 3)), np.zeros((1, 3, 2, 2)))


def test_c2_the_map_has_a_pixel_for_every_token(refuses):
    for shape in [(2, 3, 2, 3), (1, 2, 2, 3), (1, 3, 2, 2), (1, 3, 6)]:
        refuses(modulation, "C2", "modulator", np.zeros((1, 6, 3)), np.zeros(shape))
