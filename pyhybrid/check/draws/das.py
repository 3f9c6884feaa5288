"""Cases of sampling between pixels, of deformable and separable convolution, and of the norms of DAS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins, Values, both

Array = np.ndarray


def _between(values: Values, low: int, high: int, *shape: int) -> Array:
    """Numbers from low to high that keep away from whole ones, where sampling has kinks; odd eighths among whole values."""
    random = np.random.default_rng([values.seed, 2])
    whole = random.integers(low, high, shape)
    if values.regime == "whole":
        return whole + (2 * random.integers(0, 4, shape) + 1) / 8
    return whole + random.uniform(0.1, 0.9, shape)


def bilinear_sample(draw: Draw) -> Case:
    """Points inside, in the band around the map, and farther out."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 3), draw.integer("H", 1, 5), draw.integer("W", 1, 6)
    points = draw.choice("points", ((3,), (2, 3), (), (1, 2, 2), (0,)))
    values = draw.values()
    x, coordinates = values.array(N, C, H, W), _between(values, -3, max(H, W) + 2, 2, N, *points)
    arguments = {"x": x, "ys": coordinates[0], "xs": coordinates[1]}
    return values.case(arguments, {}, polynomial=True, batched=("x", "ys", "xs"), linear=("x",))


def grid_sample(draw: Draw) -> Case:
    """The grid is made from pixel coordinates, so that it keeps away from the kinks. Never exact: its numbers are quotients."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 3), draw.integer("H", 1, 5), draw.integer("W", 1, 6)
    Ho, Wo = draw.integer("Ho", 1, 3), draw.integer("Wo", 1, 3)
    align_corners = draw.choice("align_corners", (False, True))
    values = draw.values()
    x, places = values.array(N, C, H, W), _between(values, -2, max(H, W) + 1, N, Ho, Wo, 2)
    sizes = np.array([W, H])
    if align_corners:
        grid = 2 * places / np.maximum(sizes - 1, 1) - 1
    else:
        grid = (2 * places + 1) / np.maximum(sizes, 1) - 1
    config = {"align_corners": align_corners}
    return values.case({"x": x, "grid": grid}, config, polynomial=False, batched=("x", "grid"), linear=("x",))


def deform_conv2d(draw: Draw) -> Case:
    """Both versions, groups and offset groups that do not know of each other, offsets of up to three pixels."""
    N, groups, offset_groups = draw.batch(), draw.choice("groups", (1, 2, 1, 3)), draw.choice("offset_groups", (1, 2, 1, 3))
    C = draw.integer("inner", 1, 2) * int(np.lcm(groups, offset_groups))
    O = draw.integer("outer", 1, 3) * groups
    stride, padding, dilation = draw.pair("stride", 1, 3), draw.pair("padding", 0, 2), draw.pair("dilation", 1, 2)
    H, W = draw.integer("H", 1, 7), draw.integer("W", 1, 7)
    (sh, sw), (ph, pw), (dh, dw) = both(stride), both(padding), both(dilation)
    kh = draw.integer("kh", 1, min(3, (H + 2 * ph - 1) // dh + 1))   # at least one window fits
    kw = draw.integer("kw", 1, min(3, (W + 2 * pw - 1) // dw + 1))
    mask, bias = draw.choice("mask", (False, True, True)), draw.choice("bias", (False, True))
    kink = draw.choice("kink", ("right", "zero_outside"))
    Ho, Wo = (H + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (W + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    values = draw.values()
    scale = (max(1, C * kh * kw // groups)) ** -0.5
    arguments = {
        "x": values.array(N, C, H, W),
        "offset": _between(values, -3, 3, N, 2 * offset_groups * kh * kw, Ho, Wo),
        "weight": values.array(O, C // groups, kh, kw, scale=scale),
        "mask": values.optional(mask, N, offset_groups * kh * kw, Ho, Wo),
        "bias": values.optional(bias, O),
    }
    config = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "offset_groups": offset_groups,
        "kink": kink,
    }
    linear = ("x", "weight", "mask", "bias")
    return values.case(arguments, config, polynomial=True, batched=("x", "offset", "mask"), linear=linear)


def depthwise_separable_conv(draw: Draw) -> Case:
    """Kernels odd and even up to the size of the padded map, with and without either bias."""
    N, C, M = draw.batch(), draw.integer("C", 1, 4), draw.integer("M", 1, 4)
    padding, H, W = draw.choice("padding", (None, 0, (2, 1))), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    ph, pw = (2, 2) if padding is None else both(padding)
    kh, kw = draw.integer("kh", 1, min(4, H + 2 * ph)), draw.integer("kw", 1, min(4, W + 2 * pw))
    depthwise, pointwise = draw.choice("depthwise_bias", (False, True)), draw.choice("pointwise_bias", (False, True))
    values = draw.values()
    arguments = {
        "x": values.array(N, C, H, W),
        "depthwise_weight": values.array(C, 1, kh, kw),
        "pointwise_weight": values.array(M, C, 1, 1),
        "depthwise_bias": values.optional(depthwise, C),
        "pointwise_bias": values.optional(pointwise, M),
    }
    return values.case(arguments, {"padding": padding}, polynomial=True, batched=("x",), linear=tuple(arguments))


def instance_norm(draw: Draw) -> Case:
    """From one pixel, where the result is 0, to a map; weight and bias each alone too."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 4), draw.integer("H", 1, 4), draw.integer("W", 1, 5)
    weight, bias = draw.choice("weight", (False, True)), draw.choice("bias", (False, True))
    eps = draw.choice("eps", (1e-5, 1e-3, 1))
    values = draw.values()
    arguments = {"x": values.array(N, C, H, W), "weight": values.optional(weight, C), "bias": values.optional(bias, C)}
    return values.case(arguments, {"eps": eps}, polynomial=False, batched=("x",), linear=("weight", "bias"))


