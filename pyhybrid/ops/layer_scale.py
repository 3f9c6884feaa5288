"""Layer scale: every channel times a learnt factor of its own, small at first, so that a residual branch starts near the identity.

Shapes       x (any), axis with C channels, gamma (C,) -> y, the shape of x
Forward      (F1) y = gamma·x, gamma along `axis`
Backward     (B1) dx = gamma·dy    (B2) dgamma = Σ dy·x over all axes but `axis`: alive also where gamma is 0
Constraints  (C1) axis is an axis of x, and x has at least one axis
             (C2) gamma is (C,), one factor per channel
Smooth       everywhere (bilinear)                                      Source: CaiT, arXiv 2103.17239, section 3; SMT, arXiv 2307.08579
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer

Array = np.ndarray


class Cache(NamedTuple): x: Array; gamma: Array; axis: int
class Grads(NamedTuple): x: Array; gamma: Array


def output_shape(x, gamma, *, axis=-1):
    axis = integer("axis", axis, -(2**31))
    require(-x.ndim <= axis < x.ndim, "C1", axis=axis, x=x)
    require(gamma.shape == (x.shape[axis],), "C2", gamma=gamma, x=x, axis=axis)
    return x.shape


@kernel
def forward(x: Array, gamma: Array, *, axis: int = -1) -> tuple[Array, Cache]:
    y = along(gamma, x, axis) * x                                  # (F1)
    return y, Cache(x, gamma, axis)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, gamma, axis = cache
    dx = along(gamma, x, axis) * dy                                # (B1)
    others = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
    dgamma = (dy * x).sum(others)                                  # (B2)
    return Grads(dx, dgamma)


def along(vector: Array, x: Array, axis: int) -> Array:
    """`vector` with as many axes as x, lying along `axis`."""
    return vector.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
