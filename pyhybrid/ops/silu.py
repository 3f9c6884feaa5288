"""SiLU (swish): x times its sigmoid.

Shapes       x (any) -> y, same shape
Forward      (F1) s = σ(x)    (F2) y = x·s
Backward     (B1) dx = dy·(s + x·s(1-s)): x acts directly and through s
Smooth       everywhere; at -∞ and ∞ value and derivative are their limits: -0 and 0, ∞ and 1; NaN stays NaN
Source       SiLU, arXiv 1702.03118, section 2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.ops.erf import within
from pyhybrid.ops.sigmoid import value_and_slope

Array = np.ndarray
FAR = 1000.0  # exp(-1000) is 0 in float32 and float64; products of it and a finite number have no 0·∞


class Cache(NamedTuple): x: Array
class Grads(NamedTuple): x: Array


def output_shape(x):
    return x.shape


@kernel
def forward(x: Array) -> tuple[Array, Cache]:
    s, _ = value_and_slope(x)                                 # (F1)
    y = np.where(x.real < -FAR, -FAR, x) * s                  # (F2)
    return np.asarray(y), Cache(x)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    s, slope = value_and_slope(cache.x)
    dx = dy * (s + within(cache.x, FAR) * slope)              # (B1)
    return Grads(np.asarray(dx))
