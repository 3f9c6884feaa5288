"""The logistic sigmoid, from exponentials of negative numbers only, so that nothing overflows.

Shapes       x (any) -> y, same shape, between 0 and 1
Forward      (F1) e = exp(-|x|)    (F2) y = σ(x) = 1 / (1 + exp(-x)), which is 1/(1+e) for x >= 0 and e/(1+e) for x < 0
Backward     (B1) dx = dy·σ(1-σ) with σ(1-σ) = e/(1+e)²: from x and not from y, whose 1-y is lost to rounding on the right
Smooth       everywhere; σ(-∞) = 0, σ(∞) = 1, NaN stays NaN
Source       SiLU, arXiv 1702.03118, section 2
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
    """σ(x) and σ'(x) = σ(1-σ), each with a small relative error also where it is tiny."""
    e = np.exp(np.where(x.real < 0, x, -x))                   # (F1)
    r = 1.0 / (1.0 + e)
    return np.where(x.real < 0, e * r, r), e * r * r          # (F2) (B1)
