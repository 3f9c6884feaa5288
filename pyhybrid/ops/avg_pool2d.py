"""Average pooling: the mean of every window.

Shapes       x (N, C, H, W), kernel_size (kh, kw), stride (None: as kernel_size), padding, ceil_mode -> y (N, C, Ho, Wo),
             Ho = ⌊(H + 2·ph - kh)/sh⌋ + 1; with ceil_mode ⌈…⌉, if the last window begins inside the map or the padding before it
Forward      (F1) n[i, j] = pixels of window (i, j): those in the map and its padding, or in the map alone without count_include_pad
             (F2) S[i, j] = Σ_pq x[i·sh - ph + p, j·sw - pw + q], 0 outside the map    (F3) y = S / n
Backward     (B1) dS = dy / n    (B2) dx[a, b] = Σ of dS over the windows that hold pixel (a, b)
Constraints  (C1) x is (N, C, H, W) with at least one pixel
             (C2) padding is at most half of kernel_size, so that every window has a pixel of the map
             (C3) there is at least one window
Smooth       everywhere (linear)                                      Source: CoAtNet, arXiv 2106.04803, downsampling between stages
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import describe, require
from pyhybrid.ops._pool import Windows, windows
from pyhybrid.ops._taps import tap, taps

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple):
    x: Array                                                                    # gives the shape
    kernel_size: int | Pair; stride: int | Pair | None; padding: int | Pair; ceil_mode: bool; count_include_pad: bool
class Grads(NamedTuple): x: Array


def output_shape(x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    if not isinstance(count_include_pad, bool):
        raise TypeError(f"count_include_pad must be True or False; got {type(count_include_pad).__name__} {describe(count_include_pad)}")
    require(x.ndim == 4 and x.shape[2] > 0 and x.shape[3] > 0, "C1", x=x)
    grid = windows(x, kernel_size, stride, padding, ceil_mode)
    require(all(2 * p <= k for p, k in zip(grid.padding, grid.kernel, strict=True)), "C2", padding=padding, kernel_size=kernel_size)
    require(min(grid.size) >= 1, "C3", x=x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    return (*x.shape[:2], *grid.size)


@kernel
def forward(x: Array, *, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0,
            ceil_mode: bool = False, count_include_pad: bool = True) -> tuple[Array, Cache]:
    grid = windows(x, kernel_size, stride, padding, ceil_mode)
    n = counts(x.shape[2:], grid, count_include_pad)                            # (F1)
    xp = grid.pad(x, 0)
    S = sum(tap(xp, p, q, grid.size, grid.stride) for _, p, q in taps(grid.kernel))       # (F2)
    y = S / n.astype(x.real.dtype)                                              # (F3)
    return y, Cache(x, kernel_size, stride, padding, ceil_mode, count_include_pad)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, *config, count_include_pad = cache
    grid = windows(x, *config)
    dS = dy / counts(x.shape[2:], grid, count_include_pad).astype(dy.real.dtype)          # (B1)
    dxp = grid.pad(np.zeros(x.shape, dy.dtype), 0)
    for _, p, q in taps(grid.kernel):
        tap(dxp, p, q, grid.size, grid.stride)[...] += dS                       # (B2)
    return Grads(grid.interior(dxp, x.shape))


def counts(shape: tuple[int, ...], grid: Windows, count_include_pad: bool) -> Array:
    """n of (F1), (Ho, Wo) whole numbers: rows times columns."""
    sides = []
    for length, k, s, p, n in zip(shape, *grid, strict=True):
        first = np.arange(n) * s - p
        low, high = (-p, length + p) if count_include_pad else (0, length)
        sides.append(np.minimum(first + k, high) - np.maximum(first, low))
    return sides[0][:, None] * sides[1]
