"""Cases of convolution, its two stages, shifts and windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins, both


def shift(draw: Draw) -> Case:
    """Any number of leading axes; offsets reach beyond the map."""
    lead = draw.choice("lead", ((2,), (), (2, 3), (1,), (0, 2)))
    H, W = draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    offset = draw.pair("offset", -7, 7)
    values = draw.values()
    batched = ("x",) if lead else ()
    return values.case(
        {"x": values.array(*lead, H, W)}, {"offset": offset}, polynomial=True, batched=batched, linear=("x",)
    )


def conv2d(draw: Draw) -> Case:
    """Kernels from 1 to the padded size, so larger than the map where padding allows it; groups up to the channels."""
    N, H, W = draw.batch(), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    groups, inner, outer = draw.integer("groups", 1, 3), draw.integer("inner", 1, 2), draw.integer("outer", 1, 2)
    padding, dilation, stride = draw.pair("padding", 0, 2), draw.pair("dilation", 1, 2), draw.pair("stride", 1, 3)
    (ph, pw), (dh, dw) = both(padding), both(dilation)
    kh = draw.integer("kh", 1, min(4, (H + 2 * ph - 1) // dh + 1))
    kw = draw.integer("kw", 1, min(4, (W + 2 * pw - 1) // dw + 1))
    bias = draw.choice("bias", (False, True))
    values = draw.values()
    C, O = groups * inner, groups * outer
    arguments = {
        "x": values.array(N, C, H, W),
        "weight": values.array(O, inner, kh, kw),
        "bias": values.optional(bias, O),
    }
    config = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return values.case(arguments, config, polynomial=True, batched=("x",), linear=("x", "weight", "bias"))


def pointwise_conv(draw: Draw) -> Case:
    """Any widths, with and without a bias."""
    N, C, O = draw.batch(), draw.integer("C", 1, 5), draw.integer("O", 1, 5)
    H, W, bias = draw.integer("H", 1, 6), draw.integer("W", 1, 6), draw.choice("bias", (False, True))
    values = draw.values()
    arguments = {"x": values.array(N, C, H, W), "weight": values.array(O, C, 1, 1), "bias": values.optional(bias, O)}
    return values.case(arguments, {}, polynomial=True, batched=("x",), linear=("x", "weight", "bias"))


def tap_projection(draw: Draw) -> Case:
    """Kernels odd and even, larger than the map too."""
    return _two_stage(draw, {})


def conv_decomposition(draw: Draw) -> Case:
    """Kernels odd and even, larger than the map too."""
    return _two_stage(draw, {"stride": draw.pair("stride", 1, 3)})


def _two_stage(draw: Draw, config: dict[str, Any]) -> Case:
    N, C, O, H, W = (
        draw.batch(),
        draw.integer("C", 1, 3),
        draw.integer("O", 1, 3),
        draw.integer("H", 1, 5),
        draw.integer("W", 1, 5),
    )
    kh, kw, bias = draw.integer("kh", 1, 4), draw.integer("kw", 1, 4), draw.choice("bias", (False, True))
    values = draw.values()
    arguments = {
        "x": values.array(N, C, H, W),
        "weight": values.array(O, C, kh, kw),
        "bias": values.optional(bias, kh * kw, O),
    }
    return values.case(arguments, config, polynomial=True, batched=("x",), linear=("x", "weight", "bias"))


def shift_sum(draw: Draw) -> Case:
    """Kernels odd and even, larger than the map too, and strides that do not divide it."""
    N, O, H, W = draw.batch(), draw.integer("O", 1, 3), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    kernel_size, stride = draw.pair("kernel_size", 1, 4), draw.pair("stride", 1, 3)
    kh, kw = both(kernel_size)
    values = draw.values()
    config = {"kernel_size": kernel_size, "stride": stride}
    return values.case(
        {"maps": values.array(N, kh * kw, O, H, W)}, config, polynomial=True, batched=("maps",), linear=("maps",)
    )


def shift_conv(draw: Draw) -> Case:
    """Fixed shifts (no weight) and learnt ones; several outputs per group."""
    N, d, H, W = draw.batch(), draw.integer("d", 1, 2), draw.integer("H", 1, 5), draw.integer("W", 1, 5)
    k, stride = draw.choice("kernel_size", (1, 3, 3, 5)), draw.pair("stride", 1, 3)
    learnt = draw.choice("weight", (False, True, True))
    O = d * draw.integer("outer", 1, 2) if learnt else d
    bias = learnt and draw.choice("bias", (False, True))
    values = draw.values()
    arguments = {
        "maps": values.array(N, d, k * k, H, W),
        "weight": values.optional(learnt, O, k * k, k, k),
        "bias": values.optional(bias, O),
    }
    config = {"kernel_size": k, "stride": stride}
    return values.case(arguments, config, polynomial=True, batched=("maps",), linear=("maps", "weight", "bias"))


def reflection_pad(draw: Draw) -> Case:
    """Padding up to one less than the map."""
    lead = draw.choice("lead", ((2,), (), (2, 2), (0,)))
    H, W = draw.integer("H", 1, 5), draw.integer("W", 1, 5)
    ph, pw = draw.integer("ph", 0, H - 1), draw.integer("pw", 0, W - 1)
    padding = ph if ph == pw else (ph, pw)
    values = draw.values()
    batched = ("x",) if lead else ()
    return values.case(
        {"x": values.array(*lead, H, W)}, {"padding": padding}, polynomial=True, batched=batched, linear=("x",)
    )


def unfold(draw: Draw) -> Case:
    """Windows up to the whole map."""
    lead = draw.choice("lead", ((2, 2), (), (1,), (0, 1)))
    H, W = draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    kh, kw, stride = draw.integer("kh", 1, min(H, 4)), draw.integer("kw", 1, min(W, 4)), draw.pair("stride", 1, 3)
    kernel_size = kh if kh == kw else (kh, kw)
    values = draw.values()
    batched = ("x",) if lead else ()
    config = {"kernel_size": kernel_size, "stride": stride}
    return values.case({"x": values.array(*lead, H, W)}, config, polynomial=True, batched=batched, linear=("x",))


CASES: dict[str, Callable[[Draw], Case]] = {
    "conv2d": conv2d,
    "conv_decomposition": conv_decomposition,
    "pointwise_conv": pointwise_conv,
    "reflection_pad": reflection_pad,
    "shift": shift,
    "shift_conv": shift_conv,
    "shift_sum": shift_sum,
    "tap_projection": tap_projection,
    "unfold": unfold,
}

_TAPS: list[Pins] = [
    dict(H=2, W=5, kh=4, kw=3, N=2), dict(H=5, W=2, kh=1, kw=4, bias=True), dict(H=4, W=3, kh=2, kw=2), dict(C=1, O=1),
    dict(C=0, bias=True), dict(O=0), dict(W=0), dict(regime="whole", N=3, kh=3, kw=3, H=5, W=4, bias=True),
]
CORNERS: dict[str, list[Pins]] = {
    "shift": [
        dict(H=1), dict(W=1), dict(offset=(9, 0)), dict(offset=(0, -9)), dict(offset=(-1, 2), H=4, W=3), dict(offset=0),
        dict(lead=(0, 2)), dict(H=0, W=3), dict(regime="whole", lead=(2, 3), H=5, W=4, offset=(1, -2)),
    ],
    "conv2d": [
        *THIN, dict(groups=3, inner=1, outer=1, H=5, W=4, kh=3, kw=3, padding=1),
        dict(groups=1, H=5, W=6, stride=(3, 2), kh=2, kw=3), dict(H=2, W=3, padding=2, dilation=1, kh=4, kw=4),
        dict(dilation=(2, 1), padding=1, H=5, W=3, kh=3, kw=2), dict(H=6, W=3, kh=1, kw=1, stride=2),
        dict(inner=0, bias=True), dict(outer=0), dict(H=0, W=2, padding=1, dilation=1, kh=2, kw=2),
        dict(regime="whole", N=3, H=6, W=5, kh=3, kw=3, padding=1, dilation=1, bias=True),
    ],
    "pointwise_conv": [
        *THIN, dict(C=1, O=1), dict(C=3, O=3, N=2), dict(C=0, bias=True), dict(O=0), dict(H=0),
        dict(regime="whole", N=3, bias=True, C=5, O=4),
    ],
    "tap_projection": [*THIN, *_TAPS],
    "conv_decomposition": [*THIN, *_TAPS, dict(stride=3, H=5, W=4), dict(stride=(2, 3), kh=3, kw=3, H=5, W=5)],
    "shift_sum": [
        *THIN, dict(kernel_size=(3, 3), H=5, W=4, stride=2), dict(kernel_size=(4, 1), H=2, W=5), dict(kernel_size=2),
        dict(kernel_size=4, H=2, W=2, N=2, stride=(3, 2)), dict(O=0), dict(H=0),
        dict(regime="whole", kernel_size=3, N=3),
    ],
    "shift_conv": [
        *THIN, dict(weight=False, kernel_size=3, N=2), dict(weight=True, kernel_size=5, H=2, W=3), dict(H=0),
        dict(weight=True, bias=True, outer=2, d=2, kernel_size=3, N=2), dict(weight=True, outer=0),
        dict(stride=(2, 3), kernel_size=3), dict(regime="whole", weight=True, kernel_size=3, N=3, bias=True),
        dict(regime="whole", weight=False, kernel_size=5), dict(weight=True, kernel_size=1, W=0),
    ],
    "reflection_pad": [
        dict(H=1, ph=0), dict(W=1, pw=0), dict(H=4, ph=3, W=5, pw=4, lead=(2,)), dict(ph=0, pw=0), dict(lead=(0,)),
        dict(H=2, ph=1), dict(H=0, ph=0), dict(regime="whole", H=5, W=4, ph=2, pw=3),
    ],
    "unfold": [
        dict(H=1), dict(W=1), dict(H=4, W=4, kh=4, kw=4), dict(H=5, W=6, kh=2, kw=3, stride=3), dict(lead=(0, 1)),
        dict(stride=(2, 1), H=6, W=3), dict(regime="whole", H=6, W=5, kh=3, kw=3, lead=(2, 2)),
    ],
}
