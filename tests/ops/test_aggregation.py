"""Aggregation: the standard laws; equal weights are a mean, one weight is a shift, who shares a weight."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import aggregation, local_attention, reflection_pad, unfold

JUDGE = {"oracle": naive.aggregation, "oracle_backward": naive.aggregation_backward, "step": "complex"}


@given(cases.strategy("aggregation"))
def test_standard(case):
    check.operator(aggregation, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("aggregation"))
def test_corners(case):
    check.operator(aggregation, case, **JUDGE)


@given(cases.strategy("aggregation"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(aggregation, case, only=["special values"])


def test_channels_share_weights_in_turn(backend):
    """Channel c reads weight c mod Cw, not c // (C/Cw)."""
    weight, v = np.zeros((1, 2, 1, 2, 2)), normal(1, 4, 2, 2)
    weight[:, 1] = 1
    y, _ = aggregation.forward(weight, v, kernel_size=1)
    assert not y[0, [0, 2]].any() and (y[0, [1, 3]] == v[0, [1, 3]]).all()


@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_the_windows_are_those_of_unfold_after_mirroring(backend, stride):
    v, (sh, sw) = normal(2, 3, 5, 6), naive.pair(stride)
    weight = normal(2, 3, 9, -(-5 // sh), -(-6 // sw))
    padded, _ = reflection_pad.forward(v, padding=1)
    U, _ = unfold.forward(padded, kernel_size=3, stride=stride)
    y, _ = aggregation.forward(weight, v, kernel_size=3, stride=stride)
    check.assert_close(y, (weight * U).sum(2), "y")


def test_weights_of_local_attention_give_local_attention(backend):
    """One head of one channel each: its softmax weights, aggregated."""
    q, k, v = (normal(2, 3, 5, 4, seed=n) for n in (1, 2, 3))
    o, cache = local_attention.forward(q, k, v, heads=3, kernel_size=5)
    y, _ = aggregation.forward(local_attention.weights(cache), v, kernel_size=5)
    check.assert_close(y, o, "o")


@pytest.mark.parametrize("stride", [64, 2**31 - 1, (2**31 - 1, 5)])
def test_a_stride_beyond_the_map_leaves_its_first_pixel(backend, stride):
    weight, v = normal(1, 1, 9, 1, 1), normal(1, 2, 4, 5)
    y, cache = aggregation.forward(weight, v, kernel_size=3, stride=stride)
    every, every_cache = aggregation.forward(np.broadcast_to(weight, (1, 1, 9, 4, 5)), v, kernel_size=3)
    check.assert_close(y, every[..., :1, :1], "y")
    dy = np.zeros_like(every)
    dy[..., 0, 0] = 1
    wanted = aggregation.backward(dy, every_cache)
    check.assert_close(aggregation.backward(np.ones_like(y), cache).v, wanted.v, "dv", kind="gradient")


def test_one_weight_moves_the_map(backend):
    v = normal(1, 1, 4, 5)
    weight = np.zeros((1, 1, 9, 4, 5))
    weight[:, :, 5] = 1  # row 1, column 2 of the window: one to the right
    y, _ = aggregation.forward(weight, v, kernel_size=3)
    assert (y[..., :-1] == v[..., 1:]).all() and (y[..., -1] == v[..., -2]).all()


def test_a_nan_weight_spoils_its_own_pixel(backend):
    weight, v = normal(1, 1, 9, 4, 4), normal(1, 2, 4, 4)
    weight[0, 0, 3, 1, 2] = np.nan
    y, _ = aggregation.forward(weight, v, kernel_size=3)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 1, 2], [0, 1, 1, 2]]


def test_a_zero_weight_does_not_hide_a_nan(backend):
    v = normal(1, 1, 5, 5)
    v[0, 0, 2, 2] = np.nan
    y, _ = aggregation.forward(np.zeros((1, 1, 9, 5, 5)), v, kernel_size=3)
    assert np.isnan(y[0, 0, 1:4, 1:4]).all() and np.isnan(y).sum() == 9


def test_c1_v_is_a_batch_of_maps(refuses):
    refuses(aggregation, "C1", "v", np.zeros((1, 1, 1, 3, 3)), np.zeros((1, 3, 3)), kernel_size=1)


def test_c2_kernel_size_is_odd(refuses):
    refuses(aggregation, "C2", "kernel_size", np.zeros((1, 1, 4, 3, 3)), np.zeros((1, 1, 3, 3)), kernel_size=2)


def test_c3_mirroring_needs_a_map_larger_than_half_the_window(refuses):
    refuses(aggregation, "C3", "v", np.zeros((1, 1, 25, 2, 9)), np.zeros((1, 1, 2, 9)), kernel_size=5)
    refuses(aggregation, "C3", "kernel_size", np.zeros((1, 1, 25, 9, 2)), np.zeros((1, 1, 9, 2)), kernel_size=5)


def test_c4_weights_fit_the_output(refuses):
    v = np.zeros((2, 4, 5, 5))
    refuses(aggregation, "C4", "weight", np.zeros((2, 3, 9, 5, 5)), v, kernel_size=3)
    refuses(aggregation, "C4", "stride", np.zeros((2, 2, 9, 5, 5)), v, kernel_size=3, stride=2)
    refuses(aggregation, "C4", "kernel_size", np.zeros((2, 2, 9, 5, 5)), v, kernel_size=1)
    refuses(aggregation, "C4", "v", np.zeros((1, 2, 9, 5, 5)), v, kernel_size=3)
    refuses(aggregation, "C4", "weight", np.zeros((2, 0, 9, 5, 5)), v, kernel_size=3)
