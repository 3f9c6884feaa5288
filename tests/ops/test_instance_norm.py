"""Instance normalisation: the standard laws; mean 0 and variance 1 of every map, one pixel, biases that it removes."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import depthwise_separable_conv, group_norm, instance_norm

JUDGE = {"oracle": naive.instance_norm, "oracle_backward": naive.instance_norm_backward, "step": "complex"}


@given(cases.strategy("instance_norm"))
def test_standard(case):
    check.operator(instance_norm, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("instance_norm"))
def test_corners(case):
    check.operator(instance_norm, case, **JUDGE)


@given(cases.strategy("instance_norm"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(instance_norm, case, only=["special values"])


def test_mean_zero_and_variance_one(backend):
    x = 3 * np.random.default_rng(1).standard_normal((2, 3, 9, 11)) + 5
    y, _ = instance_norm.forward(x, eps=1e-3)
    v = x.var((2, 3))
    check.assert_close(y.mean((2, 3)), np.zeros((2, 3)), "mean", noise=1e-15)
    check.assert_close(y.var((2, 3)), v / (v + 1e-3), "variance")


def test_it_is_group_normalisation_with_a_group_per_channel(backend):
    random = np.random.default_rng(2)
    x, weight, bias, dy = (random.standard_normal(shape) for shape in ((2, 3, 5, 7), 3, 3, (2, 3, 5, 7)))
    (y, cache), (other, other_cache) = instance_norm.forward(x, weight, bias), group_norm.forward(x, weight, bias, groups=3)
    check.assert_close(y, other, "y")
    for name, a, b in zip("xwb", instance_norm.backward(dy, cache), group_norm.backward(dy, other_cache), strict=True):
        check.assert_close(a, b, f"d{name}", kind="gradient")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_map_of_one_pixel_becomes_the_bias(backend, dtype):
    x = np.array([7.3, -1e6, 3]).reshape(1, 3, 1, 1).astype(dtype)
    assert (instance_norm.forward(x)[0] == 0).all()
    y, cache = instance_norm.forward(x, np.full(3, 2, dtype), np.arange(3, dtype=dtype))
    assert (y[0, :, 0, 0] == np.arange(3)).all()
    assert (instance_norm.backward(np.ones_like(x), cache).x == 0).all()


def test_a_bias_before_it_changes_nothing_and_has_no_gradient(backend):
    random = np.random.default_rng(3)
    x, depthwise, pointwise = (random.standard_normal(shape) for shape in ((2, 4, 5, 6), (4, 1, 3, 3), (3, 4, 1, 1)))
    biases, dy = (random.standard_normal(4), random.standard_normal(3)), random.standard_normal((2, 3, 5, 6))
    v, cache = depthwise_separable_conv.forward(x, depthwise, pointwise, *biases)
    y, normalised = instance_norm.forward(v)
    plain, _ = instance_norm.forward(depthwise_separable_conv.forward(x, depthwise, pointwise)[0])
    check.assert_close(y, plain, "y", noise=1e-14)
    grads = depthwise_separable_conv.backward(instance_norm.backward(dy, normalised).x, cache)
    for name in ("depthwise_bias", "pointwise_bias"):
        check.assert_close(getattr(grads, name), np.zeros_like(getattr(grads, name)), f"d{name}", kind="gradient", noise=1e-13)


def test_c1_there_are_pixels(refuses):
    refuses(instance_norm, "C1", "x", np.zeros((2, 3, 4)))
    refuses(instance_norm, "C1", "x", np.zeros((2, 3, 0, 4)))


def test_c2_weight_is_one_value_per_channel(refuses):
    refuses(instance_norm, "C2", "weight", np.zeros((1, 3, 2, 2)), np.zeros(2))


def test_c3_bias_is_one_value_per_channel(refuses):
    refuses(instance_norm, "C3", "bias", np.zeros((1, 3, 2, 2)), None, np.zeros((3, 1)))


@pytest.mark.parametrize("eps", [0, -1e-5, np.inf, np.nan, "small", None])
def test_c4_eps_is_positive_and_finite(refuses, eps):
    refuses(instance_norm, "C4", "eps", np.zeros((1, 3, 2, 2)), eps=eps)
