"""Unfold (im2col): all windows of a map, one plane per kernel tap.

Shapes       x (..., H, W), kernel_size (kh, kw) -> U (..., kh*kw, Ho, Wo), Ho = ⌊(H - kh)/sh⌋ + 1; plane m = u*kw + v belongs to tap (u, v)
Forward      (F1) U[m, i, j] = x[i·sh + u, j·sw + v]
Backward     (B1) dx[a, b] = Σ of dU over all (m, i, j) that read (a, b)
Constraints  (C1) x has at least two axes, (..., H, W)
             (C2) kernel_size is at most the size (H, W) of the map
Smooth       everywhere (linear; exact)                                 Source: official ACmix code; neighbourhood of eqs. (10)-(15)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair
from pyhybrid.ops._taps import tap, taps

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): x: Array; kernel_size: int | Pair; stride: int | Pair     # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, kernel_size, stride=1):
    (kh, kw), (sh, sw) = pair("kernel_size", kernel_size), pair("stride", stride)
    require(x.ndim >= 2, "C1", x=x)
    H, W = x.shape[-2:]
    require(kh <= H and kw <= W, "C2", kernel_size=kernel_size, x=x)
    return (*x.shape[:-2], kh * kw, (H - kh) // sh + 1, (W - kw) // sw + 1)


@kernel
def forward(x: Array, *, kernel_size: int | Pair, stride: int | Pair = 1) -> tuple[Array, Cache]:
    size = output_shape(x, kernel_size=kernel_size, stride=stride)[-2:]
    U = np.stack([tap(x, u, v, size, pair("stride", stride)) for _, u, v in taps(pair("kernel_size", kernel_size))], axis=-3)   # (F1)
    return U, Cache(x, kernel_size, stride)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, kernel_size, stride = cache
    dx = np.zeros(x.shape, dy.dtype)
    for m, u, v in taps(pair("kernel_size", kernel_size)):
        tap(dx, u, v, dy.shape[-2:], pair("stride", stride))[...] += dy[..., m, :, :]             # (B1)
    return Grads(dx)
