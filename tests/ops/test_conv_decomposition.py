"""Convolution in two stages: the standard laws; equal to the convolution, the bias at the border."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, conv_decomposition

JUDGE = {"oracle": naive.conv_decomposition, "oracle_backward": naive.conv_decomposition_backward, "step": "complex"}


@given(cases.strategy("conv_decomposition"))
def test_standard(case):
    check.operator(conv_decomposition, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("conv_decomposition"))
def test_corners(case):
    check.operator(conv_decomposition, case, **JUDGE)


@given(cases.strategy("conv_decomposition"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(conv_decomposition, case, only=["special values"])


@given(cases.strategy("conv_decomposition"))
def test_p1_it_is_the_convolution(case):
    """For odd kernels at any stride; for even ones padding k/2 makes a row and a column too many, which are cut off."""
    x, weight, stride = case.arrays["x"], case.arrays["weight"], case.config["stride"]
    kh, kw = weight.shape[2:]
    (sh, sw), (H, W) = naive.pair(stride), x.shape[2:]
    if not H or not W:
        return

    def convolution(x, weight, bias=None, *, stride):
        whole_map, _ = conv2d.forward(x, weight, padding=(kh // 2, kw // 2))
        return whole_map[..., :H:sh, :W:sw]

    check.operator(conv_decomposition, case.with_(bias=None), oracle=convolution, only=["value"])


def test_p1_fails_for_even_kernels_without_the_cut(backend):
    x, weight = whole(1, 1, 4, 4), whole(1, 1, 2, 2)
    assert conv2d.forward(x, weight, padding=1)[0].shape == (1, 1, 5, 5)
    assert conv_decomposition.forward(x, weight)[0].shape == (1, 1, 4, 4)


def test_p2_a_bias_of_stage_one_is_a_channel_of_ones(backend):
    """The whole equals the convolution of [x; 1], where the ones end at the border."""
    x, weight, bias = whole(2, 2, 5, 4), whole(3, 2, 3, 3), whole(9, 3)
    y, _ = conv_decomposition.forward(x, weight, bias)
    ones = np.concatenate([x, np.ones((2, 1, 5, 4))], axis=1)
    extended = np.concatenate([weight, bias.T.reshape(3, 1, 3, 3)], axis=1)
    check.assert_close(y, conv2d.forward(ones, extended, padding=1)[0], "y", exact=True)


def test_p2_fails_at_the_border_for_the_summed_bias(backend):
    x, weight, bias = whole(1, 2, 5, 4), whole(3, 2, 3, 3), np.arange(1.0, 28).reshape(9, 3)
    y, _ = conv_decomposition.forward(x, weight, bias)
    summed, _ = conv2d.forward(x, weight, bias.sum(0), padding=1)
    check.assert_close(y[..., 1:-1, 1:-1], summed[..., 1:-1, 1:-1], "interior", exact=True)
    border = np.ones((5, 4), bool)
    border[1:-1, 1:-1] = False
    assert (y != summed)[..., border].all()


def test_c1_ranks_and_the_bias_per_tap(refuses):
    refuses(conv_decomposition, "C1", "x", np.zeros((2, 3, 3)), np.zeros((1, 2, 3, 3)))
    refuses(conv_decomposition, "C1", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3)))


def test_c1_names_stage_one_for_what_stage_one_checks():
    with pytest.raises(ValueError, match=r"tap_projection \(C3\).*got bias = float64 array of shape \(4,\)"):
        conv_decomposition.forward(np.zeros((1, 2, 3, 3)), np.zeros((4, 2, 3, 3)), np.zeros(4))
