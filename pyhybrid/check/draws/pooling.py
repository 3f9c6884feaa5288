"""Cases of the pooling operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import THIN, Draw, Pins

Shape = tuple[int, int, int, int]


def _windows(draw: Draw) -> tuple[Shape, dict[str, Any]]:
    """Windows up to the padded map, with ceil_mode beyond it; strides from 1 to more than the window."""
    N, C = draw.batch(), draw.integer("C", 1, 3)
    H, W = draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    kh, kw = draw.integer("kh", 1, 4), draw.integer("kw", 1, 4)
    ph = draw.integer("above", max(0, (kh - H + 1) // 2), kh // 2)  # at least one window fits
    pw = draw.integer("left", max(0, (kw - W + 1) // 2), kw // 2)
    stride = None if draw.choice("as_kernel", (True, False)) else draw.pair("stride", 1, 5)
    config = {
        "kernel_size": kh if kh == kw else (kh, kw),
        "stride": stride,
        "padding": ph if ph == pw else (ph, pw),
        "ceil_mode": draw.choice("ceil_mode", (False, True)),
    }
    return (N, C, H, W), config


def max_pool2d(draw: Draw) -> Case:
    """Away from the kinks: no two numbers are equal; "whole" ones are shuffled."""
    shape, config = _windows(draw)
    values = draw.values()
    x = values.array(*shape)
    if values.regime == "whole":
        x = np.random.default_rng([values.seed, 2]).permutation(x.size).reshape(shape) - float(x.size // 2)
    return values.case({"x": x}, config, polynomial=True, batched=("x",))


def avg_pool2d(draw: Draw) -> Case:
    """Never exact: quotients of whole numbers are fractions."""
    shape, config = _windows(draw)
    config["count_include_pad"] = draw.choice("count_include_pad", (True, False))
    values = draw.values()
    return values.case({"x": values.array(*shape)}, config, polynomial=False, batched=("x",), linear=("x",))


def global_avg_pool(draw: Draw) -> Case:
    """Maps of any size; the division rounds, so that no case is exact."""
    N, C, H, W = draw.batch(), draw.integer("C", 1, 4), draw.integer("H", 1, 6), draw.integer("W", 1, 6)
    values = draw.values()
    return values.case({"x": values.array(N, C, H, W)}, {}, polynomial=False, batched=("x",), linear=("x",))


CASES: dict[str, Callable[[Draw], Case]] = {
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": global_avg_pool,
    "max_pool2d": max_pool2d,
}

_WINDOWS: list[Pins] = [
    dict(N=0), dict(C=0), dict(H=1, W=1, kh=1, kw=1), dict(H=1, W=1, kh=3, kw=3, above=1, left=1, N=2),
    dict(H=1, W=5, kh=2, kw=3, above=1, left=0),
    dict(H=5, W=1, kh=4, kw=1, above=0, left=0),
    dict(H=7, W=6, kh=2, kw=2, above=0, left=0, as_kernel=True, ceil_mode=True, N=2),
    dict(H=6, W=7, kh=3, kw=3, above=1, left=1, as_kernel=False, stride=2, ceil_mode=False, N=2),
    dict(H=5, W=6, kh=2, kw=3, above=1, left=0, as_kernel=False, stride=(3, 2), ceil_mode=True),
    dict(H=2, W=4, kh=3, kw=4, above=0, left=0, as_kernel=False, stride=(2, 1), ceil_mode=True),
    dict(H=6, W=6, kh=1, kw=2, above=0, left=1, as_kernel=False, stride=(4, 5), ceil_mode=True),
    dict(H=4, W=4, kh=4, kw=4, above=2, left=2, as_kernel=False, stride=1, N=2, regime="whole"),
]
CORNERS: dict[str, list[Pins]] = {
    "avg_pool2d": [pins | {"count_include_pad": counted} for pins in _WINDOWS for counted in (True, False)],
    "global_avg_pool": [*THIN, dict(C=0), dict(H=7, W=9), dict(regime="whole", N=2, H=4, W=4)],
    "max_pool2d": _WINDOWS,
}
