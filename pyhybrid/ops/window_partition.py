"""Window partition: a map cut into windows side by side, each a short sequence of tokens.

Shapes       x (N, H, W, C), window (wh, ww) -> windows (N·nH·nW, wh·ww, C) with nH = H/wh, nW = W/ww
Forward      (F1) windows[(n·nH + a)·nW + b, i·ww + j] = x[n, a·wh + i, b·ww + j]: windows and tokens are counted row by row
Backward     (B1) dx[n, a·wh + i, b·ww + j] = dwindows[(n·nH + a)·nW + b, i·ww + j]: the inverse, `window_reverse`
Constraints  (C1) x is (N, H, W, C), channels last
             (C2) H and W are multiples of the window
Smooth       everywhere (linear; exact)                                 Source: Swin, arXiv 2103.14030; official Swin-ACmix code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer, pair

Array = np.ndarray
Pair = tuple[int, int]
APART = -100.0  # the official score of two tokens that a shift brought together: small, yet finite


class Cache(NamedTuple): x: Array; window: int | Pair        # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, window):
    wh, ww = pair("window", window)
    require(x.ndim == 4, "C1", x=x)
    N, H, W, C = x.shape
    require(H % wh == 0 and W % ww == 0, "C2", x=x, window=window)
    return (N * (H // wh) * (W // ww), wh * ww, C)


@kernel
def forward(x: Array, *, window: int | Pair) -> tuple[Array, Cache]:
    windows = cut(x, pair("window", window))                       # (F1)
    return windows, Cache(x, window)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    dx = join(dy, pair("window", cache.window), cache.x.shape)     # (B1)
    return Grads(dx)


def cut(x: Array, window: Pair) -> Array:
    """(N, H, W, C) -> (N·nH·nW, wh·ww, C)."""
    (N, H, W, C), (wh, ww) = x.shape, window
    grid = x.reshape(N, H // wh, wh, W // ww, ww, C).transpose(0, 1, 3, 2, 4, 5)
    return np.array(grid, order="C").reshape(N * (H // wh) * (W // ww), wh * ww, C)


def join(windows: Array, window: Pair, shape: tuple[int, ...]) -> Array:
    """The inverse of `cut`: (N·nH·nW, wh·ww, C) -> `shape` (N, H, W, C)."""
    (N, H, W, C), (wh, ww) = shape, window
    grid = windows.reshape(N, H // wh, W // ww, wh, ww, C).transpose(0, 1, 3, 2, 4, 5)
    return np.array(grid, order="C").reshape(N, H, W, C)


def shift_mask(size: int | Pair, window: int | Pair, shift: int | Pair) -> Array:
    """Bias (nH·nW, wh·ww, wh·ww) for the windows of a map rolled by -shift: 0 between tokens that were neighbours before, else -100.

    The rolled map falls into regions, [0, -window), [-window, -shift) and [-shift, end) on either axis; only tokens of one region
    may attend to each other. Without a shift the bias is 0.
    """
    regions = [
        region(*lengths) for lengths in zip(pair("size", size), pair("window", window), pair("shift", shift, 0), strict=True)
    ]
    labels = 3 * regions[0][:, None] + regions[1]                  # numbered row by row, 0..8
    tokens = cut(labels[None, :, :, None], pair("window", window))[:, :, 0]
    return np.where(tokens[:, :, None] == tokens[:, None, :], 0.0, APART)


def region(size: int, window: int, shift: int) -> Array:
    """0, 1 or 2 for every position on one axis of the rolled map."""
    if size % window or integer("shift", shift, 0) >= window:
        raise ValueError(f"size must be a multiple of window, and shift less than window; got {size}, {window}, {shift}")
    t = np.arange(size)
    return np.where(t < size - window, 0, np.where(t < size - shift, 1, 2)) if shift else np.zeros(size, int)
