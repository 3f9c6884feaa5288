"""Nearest resize: each new pixel is a copy of the old one that its upper left corner lies in.

Shapes       x (..., H, W), size (H', W') -> y (..., H', W')
Forward      (F1) a_i = ⌊i·H/H'⌋, b_j = ⌊j·W/W'⌋, in whole numbers    (F2) y[..., i, j] = x[..., a_i, b_j]
Backward     (B1) dx[..., a, b] = Σ dy[..., i, j] over the new pixels with a_i = a and b_j = b
Constraints  (C1) x has at least two axes, (..., H, W), and the map has at least one pixel
Smooth       everywhere (linear; the forward is exact)
Source       HorNet, arXiv 2207.14284, HorFPN: coarse levels brought to the size of finer ones
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): x: Array; size: int | Pair          # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, size):
    require(x.ndim >= 2 and x.shape[-2] > 0 and x.shape[-1] > 0, "C1", x=x)
    return (*x.shape[:-2], *pair("size", size))


@kernel
def forward(x: Array, *, size: int | Pair) -> tuple[Array, Cache]:
    a, b = sources(x, size)                                # (F1)
    y = x[..., a[:, None], b]                              # (F2)
    return np.ascontiguousarray(y), Cache(x, size)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, size = cache
    a, b = sources(x, size)
    dx = np.zeros(x.shape, dy.dtype)
    pixels = np.moveaxis(dx, (-2, -1), (0, 1))             # a view: adding to it adds to dx
    np.add.at(pixels, (a[:, None], b), np.moveaxis(dy, (-2, -1), (0, 1)))      # (B1)
    return Grads(dx)


def sources(x: Array, size: int | Pair) -> tuple[Array, Array]:
    """a_i and b_j: the old row of each new row, and the old column of each new column."""
    (H, W), (h, w) = x.shape[-2:], pair("size", size)
    return np.arange(h) * H // h, np.arange(w) * W // w
