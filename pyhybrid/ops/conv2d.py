"""Two-dimensional convolution (cross-correlation, as in the field), with stride, zero padding, dilation and groups.

Shapes       x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) -> y (N, O, Ho, Wo), Ho = ⌊(H + 2·ph - dh·(kh-1) - 1) / sh⌋ + 1
Forward      (F1) xp = x padded with zeros    (F2) x_pq[i, j] = xp[i·sh + p·dh, j·sw + q·dw]
             (F3) g = Σ_pq K_pq x_pq, K_pq = weight[:, :, p, q], within each group of channels    (F4) y = g + bias
Backward     (B1) dbias = Σ dy    (B2) dK_pq = Σ_n dy x_pqᵀ    (B3) dx_pq = K_pqᵀ dy, added at the pixels that tap (p, q) read
             (B4) dx = dxp without its padding
Constraints  (C1) x is (N, C, H, W)
             (C2) weight is (O, C/groups, kh, kw) with kh, kw >= 1
             (C3) bias, if given, is (O,), one value per output channel of weight
             (C4) groups divides the channels C of x and the output channels O of weight
             (C5) the padded input is at least as large as the dilated kernel
Smooth       everywhere (linear in x and in weight)                     Source: ACmix, arXiv 2111.14556, convolution (eqs. 1-3)
Depthwise    groups = C: one group per channel, which the compiled kernel treats apart
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.ops._taps import crop, pad_zeros, tap, taps

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple):
    x: Array; weight: Array; bias: Array | None
    stride: int | Pair; padding: int | Pair; dilation: int | Pair; groups: int
class Grads(NamedTuple): x: Array; weight: Array; bias: Array | None


def output_shape(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    (sh, sw), (ph, pw), (dh, dw) = pair("stride", stride), pair("padding", padding, 0), pair("dilation", dilation)
    groups = integer("groups", groups)
    require(x.ndim == 4, "C1", x=x)
    require(weight.ndim == 4 and weight.shape[2] >= 1 and weight.shape[3] >= 1, "C2", weight=weight)
    (N, C, H, W), (O, _, kh, kw) = x.shape, weight.shape
    require(C % groups == 0 and O % groups == 0, "C4", groups=groups, x=x, weight=weight)
    require(weight.shape[1] * groups == C, "C2", weight=weight, x=x, groups=groups)
    require(bias is None or bias.shape == (O,), "C3", bias=bias, weight=weight)
    spare_h, spare_w = H + 2 * ph - dh * (kh - 1) - 1, W + 2 * pw - dw * (kw - 1) - 1
    require(spare_h >= 0 and spare_w >= 0, "C5", x=x, weight=weight, padding=padding, dilation=dilation)
    return (N, O, spare_h // sh + 1, spare_w // sw + 1)


def macs(x, weight, bias=None, **config):
    """Every output value is a sum over C/groups·kh·kw products."""
    return Macs(weights=prod(output_shape(x, weight, bias, **config)) * prod(weight.shape[1:]))


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None, *, stride: int | Pair = 1, padding: int | Pair = 0,
            dilation: int | Pair = 1, groups: int = 1) -> tuple[Array, Cache]:
    cache = Cache(x, weight, bias, stride, padding, dilation, groups)
    N, O, Ho, Wo = output_shape(*cache[:3], **_config(cache))
    xp = pad_zeros(x, pair("padding", padding, 0))                                               # (F1)
    K = _by_group(weight, groups)                                                                # (groups, O', C', kh, kw)
    g = sum(K[..., p, q] @ _read(xp, p, q, cache, (Ho, Wo)) for _, p, q in taps(K.shape[-2:]))   # (F2) (F3)
    y = g.reshape(N, O, Ho, Wo)
    if bias is not None:
        y = y + bias[:, None, None]                                                              # (F4)
    return y, cache


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, stride, padding, dilation, groups = cache
    N, O, Ho, Wo = dy.shape
    xp = pad_zeros(x, pair("padding", padding, 0))
    K = _by_group(weight, groups)
    dg = dy.reshape(N, groups, O // groups, Ho * Wo)
    dbias = None if bias is None else dy.sum((0, 2, 3))                                          # (B1)
    dK, dxp = np.zeros_like(K, dtype=np.result_type(dy, x)), np.zeros_like(xp, dtype=np.result_type(dy, K))
    for _, p, q in taps(K.shape[-2:]):
        x_pq = _read(xp, p, q, cache, (Ho, Wo))
        dK[..., p, q] = (dg @ x_pq.swapaxes(-1, -2)).sum(0)                                      # (B2)
        dx_pq = K[..., p, q].swapaxes(-1, -2) @ dg                                               # (B3)
        tap(dxp, p, q, (Ho, Wo), pair("stride", stride), pair("dilation", dilation))[...] += dx_pq.reshape(N, x.shape[1], Ho, Wo)
    dx = crop(dxp, pair("padding", padding, 0), x.shape[2:])                                     # (B4)
    return Grads(dx, dK.reshape(weight.shape), dbias)


def _config(cache: Cache) -> dict:
    return {"stride": cache.stride, "padding": cache.padding, "dilation": cache.dilation, "groups": cache.groups}


def _by_group(weight: Array, groups: int) -> Array:
    """weight (O, C', kh, kw) -> (groups, O', C', kh, kw)."""
    O, C, kh, kw = weight.shape
    return weight.reshape(groups, O // groups, C, kh, kw)


def _read(xp: Array, p: int, q: int, cache: Cache, size: Pair) -> Array:
    """x_pq of (F2) as columns (N, groups, C', Ho*Wo)."""
    N, C = xp.shape[:2]
    x_pq = tap(xp, p, q, size, pair("stride", cache.stride), pair("dilation", cache.dilation))
    return x_pq.reshape(N, cache.groups, C // cache.groups, size[0] * size[1])
