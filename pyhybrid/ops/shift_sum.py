"""Stage II of a convolution: the map of each tap is shifted by the tap's position, and all are summed.

Shapes       maps (N, kh*kw, O, H, W) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉); the centre tap is (ch, cw) = (⌊kh/2⌋, ⌊kw/2⌋)
Forward      (F1) g = Σ_pq Shift(maps[m], p-ch, q-cw), m = p*kw + q    (F2) y[i, j] = g[i·sh, j·sw]
Backward     (B1) dg = dy placed on the stride grid, zeros elsewhere    (B2) dmaps[m] = Shift(dg, ch-p, cw-q)
Constraints  (C1) maps is (N, kh*kw, O, H, W), one map per tap of kernel_size
Smooth       everywhere (linear)                                        Source: ACmix, arXiv 2111.14556, stage II (eqs. 7-9)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops import shift
from pyhybrid.ops._sizes import ceil_div, pair
from pyhybrid.ops._taps import taps

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): maps: Array; kernel_size: int | Pair; stride: int | Pair     # maps gives the input shape
class Grads(NamedTuple): maps: Array


def output_shape(maps, *, kernel_size, stride=1):
    (kh, kw), (sh, sw) = pair("kernel_size", kernel_size), pair("stride", stride)
    require(maps.ndim == 5 and maps.shape[1] == kh * kw, "C1", maps=maps, kernel_size=kernel_size)
    N, _, O, H, W = maps.shape
    return (N, O, ceil_div(H, sh), ceil_div(W, sw))


@kernel
def forward(maps: Array, *, kernel_size: int | Pair, stride: int | Pair = 1) -> tuple[Array, Cache]:
    (kh, kw), (sh, sw) = pair("kernel_size", kernel_size), pair("stride", stride)
    shifted = [shift.forward(maps[:, m], offset=(p - kh // 2, q - kw // 2))[0] for m, p, q in taps((kh, kw))]
    g = sum(shifted)                                                                      # (F1)
    y = g[..., ::sh, ::sw].copy()                                                         # (F2)
    return y, Cache(maps, kernel_size, stride)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    (kh, kw), (sh, sw) = pair("kernel_size", cache.kernel_size), pair("stride", cache.stride)
    N, _, O, H, W = cache.maps.shape
    dg = np.zeros((N, O, H, W), dy.dtype)
    dg[..., ::sh, ::sw] = dy                                                              # (B1)
    dmaps = np.stack([shift.forward(dg, offset=(kh // 2 - p, kw // 2 - q))[0] for _, p, q in taps((kh, kw))], axis=1)   # (B2)
    return Grads(dmaps)
