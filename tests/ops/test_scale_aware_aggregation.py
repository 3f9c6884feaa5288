"""Scale-aware aggregation: the standard laws; its parts, collapse to one convolution, dead biases, running statistics."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.errors import ConstraintError
from pyhybrid.ops import batch_norm, conv2d, gelu, mixed_conv, pointwise_conv, regroup, scale_aware_aggregation

JUDGE = {"oracle": naive.scale_aware_aggregation, "oracle_backward": naive.scale_aware_aggregation_backward, "step": "complex"}


@given(cases.strategy("scale_aware_aggregation"))
def test_standard(case):
    check.operator(scale_aware_aggregation, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("scale_aware_aggregation"))
def test_corners(case):
    check.operator(scale_aware_aggregation, case, **JUDGE)


@given(cases.strategy("scale_aware_aggregation"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(scale_aware_aggregation, case, only=["special values"])


def drawn(N=2, heads=4, groups=3, expand=8, O=12, H=6, W=5):
    """x, the six parameters, running mean and variance."""
    C, E = heads * groups, groups * expand
    parameters = normal(E, heads, 1, 1), normal(E), normal(E, seed=1), normal(E, seed=2), normal(O, E, 1, 1), normal(O)
    return normal(N, C, H, W), parameters, (normal(E, seed=3), normal(E, seed=4) ** 2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [{}, {"heads": 1, "groups": 6}, {"heads": 6, "groups": 1}, {"H": 37, "W": 41}, {"expand": 3, "O": 5}])
def test_it_is_its_five_parts(backend, training, shape):
    x, (w0, b0, gamma, beta, w1, b1), running = drawn(**shape)
    statistics = () if training else running
    p, _ = regroup.forward(x, heads=w0.shape[1])
    e, _ = conv2d.forward(p, w0, b0, groups=x.shape[1] // w0.shape[1])
    u, norm = batch_norm.forward(e, gamma, beta, *statistics)
    expected, _ = pointwise_conv.forward(gelu.forward(u)[0], w1, b1)
    y, cache = scale_aware_aggregation.forward(x, w0, b0, gamma, beta, w1, b1, *statistics)
    check.assert_close(y, expected, "y", noise=1e-14)
    check.assert_close(cache.mean, norm.mean, "mean", noise=1e-15)
    check.assert_close(cache.var, norm.var, "var")


def test_p3_convolution_and_first_projection_collapse_to_one_convolution(backend):
    """In evaluation the batch norm folds in too."""
    sizes, groups, expand = (3, 5, 7), 2, 4
    x, (w0, b0, gamma, beta, w1, b1), (mean, var) = drawn(heads=3, groups=groups, expand=expand, O=6)
    kernels, bias = [normal(groups, 1, k, k) for k in sizes], normal(6, seed=9)
    mixed, _ = mixed_conv.forward(x, mixed_conv.pack(kernels, sizes), bias, kernel_sizes=sizes)
    y, _ = scale_aware_aggregation.forward(mixed, w0, b0, gamma, beta, w1, b1, mean, var)

    weight, offset = np.zeros((groups * expand, 3, 7, 7)), np.zeros(groups * expand)
    for r in range(groups * expand):
        for t, k in enumerate(sizes):
            i, gap = r // expand, (7 - k) // 2
            weight[r, t, gap : 7 - gap, gap : 7 - gap] = w0[r, t, 0, 0] * kernels[t][i, 0]
            offset[r] += w0[r, t, 0, 0] * bias[t * groups + i]
    fold = gamma / np.sqrt(var + 1e-5)
    regrouped, _ = regroup.forward(x, heads=3)
    u, _ = conv2d.forward(regrouped, weight * fold[:, None, None, None], (offset + b0 - mean) * fold + beta, padding=3, groups=groups)
    expected, _ = pointwise_conv.forward(gelu.forward(u)[0], w1, b1)
    check.assert_close(y, expected, "y", noise=1e-13)


def test_p6_in_training_the_first_bias_is_dead_and_in_evaluation_alive(backend):
    x, (w0, b0, *rest), running = drawn()
    for statistics, dead in (((), True), (running, False)):
        y, cache = scale_aware_aggregation.forward(x, w0, b0, *rest, *statistics)
        moved, _ = scale_aware_aggregation.forward(x, w0, b0 + 3, *rest, *statistics)
        assert (float(np.abs(moved - y).max()) < 1e-12) == dead
        gradient = scale_aware_aggregation.backward(normal(*y.shape, seed=5), cache).proj0_bias
        assert (float(np.abs(gradient).max()) < 1e-12) == dead


def test_p7_in_training_the_scale_of_the_input_is_forgotten(backend):
    x, (w0, b0, *rest), _ = drawn()
    y, _ = scale_aware_aggregation.forward(x, w0, 0 * b0, *rest, eps=1e-30)
    tenfold, _ = scale_aware_aggregation.forward(10 * x, w0, 0 * b0, *rest, eps=1e-30)
    check.assert_close(tenfold, y, "y", noise=1e-13)


def test_p5_training_couples_all_pixels_and_evaluation_none(backend):
    x, parameters, running = drawn()
    moved = x.copy()
    moved[1, :, 2, 3] += 1
    for statistics, coupled in (((), True), (running, False)):
        before, after = (scale_aware_aggregation.forward(a, *parameters, *statistics)[0] for a in (x, moved))
        changed = (before != after).any(1)
        assert changed[1, 2, 3] and (changed.sum() > 1) == coupled


@pytest.mark.parametrize("training", [True, False])
def test_large_maps_in_several_tasks(backend, training):
    x, parameters, running = drawn(N=3, H=43, W=37, groups=5, O=20)
    names = scale_aware_aggregation.Grads._fields
    arrays = dict(zip(names, [x, *parameters, *(running if not training else (None, None))], strict=True))
    case = check.Case(arrays, {"eps": 1e-5}, 5, batched=() if training else ("x",))
    check.operator(scale_aware_aggregation, case, only=["parity", "batch"])


def test_values_far_from_zero_keep_their_digits(backend):
    """float32 around 1000 with deviation 1. The first weight's gradient adds de·p, which cancels unless p is taken from its mean first,
    as the kernel does."""
    x, parameters, _ = drawn(N=4, H=50, W=51)
    x = (1000 + x).astype(np.float32)
    parameters = tuple(a.astype(np.float32) for a in parameters)
    y, cache = scale_aware_aggregation.forward(x, *parameters)
    wide = [a.astype(np.float64) for a in (x, *parameters)]
    exact, exact_cache = scale_aware_aggregation.forward(*wide)
    dy = normal(*y.shape, seed=6)
    grads, expected = scale_aware_aggregation.backward(dy.astype(np.float32), cache), scale_aware_aggregation.backward(dy, exact_cache)
    rounding = 1000 * np.finfo(np.float32).eps  # of an input, beside deviations of about 1
    compared = {"y": (y, exact), "var": (cache.var, exact_cache.var), "dx": (grads.x, expected.x),
                "dbn_weight": (grads.bn_weight, expected.bn_weight)}
    if backend == "rust":
        compared["dproj0_weight"] = grads.proj0_weight, expected.proj0_weight
    for name, (got, e) in compared.items():
        error = np.abs(got - e).max() / np.abs(e).max()
        assert error < 8 * rounding, f"{name}: {error / rounding} roundings of an input"


# Running statistics.


def test_running_statistics_are_those_of_the_batch_norm_inside(backend):
    x, parameters, running = drawn()
    _, cache = scale_aware_aggregation.forward(x, *parameters)
    e, _ = conv2d.forward(regroup.forward(x, heads=4)[0], parameters[0], parameters[1], groups=3)
    expected = batch_norm.running_statistics(batch_norm.forward(e, *parameters[2:4])[1], *running, momentum=0.3)
    got = scale_aware_aggregation.running_statistics(cache, *running, momentum=0.3)
    for name, g, wanted in zip(("mean", "var"), got, expected, strict=True):
        check.assert_close(g, wanted, name, noise=1e-15)


def test_running_statistics_need_a_batch(backend):
    x, parameters, running = drawn()
    _, evaluated = scale_aware_aggregation.forward(x, *parameters, *running)
    with pytest.raises(ConstraintError, match=r"batch_norm \(C6\)"):
        scale_aware_aggregation.running_statistics(evaluated, *running)


X, (W0, B0, GAMMA, BETA, W1, B1), RUNNING = drawn()


def test_c1_x_is_a_batch_of_maps_with_channels(refuses):
    refuses(scale_aware_aggregation, "C1", "x", np.zeros((2, 12, 5)), W0, B0, GAMMA, BETA, W1, B1)
    refuses(scale_aware_aggregation, "C1", "x", np.zeros((2, 0, 6, 5)), W0, B0, GAMMA, BETA, W1, B1)


def test_c2_the_first_projection_fits_the_heads(refuses):
    for shape in [(24, 5, 1, 1), (25, 4, 1, 1), (24, 0, 1, 1), (24, 4), (24, 4, 3, 3), ()]:
        refuses(scale_aware_aggregation, "C2", "proj0_weight", X, np.zeros(shape), B0, GAMMA, BETA, W1, B1)


def test_c3_vectors_have_a_value_per_expanded_channel(refuses):
    short = np.zeros(23)
    refuses(scale_aware_aggregation, "C3", "proj0_bias", X, W0, short, GAMMA, BETA, W1, B1)
    refuses(scale_aware_aggregation, "C3", "bn_weight", X, W0, B0, short, BETA, W1, B1)
    refuses(scale_aware_aggregation, "C3", "bn_bias", X, W0, B0, GAMMA, BETA[:, None], W1, B1)


def test_c4_the_second_projection_fits(refuses):
    for shape in [(12, 23, 1, 1), (12, 24), (12, 24, 1, 2), ()]:
        refuses(scale_aware_aggregation, "C4", "proj1_weight", X, W0, B0, GAMMA, BETA, np.zeros(shape), B1)
    refuses(scale_aware_aggregation, "C4", "proj1_bias", X, W0, B0, GAMMA, BETA, W1, np.zeros(24))


def test_c5_running_statistics_come_together(refuses):
    arrays = (X, W0, B0, GAMMA, BETA, W1, B1)
    refuses(scale_aware_aggregation, "C5", "bn_running_var", *arrays, RUNNING[0], None)
    refuses(scale_aware_aggregation, "C5", "bn_running_mean", *arrays, None, RUNNING[1])
    refuses(scale_aware_aggregation, "C5", "bn_running_mean", *arrays, np.zeros(12), RUNNING[1])


def test_c6_training_needs_pixels(refuses):
    refuses(scale_aware_aggregation, "C6", "x", np.zeros((0, 12, 6, 5)), W0, B0, GAMMA, BETA, W1, B1)
    y, _ = scale_aware_aggregation.forward(np.zeros((2, 12, 0, 5)), W0, B0, GAMMA, BETA, W1, B1, *RUNNING)
    assert y.shape == (2, 12, 0, 5)


@pytest.mark.parametrize("eps", [0, -1e-5, np.inf, np.nan, "small", None])
def test_c7_eps_is_positive_and_finite(refuses, eps):
    refuses(scale_aware_aggregation, "C7", "eps", X, W0, B0, GAMMA, BETA, W1, B1, eps=eps)
