"""Batch normalisation: the standard laws in training and evaluation; its statistics, and how running ones follow them."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.errors import ConstraintError
from pyhybrid.ops import batch_norm, layer_norm

JUDGE = {"oracle": naive.batch_norm, "oracle_backward": naive.batch_norm_backward, "step": "complex"}
ONES = (np.ones(3), np.zeros(3))


@given(cases.strategy("batch_norm"))
def test_standard(case):
    check.operator(batch_norm, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("batch_norm"))
def test_corners(case):
    check.operator(batch_norm, case, **JUDGE)


@given(cases.strategy("batch_norm"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(batch_norm, case, only=["special values"])


def drawn(*shape, seed=1):
    random = np.random.default_rng(seed)
    C = shape[1]
    return 3 * random.standard_normal(shape) + 5, random.standard_normal(C), random.standard_normal(C), random.standard_normal(shape)


SHAPES = [(4, 3), (2, 3, 5), (3, 3, 4, 5), (2, 3, 70, 71), (2, 1, 3, 2, 4), (1, 3, 6, 6), (130, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_statistics_are_those_of_the_batch(backend, shape):
    x, weight, bias, _ = drawn(*shape)
    y, cache = batch_norm.forward(x, weight, bias, eps=1e-3)
    axes = tuple(k for k in range(x.ndim) if k != 1)
    check.assert_close(cache.mean, x.mean(axes), "mean")
    check.assert_close(cache.var, x.var(axes), "var")
    check.assert_close(y.mean(axes), bias, "mean of y", noise=1e-15)
    check.assert_close(y.var(axes), weight**2 * x.var(axes) / (x.var(axes) + 1e-3), "variance of y")


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_layer_normalisation_of_channels_laid_out_as_rows(backend, shape):
    x, weight, bias, dy = drawn(*shape)
    C = shape[1]

    def rows(a):
        return np.moveaxis(a, 1, 0).reshape(C, -1)

    y, cache = batch_norm.forward(x, weight, bias)
    expected, cache_rows = layer_norm.forward(rows(x))
    check.assert_close(rows(y), weight[:, None] * expected + bias[:, None], "y")
    grads = batch_norm.backward(dy, cache)
    check.assert_close(rows(grads.x), layer_norm.backward(weight[:, None] * rows(dy), cache_rows).x, "dx", kind="gradient")
    check.assert_close(grads.weight, (rows(dy) * expected).sum(1), "dweight", kind="gradient", noise=1e-14)
    check.assert_close(grads.bias, rows(dy).sum(1), "dbias", kind="gradient", noise=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_with_the_statistics_of_the_batch_gives_the_same_output(backend, shape):
    x, weight, bias, dy = drawn(*shape)
    y, cache = batch_norm.forward(x, weight, bias)
    again, fixed = batch_norm.forward(x, weight, bias, cache.mean, cache.var)
    check.assert_close(again, y, "y", exact=True)
    grads = batch_norm.backward(dy, fixed)
    check.assert_close(grads.running_mean, -grads.x.sum(tuple(k for k in range(x.ndim) if k != 1)), "dmean", kind="gradient")
    assert (grads.x != batch_norm.backward(dy, cache).x).any()


def test_training_couples_the_images_and_evaluation_does_not(backend):
    x, weight, bias, _ = drawn(3, 2, 2, 2)
    moved = x.copy()
    moved[2] += 1
    trained, evaluated = ((), (np.zeros(2), np.ones(2)))
    for running, coupled in ((trained, True), (evaluated, False)):
        before, after = (batch_norm.forward(a, weight, bias, *running)[0] for a in (x, moved))
        assert (before[:2] != after[:2]).any() == coupled


def test_the_cache_holds_copies_of_running_statistics(backend):
    x, weight, bias, _ = drawn(2, 3, 2, 2)
    mean, var = np.zeros(3), np.ones(3)
    _, cache = batch_norm.forward(x, weight, bias, mean, var)
    assert not np.shares_memory(cache.mean, mean) and not np.shares_memory(cache.var, var)
    assert (cache.mean == mean).all() and (cache.var == var).all()


@pytest.mark.parametrize("shape", [(4, 2, 500, 500), (1_000_000, 2), (250_000, 2, 2, 2)])
def test_a_million_values_far_from_zero_stay_accurate(backend, shape):
    """float32 around 1000 with deviation 1: the two passes lose nothing but the rounding of the mean."""
    if backend == "numpy" and shape[0] > 1000:
        pytest.skip("NumPy adds images in one chain")
    x = (1000 + np.random.default_rng(5).standard_normal(shape)).astype(np.float32)
    _, cache = batch_norm.forward(x, np.ones(2, np.float32), np.zeros(2, np.float32))
    wide = x.astype(np.float64)
    axes = tuple(k for k in range(x.ndim) if k != 1)
    check.assert_close(cache.mean, wide.mean(axes).astype(np.float32), "mean")
    check.assert_close(cache.var, wide.var(axes).astype(np.float32), "var")


# Running statistics.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_running_statistics_move_towards_the_batch(backend, dtype):
    x, weight, bias, _ = (a.astype(dtype) for a in drawn(3, 3, 4, 5))
    _, cache = batch_norm.forward(x, weight, bias)
    old = np.array([1.0, 2.0, 3.0], dtype), np.array([4.0, 5.0, 6.0], dtype)
    mean, var = batch_norm.running_statistics(cache, *old, momentum=0.25)
    check.assert_close(mean, 0.75 * old[0] + 0.25 * x.mean((0, 2, 3)), "mean")
    check.assert_close(var, 0.75 * old[1] + 0.25 * x.var((0, 2, 3), ddof=1), "var")
    assert mean.dtype == var.dtype == dtype and (old[0] == [1, 2, 3]).all() and (old[1] == [4, 5, 6]).all()


def test_running_statistics_forget_everything_at_momentum_one_and_nothing_at_zero(backend):
    x, weight, bias, _ = drawn(3, 3, 4, 5)
    _, cache = batch_norm.forward(x, weight, bias)
    check.assert_close(batch_norm.running_statistics(cache, *ONES, momentum=1)[0], cache.mean, "mean", exact=True)
    mean, var = batch_norm.running_statistics(cache, *ONES, momentum=0)
    assert (mean == ONES[0]).all() and (var == ONES[1]).all()


def test_c1_x_has_a_batch_and_channels(refuses):
    refuses(batch_norm, "C1", "x", np.zeros(3), *ONES)
    refuses(batch_norm, "C1", "x", np.zeros(()), *ONES)


def test_c2_weight_and_bias_are_one_value_per_channel(refuses):
    x = np.zeros((2, 3, 4))
    refuses(batch_norm, "C2", "weight", x, np.zeros(4), np.zeros(3))
    refuses(batch_norm, "C2", "bias", x, np.zeros(3), np.zeros((3, 1)))


def test_c3_running_statistics_come_together(refuses):
    x = np.zeros((2, 3, 4))
    refuses(batch_norm, "C3", "running_var", x, *ONES, np.zeros(3), None)
    refuses(batch_norm, "C3", "running_mean", x, *ONES, None, np.zeros(3))
    refuses(batch_norm, "C3", "running_mean", x, *ONES, np.zeros(2), np.zeros(3))
    refuses(batch_norm, "C3", "running_var", x, *ONES, np.zeros(3), np.zeros((3, 1)))


def test_c3_of_running_statistics_too(backend):
    _, cache = batch_norm.forward(drawn(2, 3, 4)[0], *ONES)
    with pytest.raises(ConstraintError, match=r"batch_norm \(C3\): .* got running_mean"):
        batch_norm.running_statistics(cache, np.zeros(2), np.zeros(3))
    with pytest.raises(TypeError, match="batch_norm: running_var must be a NumPy array"):
        batch_norm.running_statistics(cache, np.zeros(3), [0, 0, 0])


def test_c4_training_needs_values(refuses):
    refuses(batch_norm, "C4", "x", np.zeros((0, 3)), *ONES)
    refuses(batch_norm, "C4", "x", np.zeros((2, 3, 0)), *ONES)
    y, _ = batch_norm.forward(np.zeros((0, 3)), *ONES, *ONES)
    assert y.shape == (0, 3)


@pytest.mark.parametrize("eps", [0, -1e-5, np.inf, np.nan, "small", None])
def test_c5_eps_is_positive_and_finite(refuses, eps):
    refuses(batch_norm, "C5", "eps", np.zeros((2, 3)), *ONES, eps=eps)


def test_c6_one_value_has_no_unbiased_variance(backend):
    _, cache = batch_norm.forward(np.ones((1, 3)), *ONES)
    with pytest.raises(ConstraintError, match=r"batch_norm \(C6\): .*variance of a single value does not exist; got x = "):
        batch_norm.running_statistics(cache, *ONES)
    _, cache = batch_norm.forward(np.ones((2, 3)), *ONES, *ONES)
    with pytest.raises(ConstraintError, match=r"batch_norm \(C6\)"):
        batch_norm.running_statistics(cache, *ONES)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, np.nan, "fast", None])
def test_c7_momentum_is_a_share(backend, momentum):
    _, cache = batch_norm.forward(drawn(2, 3, 4)[0], *ONES)
    with pytest.raises(ConstraintError, match=r"batch_norm \(C7\): .* got momentum = "):
        batch_norm.running_statistics(cache, *ONES, momentum=momentum)
