"""Gated convolution: a map multiplied, pixel by pixel and channel by channel, with the depthwise convolution of another.

Shapes       p (N, C, H, W), q (N, C, H, W), weight (C, 1, kh, kw), bias (C,) -> y (N, C, H, W)
Forward      (F1) f = q * weight + bias: every channel by its own kernel, zero padding (⌊kh/2⌋, ⌊kw/2⌋)    (F2) y = p·f
Backward     (B1) dp = dy·f    (B2) df = dy·p    (B3) dq, dweight, dbias = backward of (F1)
Constraints  (C1) p is (N, C, H, W) with C, H, W >= 1, and q has the shape of p
             (C2) weight is (C, 1, kh, kw), one kernel per channel of p
             (C3) kh and kw are odd, so that the map keeps its size
             (C4) bias, if given, is (C,)
Smooth       everywhere (linear in each of p, q, weight and bias)
Source       HorNet, arXiv 2207.14284, gConv between its two projections: gnConv of order 1
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import conv2d

Array = np.ndarray


class Cache(NamedTuple):
    p: Array; q: Array; weight: Array; bias: Array | None
    f: Array                    # the gradient of p reads it, and it is as costly to make again as the output
class Grads(NamedTuple): p: Array; q: Array; weight: Array; bias: Array | None


def output_shape(p, q, weight, bias=None):
    require(p.ndim == 4 and min(p.shape[1:]) >= 1 and q.shape == p.shape, "C1", p=p, q=q)
    require(weight.ndim == 4 and weight.shape[:2] == (p.shape[1], 1), "C2", weight=weight, p=p)
    require(weight.shape[2] % 2 == 1 and weight.shape[3] % 2 == 1, "C3", weight=weight)
    require(bias is None or bias.shape == weight.shape[:1], "C4", bias=bias, weight=weight)
    return p.shape


def macs(p, q, weight, bias=None):
    """kh·kw products with weights for every output value, and one with p."""
    values = prod(output_shape(p, q, weight, bias))
    return Macs(weights=values * prod(weight.shape[2:]), products=values)


@kernel
def forward(p: Array, q: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    f, _ = conv2d.forward(q, weight, bias, padding=borders(weight), groups=len(weight))      # (F1)
    y = p * f                                                                                # (F2)
    return y, Cache(p, q, weight, bias, f)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    p, q, weight, bias, f = cache
    dp = dy * f                                                                              # (B1)
    df = dy * p                                                                              # (B2)
    filtering = conv2d.Cache(q, weight, bias, 1, borders(weight), 1, len(weight))
    dq, dweight, dbias = conv2d.backward(df, filtering)                                      # (B3)
    return Grads(dp, dq, dweight, dbias)


def borders(weight: Array) -> tuple[int, int]:
    """Padding that keeps the size of the map under an odd kernel."""
    return weight.shape[2] // 2, weight.shape[3] // 2
