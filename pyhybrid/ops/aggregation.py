"""Aggregation: every pixel is a weighted sum of its window, with weights of its own that a group of channels shares.

Shapes       weight (N, Cw, k*k, Ho, Wo), v (N, C, H, W), kernel_size k -> y (N, C, Ho, Wo), Ho = ⌈H/sh⌉; channel c reads weight c mod Cw
             U(v) (N, C, k*k, Ho, Wo): the window of every output pixel in the mirrored map, plane m = u*k + v
Forward      (F1) p = v, mirrored ⌊k/2⌋ pixels beyond its border    (F2) y[c] = Σ_m weight[c mod Cw, m]·U(v)[c, m], read from p
Backward     (B1) dweight[g, m] = Σ dy[c]·U(v)[c, m] over the channels c with c mod Cw = g
             (B2) dU(v)[c, m] = weight[c mod Cw, m]·dy[c], added up in dp    (B3) dv = dp, its border folded back
Constraints  (C1) v is (N, C, H, W)
             (C2) kernel_size is odd
             (C3) the map is larger than half the window: ⌊kernel_size/2⌋ < H and < W (or kernel_size is 1)
             (C4) weight is (N, Cw, k*k, ⌈H/sh⌉, ⌈W/sw⌉), where Cw divides C
Smooth       everywhere (bilinear)                                      Source: SAN, arXiv 2004.13621 eqs. (2), (4)
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import reflection_pad
from pyhybrid.ops._sizes import ceil_div, integer, pair
from pyhybrid.ops._taps import tap, taps

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): weight: Array; v: Array; kernel_size: int; stride: int | Pair
class Grads(NamedTuple): weight: Array; v: Array


def output_shape(weight, v, *, kernel_size, stride=1):
    k, (sh, sw) = integer("kernel_size", kernel_size), pair("stride", stride)
    require(v.ndim == 4, "C1", v=v)
    N, C, H, W = v.shape
    require(k % 2 == 1, "C2", kernel_size=kernel_size)
    require(k == 1 or k // 2 < min(H, W), "C3", kernel_size=kernel_size, v=v)
    size = (ceil_div(H, sh), ceil_div(W, sw))
    require(weight.ndim == 5 and weight.shape[0] == N and weight.shape[1] >= 1 and C % weight.shape[1] == 0
            and weight.shape[2:] == (k * k, *size), "C4", weight=weight, v=v, kernel_size=kernel_size, stride=stride)
    return (N, C, *size)


def macs(weight, v, *, kernel_size, stride=1):
    """One product for each of the k² taps, channel and output pixel."""
    return Macs(products=weight.shape[2] * prod(output_shape(weight, v, kernel_size=kernel_size, stride=stride)))


@kernel
def forward(weight: Array, v: Array, *, kernel_size: int, stride: int | Pair = 1) -> tuple[Array, Cache]:
    size, step = weight.shape[3:], pair("stride", stride)
    p = by_weight(reflection_pad.forward(v, padding=kernel_size // 2)[0], weight.shape[1])      # (F1)
    y = np.zeros((*p.shape[:3], *size), np.result_type(weight, v))
    for m, a, b in taps((kernel_size, kernel_size)):
        y += weight[:, None, :, m] * tap(p, a, b, size, step)                                   # (F2)
    return y.reshape(*v.shape[:2], *size), Cache(weight, v, kernel_size, stride)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    weight, v, kernel_size, stride = cache
    size, step = weight.shape[3:], pair("stride", stride)
    padded, pad = reflection_pad.forward(v, padding=kernel_size // 2)
    p, do = by_weight(padded, weight.shape[1]), by_weight(dy, weight.shape[1])
    dweight, dp = np.zeros(weight.shape, dy.dtype), np.zeros(p.shape, dy.dtype)
    for m, a, b in taps((kernel_size, kernel_size)):
        dweight[:, :, m] = (do * tap(p, a, b, size, step)).sum(1)                               # (B1)
        tap(dp, a, b, size, step)[...] += weight[:, None, :, m] * do                            # (B2)
    dv = reflection_pad.backward(dp.reshape(padded.shape), pad).x                               # (B3)
    return Grads(dweight, dv)


def by_weight(x: Array, groups: int) -> Array:
    """(N, C, ...) -> (N, C/Cw, Cw, ...): channels g, g + Cw, g + 2·Cw, … share weight g."""
    return x.reshape(x.shape[0], x.shape[1] // groups, groups, *x.shape[2:])