def group_norm(draw: Draw) -> Case:
    """One group, one per channel, and between."""
    N, groups, H, W = draw.batch(), draw.integer("groups", 1, 3), draw.integer("H", 1, 4), draw.integer("W", 1, 5)
    C = groups * draw.integer("inner", 1, 3)
    weight, bias = draw.choice("weight", (False, True)), draw.choice("bias", (False, True))
    eps = draw.choice("eps", (1e-5, 1e-3, 1))
    values = draw.values()
    arguments = {"x": values.array(N, C, H, W), "weight": values.optional(weight, C), "bias": values.optional(bias, C)}
    return values.case(arguments, {"groups": groups, "eps": eps}, polynomial=False, batched=("x",), linear=("weight", "bias"))


CASES: dict[str, Callable[[Draw], Case]] = {
    "bilinear_sample": bilinear_sample,
    "deform_conv2d": deform_conv2d,
    "depthwise_separable_conv": depthwise_separable_conv,
    "grid_sample": grid_sample,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
}

_PLAIN: Pins = dict(stride=1, dilation=1)
CORNERS: dict[str, list[Pins]] = {
    "bilinear_sample": [
        *THIN, dict(C=0), dict(H=0, N=2), dict(W=0, N=2), dict(points=(0,)), dict(points=(), N=3), dict(points=(7, 9), C=17, N=2, H=6),
        dict(points=(5,), N=3, H=4, W=5, C=2, regime="whole"), dict(points=(40,), N=1, C=3, H=9, W=11, regime="large"),
    ],
    "deform_conv2d": [
        *THIN, dict(inner=0), dict(outer=0, bias=True), dict(H=0, kh=1, padding=(1, 0), N=2, **_PLAIN),
        dict(W=0, kw=1, padding=(0, 1), N=2, **_PLAIN),
        dict(kh=3, kw=3, padding=1, N=2, H=6, W=7, mask=True, bias=True, groups=1, offset_groups=1, inner=2, **_PLAIN),
        dict(kh=3, kw=3, padding=1, N=1, H=6, W=7, mask=False, groups=1, offset_groups=1, inner=2, kink="zero_outside", **_PLAIN),
        dict(kh=3, kw=2, padding=(1, 0), groups=2, offset_groups=3, stride=(2, 1), dilation=(2, 1), mask=True, N=2, inner=1, H=7, W=6),
        dict(kh=3, kw=3, padding=1, groups=3, offset_groups=3, inner=1, outer=2, N=2, H=5, W=5, mask=True, **_PLAIN),
        dict(kh=3, kw=3, padding=1, groups=1, offset_groups=1, inner=18, outer=17, N=1, H=4, W=5, mask=True, bias=True, **_PLAIN),
        dict(kh=1, kw=1, padding=0, groups=1, offset_groups=1, inner=300, outer=2, N=2, H=2, W=3, mask=True, **_PLAIN),
        dict(kh=1, kw=1, groups=1, offset_groups=2, inner=9, outer=33, padding=0, N=2, H=4, W=5, mask=False, **_PLAIN),
        dict(kh=2, kw=3, padding=2, stride=(3, 2), dilation=1, H=1, W=1, N=2, mask=True),
        dict(kh=3, kw=3, padding=1, N=2, H=5, W=6, mask=True, bias=True, regime="whole", **_PLAIN),
        dict(kh=3, kw=3, padding=1, N=2, H=5, W=6, mask=True, bias=True, regime="tiny", **_PLAIN),
    ],
    "depthwise_separable_conv": [
        *THIN, dict(M=0, pointwise_bias=True), dict(H=0, kh=1, padding=(2, 1)), dict(kh=2, kw=4, padding=None, N=2, H=5, W=6),
        dict(kh=3, kw=3, padding=None, C=33, M=17, H=7, W=7, N=2, depthwise_bias=True, pointwise_bias=True),
        dict(kh=3, kw=3, padding=None, N=2, regime="whole", depthwise_bias=True, pointwise_bias=True, H=5, W=6),
    ],
    "grid_sample": [
        *THIN, dict(C=0), dict(H=0, N=2), dict(W=0, N=2), dict(Ho=0), dict(Wo=0), dict(H=1, W=1, N=2, align_corners=True),
        dict(N=2, C=17, H=6, W=7, Ho=5, Wo=9, align_corners=False), dict(N=2, C=3, H=6, W=7, Ho=5, Wo=9, align_corners=True),
        dict(N=2, C=2, H=4, W=3, regime="large"),
    ],
    "group_norm": [
        *THIN, dict(groups=1, inner=6, H=3, W=5, N=2, weight=True, bias=True), dict(groups=3, inner=1, H=3, W=5, N=2, weight=True),
        dict(groups=2, inner=3, H=7, W=9, N=3, bias=True, weight=False), dict(groups=2, inner=1, H=1, W=1, N=2, weight=True, bias=True),
        dict(groups=1, inner=33, H=13, W=17, N=1, weight=True, bias=True, regime="large"), dict(groups=3, inner=2, regime="tiny", N=2),
    ],
    "instance_norm": [
        *THIN, dict(C=0), dict(H=1, W=1, N=2, weight=True, bias=True), dict(H=9, W=15, C=5, N=2, weight=True, bias=True),
        dict(H=7, W=9, N=3, bias=True, weight=False, regime="large"), dict(H=3, W=5, regime="tiny", N=2, weight=True),
        dict(H=67, W=71, C=2, N=1, weight=True, bias=True),
    ],
}
