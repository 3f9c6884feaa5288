"""Cases of attention over all tokens, its relative bias, windows of a map, and aggregation."""

from __future__ import annotations

from collections.abc import Callable

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins, both


def attention(draw: Draw) -> Case:
    """H queries and W keys; no bias, one for all, or one for each of P entries in turn; "large" makes logits of about a thousand."""
    N, heads, T, S = draw.batch(), draw.integer("heads", 1, 3), draw.integer("H", 1, 6), draw.integer("W", 1, 7)
    d, e, scale = draw.integer("d", 1, 4), draw.integer("e", 1, 4), draw.choice("scale", (None, 0.5))
    given, period, own = draw.choice("bias", (False, True, True)), draw.integer("P", 1, 3), draw.choice("own", (True, False))
    values = draw.values()
    period = period if given else 1
    B, tamed = N * period, 3e-5 if values.regime == "large" else 1.0
    arguments = {
        "q": values.array(B, heads, T, d, scale=tamed),
        "k": values.array(B, heads, S, d, scale=tamed),
        "v": values.array(B, heads, S, e),
        "bias": values.array(period, heads if own else 1, T, S, scale=tamed) if given else None,
    }
    batched = ("q", "k", "v") if period == 1 else ()
    return values.case(arguments, {"scale": scale}, polynomial=False, batched=batched, linear=("v",))


def relative_bias(draw: Draw) -> Case:
    """Windows square and not, down to a single pixel."""
    size, heads = draw.pair("size", 1, 4), draw.integer("heads", 1, 3)
    h, w = both(size)
    values = draw.values()
    table = values.array((2 * h - 1) * (2 * w - 1), heads)
    return values.case({"table": table}, {"size": size}, polynomial=True, linear=("table",))


def window_partition(draw: Draw) -> Case:
    """Up to three windows in both directions."""
    N, window, C = draw.batch(), draw.pair("window", 1, 3), draw.integer("C", 1, 3)
    rows, columns = draw.integer("nH", 1, 3), draw.integer("nW", 1, 3)
    wh, ww = both(window)
    values = draw.values()
    batched = ("x",) if rows * columns == 1 else ()
    x = values.array(N, rows * wh, columns * ww, C)
    return values.case({"x": x}, {"window": window}, polynomial=True, batched=batched, linear=("x",))


def window_reverse(draw: Draw) -> Case:
    """The same in the other direction."""
    N, window, C = draw.batch(), draw.pair("window", 1, 3), draw.integer("C", 1, 3)
    rows, columns = draw.integer("nH", 1, 3), draw.integer("nW", 1, 3)
    wh, ww = both(window)
    values = draw.values()
    batched = ("windows",) if rows * columns == 1 else ()
    windows = values.array(N * rows * columns, wh * ww, C)
    config = {"window": window, "size": (rows * wh, columns * ww)}
    return values.case({"windows": windows}, config, polynomial=True, batched=batched, linear=("windows",))


def roll(draw: Draw) -> Case:
    """Offsets of more than the map, in both directions."""
    N, H, W, C = draw.batch(), draw.integer("H", 1, 5), draw.integer("W", 1, 5), draw.integer("C", 1, 3)
    offset = draw.pair("offset", -12, 12)
    values = draw.values()
    x = values.array(N, H, W, C)
    return values.case({"x": x}, {"offset": offset}, polynomial=True, batched=("x",), linear=("x",))


def aggregation(draw: Draw) -> Case:
    """Windows up to nearly twice the map; one to three channels share a weight."""
    N, groups, share = draw.batch(), draw.integer("Cw", 1, 3), draw.integer("share", 1, 3)
    k, stride = draw.choice("kernel_size", (3, 1, 3, 5, 7)), draw.pair("stride", 1, 3)
    least = k // 2 + 1
    H, W, (sh, sw) = draw.integer("H", least, max(least, 5)), draw.integer("W", least, max(least, 5)), both(stride)
    if 0 < min(H, W) < least:  # the size was pinned
        k = 2 * min(H, W) - 1
    values = draw.values()
    arguments = {
        "weight": values.array(N, groups, k * k, -(-H // sh), -(-W // sw)),
        "v": values.array(N, groups * share, H, W),
    }
    config = {"kernel_size": k, "stride": stride}
    return values.case(arguments, config, polynomial=True, batched=("weight", "v"), linear=("weight", "v"))


CASES: dict[str, Callable[[Draw], Case]] = {
    "aggregation": aggregation,
    "attention": attention,
    "relative_bias": relative_bias,
    "roll": roll,
    "window_partition": window_partition,
    "window_reverse": window_reverse,
}

_WINDOWS: list[Pins] = [
    dict(nH=1, nW=1, N=2), dict(nH=3, nW=2, window=(2, 3), N=2), dict(nH=2, nW=3, window=1), dict(nH=1, nW=3, window=(3, 1)),
    dict(C=1), dict(C=0), dict(N=0), dict(regime="whole", N=3, nH=2, nW=2, window=(3, 2), C=3),
]  # fmt: skip
CORNERS: dict[str, list[Pins]] = {
    "attention": [
        dict(H=1, N=2), dict(W=1, N=2, bias=True), dict(H=1, W=1), dict(N=0, bias=True), dict(heads=1, d=1, e=1), dict(d=0, bias=True),
        dict(e=0), dict(H=0), dict(bias=False, N=2), dict(bias=True, P=1, own=False, N=3), dict(bias=True, P=3, own=True, N=2, heads=2),
        dict(bias=True, P=2, own=False, N=2, heads=3), dict(regime="whole", N=2, heads=2), dict(regime="large", bias=True, N=2, H=3, W=5),
        dict(H=37, W=35, N=1, d=3, e=2, bias=True),
    ],
    "relative_bias": [
        dict(size=1), dict(size=(1, 4)), dict(size=(4, 1)), dict(size=(2, 3), heads=3), dict(heads=0, size=2),
        dict(regime="whole", size=(3, 4), heads=2), dict(regime="whole", size=(5, 7), heads=1),
    ],
    "window_partition": [*_WINDOWS, dict(nH=0), dict(nW=0)],
    "window_reverse": _WINDOWS,
    "roll": [
        *THIN, dict(offset=0), dict(offset=(0, 2), H=3, W=5), dict(offset=(-1, 0), H=3, W=5), dict(offset=(3, -5), H=3, W=5),
        dict(offset=(7, -11), H=3, W=4, C=2), dict(C=0), dict(H=0), dict(W=0), dict(regime="whole", N=3, H=5, W=4, offset=(-1, 2)),
    ],
    "aggregation": [
        dict(kernel_size=7, H=4, W=5), dict(kernel_size=1, H=1, W=1), dict(kernel_size=1, H=0), dict(kernel_size=3, H=2, W=2, N=2),
        dict(kernel_size=3, stride=3, H=5, W=4), dict(kernel_size=5, stride=(2, 3)), dict(kernel_size=3, stride=9), dict(N=0),
        dict(share=1, Cw=3), dict(share=3, Cw=1), dict(share=0), dict(regime="whole", N=3, kernel_size=3, Cw=2, share=2, H=5, W=4),
        dict(regime="whole", kernel_size=5, stride=2, N=2),
    ],
}  # fmt: skip
