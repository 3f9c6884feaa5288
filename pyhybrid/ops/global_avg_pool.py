"""Global average pooling: the mean of every channel over its pixels.

Shapes       x (N, C, H, W) -> y (N, C)
Forward      (F1) y = Σ_ij x[i, j] / (H·W)
Backward     (B1) dx[i, j] = dy / (H·W), the same at every pixel
Constraints  (C1) x is (N, C, H, W)
             (C2) the map has at least one pixel
Smooth       everywhere (linear)                                      Source: Network In Network, arXiv 1312.4400, section 3.2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): x: Array                             # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x):
    require(x.ndim == 4, "C1", x=x)
    require(x.shape[2] > 0 and x.shape[3] > 0, "C2", x=x)
    return x.shape[:2]


@kernel
def forward(x: Array) -> tuple[Array, Cache]:
    H, W = x.shape[2:]
    y = x.sum((2, 3)) / (H * W)                               # (F1)
    return y, Cache(x)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    H, W = cache.x.shape[2:]
    mean = dy / (H * W)                                       # (B1)
    dx = np.broadcast_to(mean[:, :, None, None], cache.x.shape).copy()
    return Grads(dx)
