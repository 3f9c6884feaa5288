"""The shifts as convolution kernels: every group of k² maps is shifted and summed by one grouped convolution, which may learn.

Shapes       maps (N, d, k*k, H, W), weight (O, k*k, k, k), bias (O,) -> y (N, O, ⌈H/sh⌉, ⌈W/sw⌉); group e has O/d outputs, e*O/d and on
Forward      (F1) fixed (weight None, O = d): y[e] = Σ_m Shift(maps[e, m], p-c, q-c), m = p*k + q, c = ⌊k/2⌋, read on the stride grid
             (F2) learnable: y[o, i, j] = Σ_m Σ_uv weight[o, m, u, v] · maps[e, m, i·sh+u-c, j·sw+v-c] + bias[o], zeros outside, e = ⌊o·d/O⌋
Backward     (B1) fixed: dmaps = the adjoint shifts    (B2) learnable: dmaps, dweight, dbias = those of the grouped convolution
Constraints  (C1) maps is (N, d, k*k, H, W) with d >= 1
             (C2) weight, if given, is (O, k*k, k, k) with O a multiple of d
             (C3) bias, if given, is (O,), one value per output channel of weight, and needs weight
             (C4) kernel_size k is odd
Smooth       everywhere (linear in maps and in weight)                  Source: ACmix, arXiv 2111.14556, eqs. (17)-(18), figure 3
Start        `shift_weight(k, O)` holds the one-hot kernels of the fixed shifts: learning starts from (F1)
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import conv2d, shift_sum
from pyhybrid.ops._sizes import ceil_div, integer, pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): maps: Array; weight: Array | None; bias: Array | None; kernel_size: int; stride: int | Pair
class Grads(NamedTuple): maps: Array; weight: Array | None; bias: Array | None


def shift_kernels(kernel_size: int, dtype: type = np.float64) -> Array:
    """The k² one-hot kernels E_m (k*k, k, k): correlating with E_m, m = p*k + q, is Shift(·, p-c, q-c)."""
    k = integer("kernel_size", kernel_size)
    return np.eye(k * k, dtype=dtype).reshape(k * k, k, k)


def shift_weight(kernel_size: int, outputs: int, dtype: type = np.float64) -> Array:
    """weight (outputs, k*k, k, k) with which (F2) equals the fixed shifts (F1), for every output of a group."""
    return np.broadcast_to(shift_kernels(kernel_size, dtype), (outputs, kernel_size**2, kernel_size, kernel_size)).copy()


def output_shape(maps, weight=None, bias=None, *, kernel_size, stride=1):
    k, (sh, sw) = integer("kernel_size", kernel_size), pair("stride", stride)
    require(k % 2 == 1, "C4", kernel_size=kernel_size)
    require(maps.ndim == 5 and maps.shape[1] >= 1 and maps.shape[2] == k * k, "C1", maps=maps, kernel_size=kernel_size)
    N, d, _, H, W = maps.shape
    if weight is not None:
        require(weight.shape[1:] == (k * k, k, k) and weight.shape[0] % d == 0, "C2", weight=weight, maps=maps, kernel_size=kernel_size)
    require(bias is None or (weight is not None and bias.shape == weight.shape[:1]), "C3", bias=bias, weight=weight)
    return (N, d if weight is None else len(weight), ceil_div(H, sh), ceil_div(W, sw))


def macs(maps, weight=None, bias=None, **config):
    """With learnt kernels every output value is a sum over k²·k² products; fixed shifts only add."""
    return Macs(weights=0 if weight is None else prod(output_shape(maps, weight, bias, **config)) * prod(weight.shape[1:]))


@kernel
def forward(maps: Array, weight: Array | None = None, bias: Array | None = None, *, kernel_size: int,
            stride: int | Pair = 1) -> tuple[Array, Cache]:
    N, d, _, H, W = maps.shape
    if weight is None:
        y, _ = shift_sum.forward(maps.swapaxes(1, 2), kernel_size=kernel_size, stride=stride)             # (F1)
    elif 0 in (H, W):
        y = np.zeros(output_shape(maps, weight, bias, kernel_size=kernel_size, stride=stride), maps.dtype)     # no pixel, no sum
    else:
        channels = maps.reshape(N, d * kernel_size**2, H, W)                                             # channel e*k² + m
        y, _ = conv2d.forward(channels, weight, bias, stride=stride, padding=kernel_size // 2, groups=d)   # (F2)
    return y, Cache(maps, weight, bias, kernel_size, stride)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    maps, weight, bias, k, stride = cache
    N, d, _, H, W = maps.shape
    if weight is None:
        (dshifted,) = shift_sum.backward(dy, shift_sum.Cache(maps.swapaxes(1, 2), k, stride))
        return Grads(dshifted.swapaxes(1, 2).copy(), None, None)                                         # (B1)
    if 0 in (H, W):
        return Grads(np.zeros_like(maps), np.zeros_like(weight), None if bias is None else np.zeros_like(bias))
    conv = conv2d.Cache(maps.reshape(N, d * k * k, H, W), weight, bias, stride, k // 2, 1, d)
    dchannels, dweight, dbias = conv2d.backward(dy, conv)                                                # (B2)
    return Grads(dchannels.reshape(maps.shape), dweight, dbias)
