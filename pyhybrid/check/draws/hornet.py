"""Cases of gated convolutions, of filters in the frequency domain, and of the maps that HorNet and HorFPN move about."""

from __future__ import annotations

from collections.abc import Callable

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins


def gated_conv(draw: Draw) -> Case:
    """Kernels of an odd number of taps, 2·rh + 1 by 2·rw + 1, larger than the map too."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 4), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    rh, rw, bias = draw.choice("rh", (1, 0, 2, 3)), draw.choice("rw", (1, 0, 2, 3)), draw.choice("bias", (False, True))
    values = draw.values()
    arguments = {
        "p": values.array(N, C, H, W),
        "q": values.array(N, C, H, W),
        "weight": values.array(C, 1, 2 * rh + 1, 2 * rw + 1),
        "bias": values.optional(bias, C),
    }
    return values.case(arguments, {}, polynomial=True, batched=("p", "q"), linear=tuple(arguments))


def _projections(C0: int, order: int) -> tuple[int, int]:
    """Entries of the packed projections of a chain, and of their biases."""
    return sum(2 ** (2 * k - 1) * C0 * C0 for k in range(1, order)), sum(2**k * C0 for k in range(1, order))


def gate_chain(draw: Draw) -> Case:
    """Orders 1 to 4; at order 1 the projections are None or empty. Values of moderate size: they are multiplied order + 1 times."""
    N, C0, H, W = draw.batch(), draw.integer("C0", 1, 3), draw.integer("H", 1, 4), draw.integer("W", 1, 5)
    order, bias, empty = draw.choice("order", (2, 1, 3, 4)), draw.choice("bias", (False, True)), draw.choice("empty", (False, True))
    scale = draw.choice("scale", (1, 0.5, 1 / 3))
    weights, rows = _projections(C0, order)
    values = draw.values(("ordinary", "whole"))
    arguments = {
        "p0": values.array(N, C0, H, W),
        "filtered": values.array(N, (2**order - 1) * C0, H, W),
        "weight": values.optional(order > 1 or empty, weights),
        "bias": values.optional(bias, rows),
    }
    exact = order <= 2 and scale != 1 / 3
    config = {"order": order, "scale": scale}
    return values.case(arguments, config, polynomial=exact, batched=("p0", "filtered"), linear=("p0", "bias"))


def gn_conv(draw: Draw) -> Case:
    """Every option: other widths in and out, no projection out, biases one by one."""
    N, inputs, C0, O = draw.batch(), draw.integer("C_in", 1, 3), draw.integer("C0", 1, 2), draw.choice("O", (3, None, 1, 4))
    H, W, order = draw.integer("H", 1, 4), draw.integer("W", 1, 5), draw.choice("order", (2, 1, 3))
    rh, rw, scale = draw.choice("rh", (1, 0, 3)), draw.choice("rw", (1, 0, 2)), draw.choice("scale", (1, 0.5, 1 / 3))
    biases = [draw.choice(name, (False, True)) for name in ("proj_in_bias", "dwconv_bias", "pws_bias", "proj_out_bias")]
    C, (weights, rows) = 2 ** (order - 1) * C0, _projections(C0, order)
    values = draw.values(("ordinary", "whole"))
    arguments = {
        "x": values.array(N, inputs, H, W),
        "proj_in_weight": values.array(2 * C, inputs, 1, 1),
        "dwconv_weight": values.array(2 * C - C0, 1, 2 * rh + 1, 2 * rw + 1),
        "pws_weight": values.optional(order > 1, weights),
        "proj_out_weight": None if O is None else values.array(O, C, 1, 1),
        "proj_in_bias": values.optional(biases[0], 2 * C),
        "dwconv_bias": values.optional(biases[1], 2 * C - C0),
        "pws_bias": values.optional(biases[2], rows),
        "proj_out_bias": None if O is None else values.optional(biases[3], O),
    }
    linear = ("proj_out_weight", "pws_bias", "proj_out_bias", *(["dwconv_weight", "dwconv_bias"] if order == 1 else []))
    return values.case(arguments, {"order": order, "scale": scale}, polynomial=False, batched=("x",), linear=linear)


def global_filter(draw: Draw) -> Case:
    """Even, odd and single-pixel sizes; the weights of the self-conjugate columns are as random as the others."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 3), draw.integer("H", 1, 7), draw.integer("W", 1, 8)
    values = draw.values()
    arguments = {"x": values.array(N, C, H, W), "weight": values.array(C, H, W // 2 + 1, 2)}
    return values.case(arguments, {}, polynomial=False, batched=("x",), linear=("x", "weight"))


def spectrum_resize(draw: Draw) -> Case:
    """Larger, smaller, to and from one row or column; never exact, as the shares are fractions."""
    C, h, w, size = draw.integer("C", 1, 3), draw.integer("h", 1, 6), draw.integer("w", 1, 5), draw.pair("size", 1, 9)
    values = draw.values()
    return values.case({"weight": values.array(C, h, w, 2)}, {"size": size}, polynomial=False, batched=("weight",), linear=("weight",))


def interleave(draw: Draw) -> Case:
    """Halves of any width, one channel too."""
    N, D, H, W = draw.batch(), draw.integer("D", 1, 4), draw.integer("H", 1, 4), draw.integer("W", 1, 5)
    values = draw.values()
    arguments = {"a": values.array(N, D, H, W), "b": values.array(N, D, H, W)}
    return values.case(arguments, {}, polynomial=True, batched=("a", "b"), linear=("a", "b"))


def resize_nearest(draw: Draw) -> Case:
    """Larger and smaller, by whole factors and others."""
    lead, size = draw.choice("lead", ((2, 2), (), (3,), (0, 2))), draw.pair("size", 1, 9)
    H, W = draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    values = draw.values()
    batched = ("x",) if lead else ()
    return values.case({"x": values.array(*lead, H, W)}, {"size": size}, polynomial=True, batched=batched, linear=("x",))


CASES: dict[str, Callable[[Draw], Case]] = {
    "gate_chain": gate_chain,
    "gated_conv": gated_conv,
    "global_filter": global_filter,
    "gn_conv": gn_conv,
    "interleave": interleave,
    "resize_nearest": resize_nearest,
    "spectrum_resize": spectrum_resize,
}

_BIASED: Pins = dict(proj_in_bias=True, dwconv_bias=True, pws_bias=True, proj_out_bias=True)
CORNERS: dict[str, list[Pins]] = {
    "gate_chain": [
        *THIN, dict(H=0), dict(W=0), dict(order=1, empty=True, bias=True), dict(order=1, empty=False, bias=False),
        dict(order=4, C0=3, N=2, H=3, W=5, bias=True, scale=1 / 3), dict(order=5, C0=1, N=2, H=1, W=3, bias=True, scale=0.5),
        dict(order=2, C0=3, N=3, H=4, W=5, bias=True, scale=0.5, regime="whole"), dict(order=2, C0=17, H=7, W=9, N=1, bias=True),
    ],
    "gated_conv": [
        *THIN, dict(rh=3, rw=3, H=9, W=17, C=3, N=2, bias=True), dict(rh=3, rw=3, H=2, W=3, N=2), dict(rh=0, rw=2, H=5, W=6),
        dict(rh=2, rw=2, H=7, W=7, C=5, N=3, bias=True, regime="whole"),
    ],
    "global_filter": [
        *THIN, dict(C=0), dict(H=2, W=2, N=2), dict(H=1, W=2), dict(H=2, W=1), dict(H=7, W=7, N=2), dict(H=8, W=5, C=2),
        dict(H=14, W=14, C=3, N=2), dict(H=7, W=13, C=17, N=1), dict(H=16, W=30, C=1, N=1), dict(H=6, W=8, regime="large"),
        dict(H=5, W=6, regime="tiny"), dict(H=4, W=4, regime="whole"),
    ],
    "gn_conv": [
        *THIN, dict(O=0), dict(C_in=0, N=2, **_BIASED), dict(O=None, order=3, C0=2, N=2, H=3, W=4, **_BIASED),
        dict(order=1, C0=3, H=5, W=4, N=2, rh=3, rw=3, **_BIASED), dict(order=3, C0=2, H=5, W=7, N=2, rh=3, rw=3, scale=1 / 3, **_BIASED),
        dict(order=4, C0=1, H=2, W=3, N=2, scale=1 / 3, **_BIASED), dict(order=2, C0=9, C_in=17, O=19, H=7, W=9, rh=2, rw=2, N=1),
        dict(order=2, regime="whole", N=3, H=4, W=5, scale=0.5, **_BIASED),
    ],
    "interleave": [*THIN, dict(D=0), dict(H=0), dict(W=0), dict(D=3, N=3, H=2, W=5, regime="whole"), dict(D=5, N=2, H=7, W=9)],
    "resize_nearest": [
        dict(H=1), dict(W=1), dict(size=1, H=4, W=5), dict(H=3, W=5, size=(6, 10)), dict(H=6, W=4, size=(3, 2)), dict(lead=(0, 2)),
        dict(H=3, W=5, size=(7, 8), regime="whole", lead=(2, 2)), dict(H=7, W=6, size=(3, 4), regime="whole"),
        dict(H=13, W=17, size=(29, 31), lead=(3,)),
    ],
    "spectrum_resize": [
        dict(C=0), dict(h=1, w=1, size=(3, 2)), dict(size=1, h=4, w=3), dict(h=14, w=8, size=(9, 5), C=2), dict(h=4, w=3, size=(9, 7)),
        dict(h=5, w=4, size=(5, 4)), dict(h=7, w=4, size=(14, 8), C=3, regime="large"),
    ],
}
