"""Every operator at a size: the arguments that the published networks give it, and how many products it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyhybrid.bench.work import HEADS, WINDOW, Work, draw


def _conv(kernel: int, depthwise: bool = False) -> Callable[..., Work]:
    def build(name: str, size: str, N: int, C: int, H: int) -> Work:
        groups = C if depthwise else 1
        macs = N * C * (C // groups) * kernel**2 * H * H
        arrays = draw(x=(N, C, H, H), weight=(C, C // groups, kernel, kernel))
        return Work(name, "conv2d", size, arrays, {"padding": kernel // 2, "groups": groups}, macs, 2 * macs)

    return build


def _pointwise(name: str, size: str, N: int, C: int, H: int) -> Work:
    macs = N * C * C * H * H
    return Work(name, "pointwise_conv", size, draw(x=(N, C, H, H), weight=(C, C, 1, 1), bias=(C,)), {}, macs, 2 * macs)


def _shift_sum(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "shift_sum", size, draw(maps=(N, 9, C, H, H)), {"kernel_size": 3}, 0, 0)


def _softmax(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "softmax", size, draw(x=(N, HEADS, WINDOW**2, H * H)), {"axis": 2}, 0, 0)


def _add(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "add", size, draw(a=(N, C, H, H), b=(N, C, H, H)), {}, 0, 0)


def _gelu(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "gelu", size, draw(x=(N, C, H, H)), {}, 0, 0)


def _deform_conv2d(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Version 2 with offsets of about a pixel."""
    arrays = draw(x=(N, C, H, H), offset=(N, 18, H, H), weight=(C, C, 3, 3), mask=(N, 9, H, H))
    macs = N * C * C * 9 * H * H
    return Work(name, "deform_conv2d", size, arrays, {"padding": 1}, macs, 2 * macs)


def _max_pool2d(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "max_pool2d", size, draw(x=(N, C, H, H)), {"kernel_size": 3, "stride": 2, "padding": 1}, 0, 0)


def _linear(name: str, size: str, N: int, C: int, H: int) -> Work:
    """The first half of a Transformer's two-layer network: every pixel a token, four times the channels."""
    macs = 4 * N * C * C * H * H
    return Work(name, "linear", size, draw(x=(N, H * H, C), weight=(4 * C, C), bias=(4 * C,)), {}, macs, 2 * macs)


def _linear_to_maps(name: str, size: str, N: int, C: int, H: int) -> Work:
    """SMT's projection before its mixed convolution: tokens in, maps out."""
    macs = N * C * C * H * H
    return Work(name, "linear", size, draw(x=(N, H * H, C), weight=(C, C), bias=(C,)), {"channels_first": True}, macs, 2 * macs)


def _layer_norm(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "layer_norm", size, draw(x=(N, H * H, C), weight=(C,), bias=(C,)), {"axis": -1}, 0, 0)


def _layer_norm_of_maps(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "layer_norm", size, draw(x=(N, C, H, H), weight=(C,), bias=(C,)), {"axis": 1}, 0, 0)


def _batch_norm(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, name, size, draw(x=(N, C, H, H), weight=(C,), bias=(C,)), {}, 0, 0)


