"""Group normalisation: each group of channels of a sample is brought to mean 0 and variance 1; with one group, the whole sample.

Shapes       x (N, C, H, W), weight (C,), bias (C,), groups -> y, the shape of x; A = the (C/groups)·H·W numbers of a sample's group
Forward      (F1) m = Σ_A x / |A|    (F2) r = 1/√(Σ_A (x - m)² / |A| + eps)    (F3) x̂ = (x - m)·r    (F4) y = weight·x̂ + bias, by channel
Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂, both over samples and pixels    (B3) dx̂ = weight·dy
             (B4) dx = r·(dx̂ - Σ_A dx̂/|A| - x̂·Σ_A x̂·dx̂/|A|): what moves all of A alike, or along x̂, changes nothing
Constraints  (C1) x is (N, C, H, W) with C, H, W >= 1: there is no mean of nothing
             (C2) groups divides the channels C of x
             (C3) weight, if given, is (C,), one value per channel
             (C4) bias, if given, is (C,), one value per channel
             (C5) eps is a finite number greater than 0
Smooth       everywhere: eps keeps the root away from 0
Source       Group Normalization, arXiv 1803.08494, eqs. (1)-(7); one group is the "global" layer norm of DAS, arXiv 2311.12091, eq. (3)
"""

from __future__ import annotations

from math import inf, prod
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; weight: Array | None; bias: Array | None; groups: int; eps: float
    m: Array; r: Array          # (N, groups): they spare the backward two passes over x
class Grads(NamedTuple): x: Array; weight: Array | None; bias: Array | None


def output_shape(x, weight=None, bias=None, *, groups=1, eps=1e-5):
    groups = integer("groups", groups)
    require(x.ndim == 4 and min(x.shape[1:]) >= 1, "C1", x=x)
    require(x.shape[1] % groups == 0, "C2", groups=groups, x=x)
    require(weight is None or weight.shape == (x.shape[1],), "C3", weight=weight, x=x)
    require(bias is None or bias.shape == (x.shape[1],), "C4", bias=bias, x=x)
    require(isinstance(eps, Real) and 0 < float(eps) < inf, "C5", eps=eps)
    return x.shape


@kernel
def forward(x: Array, weight: Array | None = None, bias: Array | None = None, *, groups: int = 1,
            eps: float = 1e-5) -> tuple[Array, Cache]:
    A = grouped(x, groups)
    m = A.mean(2, keepdims=True)                                           # (F1)
    r = 1 / np.sqrt(((A - m) * (A - m)).mean(2, keepdims=True) + float(eps))   # (F2)
    y = ((A - m) * r).reshape(x.shape)                                     # (F3)
    y = y if weight is None else weight[:, None, None] * y                 # (F4)
    y = y if bias is None else y + bias[:, None, None]                     # (F4)
    return y, Cache(x, weight, bias, groups, eps, m[:, :, 0], r[:, :, 0])


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, groups, _ = cache[:5]
    m, r = cache.m[:, :, None], cache.r[:, :, None]
    x_hat = (grouped(x, groups) - m) * r                                   # (F3) again
    dbias = None if bias is None else dy.sum((0, 2, 3))                    # (B1)
    dweight = None if weight is None else (dy * x_hat.reshape(x.shape)).sum((0, 2, 3))      # (B2)
    dx_hat = grouped(dy if weight is None else weight[:, None, None] * dy, groups)          # (B3)
    mean, slope = dx_hat.mean(2, keepdims=True), (x_hat * dx_hat).mean(2, keepdims=True)
    dx = r * (dx_hat - mean - x_hat * slope)                               # (B4)
    return Grads(dx.reshape(x.shape), dweight, dbias)


def grouped(x: Array, groups: int) -> Array:
    """x as (N, groups, |A|)."""
    return x.reshape(len(x), groups, prod(x.shape[1:]) // groups)
