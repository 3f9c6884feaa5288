"""Convolution path: the standard laws; one ordinary convolution, channel orders, head symmetry."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, conv_path, pointwise_conv, shift_conv

JUDGE = {"oracle": naive.conv_path, "oracle_backward": naive.conv_path_backward, "step": "complex"}


@given(cases.strategy("conv_path"))
def test_standard(case):
    check.operator(conv_path, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("conv_path"))
def test_corners(case):
    check.operator(conv_path, case, **JUDGE)


@given(cases.strategy("conv_path"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(conv_path, case, only=["special values"])


def path(*arrays, **config):
    return conv_path.forward(*arrays, **config)[0]


def effective_kernel(projections, biases, fc_weight, dep_conv_weight, heads):
    """K_eff[e*heads + n, :, u, v] = Σ_m Σ_t D[e*heads + n, m, u, v] fc[m, t] [W_t,e | b_t,e]."""
    rows = [np.concatenate([w[:, :, 0, 0], b[:, None]], 1) for w, b in zip(projections, biases, strict=True)]
    C, inputs = rows[0].shape
    segments = np.concatenate([r.reshape(heads, C // heads, inputs) for r in rows])  # (3·heads, d, C' + 1)
    D, fc = dep_conv_weight, fc_weight[:, :, 0, 0]
    return np.stack([np.einsum("muv,mt,tc->cuv", D[o], fc, segments[:, o // heads]) for o in range(C)])


@pytest.mark.parametrize(("heads", "d", "k", "stride"), [(2, 3, 3, 1), (3, 1, 3, 2), (1, 2, 1, (1, 2)), (2, 2, 5, 3)])
def test_p7_the_path_is_one_convolution_of_the_input_and_a_channel_of_ones(backend, heads, d, k, stride):
    C, x = heads * d, whole(2, 2, 5, 4)
    projections, biases = [whole(C, 2, 1, 1, seed=n) for n in range(3)], [whole(C, seed=n) for n in range(3)]
    fc_weight, dep_conv_weight = whole(k * k, 3 * heads, 1, 1), whole(C, k * k, k, k)
    q, key, v = (pointwise_conv.forward(x, w, b)[0] for w, b in zip(projections, biases, strict=True))
    y = path(q, key, v, fc_weight, dep_conv_weight, heads=heads, stride=stride)
    kernel = effective_kernel(projections, biases, fc_weight, dep_conv_weight, heads)
    ones = np.concatenate([x, np.ones((2, 1, 5, 4))], axis=1)
    check.assert_close(y, conv2d.forward(ones, kernel, padding=k // 2, stride=stride)[0], "y", exact=True)


def test_p7_fails_for_a_bias_added_after_the_convolution(backend):
    """The projections' biases are lost beyond the border: one number per channel is right in the interior only."""
    x, biases = whole(1, 2, 5, 5), [np.arange(1.0, 3) + n for n in range(3)]
    projections = [whole(2, 2, 1, 1, seed=n) for n in range(3)]
    fc_weight, dep_conv_weight = np.abs(whole(9, 3, 1, 1)) + 1, np.abs(whole(2, 9, 3, 3)) + 1
    q, key, v = (pointwise_conv.forward(x, w, b)[0] for w, b in zip(projections, biases, strict=True))
    y = path(q, key, v, fc_weight, dep_conv_weight, heads=1)
    kernel = effective_kernel(projections, biases, fc_weight, dep_conv_weight, 1)
    as_bias, _ = conv2d.forward(x, kernel[:, :-1].copy(), kernel[:, -1].sum((1, 2)), padding=1)
    check.assert_close(y[..., 1:-1, 1:-1], as_bias[..., 1:-1, 1:-1], "interior", exact=True)
    assert (y != as_bias).any()


def test_the_two_channel_orders_are_a_transposition(backend):
    heads, d = 2, 3
    arrays = *(whole(2, 6, 4, 3, seed=n) for n in range(3)), whole(9, 6, 1, 1), whole(6, 9, 3, 3)
    official, head_major = (path(*arrays, heads=heads, channel_order=order) for order in ("official", "head_major"))
    for n, e in naive.box(heads, d):
        check.assert_close(head_major[:, n * d + e], official[:, e * heads + n], f"head {n}, channel {e}", exact=True)
    assert (official != head_major).any()