def _local_attention(name: str, size: str, N: int, C: int, H: int) -> Work:
    pixels = N * C * H * H * WINDOW**2
    arrays = draw(q=(N, C, H, H), k=(N, C, H, H), v=(N, C, H, H), pe=(C // HEADS, H, H))
    return Work(name, "local_attention", size, arrays, {"heads": HEADS, "kernel_size": WINDOW}, 2 * pixels, 5 * pixels)


def _global_attention(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Every token sees the whole map, of maps larger than 14 × 14 a reduced copy; heads of 32 channels, a bias for each."""
    return _attention(name, size, N, C, H * H, min(H, 14) ** 2, 1)


def _window_attention(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Windows of 7 × 7 tokens; heads of 32 channels, a bias for each window and head, as with shifted windows."""
    return _attention(name, size, N, C, WINDOW**2, WINDOW**2, (H // WINDOW) ** 2)


def _attention(name: str, size: str, N: int, C: int, queries: int, keys: int, windows: int) -> Work:
    d = 32
    pairs = (N * windows, C // d)
    arrays = draw(q=(*pairs, queries, d), k=(*pairs, keys, d), v=(*pairs, keys, d), bias=(windows, C // d, queries, keys))
    products = N * windows * C * queries * keys
    return Work(name, "attention", size, arrays, {}, 2 * products, 5 * products)


def _relative_attention(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Every token of a map of at most 14 × 14 sees all others; heads of 32 channels, a table for each."""
    d, H = 32, min(H, 14)
    tokens = (N, C // d, H * H, d)
    arrays = draw(q=tokens, k=tokens, v=tokens, table=(C // d, 2 * H - 1, 2 * H - 1))
    products = N * C * H**4
    return Work(name, "relative_attention", size, arrays, {"size": H}, 2 * products, 5 * products)


def _squeeze_excite(name: str, size: str, N: int, C: int, H: int) -> Work:
    """In the middle of an inverted bottleneck: four times the channels, and a quarter of the outer ones inside."""
    return Work(name, "squeeze_excite", size, _excitation(N, C, H), {}, 2 * N * C * C, 4 * N * C * C)


def _excitation(N: int, C: int, H: int) -> dict[str, np.ndarray]:
    """Weights as at the start of training: gates beyond float32's normal numbers, where processors are slow, would not occur there."""
    arrays = draw(x=(N, 4 * C, H, H), reduce_weight=(C // 4, 4 * C), expand_weight=(4 * C, C // 4), reduce_bias=(C // 4,),
                  expand_bias=(4 * C,))
    for name in ("reduce_weight", "expand_weight"):
        arrays[name] *= np.float32(arrays[name].shape[1] ** -0.5)
    return arrays


def _squeeze_excite_conv(name: str, size: str, N: int, C: int, H: int) -> Work:
    """At the end of an inverted bottleneck: from four times the channels back to C."""
    arrays = _excitation(N, C, H) | draw(weight=(C, 4 * C, 1, 1), bias=(C,))
    macs = 2 * N * C * C + N * 4 * C * C * H * H
    return Work(name, name, size, arrays, {}, macs, 2 * macs)


def _mbconv_hidden(name: str, size: str, N: int, C: int, H: int) -> Work:
    """In the middle of an inverted bottleneck: four times the channels."""
    vectors = dict.fromkeys(("in_weight", "in_bias", "out_weight", "out_bias"), (4 * C,))
    macs = N * 4 * C * H * H * 9
    return Work(name, name, size, draw(x=(N, 4 * C, H, H), weight=(4 * C, 1, 3, 3), **vectors), {}, macs, 2 * macs)


def _mixed_conv(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Four heads with kernels of 3, 5, 7 and 9, as in SMT."""
    macs = N * C * H * H * 41
    return Work(name, "mixed_conv", size, draw(x=(N, C, H, H), weight=(C // 4, 164), bias=(C,)), {}, macs, 2 * macs)


def _regroup(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Tokens to a map, which is the same permutation on another axis."""
    return Work(name, "regroup", size, draw(x=(N, H * H * C)), {"heads": H * H}, 0, 0)


def _scale_aware_aggregation(name: str, size: str, N: int, C: int, H: int) -> Work:
    """In training, with four heads and twice the channels inside, as in SMT."""
    arrays = draw(x=(N, C, H, H), proj0_weight=(2 * C, 4, 1, 1), proj0_bias=(2 * C,), bn_weight=(2 * C,), bn_bias=(2 * C,),
                  proj1_weight=(C, 2 * C, 1, 1), proj1_bias=(C,))
    macs = N * H * H * 2 * C * (C + 4)
    return Work(name, "scale_aware_aggregation", size, arrays, {}, macs, 2 * macs)


def _modulation(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "modulation", size, draw(v=(N, H * H, C), modulator=(N, C, H, H)), {}, 0, 0)


def _aggregation(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Eight channels share a weight."""
    arrays = draw(weight=(N, C // 8, WINDOW**2, H, H), v=(N, C, H, H))
    products = N * C * H * H * WINDOW**2
    return Work(name, "aggregation", size, arrays, {"kernel_size": WINDOW}, products, 2 * products)


ORDERS = {64: 2, 128: 3, 256: 4, 512: 5}     # the orders of HorNet's stages, whose narrowest gate always has the same width


def _projections(C: int, order: int) -> int:
    """Weights of the projections between the gates."""
    return sum((C >> (order - 1 - k)) * (C >> (order - k)) for k in range(1, order))


def _gate_chain(name: str, size: str, N: int, C: int, H: int) -> Work:
    order = ORDERS[C]
    C0, weights = C >> (order - 1), _projections(C, order)
    arrays = draw(p0=(N, C0, H, H), filtered=(N, 2 * C - C0, H, H), weight=(weights,), bias=(2 * C - 2 * C0,))
    macs = N * H * H * (weights + 2 * C - C0)
    return Work(name, "gate_chain", size, arrays, {"order": order, "scale": 1 / 3}, macs, 2 * macs)


def _gn_conv(name: str, size: str, N: int, C: int, H: int) -> Work:
    """With the scale 1/3 and the 7 x 7 kernels of the published models."""
    order = ORDERS[C]
    C0, weights = C >> (order - 1), _projections(C, order)
    arrays = draw(x=(N, C, H, H), proj_in_weight=(2 * C, C, 1, 1), dwconv_weight=(2 * C - C0, 1, WINDOW, WINDOW), pws_weight=(weights,),
                  proj_out_weight=(C, C, 1, 1), proj_in_bias=(2 * C,), dwconv_bias=(2 * C - C0,), pws_bias=(2 * C - 2 * C0,),
                  proj_out_bias=(C,))
    for weight in ("proj_in_weight", "pws_weight", "proj_out_weight"):
        arrays[weight] /= np.float32(np.sqrt(C))
    arrays["dwconv_weight"] /= np.float32(WINDOW)
    macs = N * H * H * (3 * C * C + weights + (2 * C - C0) * (WINDOW**2 + 1))
    return Work(name, "gn_conv", size, arrays, {"order": order, "scale": 1 / 3}, macs, 2 * macs)


def _global_filter(name: str, size: str, N: int, C: int, H: int) -> Work:
    """The floor is that of memory: how many products a transform takes depends on how it is made."""
    return Work(name, "global_filter", size, draw(x=(N, C, H, H), weight=(C, H, H // 2 + 1, 2)), {}, 0, 0)


def _conv_path_macs(N: int, C: int, H: int) -> int:
    return N * C * H * H * (3 * 9 + 81)


def _conv_path(name: str, size: str, N: int, C: int, H: int) -> Work:
    arrays = draw(q=(N, C, H, H), k=(N, C, H, H), v=(N, C, H, H), fc_weight=(9, 3 * HEADS, 1, 1), dep_conv_weight=(C, 9, 3, 3))
    macs = _conv_path_macs(N, C, H)
    return Work(name, "conv_path", size, arrays, {"heads": HEADS}, macs, 2 * macs)


def _acmix(name: str, size: str, N: int, C: int, H: int) -> Work:
    d, matrix = C // HEADS, (C, C, 1, 1)
    arrays = draw(x=(N, C, H, H), rate1=(1,), rate2=(1,), conv1_weight=matrix, conv1_bias=(C,), conv2_weight=matrix, conv2_bias=(C,),
                  conv3_weight=matrix, conv3_bias=(C,), fc_weight=(9, 3 * HEADS, 1, 1), dep_conv_weight=(C, 9, 3, 3),
                  conv_p_weight=(d, 2, 1, 1), conv_p_bias=(d,))
    for weight in ("conv1_weight", "conv2_weight", "conv3_weight"):
        arrays[weight] /= np.float32(np.sqrt(C))
    projections, window = 3 * N * C * C * H * H, N * C * H * H * WINDOW**2
    path = _conv_path_macs(N, C, H)
    config = {"heads": HEADS, "kernel_size": WINDOW}
    return Work(name, "acmix", size, arrays, config, projections + 2 * window + path, 2 * projections + 5 * window + 2 * path)


OPERATORS: dict[str, Callable[..., Work]] = {
    "conv2d_3x3": _conv(3),
    "depthwise_3x3": _conv(3, depthwise=True),
    "depthwise_7x7": _conv(7, depthwise=True),
    "pointwise_conv": _pointwise,
    "shift_sum": _shift_sum,
    "softmax": _softmax,
    "linear": _linear,
    "linear_to_maps": _linear_to_maps,
    "layer_norm": _layer_norm,
    "layer_norm_of_maps": _layer_norm_of_maps,
    "batch_norm": _batch_norm,
    "batch_norm_act": _batch_norm,
    "add": _add,
    "gelu": _gelu,
    "deform_conv2d": _deform_conv2d,
    "max_pool2d": _max_pool2d,
    "local_attention": _local_attention,
    "global_attention": _global_attention,
    "window_attention": _window_attention,
    "relative_attention": _relative_attention,
    "aggregation": _aggregation,
    "mbconv_hidden": _mbconv_hidden,
    "squeeze_excite": _squeeze_excite,
    "squeeze_excite_conv": _squeeze_excite_conv,
    "gate_chain": _gate_chain,
    "gn_conv": _gn_conv,
    "global_filter": _global_filter,
    "mixed_conv": _mixed_conv,
    "regroup": _regroup,
    "scale_aware_aggregation": _scale_aware_aggregation,
    "modulation": _modulation,
    "conv_path": _conv_path,
    "acmix": _acmix,
}
