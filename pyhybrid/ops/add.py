"""Sum of two arrays: where a shortcut meets its branch and, backwards, where the gradients of two paths that part at one place meet.

Shapes       a (any), b (the same) -> y, same shape
Forward      (F1) y = a + b
Backward     (B1) da = dy    (B2) db = dy
Constraints  (C1) b has the shape of a: nothing is broadcast
Smooth       everywhere (linear)                                        Source: ResNet, arXiv 1512.03385, eq. (1)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): a: Array; b: Array          # for their shape
class Grads(NamedTuple): a: Array; b: Array


def output_shape(a, b):
    require(a.shape == b.shape, "C1", a=a, b=b)
    return a.shape


@kernel
def forward(a: Array, b: Array) -> tuple[Array, Cache]:
    y = a + b                              # (F1)
    return y, Cache(a, b)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    da, db = dy.copy(), dy.copy()          # (B1) (B2)
    return Grads(da, db)
