"""Linear map of tokens: the standard laws; it is the 1x1 convolution of a map whose pixels are the tokens."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import backend, check
from pyhybrid.check import cases
from pyhybrid.ops import linear, pointwise_conv

needs_core = pytest.mark.skipif(not backend.available(), reason="the compiled core is not installed")
JUDGE = {"oracle": naive.linear, "oracle_backward": naive.linear_backward, "step": "complex"}


@given(cases.strategy("linear"))
def test_standard(case):
    check.operator(linear, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("linear"))
def test_corners(case):
    check.operator(linear, case, **JUDGE)


@given(cases.strategy("linear"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(linear, case, only=["special values"])


def as_pixels(x, weight, bias=None, *, channels_first=False):
    """The tokens as pixels of maps, through the 1x1 convolution; channels first, its maps are the result."""
    tokens = x.shape[-2] if channels_first else 1
    pixels = x.reshape(-1, tokens, 1, x.shape[-1]).transpose(0, 3, 1, 2)
    y, _ = pointwise_conv.forward(pixels, weight[:, :, None, None], bias)
    return y.reshape(linear.output_shape(x, weight, bias, channels_first=channels_first))


@given(cases.strategy("linear"))
def test_it_is_the_pointwise_convolution_of_tokens(case):
    if case.arrays["x"].size:
        check.operator(linear, case, oracle=as_pixels, only=["value"])


def test_no_channels_leave_the_bias(backend):
    bias = np.array([1.0, 2.0, 3.0])
    y, cache = linear.forward(np.zeros((5, 0)), np.zeros((3, 0)), bias)
    assert (y == bias).all() and (linear.backward(y, cache).bias == 5 * bias).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("N", "T", "C", "O"), [(2, 1, 300, 40), (1, 29, 257, 33), (3, 600, 20, 50), (5, 900, 7, 6), (2, 520, 35, 300)])
def test_channels_first_beyond_one_block_of_the_kernels(backend, dtype, N, T, C, O):
    random = np.random.default_rng(T)
    x, weight, bias, dy = (random.integers(-4, 5, shape).astype(dtype) for shape in ((N, T, C), (O, C), (O,), (N, O, T)))
    y, cache = linear.forward(x, weight, bias, channels_first=True)
    check.assert_close(y, np.einsum("ntc,oc->not", x, weight) + bias[:, None], "y", exact=True)
    dx, dweight, dbias = linear.backward(dy, cache)
    check.assert_close(dx, np.einsum("not,oc->ntc", dy, weight), "dx", exact=True)
    check.assert_close(dweight, np.einsum("not,ntc->oc", dy, x), "dweight", exact=True)
    check.assert_close(dbias, np.einsum("not->o", dy), "dbias", exact=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("T", "C", "O"), [(1, 300, 40), (29, 257, 33), (600, 20, 50), (520, 35, 300), (300, 70, 1)])
def test_sizes_beyond_one_block_of_the_kernels(backend, dtype, T, C, O):
    """Whole numbers: every sum is exact, in whatever blocks it is added."""
    random = np.random.default_rng(T)
    x, weight, bias, dy = (random.integers(-4, 5, shape).astype(dtype) for shape in ((T, C), (O, C), (O,), (T, O)))
    y, cache = linear.forward(x, weight, bias)
    check.assert_close(y, np.einsum("tc,oc->to", x, weight) + bias, "y", exact=True)
    dx, dweight, dbias = linear.backward(dy, cache)
    check.assert_close(dx, np.einsum("to,oc->tc", dy, weight), "dx", exact=True)
    check.assert_close(dweight, np.einsum("to,tc->oc", dy, x), "dweight", exact=True)
    check.assert_close(dbias, np.einsum("to->o", dy), "dbias", exact=True)


def test_c1_x_has_an_axis(refuses):
    refuses(linear, "C1", "x", np.zeros(()), np.zeros((2, 1)))


def test_c2_weight_is_one_matrix_for_the_channels(refuses):
    refuses(linear, "C2", "weight", np.zeros((4, 3)), np.zeros((3, 2)))
    refuses(linear, "C2", "weight", np.zeros((4, 3)), np.zeros(3))
    refuses(linear, "C2", "weight", np.zeros((4, 3)), np.zeros((2, 3, 1)))


def test_c3_bias_is_one_value_per_row_of_weight(refuses):
    refuses(linear, "C3", "bias", np.zeros((4, 3)), np.zeros((2, 3)), np.zeros(3))
    refuses(linear, "C3", "bias", np.zeros((4, 3)), np.zeros((2, 3)), np.zeros((2, 1)))


def test_c4_channels_first_needs_tokens(refuses):
    refuses(linear, "C4", "x", np.zeros(3), np.zeros((2, 3)), channels_first=True)
    with pytest.raises(TypeError, match=r"channels_first must be True or False; got 1"):
        linear.forward(np.zeros((4, 3)), np.zeros((2, 3)), channels_first=1)


@needs_core
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("N", "T", "C", "O"), [(5, 900, 37, 29), (17, 256, 64, 64), (3, 41, 300, 270)])
def test_channels_first_has_the_same_bits_for_any_number_of_threads(dtype, N, T, C, O):
    random = np.random.default_rng(N)
    x, weight, bias, dy = (random.standard_normal(shape).astype(dtype) for shape in ((N, T, C), (O, C), (O,), (N, O, T)))
    found = []
    for threads in (1, 2, 3, 7):
        with backend.use("rust"), backend.threads(threads):
            y, cache = linear.forward(x, weight, bias, channels_first=True)
            found.append((y, *linear.backward(dy, cache)))
    for others in found[1:]:
        assert all((a == b).all() for a, b in zip(found[0], others, strict=True))
    tokens, cache = linear.forward(x, weight, bias)
    assert (tokens.swapaxes(1, 2) == found[0][0]).all(), "the same sums, in another place"
