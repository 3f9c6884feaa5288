"""ELU plus one: a positive feature map that is linear on the right and an exponential on the left.

Shapes       x (any) -> y, same shape, positive until it underflows
Forward      (F1) y = elu(x) + 1 = x + 1 for x > 0, exp(x) elsewhere
Backward     (B1) dx = dy·1 for x > 0, dy·exp(x) elsewhere
Smooth       once everywhere: at 0 both sides have value 1 and slope 1; y(-∞) = 0, y(∞) = ∞, NaN stays NaN
Source       CoAtNet, arXiv 2106.04803, section 2.2, option (C); the map of linear attention, arXiv 2006.16236
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel

Array = np.ndarray


class Cache(NamedTuple): x: Array
class Grads(NamedTuple): x: Array


def output_shape(x):
    return x.shape


@kernel
def forward(x: Array) -> tuple[Array, Cache]:
    return value_and_slope(x)[0], Cache(x)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    dx = dy * value_and_slope(cache.x)[1]                     # (B1)
    return Grads(np.asarray(dx))


def value_and_slope(x: Array) -> tuple[Array, Array]:
    """The map φ and its derivative φ'; the exponential sees no positive number, so that nothing overflows."""
    e = np.exp(np.where(x.real > 0, 0.0, x).astype(x.dtype, copy=False))
    return np.where(x.real > 0, x + 1.0, e), e                # (F1) (B1): exp(0) = 1 is the slope on the right
