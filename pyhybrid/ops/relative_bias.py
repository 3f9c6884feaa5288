"""Relative position bias: one learnt number per head and displacement, laid out as a bias of attention over a grid of tokens.

Shapes       table ((2h-1)·(2w-1), heads), size (h, w) -> bias (heads, h·w, h·w); token t is the pixel (r_t, c_t), row-major
Forward      (F1) bias[n, t, u] = table[(r_t - r_u + h-1)·(2w-1) + (c_t - c_u + w-1), n]
Backward     (B1) dtable[r, n] = Σ of dbias[n, t, u] over all (t, u) that read row r
Constraints  (C1) table is ((2h-1)·(2w-1), heads) for size (h, w)
Smooth       everywhere (linear; exact)                                 Source: Swin, arXiv 2103.14030 eq. (4); official Swin-ACmix code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): table: Array; size: int | Pair      # table gives the shape
class Grads(NamedTuple): table: Array


def output_shape(table, *, size):
    h, w = pair("size", size)
    require(table.ndim == 2 and table.shape[0] == (2 * h - 1) * (2 * w - 1), "C1", table=table, size=size)
    return (table.shape[1], h * w, h * w)


@kernel
def forward(table: Array, *, size: int | Pair) -> tuple[Array, Cache]:
    rows = index(size)
    bias = np.stack([column[rows] for column in table.T]) if table.size else np.zeros((0, *rows.shape), table.dtype)     # (F1)
    return bias, Cache(table, size)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    table, size = cache
    dtable = np.zeros(table.shape, dy.dtype)
    np.add.at(dtable, index(size), np.moveaxis(dy, 0, -1))         # (B1)
    return Grads(dtable)


def index(size: int | Pair) -> Array:
    """The row of the table that the pair (t, u) of tokens reads, (h·w, h·w)."""
    h, w = pair("size", size)
    r, c = np.divmod(np.arange(h * w), w)
    return (r[:, None] - r + h - 1) * (2 * w - 1) + (c[:, None] - c + w - 1)
