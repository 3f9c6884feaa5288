"""Shifts as kernels: the standard laws; depthwise one-hot kernels are shifts, where learning starts."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, shift, shift_conv

JUDGE = {"oracle": naive.shift_conv, "oracle_backward": naive.shift_conv_backward, "step": "complex"}


@given(cases.strategy("shift_conv"))
def test_standard(case):
    check.operator(shift_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("shift_conv"))
def test_corners(case):
    check.operator(shift_conv, case, **JUDGE)


@given(cases.strategy("shift_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(shift_conv, case, only=["special values"])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_p5_a_depthwise_one_hot_kernel_is_a_shift(backend, k):
    x = whole(2, 3, 6, 5)
    for m, kernel in enumerate(shift_conv.shift_kernels(k)):
        weight = np.broadcast_to(kernel, (3, 1, k, k))
        y, _ = conv2d.forward(x, weight, padding=k // 2, groups=3)
        moved, _ = shift.forward(x, offset=(m // k - k // 2, m % k - k // 2))
        check.assert_close(y, moved, f"kernel {m}", exact=True)
        if k == 3 and m == 0:
            assert (y[..., 1, 1] == x[..., 0, 0]).all()


def test_p5_fails_for_true_convolution(backend):
    """With the kernel flipped the picture moves the other way."""
    x, flipped = whole(1, 1, 4, 4), shift_conv.shift_kernels(3)[0][::-1, ::-1]
    y, _ = conv2d.forward(x, flipped[None, None].copy(), padding=1)
    assert (y != shift.forward(x, offset=(-1, -1))[0]).any()
    assert (y == shift.forward(x, offset=(1, 1))[0]).all()


@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_p6_learning_starts_from_the_shifts(backend, stride):
    """With `shift_weight` every output of a group is the sum of the shifted maps: the fixed operator, repeated."""
    maps = whole(2, 2, 9, 5, 4)
    start, _ = shift_conv.forward(maps, shift_conv.shift_weight(3, 6), kernel_size=3, stride=stride)
    fixed, _ = shift_conv.forward(maps, kernel_size=3, stride=stride)
    check.assert_close(start, np.repeat(fixed, 3, axis=1), "y", exact=True)
    by_hand = sum(shift.forward(maps[:, :, m], offset=(m // 3 - 1, m % 3 - 1))[0] for m in range(9))
    sh, sw = naive.pair(stride)
    check.assert_close(fixed, by_hand[..., ::sh, ::sw], "fixed", exact=True)


def test_p6_fails_once_the_kernels_differ(backend):
    maps, weight = whole(1, 1, 9, 4, 4), shift_conv.shift_weight(3, 2)
    weight[1, 0, 0, 0] = 2
    y, _ = shift_conv.forward(maps, weight, kernel_size=3)
    assert (y[:, 0] != y[:, 1]).any()


def test_c1_maps_of_every_tap(refuses):
    refuses(shift_conv, "C1", "maps", np.zeros((1, 2, 8, 3, 3)), kernel_size=3)
    refuses(shift_conv, "C1", "maps", np.zeros((1, 0, 9, 3, 3)), kernel_size=3)
    refuses(shift_conv, "C1", "maps", np.zeros((1, 9, 3, 3)), kernel_size=3)


def test_c2_weight_fits_the_groups(refuses):
    refuses(shift_conv, "C2", "weight", np.zeros((1, 2, 9, 3, 3)), np.zeros((3, 9, 3, 3)), kernel_size=3)
    refuses(shift_conv, "C2", "weight", np.zeros((1, 2, 9, 3, 3)), np.zeros((2, 9, 3, 1)), kernel_size=3)


def test_c3_bias_needs_weight(refuses):
    refuses(shift_conv, "C3", "bias", np.zeros((1, 2, 9, 3, 3)), None, np.zeros(2), kernel_size=3)
    refuses(shift_conv, "C3", "bias", np.zeros((1, 2, 9, 3, 3)), np.zeros((4, 9, 3, 3)), np.zeros(2), kernel_size=3)


def test_c4_kernel_size_is_odd(refuses):
    refuses(shift_conv, "C4", "kernel_size", np.zeros((1, 2, 4, 3, 3)), kernel_size=2)
