"""Max pooling: the largest pixel of every window.

Shapes       x (N, C, H, W), kernel_size (kh, kw), stride (None: as kernel_size), padding, ceil_mode -> y (N, C, Ho, Wo),
             Ho = ⌊(H + 2·ph - kh)/sh⌋ + 1; with ceil_mode ⌈…⌉, if the last window begins inside the map or the padding before it
Forward      (F1) U_pq[i, j] = x[i·sh - ph + p, j·sw - pw + q], -∞ outside the map    (F2) m = first pq, row by row, with the largest
             U_pq inside the map    (F3) y = U_m
Backward     (B1) dx[a, b] = Σ of dy over the windows that chose pixel (a, b); m is found again, which is cheaper than to keep it
Constraints  (C1) x is (N, C, H, W) with at least one pixel
             (C2) padding is at most half of kernel_size, so that every window has a pixel of the map
             (C3) there is at least one window
Smooth       except at ties: there the first of the largest gets the whole gradient. A window with a NaN gives NaN, and the
             gradient goes to its first NaN
Source       CoAtNet, arXiv 2106.04803, downsampling between stages
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._pool import Windows, windows
from pyhybrid.ops._taps import tap, taps

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): x: Array; kernel_size: int | Pair; stride: int | Pair | None; padding: int | Pair; ceil_mode: bool
class Grads(NamedTuple): x: Array


def output_shape(x, *, kernel_size, stride=None, padding=0, ceil_mode=False):
    require(x.ndim == 4 and x.shape[2] > 0 and x.shape[3] > 0, "C1", x=x)
    grid = windows(x, kernel_size, stride, padding, ceil_mode)
    require(all(2 * p <= k for p, k in zip(grid.padding, grid.kernel, strict=True)), "C2", padding=padding, kernel_size=kernel_size)
    require(min(grid.size) >= 1, "C3", x=x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return (*x.shape[:2], *grid.size)


@kernel
def forward(x: Array, *, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0,
            ceil_mode: bool = False) -> tuple[Array, Cache]:
    grid = windows(x, kernel_size, stride, padding, ceil_mode)
    U = unfolded(grid.pad(x, -np.inf), grid)                                    # (F1)
    m = first_largest(U, x.shape[2:], grid)                                     # (F2)
    y = np.take_along_axis(U, m, 2)[:, :, 0]                                    # (F3)
    return y, Cache(x, kernel_size, stride, padding, ceil_mode)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, *config = cache
    grid = windows(x, *config)
    m = first_largest(unfolded(grid.pad(x, -np.inf), grid), x.shape[2:], grid)[:, :, 0]
    dxp = grid.pad(np.zeros(x.shape, dy.dtype), 0)
    for pq, p, q in taps(grid.kernel):
        tap(dxp, p, q, grid.size, grid.stride)[...] += np.where(m == pq, dy, 0)       # (B1)
    return Grads(grid.interior(dxp, x.shape))


def unfolded(padded: Array, grid: Windows) -> Array:
    """All windows, (..., kh*kw, Ho, Wo)."""
    return np.stack([tap(padded, p, q, grid.size, grid.stride) for _, p, q in taps(grid.kernel)], axis=-3)


def first_largest(U: Array, shape: tuple[int, ...], grid: Windows) -> Array:
    """m of (F2), (N, C, 1, Ho, Wo). The maximum of a window with a NaN is NaN, and then its NaNs are the largest."""
    largest = U.real.max(2, keepdims=True)
    inside = unfolded(grid.pad(np.ones(shape), 0), grid) > 0                    # (kh*kw, Ho, Wo)
    return (inside & ((U.real == largest) | (U != U))).argmax(2)[:, :, None]
