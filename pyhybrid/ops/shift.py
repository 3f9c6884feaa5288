"""Shift: every channel moved by a whole number of rows and columns, zeros moving in.

Shapes       x (..., H, W) -> y (..., H, W); offset (s, t) is where a value is read from: rows first, then columns
Forward      (F1) y[i, j] = x[i+s, j+t] inside the map, 0 outside: offset (-1, -1) moves the picture down and to the right
Backward     (B1) dx[a, b] = dy[a-s, b-t], 0 outside: the adjoint is the shift by the opposite offset
Constraints  (C1) x has at least two axes, (..., H, W)
Smooth       everywhere (linear in x; exact in floating point)          Source: ACmix, arXiv 2111.14556, Shift operation (eqs. 4-5)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
ANY = -(2**31)  # offsets may be negative


class Cache(NamedTuple): x: Array; offset: int | tuple[int, int]      # x gives the shape of the map
class Grads(NamedTuple): x: Array


def output_shape(x, *, offset):
    require(x.ndim >= 2, "C1", x=x)
    pair("offset", offset, ANY)
    return x.shape


@kernel
def forward(x: Array, *, offset: int | tuple[int, int]) -> tuple[Array, Cache]:
    s, t = pair("offset", offset, ANY)
    H, W = x.shape[-2:]
    y = np.zeros_like(x)
    y[..., inside(s, H), inside(t, W)] = x[..., inside(-s, H), inside(-t, W)]     # (F1)
    return y, Cache(x, offset)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    s, t = pair("offset", cache.offset, ANY)
    H, W = dy.shape[-2:]
    dx = np.zeros_like(dy)
    dx[..., inside(-s, H), inside(-t, W)] = dy[..., inside(s, H), inside(t, W)]   # (B1)
    return Grads(dx)


def inside(s: int, length: int) -> slice:
    """The positions i with 0 <= i + s < length, as a slice; the values they read are at `inside(-s, length)`."""
    first = min(max(0, -s), length)
    return slice(first, max(first, min(length, length - s)))
