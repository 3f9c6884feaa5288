"""Layer normalisation: every token is brought to mean 0 and variance 1 over its channels, then scaled and shifted.

Shapes       x (any), axis with n channels, weight (n,), bias (n,) -> y, the shape of x; weight and bias lie along `axis`
Forward      (F1) m = Σ x / n    (F2) r = 1/√(Σ (x - m)²/n + eps)    (F3) x̂ = (x - m)·r    (F4) y = weight·x̂ + bias; Σ along `axis`
Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂, both over all tokens    (B3) dx̂ = weight·dy
             (B4) dx = r·(dx̂ - Σ dx̂/n - x̂·Σ x̂·dx̂/n): what moves all channels alike, or along x̂, changes nothing
Constraints  (C1) axis is an axis of x, and x has at least one axis
             (C2) x has at least one channel along axis: there is no mean of nothing
             (C3) weight, if given, is (n,), one value per channel
             (C4) bias, if given, is (n,), one value per channel
             (C5) eps is a finite number greater than 0
Smooth       everywhere: eps keeps the root away from 0                 Source: Layer Normalization, arXiv 1607.06450, eq. (3)
"""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; weight: Array | None; bias: Array | None; axis: int; eps: float
    m: Array; r: Array          # shape of x with 1 at `axis`: they spare the backward two passes over x
class Grads(NamedTuple): x: Array; weight: Array | None; bias: Array | None


def output_shape(x, weight=None, bias=None, *, axis=-1, eps=1e-5):
    axis = integer("axis", axis, -(2**31))
    require(-x.ndim <= axis < x.ndim, "C1", axis=axis, x=x)
    require(x.shape[axis] > 0, "C2", x=x, axis=axis)
    require(weight is None or weight.shape == (x.shape[axis],), "C3", weight=weight, x=x, axis=axis)
    require(bias is None or bias.shape == (x.shape[axis],), "C4", bias=bias, x=x, axis=axis)
    require(isinstance(eps, Real) and 0 < float(eps) < inf, "C5", eps=eps)
    return x.shape


@kernel
def forward(x: Array, weight: Array | None = None, bias: Array | None = None, *, axis: int = -1,
            eps: float = 1e-5) -> tuple[Array, Cache]:
    m = x.mean(axis, keepdims=True)                                        # (F1)
    r = 1 / np.sqrt(((x - m) * (x - m)).mean(axis, keepdims=True) + float(eps))   # (F2)
    y = (x - m) * r                                                        # (F3)
    y = y if weight is None else along(weight, x, axis) * y                # (F4)
    y = y if bias is None else y + along(bias, x, axis)                    # (F4)
    return y, Cache(x, weight, bias, axis, eps, m, r)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, axis, _, m, r = cache
    x_hat = (x - m) * r                                                    # (F3) again
    tokens = tuple(k for k in range(x.ndim) if k != axis % x.ndim)
    dbias = None if bias is None else dy.sum(tokens)                       # (B1)
    dweight = None if weight is None else (dy * x_hat).sum(tokens)         # (B2)
    dx_hat = dy if weight is None else along(weight, x, axis) * dy         # (B3)
    mean, slope = dx_hat.mean(axis, keepdims=True), (x_hat * dx_hat).mean(axis, keepdims=True)
    dx = r * (dx_hat - mean - x_hat * slope)                               # (B4)
    return Grads(dx, dweight, dbias)


def along(vector: Array, x: Array, axis: int) -> Array:
    """`vector` with as many axes as x, its values along `axis`."""
    return vector.reshape(tuple(-1 if k == axis % x.ndim else 1 for k in range(x.ndim)))
