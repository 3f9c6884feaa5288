"""A convolution in two stages: pointwise convolutions, one per tap, then shift and sum.

Shapes       x (N, C, H, W), weight (O, C, kh, kw), bias (kh*kw, O) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉)
Forward      (F1) maps = stage I (tap_projection)    (F2) y = stage II (shift_sum)
Backward     (B1) dmaps = adjoint of stage II    (B2) dx, dweight, dbias = adjoint of stage I
Constraints  (C1) x is (N, C, H, W), weight (O, C, kh, kw), and bias, if given, (kh*kw, O): see tap_projection
Equals       conv2d with padding ⌊k/2⌋ when k is odd; with k even, its first H x W outputs
Smooth       everywhere (linear in x and in weight)                     Source: ACmix, arXiv 2111.14556, eqs. (1)-(9)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops import shift_sum, tap_projection
from pyhybrid.ops._sizes import ceil_div, pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): x: Array; weight: Array; bias: Array | None; stride: int | Pair
class Grads(NamedTuple): x: Array; weight: Array; bias: Array | None


def output_shape(x, weight, bias=None, *, stride=1):
    sh, sw = pair("stride", stride)
    require(x.ndim == 4 and weight.ndim == 4, "C1", x=x, weight=weight)
    N, _, O, H, W = tap_projection.output_shape(x, weight, bias)
    return (N, O, ceil_div(H, sh), ceil_div(W, sw))


def macs(x, weight, bias=None, *, stride=1):
    """Those of stage I; stage II only adds. The maps are computed at every pixel, whatever the stride."""
    return tap_projection.macs(x, weight, bias)


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None, *, stride: int | Pair = 1) -> tuple[Array, Cache]:
    maps, _ = tap_projection.forward(x, weight, bias)                                     # (F1)
    y, _ = shift_sum.forward(maps, kernel_size=weight.shape[2:], stride=stride)           # (F2)
    return y, Cache(x, weight, bias, stride)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, stride = cache
    # Stage II is linear: of its input only the shape matters, so nothing was saved and an empty view of that shape will do.
    maps = np.broadcast_to(np.zeros((), dy.dtype), tap_projection.output_shape(x, weight, bias))
    (dmaps,) = shift_sum.backward(dy, shift_sum.Cache(maps, weight.shape[2:], stride))    # (B1)
    dx, dweight, dbias = tap_projection.backward(dmaps, tap_projection.Cache(x, weight, bias))     # (B2)
    return Grads(dx, dweight, dbias)
