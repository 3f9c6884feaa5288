"""The hyperbolic tangent: a sigmoid stretched to run from -1 to 1.

Shapes       x (any) -> y, same shape, between -1 and 1
Forward      (F1) y = tanh x = (exp(x) - exp(-x)) / (exp(x) + exp(-x)) = 2·σ(2x) - 1
Backward     (B1) dx = dy·(1 - tanh²x) = dy·4·σ(2x)·(1 - σ(2x)): from x and not from y, whose 1 - y is lost to rounding
Smooth       everywhere; tanh(±∞) = ±1, NaN stays NaN
Source       CoAtNet, arXiv 2106.04803: the hidden layer of the classifier that its parameter counts need
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.ops.sigmoid import value_and_slope

Array = np.ndarray


class Cache(NamedTuple): x: Array
class Grads(NamedTuple): x: Array


def output_shape(x):
    return x.shape


@kernel
def forward(x: Array) -> tuple[Array, Cache]:
    y = np.tanh(x)                                            # (F1)
    return np.asarray(y), Cache(x)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    _, slope = value_and_slope(2.0 * cache.x)
    dx = dy * (4.0 * slope)                                   # (B1)
    return Grads(np.asarray(dx))
