"""Depthwise separable convolution: the standard laws; it is its two parts, and a dense convolution of rank one per channel."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, depthwise_separable_conv

JUDGE = {"oracle": naive.depthwise_separable_conv, "oracle_backward": naive.depthwise_separable_conv_backward, "step": "complex"}


@given(cases.strategy("depthwise_separable_conv"))
def test_standard(case):
    check.operator(depthwise_separable_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("depthwise_separable_conv"))
def test_corners(case):
    check.operator(depthwise_separable_conv, case, **JUDGE)


@given(cases.strategy("depthwise_separable_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(depthwise_separable_conv, case, only=["special values"])


def test_it_is_the_dense_convolution_with_the_product_of_both_weights(backend):
    x, depthwise, pointwise = whole(2, 3, 5, 6), whole(3, 1, 3, 3), whole(4, 3, 1, 1)
    y, _ = depthwise_separable_conv.forward(x, depthwise, pointwise)
    assert (y == conv2d.forward(x, pointwise * depthwise[:, 0], padding=1)[0]).all()


@pytest.mark.parametrize(("kernel", "size"), [((3, 3), (5, 6)), ((1, 5), (5, 6)), ((2, 4), (6, 7))])
def test_padding_none_is_half_of_the_kernel(backend, kernel, size):
    x, depthwise, pointwise = whole(1, 2, 5, 6), whole(2, 1, *kernel), whole(3, 2, 1, 1)
    y, _ = depthwise_separable_conv.forward(x, depthwise, pointwise)
    same, _ = depthwise_separable_conv.forward(x, depthwise, pointwise, padding=(kernel[0] // 2, kernel[1] // 2))
    assert y.shape[2:] == size and (y == same).all()


X, DEPTHWISE, POINTWISE = np.zeros((1, 2, 3, 3)), np.zeros((2, 1, 3, 3)), np.zeros((4, 2, 1, 1))


def test_c1_x_has_four_axes_and_a_channel(refuses):
    refuses(depthwise_separable_conv, "C1", "x", np.zeros((2, 3, 3)), DEPTHWISE, POINTWISE)
    refuses(depthwise_separable_conv, "C1", "x", np.zeros((1, 0, 3, 3)), np.zeros((0, 1, 3, 3)), np.zeros((4, 0, 1, 1)))


def test_c2_there_is_one_kernel_per_channel(refuses):
    for shape in [(3, 1, 3, 3), (2, 2, 3, 3), (2, 1, 0, 3), (2, 3, 3)]:
        refuses(depthwise_separable_conv, "C2", "depthwise_weight", X, np.zeros(shape), POINTWISE)


def test_c3_pointwise_weight_fits_the_channels(refuses):
    for shape in [(4, 3, 1, 1), (4, 2, 1, 2), (4, 2)]:
        refuses(depthwise_separable_conv, "C3", "pointwise_weight", X, DEPTHWISE, np.zeros(shape))


def test_c4_depthwise_bias_is_one_value_per_channel(refuses):
    refuses(depthwise_separable_conv, "C4", "depthwise_bias", X, DEPTHWISE, POINTWISE, np.zeros(4))


def test_c5_pointwise_bias_is_one_value_per_output(refuses):
    refuses(depthwise_separable_conv, "C5", "pointwise_bias", X, DEPTHWISE, POINTWISE, None, np.zeros(2))


def test_c6_the_padded_input_holds_the_kernel(refuses):
    refuses(depthwise_separable_conv, "C6", "x", np.zeros((1, 2, 2, 3)), DEPTHWISE, POINTWISE, padding=0)
