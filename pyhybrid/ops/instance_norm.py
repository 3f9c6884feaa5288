"""Instance normalisation: every map of every sample is brought to mean 0 and variance 1 over its pixels, then scaled and shifted.

Shapes       x (N, C, H, W), weight (C,), bias (C,) -> y, the shape of x
Forward      (F1) m = Σ x / HW    (F2) r = 1/√(Σ (x - m)²/HW + eps)    (F3) x̂ = (x - m)·r    (F4) y = weight·x̂ + bias; Σ over the pixels
Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂, both over samples and pixels    (B3) dx̂ = weight·dy
             (B4) dx = r·(dx̂ - Σ dx̂/HW - x̂·Σ x̂·dx̂/HW): what moves all pixels alike, or along x̂, changes nothing
Constraints  (C1) x is (N, C, H, W) with H, W >= 1: there is no mean of nothing
             (C2) weight, if given, is (C,), one value per channel
             (C3) bias, if given, is (C,), one value per channel
             (C4) eps is a finite number greater than 0
Smooth       everywhere: eps keeps the root away from 0; a map of one pixel becomes 0, or bias
Source       Instance Normalization, arXiv 1607.08022, eq. (3); DAS, arXiv 2311.12091, eq. (1)
"""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; weight: Array | None; bias: Array | None; eps: float
    m: Array; r: Array          # (N, C): they spare the backward two passes over x
class Grads(NamedTuple): x: Array; weight: Array | None; bias: Array | None


def output_shape(x, weight=None, bias=None, *, eps=1e-5):
    require(x.ndim == 4 and min(x.shape[2:]) >= 1, "C1", x=x)
    require(weight is None or weight.shape == (x.shape[1],), "C2", weight=weight, x=x)
    require(bias is None or bias.shape == (x.shape[1],), "C3", bias=bias, x=x)
    require(isinstance(eps, Real) and 0 < float(eps) < inf, "C4", eps=eps)
    return x.shape


@kernel
def forward(x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5) -> tuple[Array, Cache]:
    m = x.mean((2, 3), keepdims=True)                                      # (F1)
    r = 1 / np.sqrt(((x - m) * (x - m)).mean((2, 3), keepdims=True) + float(eps))   # (F2)
    y = (x - m) * r                                                        # (F3)
    y = y if weight is None else weight[:, None, None] * y                 # (F4)
    y = y if bias is None else y + bias[:, None, None]                     # (F4)
    return y, Cache(x, weight, bias, eps, m[:, :, 0, 0], r[:, :, 0, 0])


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, _ = cache[:4]
    m, r = cache.m[:, :, None, None], cache.r[:, :, None, None]
    x_hat = (x - m) * r                                                    # (F3) again
    dbias = None if bias is None else dy.sum((0, 2, 3))                    # (B1)
    dweight = None if weight is None else (dy * x_hat).sum((0, 2, 3))      # (B2)
    dx_hat = dy if weight is None else weight[:, None, None] * dy          # (B3)
    mean, slope = dx_hat.mean((2, 3), keepdims=True), (x_hat * dx_hat).mean((2, 3), keepdims=True)
    dx = r * (dx_hat - mean - x_hat * slope)                               # (B4)
    return Grads(dx, dweight, dbias)
