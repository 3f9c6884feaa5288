"""ReLU: negative numbers become 0.

Shapes       x (any) -> y, same shape
Forward      (F1) y = max(x, 0)
Backward     (B1) dx = dy where x > 0, 0 where x <= 0
Smooth       except at x = 0, where the derivative is taken as 0; NaN stays NaN and passes its dy on
Source       Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010
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
    y = np.where(x.real <= 0, np.zeros_like(x), x)            # (F1)
    return y, Cache(x)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    dx = np.where(cache.x.real <= 0, np.zeros_like(dy), dy)   # (B1)
    return Grads(dx)
