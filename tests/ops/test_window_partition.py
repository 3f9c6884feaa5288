"""Window partition: the standard laws; where every pixel goes; the mask of shifted windows."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import roll, window_partition, window_reverse
from pyhybrid.ops.window_partition import shift_mask

JUDGE = {"oracle": naive.window_partition, "oracle_backward": naive.window_partition_backward, "step": "complex"}


@given(cases.strategy("window_partition"))
def test_standard(case):
    check.operator(window_partition, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("window_partition"))
def test_corners(case):
    check.operator(window_partition, case, **JUDGE)


@given(cases.strategy("window_partition"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(window_partition, case, only=["special values"])


def test_windows_and_tokens_are_counted_row_by_row(backend):
    x = np.arange(24.0).reshape(1, 4, 6, 1)
    windows, _ = window_partition.forward(x, window=(2, 3))
    assert windows[..., 0].tolist() == [
        [0, 1, 2, 6, 7, 8],
        [3, 4, 5, 9, 10, 11],
        [12, 13, 14, 18, 19, 20],
        [15, 16, 17, 21, 22, 23],
    ]


@given(cases.strategy("window_partition"))
def test_reverse_undoes_it_and_is_its_adjoint_bit_for_bit(case):
    (x,), window = case.arrays.values(), case.config["window"]
    if not x.size:
        return
    windows, cache = case.call(window_partition.forward)
    back, _ = window_reverse.forward(windows, window=window, size=x.shape[1:3])
    check.assert_close(back, x, "x", exact=True)
    dwindows = case.cotangent(windows.shape)
    dx = window_partition.backward(dwindows, cache).x
    there, _ = window_reverse.forward(dwindows, window=window, size=x.shape[1:3])
    check.assert_close(dx, there, "dx", exact=True)


def test_a_window_over_the_whole_map_only_renames_the_axes(backend):
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5))
    windows, _ = window_partition.forward(x, window=(3, 4))
    assert (windows == x.reshape(2, 12, 5)).all() and not np.shares_memory(windows, x)


def test_the_mask_keeps_tokens_apart_that_the_roll_brought_together():
    """Two tokens of a window may see each other exactly if they lay in one window of the map that was not yet rolled, or beside it."""
    (H, W), w, s = (6, 9), 3, 1
    places = np.stack(np.meshgrid(np.arange(H), np.arange(W), indexing="ij"), -1)[None].astype(float)
    rolled, _ = roll.forward(places, offset=-s)
    tokens, _ = window_partition.forward(rolled, window=w)
    mask = shift_mask((H, W), w, s)
    assert mask.shape == (6, 9, 9) and mask.dtype == np.float64
    distance = np.abs(tokens[:, :, None] - tokens[:, None, :]).max(-1)
    assert ((mask == 0) == (distance < w)).all() and set(np.unique(mask)) == {0.0, -100.0}


def test_without_a_shift_the_mask_is_zero():
    assert not shift_mask((4, 6), 2, 0).any()
    assert (shift_mask((4, 6), 2, (0, 1)) == shift_mask((4, 6), 2, (0, 1)).swapaxes(1, 2)).all()
    assert not shift_mask((4, 6), 2, (0, 1))[[0, 1, 3, 4]].any() and shift_mask((4, 6), 2, (0, 1))[[2, 5]].any()


def test_a_single_window_may_be_shifted_too():
    """[0, -w) is empty then."""
    assert shift_mask(3, 3, 1)[0, 0].tolist() == [0, 0, -100, 0, 0, -100, -100, -100, -100]


@pytest.mark.parametrize(("size", "window", "shift"), [((6, 7), 3, 1), (6, 3, 3), ((6, 6), (2, 3), (2, 0))])
def test_the_mask_refuses_what_has_no_windows(size, window, shift):
    with pytest.raises(ValueError, match="multiple of window"):
        shift_mask(size, window, shift)
    with pytest.raises(ValueError, match="shift must be"):
        shift_mask(6, 3, -1)


def test_c1_x_is_a_batch_of_maps(refuses):
    refuses(window_partition, "C1", "x", np.zeros((4, 4, 2)), window=2)


def test_c2_windows_fill_the_map(refuses):
    refuses(window_partition, "C2", "x", np.zeros((1, 5, 4, 2)), window=2)
    refuses(window_partition, "C2", "window", np.zeros((1, 4, 5, 2)), window=(4, 2))
