"""Positional term: a linear map of the pixel's location, one vector per pixel, the same for all heads and images.

Shapes       weight (d, 2, 1, 1), bias (d,), size (H, W) -> pe (d, H, W)
Forward      (F1) L[0, i, j] = -1 + 2j/(W-1) (horizontal first), L[1, i, j] = -1 + 2i/(H-1); an axis of length 1 gives -1
             (F2) pe[e] = weight[e, 0]·L[0] + weight[e, 1]·L[1] + bias[e]
Backward     (B1) dweight[e, l] = Σ_ij dpe[e]·L[l]    (B2) dbias[e] = Σ_ij dpe[e]
Constraints  (C1) weight is (d, 2, 1, 1): one factor per direction
             (C2) bias, if given, is (d,), one value per row of weight
Smooth       everywhere (linear)                                        Source: official ACmix code (not in the paper's equations)
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): weight: Array; bias: Array | None; size: int | Pair
class Grads(NamedTuple): weight: Array; bias: Array | None


def location_grid(size: int | Pair, dtype: type | np.dtype = np.float64) -> Array:
    """L (1, 2, H, W): coordinates from -1 to 1, horizontal first, as the official code lays them out."""
    H, W = pair("size", size, 0)
    grid = np.stack(np.broadcast_arrays(_coordinates(W, dtype), _coordinates(H, dtype)[:, None]))
    return grid[None]


def _coordinates(length: int, dtype: type | np.dtype) -> Array:
    """-1, …, 1 in equal steps."""
    steps = max(length - 1, 1)
    return (-1 + 2 * np.arange(length) / steps).astype(dtype)


def output_shape(weight, bias=None, *, size):
    require(weight.ndim == 4 and weight.shape[1:] == (2, 1, 1), "C1", weight=weight)
    require(bias is None or bias.shape == weight.shape[:1], "C2", bias=bias, weight=weight)
    return (len(weight), *pair("size", size, 0))


def macs(weight, bias=None, *, size):
    """Two products per value of the map."""
    return Macs(weights=2 * prod(output_shape(weight, bias, size=size)))


@kernel
def forward(weight: Array, bias: Array | None = None, *, size: int | Pair) -> tuple[Array, Cache]:
    L = location_grid(size, weight.dtype)[0]                                  # (F1)
    pe = weight[:, 0] * L[0] + weight[:, 1] * L[1]                            # (F2) (d, 1, 1) times (H, W)
    if bias is not None:
        pe = pe + bias[:, None, None]
    return pe, Cache(weight, bias, size)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    weight, bias, size = cache
    L = location_grid(size, weight.dtype)
    dweight = (dy[:, None] * L).sum((2, 3))                                   # (B1)
    dbias = None if bias is None else dy.sum((1, 2))                          # (B2)
    return Grads(dweight[:, :, None, None], dbias)
