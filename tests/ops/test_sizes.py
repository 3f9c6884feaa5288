"""Sizes given as one whole number or a pair: what they accept and how they refuse."""

import numpy as np
import pytest

from pyhybrid.ops._sizes import ceil_div, integer, pair


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), np.array(3), np.array(3, np.int16)])
def test_any_whole_number_is_a_size(value):
    assert integer("size", value) == 3 and type(integer("size", value)) is int
    assert pair("size", value) == (3, 3)


@pytest.mark.parametrize("value", [(2, 3), [2, 3], (np.int64(2), 3)])
def test_a_pair_is_vertical_then_horizontal(value):
    assert pair("size", value) == (2, 3)


@pytest.mark.parametrize("value", [2.0, "2", None, True, np.float32(2), np.bool_(True), 2j])
def test_other_types_are_named(value):
    with pytest.raises(TypeError, match="stride must be a whole number; got "):
        pair("stride", value)
    with pytest.raises(TypeError, match="stride must be a whole number; got "):
        pair("stride", (1, value))


@pytest.mark.parametrize("value", [0, -1, 2**31, 10**30])
def test_the_range_is_named(value):
    with pytest.raises(ValueError, match=rf"padding must be a whole number from 1 to 2147483647; got {value}"):
        pair("padding", (1, value))
    assert pair("padding", 0, 0) == (0, 0)


@pytest.mark.parametrize("value", [(), (1,), (1, 2, 3)])
def test_a_pair_has_two_numbers(value):
    with pytest.raises(ValueError, match="whole number or a pair"):
        pair("stride", value)


def test_ceil_div_counts_the_stride_grid():
    for length in range(8):
        for step in range(1, 5):
            assert ceil_div(length, step) == len(range(0, length, step))
