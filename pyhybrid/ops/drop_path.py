"""Stochastic depth: a residual branch is kept for some samples of a batch and left out for the others, as a mask says.

Shapes       x (N, ...), mask (N,), rate -> y, the shape of x
Forward      (F1) f = mask/(1 - rate)    (F2) y[n] = f[n]·x[n]; where the mask is 1 with probability 1 - rate, else 0, y is x on average
Backward     (B1) dx[n] = f[n]·dy[n]    (B2) dmask[n] = Σ dy[n]·x[n]/(1 - rate)
Constraints  (C1) x has at least one axis, that of the samples
             (C2) mask is (N,), one number per sample
             (C3) rate is a number from 0 to below 1
Smooth       everywhere (bilinear); the mask is an argument, because an operator draws no random numbers
Source       Stochastic depth, arXiv 1603.09382, eq. (5), divided by the survival probability already in training
"""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): x: Array; mask: Array; rate: float
class Grads(NamedTuple): x: Array; mask: Array


def output_shape(x, mask, *, rate=0.0):
    require(x.ndim >= 1, "C1", x=x)
    require(mask.shape == x.shape[:1], "C2", mask=mask, x=x)
    require(isinstance(rate, Real) and not isinstance(rate, bool) and 0 <= float(rate) < 1, "C3", rate=rate)
    return x.shape


@kernel
def forward(x: Array, mask: Array, *, rate: float = 0.0) -> tuple[Array, Cache]:
    f = mask / (1 - float(rate))                                   # (F1)
    y = per_sample(f, x) * x                                       # (F2)
    return y, Cache(x, mask, rate)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, mask, rate = cache
    dx = per_sample(mask / (1 - float(rate)), x) * dy              # (B1)
    dmask = (dy * x).sum(tuple(range(1, x.ndim))) / (1 - float(rate))       # (B2)
    return Grads(dx, dmask)


def per_sample(vector: Array, x: Array) -> Array:
    """A number per sample, with as many axes as x."""
    return vector.reshape((-1,) + (1,) * (x.ndim - 1))
