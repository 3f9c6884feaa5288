"""Convolution: the standard laws; linearity, the flipped kernel, groups, empty maps, NaN."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d

JUDGE = {"oracle": naive.conv2d, "oracle_backward": naive.conv2d_backward, "step": "complex"}


@given(cases.strategy("conv2d"))
def test_standard(case):
    check.operator(conv2d, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("conv2d"))
def test_corners(case):
    check.operator(conv2d, case, **JUDGE)


@given(cases.strategy("conv2d"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(conv2d, case, only=["special values"])


def conv(x, weight, bias=None, **config):
    return conv2d.forward(x, weight, bias, **config)[0]


def test_the_kernel_is_not_flipped(backend):
    """A one in the top left corner of the kernel reads the pixel up and to the left: out[1, 1] = in[0, 0]."""
    x, corner = whole(1, 1, 4, 5), np.zeros((1, 1, 3, 3))
    corner[0, 0, 0, 0] = 1
    assert conv(x, corner, padding=1)[0, 0, 1, 1] == x[0, 0, 0, 0]


def test_groups_are_separate_convolutions(backend):
    x, weight = whole(2, 6, 4, 5), whole(4, 3, 3, 2)
    parts = [conv(x[:, 3 * g : 3 * g + 3], weight[2 * g : 2 * g + 2], stride=2, padding=1) for g in range(2)]
    check.assert_close(conv(x, weight, stride=2, padding=1, groups=2), np.concatenate(parts, 1), "y", exact=True)


def test_stride_is_subsampling(backend):
    x, weight = whole(2, 2, 7, 6), whole(3, 2, 3, 3)
    every, some = conv(x, weight, padding=1), conv(x, weight, padding=1, stride=(3, 2))
    check.assert_close(some, every[..., ::3, ::2], "y", exact=True)


def test_dilation_is_a_kernel_with_holes(backend):
    x, weight = whole(1, 2, 7, 8), whole(2, 2, 2, 3)
    spread = np.zeros((2, 2, 3, 5))
    spread[..., ::2, ::2] = weight
    check.assert_close(conv(x, weight, dilation=2), conv(x, spread), "y", exact=True)


def test_no_input_channels_give_the_bias(backend):
    y = conv(np.zeros((1, 0, 3, 3)), np.zeros((2, 0, 2, 2)), np.array([1.5, -2.0]))
    assert y.shape == (1, 2, 2, 2)
    assert (y[0, 0] == 1.5).all() and (y[0, 1] == -2).all()


def test_one_nan_reaches_exactly_the_outputs_that_read_it(backend):
    x = np.ones((2, 1, 5, 5))
    x[1, 0, 2, 3] = np.nan
    y = conv(x, np.zeros((1, 1, 3, 3)), padding=1)  # a zero weight does not hide it
    window = np.zeros(y.shape, bool)
    window[1, 0, 1:4, 2:5] = True
    assert (np.isnan(y) == window).all()


def test_an_infinite_weight_meets_the_zeros_of_the_padding(backend):
    """inf · 0 is NaN: the padding takes part in the arithmetic."""
    with np.errstate(invalid="ignore"):
        y = conv(np.ones((1, 1, 3, 3)), np.full((1, 1, 3, 3), np.inf), padding=1)
    assert np.isinf(y[0, 0, 1, 1]) and np.isnan(y).sum() == 8

# CoAtNet, eq. (1): y_i = Σ over j near i of w_{i-j} ∘ x_j, a convolution in the strict sense.


def depthwise(x, weight, **config):
    return conv2d.forward(x, weight[:, None], groups=len(weight), **config)[0]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_depthwise_with_the_kernel_the_other_way_round_is_equation_1_of_coatnet(backend, k):
    """Written with displacements i - j, the kernel is read backwards: K[u, v] = w at (p - u, p - v), p = (k-1)/2."""
    (N, C, H, W), p = (2, 3, 5, 6), (k - 1) // 2
    random = np.random.default_rng(k)
    x, w = random.integers(-4, 5, (N, C, H, W)).astype(float), random.integers(-4, 5, (C, k, k)).astype(float)
    y = np.zeros(x.shape)
    for i, j, a, b in np.ndindex(H, W, H, W):
        if abs(i - a) <= p and abs(j - b) <= p:
            y[:, :, i, j] += w[:, i - a + p, j - b + p] * x[:, :, a, b]
    assert (depthwise(x, np.ascontiguousarray(w[:, ::-1, ::-1]), padding=p) == y).all()
    assert (k == 1) == bool((depthwise(x, w, padding=p) == y).all())


def test_depthwise_with_a_stride_is_every_other_pixel_of_the_one_without(backend):
    random = np.random.default_rng(2)
    x, w = random.integers(-4, 5, (2, 3, 7, 6)).astype(float), random.integers(-4, 5, (3, 3, 3)).astype(float)
    assert (depthwise(x, w, padding=1, stride=2) == depthwise(x, w, padding=1)[:, :, ::2, ::2]).all()


@pytest.mark.parametrize("H", [4, 5, 6, 7])
def test_padding_same_of_stride_2_is_zeros_appended_by_hand(backend, H):
    """Tensorflow puts the smaller half of the zeros first, at even sizes none: other numbers than padding=1, the same shape."""
    random = np.random.default_rng(3)
    x, w = random.standard_normal((1, 2, H, H)), random.standard_normal((2, 3, 3))
    total = max((-(-H // 2) - 1) * 2 + 3 - H, 0)
    border = (total // 2, total - total // 2)
    y = depthwise(np.pad(x, [(0, 0), (0, 0), border, border]), w, stride=2)
    same = depthwise(x, w, padding=1, stride=2)
    assert y.shape == same.shape
    assert bool((y == same).all()) == (H % 2 == 1)


def test_c1_x_has_four_axes(refuses):
    refuses(conv2d, "C1", "x", np.zeros((2, 3, 3)), np.zeros((1, 2, 1, 1)))


def test_c2_weight_fits_the_channels(refuses):
    refuses(conv2d, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 3, 1, 1)))
    refuses(conv2d, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 0, 1)))
    refuses(conv2d, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 1)))


def test_c3_bias_is_one_value_per_output_channel(refuses):
    refuses(conv2d, "C3", "bias", np.zeros((1, 2, 3, 3)), np.zeros((3, 2, 1, 1)), np.zeros(2))


def test_c4_groups_divide_the_channels(refuses):
    refuses(conv2d, "C4", "groups", np.zeros((1, 3, 3, 3)), np.zeros((2, 1, 1, 1)), groups=2)
    refuses(conv2d, "C4", "groups", np.zeros((1, 2, 3, 3)), np.zeros((3, 1, 1, 1)), groups=2)


def test_c5_the_padded_input_holds_the_kernel(refuses):
    refuses(conv2d, "C5", "x", np.zeros((1, 1, 2, 5)), np.zeros((1, 1, 3, 3)))
    refuses(conv2d, "C5", "dilation", np.zeros((1, 1, 5, 4)), np.zeros((1, 1, 1, 3)), dilation=2)
