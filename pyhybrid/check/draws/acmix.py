"""Cases of local attention, the convolution path and ACmix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins

Array = np.ndarray


def softmax(draw: Draw) -> Case:
    """Rows on any axis, logits up to thousands; "tiny" makes nearly equal logits, "whole" makes ties."""
    shape = draw.choice("shape", ((1,), (2, 3), (2, 1, 4), (3, 4, 2), (2, 17), (2, 3, 2, 2), (0, 3), (3, 33)))
    axis = draw.integer("axis", -len(shape), len(shape) - 1)
    values = draw.values()
    x = values.array(*shape, scale=1e-3)  # "large" logits of about a thousand
    batched = ("x",) if len(shape) > 1 and axis % len(shape) else ()
    return values.case({"x": x}, {"axis": axis}, polynomial=False, batched=batched)


def positional_term(draw: Draw) -> Case:
    """Never exact: the coordinates are fractions."""
    d, size, bias = draw.integer("d", 1, 4), draw.pair("size", 1, 6), draw.choice("bias", (False, True))
    values = draw.values()
    arguments = {"weight": values.array(d, 2, 1, 1), "bias": values.optional(bias, d)}
    return values.case(arguments, {"size": size}, polynomial=False, linear=("weight", "bias"))


def local_attention(draw: Draw) -> Case:
    """All borders; windows larger than the map for "zero" and "mask"; "large" makes logits in the thousands."""
    N, heads, d = draw.batch(), draw.integer("heads", 1, 3), draw.integer("d", 1, 3)
    border = draw.choice("border", ("reflect", "zero", "mask"))
    kernel_size = draw.choice("kernel_size", (1, 3, 3, 5, 7))
    least = kernel_size // 2 + 1 if border == "reflect" else 1
    H, W = draw.integer("H", least, max(least, 5)), draw.integer("W", least, max(least, 5))
    stride, scale, positional = (
        draw.pair("stride", 1, 3),
        draw.choice("scale", (None, 0.5)),
        draw.choice("pe", (False, True)),
    )
    values = draw.values()
    shape = (N, heads * d, H, W)
    tamed = 3e-5 if values.regime == "large" else 1.0  # logits are products of q and k: a thousand, not 1e12
    arguments = {
        "q": values.array(*shape, scale=tamed),
        "k": values.array(*shape, scale=tamed),
        "v": values.array(*shape),
        "pe": values.array(d, H, W, scale=tamed) if positional else None,
    }
    config = {"heads": heads, "kernel_size": kernel_size, "stride": stride, "border": border, "scale": scale}
    return values.case(arguments, config, polynomial=False, batched=("q", "k", "v"), linear=("v",))


def conv_path(draw: Draw) -> Case:
    """Both orders of the channels, with and without either bias."""
    N, heads, d = draw.batch(), draw.integer("heads", 1, 3), draw.integer("d", 1, 3)
    H, W, k = draw.integer("H", 1, 5), draw.integer("W", 1, 5), draw.choice("kernel_size", (3, 1, 3, 5))
    stride, order = draw.pair("stride", 1, 3), draw.choice("channel_order", ("official", "head_major"))
    fc_bias, dep_conv_bias = draw.choice("fc_bias", (False, True)), draw.choice("dep_conv_bias", (False, True))
    values = draw.values()
    C = heads * d
    arguments = {
        "q": values.array(N, C, H, W),
        "k": values.array(N, C, H, W),
        "v": values.array(N, C, H, W),
        "fc_weight": values.array(k * k, 3 * heads, 1, 1),
        "dep_conv_weight": values.array(C, k * k, k, k),
        "fc_bias": values.optional(fc_bias, k * k),
        "dep_conv_bias": values.optional(dep_conv_bias, C),
    }
    config = {"heads": heads, "stride": stride, "channel_order": order}
    return values.case(arguments, config, polynomial=True, batched=("q", "k", "v"), linear=tuple(arguments))


def acmix(draw: Draw) -> Case:
    """Small blocks; all options of both paths."""
    N, heads, d, inputs = draw.batch(), draw.integer("heads", 1, 2), draw.integer("d", 1, 2), draw.integer("C_in", 1, 3)
    border, kernel_size = draw.choice("border", ("reflect", "zero", "mask")), draw.choice("kernel_size", (3, 1, 5, 7))
    least = kernel_size // 2 + 1 if border == "reflect" else 1
    H, W = draw.integer("H", least, max(least, 4)), draw.integer("W", least, max(least, 4))
    k, stride = draw.choice("k", (3, 1)), draw.pair("stride", 1, 3)
    order = draw.choice("channel_order", ("official", "head_major"))
    positional, position_bias = draw.choice("conv_p", (False, True)), draw.choice("conv_p_bias", (False, True))
    fc_bias, dep_conv_bias = draw.choice("fc_bias", (False, True)), draw.choice("dep_conv_bias", (False, True))
    values = draw.values(("ordinary", "whole"))
    C = heads * d
    arguments: dict[str, Array | None] = {
        "x": values.array(N, inputs, H, W),
        "rate1": values.array(1),
        "rate2": values.array(1),
    }
    for name in ("conv1", "conv2", "conv3"):
        arguments |= {f"{name}_weight": values.array(C, inputs, 1, 1), f"{name}_bias": values.array(C)}
    arguments |= {
        "fc_weight": values.array(k * k, 3 * heads, 1, 1),
        "dep_conv_weight": values.array(C, k * k, k, k),
        "conv_p_weight": values.optional(positional, d, 2, 1, 1),
        "conv_p_bias": values.optional(positional and position_bias, d),
        "fc_bias": values.optional(fc_bias, k * k),
        "dep_conv_bias": values.optional(dep_conv_bias, C),
    }
    config = {"heads": heads, "kernel_size": kernel_size, "stride": stride, "border": border, "channel_order": order}
    linear = (
        "rate1",
        "rate2",
        "conv3_weight",
        "conv3_bias",
        "fc_weight",
        "dep_conv_weight",
        "fc_bias",
        "dep_conv_bias",
    )
    return values.case(arguments, config, polynomial=False, batched=("x",), linear=linear)


CASES: dict[str, Callable[[Draw], Case]] = {
    "acmix": acmix,
    "conv_path": conv_path,
    "local_attention": local_attention,
    "positional_term": positional_term,
    "softmax": softmax,
}

_WINDOWS: list[Pins] = [
    dict(kernel_size=7, H=4, W=5, border="reflect"), dict(kernel_size=7, H=2, W=3, border="zero"),
    dict(kernel_size=5, H=1, W=4, border="mask", N=2), dict(kernel_size=3, H=1, W=1, border="mask", N=2),
    dict(kernel_size=3, H=5, W=4, stride=3), dict(kernel_size=3, stride=(2, 3)), dict(kernel_size=1, H=1, W=1),
    dict(heads=1, d=1), dict(N=3, regime="whole"), dict(N=0),
]
CORNERS: dict[str, list[Pins]] = {
    "softmax": [
        dict(shape=(1,)), dict(shape=(4, 1), axis=1), dict(shape=(3, 4), axis=0), dict(shape=(2, 65), axis=-1),
        dict(shape=(2, 5, 3), axis=-2), dict(shape=(0, 3), axis=1), dict(shape=(3, 0), axis=1),
        dict(shape=(2, 6), axis=1, regime="whole"), dict(shape=(2, 9), axis=1, regime="large"),
    ],
    "positional_term": [
        dict(size=(1, 4)), dict(size=(4, 1)), dict(size=1), dict(size=(2, 3), bias=True), dict(d=1), dict(d=0),
        dict(size=(0, 3)),
    ],
    "local_attention": [
        *_WINDOWS, dict(d=0), dict(H=0, W=2, border="zero"), dict(regime="large", kernel_size=3, heads=2, d=2, pe=True),
    ],
    "conv_path": [
        *THIN, dict(kernel_size=5, H=2, W=3), dict(heads=1, d=3), dict(heads=3, d=1), dict(stride=3, H=5, W=4),
        dict(channel_order="head_major", heads=2, d=3, N=2), dict(stride=(2, 3), kernel_size=1), dict(H=0),
        dict(regime="whole", N=3, heads=2, d=2, fc_bias=True, dep_conv_bias=True, kernel_size=3),
    ],
    "acmix": [
        *_WINDOWS, dict(C_in=1), dict(channel_order="head_major", heads=2, d=2, N=2), dict(k=1, stride=2),
        dict(H=0, W=2, border="zero"), dict(C_in=0),
        dict(conv_p=True, conv_p_bias=True, fc_bias=True, dep_conv_bias=True, kernel_size=3, N=2, H=3, W=4),
    ],
}
