"""Reflection padding: the map continues as in a mirror placed on its outermost pixels, which are not repeated.

Shapes       x (..., H, W), padding (ph, pw) -> y (..., H + 2·ph, W + 2·pw)
Forward      (F1) y[i, j] = x[ρ(i - ph, H), ρ(j - pw, W)], ρ(t, n) = -t if t < 0, 2(n-1) - t if t >= n, else t
Backward     (B1) dx[a, b] = Σ of dy over all (i, j) that read (a, b): the border is folded back
Constraints  (C1) x has at least two axes, (..., H, W)
             (C2) padding is smaller than the map: ph < H and pw < W (or 0)
Smooth       everywhere (linear; exact)                                 Source: official ACmix code (not in the paper's equations)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): x: Array; padding: int | Pair       # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, padding):
    ph, pw = pair("padding", padding, 0)
    require(x.ndim >= 2, "C1", x=x)
    H, W = x.shape[-2:]
    require((ph < H or ph == 0) and (pw < W or pw == 0), "C2", padding=padding, x=x)
    return (*x.shape[:-2], H + 2 * ph, W + 2 * pw)


def reflect(length: int, padding: int) -> Array:
    """ρ: the position that each of the length + 2·padding padded positions reads."""
    t = np.abs(np.arange(-padding, length + padding))
    return np.where(t < length, t, 2 * (length - 1) - t)


@kernel
def forward(x: Array, *, padding: int | Pair) -> tuple[Array, Cache]:
    (ph, pw), (H, W) = pair("padding", padding, 0), x.shape[-2:]
    rows, columns = reflect(H, ph), reflect(W, pw)
    y = x[..., rows[:, None], columns]                             # (F1)
    return y, Cache(x, padding)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    (ph, pw), (H, W) = pair("padding", cache.padding, 0), cache.x.shape[-2:]
    rows, columns = reflect(H, ph), reflect(W, pw)
    dx = np.zeros(cache.x.shape, dy.dtype)
    readers: Any = (..., rows[:, None], columns)
    np.add.at(dx, readers, dy)                                     # (B1)
    return Grads(dx)
