"""Layer normalisation: the standard laws; mean 0 and variance 1, what it does not see, what its gradient is orthogonal to."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import layer_norm

JUDGE = {"oracle": naive.layer_norm, "oracle_backward": naive.layer_norm_backward, "step": "complex"}


@given(cases.strategy("layer_norm"))
def test_standard(case):
    check.operator(layer_norm, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("layer_norm"))
def test_corners(case):
    check.operator(layer_norm, case, **JUDGE)


@given(cases.strategy("layer_norm"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(layer_norm, case, only=["special values"])


SHAPES = [((3, 7), -1), ((3, 7), 0), ((2, 5, 4, 6), 1), ((2, 300), 1), ((2, 70, 131), -2), ((9,), 0)]


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_mean_zero_and_variance_one(backend, shape, axis):
    """The variance falls short of 1 by the share of eps: v/(v + eps)."""
    x = 3 * np.random.default_rng(1).standard_normal(shape) + 5
    y, _ = layer_norm.forward(x, axis=axis, eps=1e-3)
    v = x.var(axis)
    check.assert_close(y.mean(axis), np.zeros(v.shape), "mean", noise=1e-15)
    check.assert_close(y.var(axis), v / (v + 1e-3), "variance")


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_channels_first_is_channels_last_transposed(backend, shape, axis):
    random = np.random.default_rng(2)
    x, dy, weight, bias = (random.standard_normal(s) for s in (shape, shape, shape[axis], shape[axis]))
    y, cache = layer_norm.forward(x, weight, bias, axis=axis)
    last, cache_last = layer_norm.forward(np.moveaxis(x, axis, -1), weight, bias)
    check.assert_close(np.moveaxis(y, axis, -1), last, "y")
    dx, dweight, dbias = layer_norm.backward(dy, cache)
    expected = layer_norm.backward(np.moveaxis(dy, axis, -1), cache_last)
    for name, got in (("x", np.moveaxis(dx, axis, -1)), ("weight", dweight), ("bias", dbias)):
        check.assert_close(got, getattr(expected, name), f"d{name}", kind="gradient")


def test_a_constant_of_the_token_changes_nothing(backend):
    """Multiples of 1/8, so that the mean of eight is exact, and with it every difference from the mean."""
    random = np.random.default_rng(3)
    x = np.round(random.standard_normal((4, 8)) * 8)
    moved = x + random.integers(-50, 50, (4, 1))
    check.assert_close(layer_norm.forward(moved)[0], layer_norm.forward(x)[0], "y", exact=True)


def test_a_constant_that_differs_within_the_token_changes_it(backend):
    x = np.random.default_rng(3).standard_normal((4, 8))
    assert (layer_norm.forward(x + np.arange(8))[0] != layer_norm.forward(x)[0]).any()


def test_the_gradient_is_orthogonal_to_what_changes_nothing(backend):
    """To the constant exactly; to x̂ up to the share of eps: Σ dx·x̂ = r·(1 - v r²)·Σ dx̂·x̂."""
    random = np.random.default_rng(4)
    x, dy = random.standard_normal((2, 5, 9))
    y, cache = layer_norm.forward(x)
    dx = layer_norm.backward(dy, cache).x
    check.assert_close(dx.sum(-1), np.zeros(5), "Σ dx", noise=1e-15)
    left = cache.r[:, 0] * (1 - x.var(-1) * cache.r[:, 0] ** 2) * (dy * y).sum(-1)
    check.assert_close((dx * y).sum(-1), left, "Σ dx x̂", kind="gradient", noise=1e-15)


def test_a_token_of_equal_channels_becomes_the_bias(backend):
    x, bias = np.full((2, 4), 3.0), np.arange(4.0)
    y, cache = layer_norm.forward(x, 2 + bias, bias)
    assert (y == bias).all() and np.isfinite(layer_norm.backward(np.ones((2, 4)), cache).x).all()


@pytest.mark.parametrize("shape", [(1, 1_000_000), (1, 1_000_000, 3)])
def test_a_million_channels_far_from_zero_stay_accurate(backend, shape):
    """float32 around 1000 with deviation 1: an error of a few roundings of the mean, which moves all results alike."""
    x = (1000 + np.random.default_rng(5).standard_normal(shape)).astype(np.float32)
    if backend == "numpy" and len(shape) == 3:
        pytest.skip("NumPy adds down an axis in one chain")
    y, _ = layer_norm.forward(x, axis=1)
    expected, _ = layer_norm.forward.reference(x.astype(np.float64), axis=1)
    check.assert_close(y, expected.astype(np.float32), "y", noise=5e-5)


def test_c1_axis_exists(refuses):
    refuses(layer_norm, "C1", "axis", np.zeros((2, 3)), axis=2)
    refuses(layer_norm, "C1", "axis", np.zeros((2, 3)), axis=-3)
    refuses(layer_norm, "C1", "x", np.zeros(()))


def test_c2_there_is_a_channel(refuses):
    refuses(layer_norm, "C2", "x", np.zeros((2, 0)))
    refuses(layer_norm, "C2", "x", np.zeros((0, 3)), axis=0)


def test_c3_weight_has_the_length_of_the_axis(refuses):
    refuses(layer_norm, "C3", "weight", np.zeros((2, 3)), np.zeros(2))
    refuses(layer_norm, "C3", "weight", np.zeros((2, 3)), np.zeros((1, 3)))


def test_c4_bias_has_the_length_of_the_axis(refuses):
    refuses(layer_norm, "C4", "bias", np.zeros((2, 3)), None, np.zeros(3), axis=0)


@pytest.mark.parametrize("eps", [0, -1e-5, np.inf, np.nan, "small", None])
def test_c5_eps_is_positive_and_finite(refuses, eps):
    refuses(layer_norm, "C5", "eps", np.zeros((2, 3)), eps=eps)
