"""Relative bias: the standard laws; which displacement reads which row, and symmetry."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import relative_bias

JUDGE = {"oracle": naive.relative_bias, "oracle_backward": naive.relative_bias_backward, "step": "complex"}


@given(cases.strategy("relative_bias"))
def test_standard(case):
    check.operator(relative_bias, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("relative_bias"))
def test_corners(case):
    check.operator(relative_bias, case, **JUDGE)


@given(cases.strategy("relative_bias"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(relative_bias, case, only=["special values"])


def test_the_index_of_a_square_of_two(backend):
    """The table of the official code for a window of 2."""
    assert relative_bias.index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


@given(cases.strategy("relative_bias"))
def test_only_the_displacement_counts(case):
    """Moving both tokens by the same number of pixels changes nothing; exchanging them reads the table from its end."""
    h, w = naive.pair(case.config["size"])
    bias, _ = case.call(relative_bias.forward)
    grid = bias.reshape(-1, h, w, h, w)
    check.assert_close(grid[:, 1:, :, 1:], grid[:, :-1, :, :-1], "one row on", exact=True)
    check.assert_close(grid[:, :, 1:, :, 1:], grid[:, :, :-1, :, :-1], "one column on", exact=True)
    back, _ = relative_bias.forward(np.ascontiguousarray(case.arrays["table"][::-1]), **case.config)
    check.assert_close(back.swapaxes(1, 2), bias, "exchanged", exact=True)


def test_every_row_is_read_as_often_as_its_displacement_occurs(backend):
    bias, cache = relative_bias.forward(np.zeros((15, 1)), size=(3, 2))
    (dtable,) = relative_bias.backward(np.ones_like(bias), cache)
    rows, columns = np.array([1, 2, 3, 2, 1]), np.array([1, 2, 1])
    assert (dtable.reshape(5, 3) == rows[:, None] * columns).all()


def test_c1_the_table_has_a_row_for_every_displacement(refuses):
    refuses(relative_bias, "C1", "table", np.zeros((9, 2)), size=(2, 3))
    refuses(relative_bias, "C1", "size", np.zeros((9, 2)), size=3)
    refuses(relative_bias, "C1", "table", np.zeros(9), size=2)
