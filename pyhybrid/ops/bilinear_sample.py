"""Bilinear sampling: a map read between its pixels, at coordinates counted in pixels, with zeros around the map.

Shapes       x (N, C, H, W), ys and xs (N, ...) -> s (N, C, ...): every point of image n reads all its channels
Forward      (F1) y0 = ⌊y⌋, a = y - y0;  x0 = ⌊x⌋, b = x - x0    (F2) Z_pq = x[y0 + p, x0 + q] for p, q = 0, 1, and 0 outside the map
             (F3) s = (1-a)·(1-b)·Z_00 + (1-a)·b·Z_01 + a·(1-b)·Z_10 + a·b·Z_11
Backward     (B1) dx[y0 + p, x0 + q] = Σ of ds times the factor of Z_pq in (F3), over all points that read this pixel
             (B2) dys = Σ_c ds·((1-b)·(Z_10 - Z_00) + b·(Z_11 - Z_01))    (B3) dxs = Σ_c ds·((1-a)·(Z_01 - Z_00) + a·(Z_11 - Z_10))
Constraints  (C1) x is (N, C, H, W)
             (C2) ys is (N, ...), one vertical coordinate per point of each of the N images
             (C3) xs has the shape of ys
Smooth       except at whole ys, where (B2) is the derivative to the right, and at whole xs, where (B3) is; so at ys = -1 the value is 0
             and (B2) need not be
Outside      at y < -1, y >= H, x < -1 or x >= W, ±∞ too, s and all gradients are 0; a NaN coordinate makes s, dys and dxs NaN, and dx
             gets nothing from it. Coordinates are computed in their own precision
Source       Deformable convolution, arXiv 1703.06211, eqs. (3), (4) and (7)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): x: Array; ys: Array; xs: Array
class Grads(NamedTuple): x: Array; ys: Array; xs: Array


def output_shape(x, ys, xs):
    require(x.ndim == 4, "C1", x=x)
    require(ys.ndim >= 1 and len(ys) == len(x), "C2", ys=ys, x=x)
    require(xs.shape == ys.shape, "C3", xs=xs, ys=ys)
    return (*x.shape[:2], *ys.shape[1:])


@kernel
def forward(x: Array, ys: Array, xs: Array) -> tuple[Array, Cache]:
    y0, x0, a, b = cells(x, ys, xs)                                                                     # (F1)
    Z = pixels(x, y0, x0)                                                                               # (F2)
    s = (1 - a) * (1 - b) * Z[0, 0] + (1 - a) * b * Z[0, 1] + a * (1 - b) * Z[1, 0] + a * b * Z[1, 1]   # (F3)
    return s.reshape(output_shape(x, ys, xs)), Cache(x, ys, xs)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, ys, xs = cache
    y0, x0, a, b = cells(x, ys, xs)
    Z = pixels(x, y0, x0)
    ds = dy.reshape(*x.shape[:2], a.shape[2])                                                           # (N, C, P)
    pieces = {(0, 0): (1 - a) * (1 - b) * ds, (0, 1): (1 - a) * b * ds, (1, 0): a * (1 - b) * ds, (1, 1): a * b * ds}
    dx = scatter(pieces, x.shape, y0, x0)                                                               # (B1)
    dys = (ds * ((1 - b) * (Z[1, 0] - Z[0, 0]) + b * (Z[1, 1] - Z[0, 1]))).sum(1)                       # (B2)
    dxs = (ds * ((1 - a) * (Z[0, 1] - Z[0, 0]) + a * (Z[1, 1] - Z[1, 0]))).sum(1)                       # (B3)
    return Grads(dx, dys.reshape(ys.shape), dxs.reshape(xs.shape))


def cells(x: Array, ys: Array, xs: Array) -> tuple[Array, Array, Array, Array]:
    """y0, x0, a, b of (F1), (N, 1, P) each.

    A point that reads nothing gets the cell at (-2, -2), so that no index overflows: a = b = 0 far outside, and a = b = NaN if one of
    its coordinates is NaN.
    """
    (N, _, H, W), P = x.shape, int(np.prod(ys.shape[1:]))
    y, across = ys.reshape(N, 1, P), xs.reshape(N, 1, P)
    far = (y.real < -1) | (y.real >= H) | (across.real < -1) | (across.real >= W)
    unknown = (y != y) | (across != across)
    whole = [np.where(far | unknown, -2, np.floor(u.real)) for u in (y, across)]
    a, b = (np.where(unknown, np.nan, np.where(far, 0, u - u0)) for u, u0 in zip((y, across), whole, strict=True))
    return whole[0].astype(np.int64), whole[1].astype(np.int64), a, b


def pixels(x: Array, y0: Array, x0: Array) -> dict[tuple[int, int], Array]:
    """Z of (F2), (N, C, P) each."""
    N, C, H, W = x.shape
    flat = np.concatenate([x.reshape(N, C, H * W), np.zeros((N, C, 1), x.dtype)], 2)
    return {(p, q): np.take_along_axis(flat, place(x.shape, y0 + p, x0 + q), 2) for p in (0, 1) for q in (0, 1)}


def scatter(pieces: dict[tuple[int, int], Array], shape: tuple[int, ...], y0: Array, x0: Array) -> Array:
    """Adjoint of `pixels`: dx of (B1)."""
    N, C, H, W = shape
    flat = np.zeros((N, C, H * W + 1), next(iter(pieces.values())).dtype)
    n, c = np.ogrid[:N, :C]
    for (p, q), piece in pieces.items():
        np.add.at(flat, (n[..., None], c[..., None], place(shape, y0 + p, x0 + q)), piece)
    return flat[:, :, :-1].reshape(shape)


def place(shape: tuple[int, ...], row: Array, column: Array) -> Array:
    """Where pixel (row, column) lies in the map as one row of H·W numbers; outside the map it is number H·W, which stands for all zeros."""
    H, W = shape[2:]
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
    return np.where(inside, row * W + column, H * W)
