"""Pointwise convolution: the standard laws; it is the 1x1 convolution, and commutes with a shift."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, pointwise_conv, shift

JUDGE = {"oracle": naive.pointwise_conv, "oracle_backward": naive.pointwise_conv_backward, "step": "complex"}


@given(cases.strategy("pointwise_conv"))
def test_standard(case):
    check.operator(pointwise_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("pointwise_conv"))
def test_corners(case):
    check.operator(pointwise_conv, case, **JUDGE)


@given(cases.strategy("pointwise_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(pointwise_conv, case, only=["special values"])


@given(cases.strategy("pointwise_conv"))
def test_it_is_the_convolution_with_a_1x1_kernel(case):
    if case.arrays["x"].size:  # a convolution refuses empty maps
        check.operator(
            pointwise_conv, case, oracle=lambda x, weight, bias=None: conv2d.forward(x, weight, bias)[0], only=["value"]
        )


def both_orders(x, weight, bias, offset):
    first, _ = pointwise_conv.forward(shift.forward(x, offset=offset)[0], weight, bias)
    last, _ = shift.forward(pointwise_conv.forward(x, weight, bias)[0], offset=offset)
    return first, last


@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (-1, 2), (3, -9)])
def test_p2_commutes_with_a_shift(backend, offset):
    random = np.random.default_rng(2)
    x, weight = (random.integers(-4, 5, shape).astype(float) for shape in ((2, 3, 4, 5), (2, 3, 1, 1)))
    check.assert_close(*both_orders(x, weight, None, offset), "K Shift(x)", exact=True)


def test_p2_fails_with_a_bias(backend):
    """The zeros that a shift brings in get the bias if it comes first, and have removed it if it comes last."""
    x, weight, bias = np.ones((1, 1, 3, 3)), np.ones((1, 1, 1, 1)), np.array([2.0])
    first, last = both_orders(x, weight, bias, (1, 0))
    assert (first[..., 2, :] == 2).all() and (last[..., 2, :] == 0).all()
    assert (first[..., :2, :] == last[..., :2, :]).all()


def test_c1_x_has_four_axes(refuses):
    refuses(pointwise_conv, "C1", "x", np.zeros((2, 3, 3)), np.zeros((1, 2, 1, 1)))


def test_c2_weight_is_one_matrix(refuses):
    refuses(pointwise_conv, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 3, 1, 1)))
    refuses(pointwise_conv, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3, 3)))


def test_c3_bias_is_one_value_per_output_channel(refuses):
    refuses(pointwise_conv, "C3", "bias", np.zeros((1, 2, 3, 3)), np.zeros((3, 2, 1, 1)), np.zeros((3, 1)))
