"""Reflection padding: the standard laws; the mirror itself, its adjoint counts the readers."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import reflection_pad

JUDGE = {"oracle": naive.reflection_pad, "oracle_backward": naive.reflection_pad_backward, "step": "complex"}


@given(cases.strategy("reflection_pad"))
def test_standard(case):
    check.operator(reflection_pad, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("reflection_pad"))
def test_corners(case):
    check.operator(reflection_pad, case, **JUDGE)


@given(cases.strategy("reflection_pad"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(reflection_pad, case, only=["special values"])


def test_the_edge_is_not_repeated(backend):
    x = np.arange(4.0)[None]
    assert reflection_pad.forward(x, padding=(0, 3))[0][0].tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]


def test_p10_a_pixel_appears_once_for_every_tap_that_reads_it(backend):
    """The gradient of ones counts how often each pixel stands in the padded map."""
    x = np.zeros((3, 4))
    y, cache = reflection_pad.forward(x, padding=(2, 1))
    counts = np.zeros((3, 4))
    for i, j in naive.box(*y.shape):
        counts[naive.rho(i - 2, 3), naive.rho(j - 1, 4)] += 1
    assert (reflection_pad.backward(np.ones_like(y), cache).x == counts).all()
    assert counts.sum() == y.size


def test_p10_fails_for_a_repeated_edge(backend):
    x = np.arange(4.0).reshape(2, 2)
    assert (reflection_pad.forward(x, padding=1)[0] != np.pad(x, 1, mode="symmetric")).any()
    assert (reflection_pad.forward(x, padding=1)[0] == np.pad(x, 1, mode="reflect")).all()


def test_c1_x_has_two_axes(refuses):
    refuses(reflection_pad, "C1", "x", np.zeros(4), padding=1)


def test_c2_padding_is_smaller_than_the_map(refuses):
    refuses(reflection_pad, "C2", "padding", np.zeros((3, 4)), padding=3)
    refuses(reflection_pad, "C2", "padding", np.zeros((3, 1)), padding=(0, 1))
    refuses(reflection_pad, "C2", "x", np.zeros((0, 4)), padding=(1, 0))
