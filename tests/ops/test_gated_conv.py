"""Gated convolution: the standard laws; each factor alone, and where the window ends."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, gated_conv, gn_conv

JUDGE = {"oracle": naive.gated_conv, "oracle_backward": naive.gated_conv_backward, "step": "complex"}


@given(cases.strategy("gated_conv"))
def test_standard(case):
    check.operator(gated_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("gated_conv"))
def test_corners(case):
    check.operator(gated_conv, case, **JUDGE)


@given(cases.strategy("gated_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(gated_conv, case, only=["special values"])


def test_with_ones_for_p_it_is_the_depthwise_convolution(backend):
    q, weight, bias = whole(2, 3, 5, 6), whole(3, 1, 5, 3), whole(3)
    y, _ = gated_conv.forward(np.ones_like(q), q, weight, bias)
    assert (y == conv2d.forward(q, weight, bias, padding=(2, 1), groups=3)[0]).all()


def test_it_is_the_middle_of_gnconv_of_order_1(backend):
    x, weight, bias = whole(2, 8, 5, 6), whole(4, 1, 3, 3), whole(4)
    y, _ = gated_conv.forward(x[:, :4].copy(), x[:, 4:].copy(), weight, bias)
    same, _ = gn_conv.forward(x, np.eye(8)[:, :, None, None], weight, dwconv_bias=bias, order=1)
    assert (y == same).all()


def test_a_pixel_sees_its_window_of_q_and_only_itself_of_p(backend):
    p, q, weight = np.ones((1, 1, 9, 9)), whole(1, 1, 9, 9), np.ones((1, 1, 5, 3))
    y, _ = gated_conv.forward(p, q, weight)
    for argument, reach in (("p", (0, 0)), ("q", (2, 1))):
        moved = {"p": p, "q": q, argument: {"p": p, "q": q}[argument].copy()}
        moved[argument][0, 0, 4, 4] += 1
        changed = np.argwhere(gated_conv.forward(moved["p"], moved["q"], weight)[0][0, 0] != y[0, 0])
        assert (np.abs(changed - 4).max(0) <= reach).all() and len(changed) <= (2 * reach[0] + 1) * (2 * reach[1] + 1)
    assert len(changed) == 15


def test_exact_numbers_stay_exact():
    """Beyond 64 bits too."""
    def numbers(*shape):
        return np.array([10**18 + int(v) for v in whole(*shape).ravel()], dtype=object).reshape(shape)

    y, cache = gated_conv.forward(numbers(1, 1, 3, 3), numbers(1, 1, 3, 3), numbers(1, 1, 3, 3))
    assert {type(v) for v in y.ravel()} == {int} and min(y.ravel()) > 10**54
    assert {type(v) for g in gated_conv.backward(numbers(*y.shape), cache)[:3] for v in g.ravel()} == {int}


P, WEIGHT = np.zeros((1, 2, 3, 3)), np.zeros((2, 1, 3, 3))


def test_c1_p_and_q_are_maps_of_one_shape(refuses):
    refuses(gated_conv, "C1", "p", np.zeros((2, 3, 3)), P, WEIGHT)
    refuses(gated_conv, "C1", "q", P, np.zeros((1, 2, 3, 4)), WEIGHT)
    for shape in [(1, 0, 3, 3), (1, 2, 0, 3), (1, 2, 3, 0)]:
        refuses(gated_conv, "C1", "p", np.zeros(shape), np.zeros(shape), np.zeros((shape[1], 1, 3, 3)))


def test_c2_there_is_one_kernel_per_channel(refuses):
    for shape in [(3, 1, 3, 3), (2, 2, 3, 3), (2, 3, 3)]:
        refuses(gated_conv, "C2", "weight", P, P, np.zeros(shape))


def test_c3_kernels_are_odd(refuses):
    for kernel in [(2, 3), (3, 4), (0, 3)]:
        refuses(gated_conv, "C3", "weight", P, P, np.zeros((2, 1, *kernel)))


def test_c4_bias_is_one_value_per_channel(refuses):
    refuses(gated_conv, "C4", "bias", P, P, WEIGHT, np.zeros(3))
