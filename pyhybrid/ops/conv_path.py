"""Convolution path of ACmix: the three projections of every head become k² maps, which a grouped convolution shifts and sums.

Shapes       q, k, v (N, C, H, W), C = heads·d, channel n*d + e; fc_weight (k*k, 3·heads, 1, 1), fc_bias (k*k,),
             dep_conv_weight (C, k*k, k, k), dep_conv_bias (C,) -> y (N, C, ⌈H/sh⌉, ⌈W/sw⌉)
Forward      (F1) P = [q, k, v] as (N, 3·heads, d, H, W)    (F2) F[e, m] = Σ_t fc_weight[m, t]·P[t, e] + fc_bias[m], one map per tap m
             (F3) c = shift_conv(F): group e of d makes output channels e*heads + n    (F4) y = c in the channel order asked for
Backward     (B1) dc = dy in the order of (F3)    (B2) dF, ddep_conv_weight, ddep_conv_bias = backward of shift_conv
             (B3) dfc_weight[m, t] = Σ dF[e, m]·P[t, e]    (B4) dfc_bias[m] = Σ dF[e, m]    (B5) dP[t, e] = Σ_m fc_weight[m, t]·dF[e, m]
Order        "official": y keeps e*heads + n, although the attention path it is added to has n*d + e;  "head_major": n*d + e
Constraints  (C1) q is (N, C, H, W); k and v have the shape of q
             (C2) heads divides the channels C, and C >= heads
             (C3) dep_conv_weight is (C, k*k, k, k) with k odd
             (C4) fc_weight is (k*k, 3·heads, 1, 1), k the kernel size of dep_conv_weight
             (C5) fc_bias, if given, is (k*k,); dep_conv_bias, if given, is (C,)
             (C6) channel_order is "official" or "head_major"
Smooth       everywhere (linear in q, k, v and in each weight)          Source: ACmix, arXiv 2111.14556, figures 2c and 3c, eqs. (17)-(18)
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import shift_conv
from pyhybrid.ops._sizes import ceil_div, integer, pair

Array = np.ndarray
Pair = tuple[int, int]
ORDERS = ("official", "head_major")


class Cache(NamedTuple):
    q: Array; k: Array; v: Array; fc_weight: Array; dep_conv_weight: Array; fc_bias: Array | None; dep_conv_bias: Array | None
    heads: int; stride: int | Pair; channel_order: str      # F is not saved: k²/heads times the input, and cheap to recompute
class Grads(NamedTuple):
    q: Array; k: Array; v: Array; fc_weight: Array; dep_conv_weight: Array; fc_bias: Array | None; dep_conv_bias: Array | None


def output_shape(q, k, v, fc_weight, dep_conv_weight, fc_bias=None, dep_conv_bias=None, *, heads, stride=1, channel_order="official"):
    heads, (sh, sw) = integer("heads", heads), pair("stride", stride)
    require(q.ndim == 4 and q.shape == k.shape == v.shape, "C1", q=q, k=k, v=v)
    N, C, H, W = q.shape
    require(C % heads == 0 and C >= heads, "C2", heads=heads, q=q)
    size = dep_conv_weight.shape[-1] if dep_conv_weight.ndim == 4 else 0
    require(dep_conv_weight.shape == (C, size * size, size, size) and size % 2 == 1, "C3", dep_conv_weight=dep_conv_weight, q=q)
    require(fc_weight.shape == (size * size, 3 * heads, 1, 1), "C4", fc_weight=fc_weight, heads=heads, dep_conv_weight=dep_conv_weight)
    require(fc_bias is None or fc_bias.shape == (size * size,), "C5", fc_bias=fc_bias, dep_conv_weight=dep_conv_weight)
    require(dep_conv_bias is None or dep_conv_bias.shape == (C,), "C5", dep_conv_bias=dep_conv_bias, q=q)
    require(channel_order in ORDERS, "C6", channel_order=channel_order)
    return (N, C, ceil_div(H, sh), ceil_div(W, sw))


def macs(q, k, v, fc_weight, dep_conv_weight, fc_bias=None, dep_conv_bias=None, **config):
    """fc makes k² of 3·heads maps at every pixel; dep_conv then sums k²·k² products for every output value."""
    from_fc = fc_weight.size * (q.size // config["heads"])
    shape = output_shape(q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, **config)
    return Macs(weights=from_fc + prod(shape) * prod(dep_conv_weight.shape[1:]))


@kernel
def forward(q: Array, k: Array, v: Array, fc_weight: Array, dep_conv_weight: Array, fc_bias: Array | None = None,
            dep_conv_bias: Array | None = None, *, heads: int, stride: int | Pair = 1,
            channel_order: str = "official") -> tuple[Array, Cache]:
    P = _projections(q, k, v, heads)                                                                # (F1)
    F = _maps(P, fc_weight, fc_bias)                                                                # (F2)
    c, _ = shift_conv.forward(F, dep_conv_weight, dep_conv_bias, kernel_size=dep_conv_weight.shape[-1], stride=stride)    # (F3)
    y = c if channel_order == "official" else _swap(c, q.shape[1] // heads, heads)                  # (F4)
    return y, Cache(q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, heads, stride, channel_order)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, heads, stride, channel_order = cache
    P = _projections(q, k, v, heads)
    F = _maps(P, fc_weight, fc_bias)
    dc = dy if channel_order == "official" else _swap(dy, heads, q.shape[1] // heads)               # (B1)
    saved = shift_conv.Cache(F, dep_conv_weight, dep_conv_bias, dep_conv_weight.shape[-1], stride)
    dF, ddep_conv_weight, ddep_conv_bias = shift_conv.backward(dc, saved)                           # (B2)
    dfc = np.einsum("nemhw,ntehw->mt", dF, P, optimize=dF.dtype != object)                          # (B3)
    dfc_bias = None if fc_bias is None else dF.sum((0, 1, 3, 4))                                    # (B4)
    dP = np.einsum("mt,nemhw->ntehw", fc_weight[:, :, 0, 0], dF, optimize=dF.dtype != object)       # (B5)
    dq, dk, dv = (part.reshape(q.shape).copy() for part in np.split(dP, 3, axis=1))
    return Grads(dq, dk, dv, dfc[:, :, None, None], ddep_conv_weight, dfc_bias, ddep_conv_bias)


def _projections(q: Array, k: Array, v: Array, heads: int) -> Array:
    """P of (F1): index t = n is head n of q, heads + n of k, 2·heads + n of v."""
    N, C, H, W = q.shape
    return np.concatenate([x.reshape(N, heads, C // heads, H, W) for x in (q, k, v)], axis=1)


def _maps(P: Array, fc_weight: Array, fc_bias: Array | None) -> Array:
    """F of (F2), (N, d, k*k, H, W): one linear map of the 3·heads values, the same for every e and pixel."""
    N, T, d, H, W = P.shape
    mixed = fc_weight[:, :, 0, 0] @ P.swapaxes(1, 2).reshape(N, d, T, H * W)
    biased = mixed if fc_bias is None else mixed + fc_bias[:, None]
    return biased.reshape(N, d, len(fc_weight), H, W)


def _swap(c: Array, outer: int, inner: int) -> Array:
    """Channels a*inner + b -> b*outer + a."""
    N, C, H, W = c.shape
    return c.reshape(N, outer, inner, H, W).swapaxes(1, 2).reshape(N, C, H, W)
