"""Window reverse: the standard laws; it undoes the partition, and the partition undoes it."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import window_partition, window_reverse

JUDGE = {"oracle": naive.window_reverse, "oracle_backward": naive.window_reverse_backward, "step": "complex"}


@given(cases.strategy("window_reverse"))
def test_standard(case):
    check.operator(window_reverse, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("window_reverse"))
def test_corners(case):
    check.operator(window_reverse, case, **JUDGE)


@given(cases.strategy("window_reverse"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(window_reverse, case, only=["special values"])


@given(cases.strategy("window_reverse"))
def test_partition_undoes_it_and_is_its_adjoint_bit_for_bit(case):
    (windows,), window = case.arrays.values(), case.config["window"]
    x, cache = case.call(window_reverse.forward)
    back, _ = window_partition.forward(x, window=window)
    check.assert_close(back, windows, "windows", exact=True)
    dx = case.cotangent(x.shape)
    there, _ = window_partition.forward(dx, window=window)
    check.assert_close(window_reverse.backward(dx, cache).windows, there, "dwindows", exact=True)


def test_windows_are_put_back_row_by_row(backend):
    windows = np.arange(8.0).reshape(4, 2, 1)
    x, _ = window_reverse.forward(windows, window=(1, 2), size=(2, 4))
    assert x[0, :, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_c1_windows_are_whole_and_fill_their_images(refuses):
    refuses(window_reverse, "C1", "windows", np.zeros((4, 5, 2)), window=2, size=4)
    refuses(window_reverse, "C1", "size", np.zeros((6, 4, 2)), window=2, size=4)
    refuses(window_reverse, "C1", "window", np.zeros((4, 4)), window=2, size=4)


def test_c2_windows_fill_the_map(refuses):
    refuses(window_reverse, "C2", "size", np.zeros((4, 4, 2)), window=2, size=(4, 5))
