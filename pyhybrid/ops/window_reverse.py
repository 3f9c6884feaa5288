"""Window reverse: windows put back side by side into a map, the inverse of `window_partition`.

Shapes       windows (N·nH·nW, wh·ww, C), window (wh, ww), size (H, W) -> x (N, H, W, C) with nH = H/wh, nW = W/ww
Forward      (F1) x[n, a·wh + i, b·ww + j] = windows[(n·nH + a)·nW + b, i·ww + j]: windows and tokens are counted row by row
Backward     (B1) dwindows[(n·nH + a)·nW + b, i·ww + j] = dx[n, a·wh + i, b·ww + j]: the partition
Constraints  (C1) windows is (N·nH·nW, wh·ww, C), channels last
             (C2) H and W are multiples of the window
Smooth       everywhere (linear; exact)                                 Source: Swin, arXiv 2103.14030; official Swin-ACmix code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair
from pyhybrid.ops.window_partition import cut, join

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): windows: Array; window: int | Pair; size: int | Pair      # windows gives the shape
class Grads(NamedTuple): windows: Array


def output_shape(windows, *, window, size):
    (wh, ww), (H, W) = pair("window", window), pair("size", size)
    require(H % wh == 0 and W % ww == 0, "C2", size=size, window=window)
    each = (H // wh) * (W // ww)
    require(windows.ndim == 3 and windows.shape[0] % each == 0 and windows.shape[1] == wh * ww, "C1",
            windows=windows, window=window, size=size)
    return (windows.shape[0] // each, H, W, windows.shape[2])


@kernel
def forward(windows: Array, *, window: int | Pair, size: int | Pair) -> tuple[Array, Cache]:
    shape = output_shape(windows, window=window, size=size)
    x = join(windows, pair("window", window), shape)               # (F1)
    return x, Cache(windows, window, size)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    dwindows = cut(dy, pair("window", cache.window))               # (B1)
    return Grads(dwindows)
