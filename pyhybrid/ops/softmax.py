"""Softmax along one axis, with the maximum subtracted so that large logits stay finite.

Shapes       x (any), axis -> a, same shape; along `axis` it is positive and sums to 1
Forward      (F1) e = exp(x - max x)    (F2) a = e / Σ e: subtracting any constant changes nothing
Backward     (B1) dx = a·(da - Σ a·da): the derivative of a_m by x_l is a_m (δ_ml - a_l)
Constraints  (C1) axis is an axis of x, and x has at least one axis
Smooth       everywhere; a row that holds NaN or +inf, or only -inf, is NaN
Source       ACmix, arXiv 2111.14556, attention weights (eqs. 10-15)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer

Array = np.ndarray


class Cache(NamedTuple): axis: int; a: Array          # a: both the output and all that the backward needs
class Grads(NamedTuple): x: Array


def output_shape(x, *, axis=-1):
    axis = integer("axis", axis, -(2**31))
    require(-x.ndim <= axis < x.ndim, "C1", axis=axis, x=x)
    return x.shape


def dy_shape(cache):
    """The shape of the output, which the cache holds: x itself is not kept."""
    return cache.a.shape


@kernel
def forward(x: Array, *, axis: int = -1) -> tuple[Array, Cache]:
    if x.size == 0:
        return x.copy(), Cache(axis, x.copy())
    e = np.exp(x - largest(x, axis))                      # (F1)
    a = e / e.sum(axis, keepdims=True)                    # (F2)
    return a, Cache(axis, a.copy())


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    axis, a = cache
    dx = a * (dy - (a * dy).sum(axis, keepdims=True))     # (B1)
    return Grads(dx)


def largest(x: Array, axis: int) -> Array:
    """Maximum of the real parts, with the axis kept: a constant as far as derivatives go, so complex steps pass it by."""
    return x.real.max(axis, keepdims=True)


def from_log_sum(x: Array, lse: Array, axis: int) -> Array:
    """The softmax of x along `axis`, whose log-sum-exp is `lse` (axis kept).

    exp(x - lse) alone carries the rounding of lse: with scores in the thousands its sum is 1 to thirteen digits only, and the gradient
    of a weight near 1 is a difference that needs them all. That factor is common to all entries, so dividing by their sum removes it.
    """
    a = np.exp(x - lse)
    return a if a.dtype == object else a / a.sum(axis, keepdims=True)       # exact numbers have no rounding to remove
