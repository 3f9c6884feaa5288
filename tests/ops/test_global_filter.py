"""Global filter: the standard laws; circular convolution, what the weights cannot say, and which columns count twice."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, global_filter, roll

JUDGE = {"oracle": naive.global_filter, "oracle_backward": naive.global_filter_backward, "step": "central"}


@given(cases.strategy("global_filter"))
def test_standard(case):
    check.operator(global_filter, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("global_filter"))
def test_corners(case):
    check.operator(global_filter, case, **JUDGE)


@given(cases.strategy("global_filter"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(global_filter, case, only=["special values"])


SIZES = [(4, 4), (5, 7), (6, 5), (5, 6), (1, 6), (6, 1), (2, 2), (1, 1), (7, 7), (14, 14), (9, 28)]


def drawn(H, W, C=2, N=2):
    random = np.random.default_rng([H, W])
    return random.standard_normal((N, C, H, W)), random.standard_normal((C, H, W // 2 + 1, 2))


def spectrum(kernel):
    """Weights whose filter is the circular convolution with the kernel (C, H, W)."""
    k = np.fft.rfft2(kernel)
    return np.stack([k.real, k.imag], axis=-1)


def kernel_of(weight, W):
    """The kernel of a filter: what it makes of a single 1 in the first pixel."""
    one = np.zeros((1, len(weight), weight.shape[1], W))
    one[:, :, 0, 0] = 1
    return global_filter.forward(one, weight)[0][0]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_circular_convolution_with_its_kernel(backend, size):
    x, weight = drawn(*size)
    kernel = kernel_of(weight, size[1])
    expected = sum(kernel[:, a, b, None, None] * np.roll(x, (a, b), (2, 3)) for a in range(size[0]) for b in range(size[1]))
    check.assert_close(global_filter.forward(x, weight)[0], expected, "y")


@pytest.mark.parametrize("size", SIZES)
def test_in_self_conjugate_columns_only_the_hermitian_part_acts(backend, size):
    """Weights rebuilt from the kernel give the same filter; where they differ from those given, the gradient is 0."""
    (H, W), (x, weight) = size, drawn(*size)
    again = spectrum(kernel_of(weight, W))
    y, cache = global_filter.forward(x, weight)
    check.assert_close(global_filter.forward(x, again)[0], y, "y")
    own = [v for v in range(W // 2 + 1) if v == 0 or 2 * v == W]
    others = [v for v in range(W // 2 + 1) if v not in own]
    check.assert_close(again[:, :, others], weight[:, :, others], "weights of the other columns")
    lost = weight - again
    check.assert_close((global_filter.backward(drawn(H, W)[0][::-1].copy(), cache).weight * lost).sum(), np.zeros(()), "slope", noise=1e-13)
    assert np.abs(lost[:, :, own]).max() > 0.1, "random weights are not Hermitian there"


def test_the_width_is_told_by_the_input_not_by_the_weights(backend):
    """14 and 15 columns have spectra of one size: the same weights are then another kernel."""
    _, weight = drawn(14, 14)
    assert weight.shape == drawn(14, 15)[1].shape
    even, odd = kernel_of(weight, 14), kernel_of(weight, 15)
    assert even.shape[-1] == 14 and odd.shape[-1] == 15 and np.abs(even - odd[..., :14]).max() > 0.01


@pytest.mark.parametrize("size", [(5, 7), (6, 8)])
def test_it_commutes_with_rolls_and_not_with_shifts(backend, size):
    x, weight = drawn(*size)
    moved = lambda maps: np.moveaxis(roll.forward(np.moveaxis(maps, 1, -1), offset=(2, 1))[0], -1, 1)
    y = global_filter.forward(x, weight)[0]
    check.assert_close(global_filter.forward(moved(x).copy(), weight)[0], moved(y), "y")
    shifted = moved(x).copy()
    shifted[:, :, :2] = 0
    assert np.abs(global_filter.forward(shifted, weight)[0] - moved(y)).max() > 0.1


@pytest.mark.parametrize("size", [(5, 7), (6, 8)])
def test_the_gradient_of_x_is_the_filter_with_conjugate_weights(backend, size):
    x, weight = drawn(*size)
    y, cache = global_filter.forward(x, weight)
    conjugate = weight * [1, -1]
    check.assert_close(global_filter.backward(y, cache).x, global_filter.forward(y, conjugate)[0], "dx")


def test_a_depthwise_convolution_on_a_circle_is_a_filter(backend):
    """Tap (p, q) of a 3 x 3 kernel stands at pixel (1 - p, 1 - q); a border of its reach is then cut away."""
    x, w = drawn(6, 7)[0], np.random.default_rng(1).standard_normal((2, 1, 3, 3))
    kernel = np.zeros((2, 6, 7))
    for p in range(3):
        for q in range(3):
            kernel[:, (1 - p) % 6, (1 - q) % 7] = w[:, 0, p, q]
    wrapped = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="wrap")
    check.assert_close(global_filter.forward(x, spectrum(kernel))[0], conv2d.forward(wrapped, w, groups=2)[0], "y")


def test_two_filters_are_one_but_not_that_of_the_product(backend):
    """The product must be taken of the weights as they act: with those that were given the self-conjugate columns are wrong."""
    (x, first), (_, second) = drawn(6, 8), drawn(6, 8, N=1)
    second = second[:, ::-1].copy()
    y = global_filter.forward(global_filter.forward(x, first)[0], second)[0]
    complexes = lambda w: w[..., 0] + 1j * w[..., 1]
    acting = complexes(spectrum(kernel_of(first, 8))) * complexes(spectrum(kernel_of(second, 8)))
    product = complexes(first) * complexes(second)
    check.assert_close(global_filter.forward(x, np.stack([acting.real, acting.imag], -1))[0], y, "y")
    assert np.abs(global_filter.forward(x, np.stack([product.real, product.imag], -1))[0] - y).max() > 0.01


def test_ones_are_the_identity(backend):
    x, _ = drawn(6, 7)
    check.assert_close(global_filter.forward(x, np.ones((2, 6, 4, 1)) * [1.0, 0.0])[0], x, "y")


X, WEIGHT = np.zeros((1, 2, 4, 6)), np.zeros((2, 4, 4, 2))


def test_c1_there_is_a_map(refuses):
    for shape in [(2, 4, 6), (1, 2, 0, 6), (1, 2, 4, 0)]:
        refuses(global_filter, "C1", "x", np.zeros(shape), WEIGHT)


def test_c2_the_weights_are_half_a_spectrum(refuses):
    for shape in [(2, 4, 6, 2), (2, 4, 3, 2), (3, 4, 4, 2), (2, 4, 4), (2, 5, 4, 2)]:
        refuses(global_filter, "C2", "weight", X, np.zeros(shape))


def test_c3_numbers_are_real(refuses):
    for dtype in (complex, object):
        refuses(global_filter, "C3", "x", X.astype(dtype), WEIGHT)
        refuses(global_filter, "C3", "weight", X, WEIGHT.astype(dtype))
