"""Roll: a map moved by whole rows and columns, what leaves on one side coming back on the other.

Shapes       x (N, H, W, C), offset (s, t) -> y (N, H, W, C); the picture moves down by s and to the right by t
Forward      (F1) y[n, i, j] = x[n, (i - s) mod H, (j - t) mod W]
Backward     (B1) dx[n, i, j] = dy[n, (i + s) mod H, (j + t) mod W]: the opposite roll, which is also the inverse
Constraints  (C1) x is (N, H, W, C), channels last
Smooth       everywhere (linear; exact)                                 Source: Swin, arXiv 2103.14030, shifted windows
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]
ANY = -(2**31)  # offsets may be negative


class Cache(NamedTuple): x: Array; offset: int | Pair        # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, offset):
    require(x.ndim == 4, "C1", x=x)
    pair("offset", offset, ANY)
    return x.shape


@kernel
def forward(x: Array, *, offset: int | Pair) -> tuple[Array, Cache]:
    y = np.roll(x, pair("offset", offset, ANY), axis=(1, 2))       # (F1)
    return y, Cache(x, offset)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    s, t = pair("offset", cache.offset, ANY)
    dx = np.roll(dy, (-s, -t), axis=(1, 2))                        # (B1)
    return Grads(dx)
