"""Pointwise (1x1) convolution: the same linear map of the channels at every pixel.

Shapes       x (N, C, H, W), weight (O, C, 1, 1), bias (O,) -> y (N, O, H, W)
Forward      (F1) y[:, i, j] = K x[:, i, j] + bias, K = weight[:, :, 0, 0]
Backward     (B1) dbias = Σ dy    (B2) dK = Σ_nij dy xᵀ    (B3) dx = Kᵀ dy
Constraints  (C1) x is (N, C, H, W)
             (C2) weight is (O, C, 1, 1) with C the channels of x
             (C3) bias, if given, is (O,), one value per output channel of weight
Smooth       everywhere (linear in x and in weight)                     Source: ACmix, arXiv 2111.14556, stage I (eq. 6)
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
    require(weight.ndim == 4 and weight.shape[1:] == (x.shape[1], 1, 1), "C2", weight=weight, x=x)
    require(bias is None or bias.shape == weight.shape[:1], "C3", bias=bias, weight=weight)
    return (x.shape[0], weight.shape[0], *x.shape[2:])


def macs(x, weight, bias=None):
    """Every output value is a sum over C products."""
    return Macs(weights=prod(output_shape(x, weight, bias)) * weight.shape[1])


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    N, C, H, W = x.shape
    K, pixels = weight[:, :, 0, 0], x.reshape(N, C, H * W)
    linear = K @ pixels if bias is None else K @ pixels + bias[:, None]           # (F1)
    y = linear.reshape(N, len(K), H, W)
    return y, Cache(x, weight, bias)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias = cache
    N, C, H, W = x.shape
    K, pixels, dpixels = weight[:, :, 0, 0], x.reshape(N, C, H * W), dy.reshape(N, len(weight), H * W)
    dbias = None if bias is None else dy.sum((0, 2, 3))                           # (B1)
    dK = (dpixels @ pixels.swapaxes(1, 2)).sum(0)                                 # (B2)
    dx = (K.T @ dpixels).reshape(x.shape)                                         # (B3)
    return Grads(dx, dK[:, :, None, None], dbias)
