"""Mixed convolution: the standard laws; one large kernel, its parts, locality, borders and mirrors."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.errors import ConstraintError
from pyhybrid.ops import conv2d, mixed_conv

JUDGE = {"oracle": naive.mixed_conv, "oracle_backward": naive.mixed_conv_backward, "step": "complex"}


@given(cases.strategy("mixed_conv"))
def test_standard(case):
    check.operator(mixed_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("mixed_conv"))
def test_corners(case):
    check.operator(mixed_conv, case, **JUDGE)


@given(cases.strategy("mixed_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(mixed_conv, case, only=["special values"])


def drawn(N, C, H, W, sizes, seed=0):
    """x, packed weight, bias, dy."""
    return normal(N, C, H, W, seed=seed), normal(C // len(sizes), sum(k * k for k in sizes)), normal(C), normal(N, C, H, W, seed=seed + 1)


SIZES = [((3, 5, 7, 9), 9, 7), ((3,), 4, 4), ((3, 5), 5, 4), ((3, 5, 7, 9), 3, 2), ((7, 1, 5), 8, 1), ((13, 3), 6, 40)]


@pytest.mark.parametrize(("sizes", "H", "W"), SIZES)
def test_p2_it_is_one_depthwise_convolution_with_centred_kernels(backend, sizes, H, W):
    x, weight, bias, dy = drawn(2, 3 * len(sizes), H, W, sizes)
    largest = max(sizes)
    dense = np.zeros((x.shape[1], 1, largest, largest))
    for t, K in enumerate(mixed_conv.unpack(weight, sizes)):
        gap = (largest - sizes[t]) // 2
        dense[3 * t : 3 * t + 3, :, gap : largest - gap, gap : largest - gap] = K
    y, cache = mixed_conv.forward(x, weight, bias, kernel_sizes=sizes)
    expected, dense_cache = conv2d.forward(x, dense, bias, padding=largest // 2, groups=x.shape[1])
    check.assert_close(y, expected, "y", noise=1e-15)
    grads, dense_grads = mixed_conv.backward(dy, cache), conv2d.backward(dy, dense_cache)
    check.assert_close(grads.x, dense_grads.x, "dx", kind="gradient", noise=1e-15)
    for t, dK in enumerate(mixed_conv.unpack(grads.weight, sizes)):
        gap = (largest - sizes[t]) // 2
        centre = dense_grads.weight[3 * t : 3 * t + 3, :, gap : largest - gap, gap : largest - gap]
        check.assert_close(dK, centre, f"dK of head {t}", kind="gradient", noise=1e-15)


@pytest.mark.parametrize(("sizes", "H", "W"), SIZES)
def test_every_head_is_a_depthwise_convolution_of_its_channels(backend, sizes, H, W):
    x, weight, bias, _ = drawn(3, 2 * len(sizes), H, W, sizes)
    y, _ = mixed_conv.forward(x, weight, bias, kernel_sizes=sizes)
    for t, (k, K) in enumerate(zip(sizes, mixed_conv.unpack(weight, sizes), strict=True)):
        head = slice(2 * t, 2 * t + 2)
        expected, _ = conv2d.forward(np.ascontiguousarray(x[:, head]), K, bias[head], padding=k // 2, groups=2)
        check.assert_close(y[:, head], expected, f"head {t}", noise=1e-15)


def test_p5_an_output_depends_on_inputs_within_its_kernel_only(backend):
    sizes = (3, 5, 7, 9)
    x, weight, _, _ = drawn(1, 4, 20, 21, sizes)
    y, _ = mixed_conv.forward(x, weight, kernel_sizes=sizes)
    moved = x.copy()
    moved[0, :, 10, 11] += 1
    changed = mixed_conv.forward(moved, weight, kernel_sizes=sizes)[0] != y
    for t, k in enumerate(sizes):
        rows, columns = np.nonzero(changed[0, t])
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10 - k // 2, 10 + k // 2, 11 - k // 2, 11 + k // 2)
        assert changed[0, t].sum() == k * k


def test_p10_mirrored_maps_and_kernels_give_mirrored_outputs(backend):
    sizes = (3, 5)
    x, weight, bias, _ = drawn(2, 4, 6, 7, sizes)
    for axis in (2, 3):
        flipped = mixed_conv.pack([np.flip(K, axis) for K in mixed_conv.unpack(weight, sizes)], sizes)
        y, _ = mixed_conv.forward(x, weight, bias, kernel_sizes=sizes)
        mirrored, _ = mixed_conv.forward(np.ascontiguousarray(np.flip(x, axis)), flipped, bias, kernel_sizes=sizes)
        check.assert_close(mirrored, np.flip(y, axis), f"axis {axis}", noise=1e-15)


def test_the_official_sizes_and_the_packed_order(backend):
    assert mixed_conv.official_sizes(4) == (3, 5, 7, 9) and mixed_conv.official_sizes(1) == (3,)
    parts = [np.arange(9.0).reshape(1, 1, 3, 3), 10 + np.arange(25.0).reshape(1, 1, 5, 5)]
    weight = mixed_conv.pack(parts, (3, 5))
    assert weight.tolist() == [[*range(9), *range(10, 35)]]
    again = mixed_conv.unpack(weight, [3, 5])
    assert all((a == b).all() and a.flags.c_contiguous and not np.shares_memory(a, weight) for a, b in zip(again, parts, strict=True))


@pytest.mark.parametrize("sizes", [(3, 5, 7, 9), (3, 3, 5), (11, 1)])
def test_large_maps_in_several_tasks(backend, sizes):
    x, weight, bias, _ = drawn(3, 5 * len(sizes), 43, 37, sizes)
    case = check.Case({"x": x, "weight": weight, "bias": bias}, {"kernel_sizes": sizes}, 5, batched=("x",))
    check.operator(mixed_conv, case, only=["parity", "batch"])


def test_large_weights_reach_the_border(backend):
    """A weight that is infinite meets the zeros outside: NaN at the border, infinite inside."""
    sizes, weight = (3,), np.zeros((1, 9))
    weight[0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        y, cache = mixed_conv.forward(np.ones((1, 1, 3, 4)), weight, kernel_sizes=sizes)
        dx = mixed_conv.backward(np.ones_like(y), cache).x
    assert np.isnan(y[0, 0, 0]).all() and np.isnan(y[0, 0, :, 0]).all() and (y[0, 0, 1:, 1:] == np.inf).all()
    assert (dx[0, 0, :2, :3] == np.inf).all() and (dx[0, 0, 2] == 0).all() and (dx[0, 0, :, 3] == 0).all()


X, WEIGHT = np.zeros((1, 4, 3, 3)), np.zeros((2, 34))


def test_c1_x_is_a_batch_of_maps(refuses):
    refuses(mixed_conv, "C1", "x", np.zeros((4, 3, 3)), WEIGHT, kernel_sizes=(3, 5))


@pytest.mark.parametrize("sizes", [(), (3, 4), [2], 3, None, "35"])
def test_c2_kernel_sizes_are_odd(refuses, sizes):
    refuses(mixed_conv, "C2", "kernel_sizes", X, WEIGHT, kernel_sizes=sizes)


def test_c2_kernel_sizes_are_whole_and_positive(backend):
    wrong = {(3, 0): ValueError, (-3, 5): ValueError, (2**70, 3): ValueError, (3, 5.0): TypeError, (3, "5"): TypeError}
    for sizes, error in wrong.items():
        with pytest.raises(error, match="kernel_sizes must be a whole number"):
            mixed_conv.forward(X, WEIGHT, kernel_sizes=sizes)


def test_c3_heads_divide_the_channels(refuses):
    refuses(mixed_conv, "C3", "x", np.zeros((1, 5, 3, 3)), WEIGHT, kernel_sizes=(3, 5))


def test_c4_weight_holds_all_taps(refuses):
    for shape in [(4, 34), (2, 33), (2, 1, 34), (34,)]:
        refuses(mixed_conv, "C4", "weight", X, np.zeros(shape), kernel_sizes=(3, 5))
    with pytest.raises(ConstraintError, match=r"mixed_conv \(C4\)"):
        mixed_conv.unpack(np.zeros((2, 33)), (3, 5))


def test_c5_bias_is_one_value_per_channel(refuses):
    refuses(mixed_conv, "C5", "bias", X, WEIGHT, np.zeros(2), kernel_sizes=(3, 5))


def test_c6_parts_fit_together():
    for shapes in [[(2, 1, 3, 3)], [(2, 1, 3, 3), (3, 1, 5, 5)], [(2, 1, 5, 5), (2, 1, 3, 3)], [(2, 3, 3), (2, 5, 5)], []]:
        with pytest.raises(ConstraintError, match=r"mixed_conv \(C6\)"):
            mixed_conv.pack([np.zeros(shape) for shape in shapes], (3, 5))
    with pytest.raises(TypeError, match="mixed_conv: weights must be a NumPy array"):
        mixed_conv.pack([[1.0]], (3,))
