"""Stage I of a convolution: one pointwise convolution per kernel tap, nothing shifted yet.

Shapes       x (N, C, H, W), weight (O, C, kh, kw), bias (kh*kw, O) -> maps (N, kh*kw, O, H, W); map m = p*kw + q belongs to tap (p, q)
Forward      (F1) maps[m] = K_pq x + bias[m], K_pq = weight[:, :, p, q]
Backward     (B1) dbias[m] = Σ dmaps[m]    (B2) dK_pq = Σ_nij dmaps[m] xᵀ    (B3) dx = Σ_pq K_pqᵀ dmaps[m]
Constraints  (C1) x is (N, C, H, W)
             (C2) weight is (O, C, kh, kw) with C the channels of x and kh, kw >= 1
             (C3) bias, if given, is (kh*kw, O), one value per tap and output channel
Smooth       everywhere (linear in x and in weight)                     Source: ACmix, arXiv 2111.14556, stage I (eq. 6)
Note         A bias here is shifted along with its map and is lost at the border, unlike the bias of a convolution.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): x: Array; weight: Array; bias: Array | None
class Grads(NamedTuple): x: Array; weight: Array; bias: Array | None


def output_shape(x, weight, bias=None):
    require(x.ndim == 4, "C1", x=x)
    require(weight.ndim == 4 and weight.shape[1] == x.shape[1] and weight.shape[2] >= 1 and weight.shape[3] >= 1,
            "C2", weight=weight, x=x)
    (N, _, H, W), (O, _, kh, kw) = x.shape, weight.shape
    require(bias is None or bias.shape == (kh * kw, O), "C3", bias=bias, weight=weight)
    return (N, kh * kw, O, H, W)


def macs(x, weight, bias=None):
    """Every value of every map is a sum over C products."""
    return Macs(weights=prod(output_shape(x, weight, bias)) * weight.shape[1])


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    N, C, H, W = x.shape
    K, pixels = _by_tap(weight), x.reshape(N, 1, C, H * W)
    linear = K @ pixels if bias is None else K @ pixels + bias[:, :, None]         # (F1)
    maps = linear.reshape(N, *K.shape[:2], H, W)
    return maps, Cache(x, weight, bias)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias = cache
    N, C, H, W = x.shape
    K, pixels, dmaps = _by_tap(weight), x.reshape(N, 1, C, H * W), dy.reshape(*dy.shape[:3], H * W)
    dbias = None if bias is None else dmaps.sum((0, 3))                            # (B1)
    dK = (dmaps @ pixels.swapaxes(2, 3)).sum(0)                                    # (B2)
    dx = (K.swapaxes(1, 2) @ dmaps).sum(1).reshape(x.shape)                        # (B3)
    O, _, kh, kw = weight.shape
    dweight = dK.reshape(kh, kw, O, C).transpose(2, 3, 0, 1).copy()
    return Grads(dx, dweight, dbias)


def _by_tap(weight: Array) -> Array:
    """weight (O, C, kh, kw) -> the matrices K_pq as (kh*kw, O, C)."""
    O, C, kh, kw = weight.shape
    return weight.transpose(2, 3, 0, 1).reshape(kh * kw, O, C)