@pytest.mark.parametrize(("heads", "d"), [(1, 4), (4, 1)])
def test_the_two_orders_agree_with_one_head_or_one_channel(backend, heads, d):
    arrays = *(whole(1, 4, 3, 3, seed=n) for n in range(3)), whole(9, 3 * heads, 1, 1), whole(4, 9, 3, 3)
    official, head_major = (path(*arrays, heads=heads, channel_order=order) for order in ("official", "head_major"))
    check.assert_close(head_major, official, "y", exact=True)


def test_p14_permuting_heads_and_their_columns_changes_nothing(backend):
    heads, d, order = 3, 2, [2, 0, 1]
    q, k, v = (whole(2, 6, 4, 3, seed=n) for n in range(3))
    fc_weight, dep_conv_weight = whole(9, 9, 1, 1), whole(6, 9, 3, 3)

    def permuted(x):
        return x.reshape(2, heads, d, 4, 3)[:, order].reshape(x.shape)

    columns = fc_weight.reshape(9, 3, heads, 1, 1)[:, :, order].reshape(fc_weight.shape)
    plain = path(q, k, v, fc_weight, dep_conv_weight, heads=heads)
    check.assert_close(
        path(permuted(q), permuted(k), permuted(v), columns, dep_conv_weight, heads=heads), plain, "y", exact=True
    )
    assert (path(permuted(q), permuted(k), permuted(v), fc_weight, dep_conv_weight, heads=heads) != plain).any()


def test_p6_with_shift_kernels_the_heads_of_a_group_are_identical(backend):
    heads, d = 2, 2
    arrays = [whole(1, 4, 4, 4, seed=n) for n in range(3)]
    y = path(*arrays, whole(9, 6, 1, 1), shift_conv.shift_weight(3, 4), heads=heads)
    for e in range(d):
        check.assert_close(y[:, e * heads], y[:, e * heads + 1], f"group {e}", exact=True)


def test_p11_stride_is_subsampling(backend):
    arrays = *(whole(2, 4, 7, 5, seed=n) for n in range(3)), whole(9, 6, 1, 1), whole(4, 9, 3, 3)
    every, some = path(*arrays, heads=2), path(*arrays, heads=2, stride=(3, 2))
    check.assert_close(some, every[..., ::3, ::2], "y", exact=True)


def arguments(**changed):
    given = {
        "q": (1, 4, 3, 3),
        "k": (1, 4, 3, 3),
        "v": (1, 4, 3, 3),
        "fc_weight": (9, 6, 1, 1),
        "dep_conv_weight": (4, 9, 3, 3),
    }
    return [np.zeros(shape) for shape in {**given, **changed}.values()]


def test_c1_three_maps_of_one_shape(refuses):
    refuses(conv_path, "C1", "k", *arguments(k=(1, 4, 3, 4)), heads=2)
    refuses(conv_path, "C1", "q", *arguments(q=(4, 3, 3), k=(4, 3, 3), v=(4, 3, 3)), heads=2)


def test_c2_heads_divide_the_channels(refuses):
    refuses(conv_path, "C2", "heads", *arguments(), heads=3)
    refuses(conv_path, "C2", "q", *arguments(q=(1, 0, 3, 3), k=(1, 0, 3, 3), v=(1, 0, 3, 3)), heads=2)


def test_c3_dep_conv_weight_fits_the_channels(refuses):
    refuses(conv_path, "C3", "dep_conv_weight", *arguments(dep_conv_weight=(4, 4, 2, 2)), heads=2)
    refuses(conv_path, "C3", "dep_conv_weight", *arguments(dep_conv_weight=(2, 9, 3, 3)), heads=2)
    refuses(conv_path, "C3", "dep_conv_weight", *arguments(dep_conv_weight=(4, 9, 3)), heads=2)


def test_c4_fc_weight_fits_taps_and_heads(refuses):
    refuses(conv_path, "C4", "fc_weight", *arguments(fc_weight=(9, 3, 1, 1)), heads=2)
    refuses(conv_path, "C4", "fc_weight", *arguments(fc_weight=(4, 6, 1, 1)), heads=2)


def test_c5_biases_are_vectors(refuses):
    refuses(conv_path, "C5", "fc_bias", *arguments(), np.zeros(8), heads=2)
    refuses(conv_path, "C5", "dep_conv_bias", *arguments(), None, np.zeros(3), heads=2)


def test_c6_channel_order_is_known(refuses):
    refuses(conv_path, "C6", "channel_order", *arguments(), heads=2, channel_order="paper")
