"""Grid sampling: a map read between its pixels at normalised coordinates, -1 and 1 being its edges, with zeros around the map.

Shapes       x (N, C, H, W), grid (N, Ho, Wo, 2), its last axis (u, v) = (horizontal, vertical) -> y (N, C, Ho, Wo)
Forward      (F1) xs = ((u + 1)·W - 1)/2, ys = ((v + 1)·H - 1)/2: ±1 are the outer edges of the first and last pixels;
             with align_corners xs = (u + 1)·(W - 1)/2, ys = (v + 1)·(H - 1)/2: ±1 are their centres
             (F2) y = bilinear_sample(x, ys, xs)
Backward     (B1) dx, dys, dxs = backward of bilinear_sample    (B2) du = dxs·W/2, dv = dys·H/2; with align_corners (W - 1)/2, (H - 1)/2
Constraints  (C1) x is (N, C, H, W)
             (C2) grid is (N, Ho, Wo, 2) for the N images of x
             (C3) align_corners is True or False
Smooth       as bilinear_sample: at whole coordinates the derivative to the right
Source       Spatial transformer networks, arXiv 1506.02025, eq. (5); DAS, arXiv 2311.12091, figure 2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops import bilinear_sample

Array = np.ndarray


class Cache(NamedTuple): x: Array; grid: Array; align_corners: bool
class Grads(NamedTuple): x: Array; grid: Array


def output_shape(x, grid, *, align_corners=False):
    require(x.ndim == 4, "C1", x=x)
    require(grid.ndim == 4 and len(grid) == len(x) and grid.shape[3] == 2, "C2", grid=grid, x=x)
    require(isinstance(align_corners, bool), "C3", align_corners=align_corners)
    return (*x.shape[:2], *grid.shape[1:3])


@kernel
def forward(x: Array, grid: Array, *, align_corners: bool = False) -> tuple[Array, Cache]:
    y, _ = bilinear_sample.forward(x, *coordinates(x, grid, align_corners))      # (F2)
    return y, Cache(x, grid, align_corners)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, grid, align_corners = cache
    ys, xs = coordinates(x, grid, align_corners)
    dx, dys, dxs = bilinear_sample.backward(dy, bilinear_sample.Cache(x, ys, xs))      # (B1)
    height, width = (length - 1 if align_corners else length for length in x.shape[2:])
    dgrid = np.stack([dxs * (width / 2), dys * (height / 2)], -1)                # (B2)
    return Grads(dx, dgrid)


def coordinates(x: Array, grid: Array, align_corners: bool) -> tuple[Array, Array]:
    """ys and xs of (F1)."""
    (H, W), (u, v) = x.shape[2:], (grid[..., 0], grid[..., 1])
    if align_corners:
        return (v + 1) * ((H - 1) / 2), (u + 1) * ((W - 1) / 2)                  # (F1)
    return ((v + 1) * H - 1) / 2, ((u + 1) * W - 1) / 2                          # (F1)
