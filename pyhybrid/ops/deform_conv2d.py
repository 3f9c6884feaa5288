"""Deformable convolution: every tap of the kernel reads at its own place, moved by an offset and, in version 2, scaled by a mask.

Shapes       x (N, C, H, W), offset (N, 2·Go·K, Ho, Wo), weight (O, C/G, kh, kw), mask (N, Go·K, Ho, Wo), bias (O,) -> y (N, O, Ho, Wo),
             K = kh·kw taps k = p·kw + q, G groups, Go offset_groups, Ho = ⌊(H + 2·ph - dh·(kh-1) - 1) / sh⌋ + 1
Order        channel 2·(g·K + k) of offset is dy, 2·(g·K + k) + 1 is dx of tap k for the channels of offset group g = ⌊c / (C/Go)⌋;
             channel g·K + k of mask is its mask. Other orders: pyhybrid/interop/offsets.py. The mask is used as it is, without a sigmoid
Forward      (F1) ys = i·sh - ph + p·dh + dy, xs = j·sw - pw + q·dw + dx, in pixels of x    (F2) S = x sampled bilinearly at (ys, xs)
             (F3) col = mask·S; without a mask col = S (version 1)    (F4) y = Σ_ck weight[o, c, k]·col[c, k] + bias, in each group
Backward     (B1) dbias = Σ dy    (B2) dweight = Σ_nij dy·colᵀ    (B3) dcol = weightᵀ·dy    (B4) dmask = Σ_c dcol·S, dS = mask·dcol
             (B5) dx, ddy, ddx = backward of the sampling of (F2), given dS
Constraints  (C1) x is (N, C, H, W)
             (C2) weight is (O, C/groups, kh, kw) with kh, kw >= 1
             (C3) groups divides the channels C of x and the output channels O of weight
             (C4) offset_groups divides the channels C of x
             (C5) the padded input is at least as large as the dilated kernel
             (C6) offset is (N, 2·offset_groups·kh·kw, Ho, Wo), two values per tap and output pixel
             (C7) mask, if given, is (N, offset_groups·kh·kw, Ho, Wo), one value per tap and output pixel
             (C8) bias, if given, is (O,), one value per output channel of weight
             (C9) kink is "right" or "zero_outside"
Smooth       except where ys or xs is whole, as everywhere at offset 0. "right" gives the derivative to the right (torchvision's rule);
             "zero_outside" as well, but 0 for ddy, ddx, dmask where ys <= -1 or xs <= -1 (mmcv's): they differ only at exactly -1
Outside      as bilinear_sample: zeros continue x, blended within one pixel around it; a tap that reads far outside or at ±∞ gives 0, one
             that reads at NaN makes its outputs and the gradients of its own offset, mask and weights NaN, and gives dx nothing
Source       arXiv 1703.06211, eqs. (2)-(4), (7); with a mask arXiv 1811.11168, eq. (1); DAS, arXiv 2311.12091, eq. (2)
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import bilinear_sample
from pyhybrid.ops._sizes import integer, pair

Array = np.ndarray
Pair = tuple[int, int]
KINKS = ("right", "zero_outside")


class Cache(NamedTuple):
    x: Array; offset: Array; weight: Array; mask: Array | None; bias: Array | None
    stride: int | Pair; padding: int | Pair; dilation: int | Pair; groups: int; offset_groups: int; kink: str
class Grads(NamedTuple): x: Array; offset: Array; weight: Array; mask: Array | None; bias: Array | None


def output_shape(x, offset, weight, mask=None, bias=None, *, stride=1, padding=0, dilation=1, groups=1, offset_groups=1, kink="right"):
    (sh, sw), (ph, pw), (dh, dw) = pair("stride", stride), pair("padding", padding, 0), pair("dilation", dilation)
    groups, offset_groups = integer("groups", groups), integer("offset_groups", offset_groups)
    require(x.ndim == 4, "C1", x=x)
    require(weight.ndim == 4 and weight.shape[2] >= 1 and weight.shape[3] >= 1, "C2", weight=weight)
    (N, C, H, W), (O, _, kh, kw) = x.shape, weight.shape
    require(C % groups == 0 and O % groups == 0, "C3", groups=groups, x=x, weight=weight)
    require(weight.shape[1] * groups == C, "C2", weight=weight, x=x, groups=groups)
    require(C % offset_groups == 0, "C4", offset_groups=offset_groups, x=x)
    spare_h, spare_w = H + 2 * ph - dh * (kh - 1) - 1, W + 2 * pw - dw * (kw - 1) - 1
    require(spare_h >= 0 and spare_w >= 0, "C5", x=x, weight=weight, padding=padding, dilation=dilation)
    size, points = (spare_h // sh + 1, spare_w // sw + 1), offset_groups * kh * kw
    require(offset.shape == (N, 2 * points, *size), "C6", offset=offset, x=x, weight=weight, offset_groups=offset_groups)
    require(mask is None or mask.shape == (N, points, *size), "C7", mask=mask, offset=offset)
    require(bias is None or bias.shape == (O,), "C8", bias=bias, weight=weight)
    require(kink in KINKS, "C9", kink=kink)
    return (N, O, *size)


def macs(x, offset, weight, mask=None, bias=None, **config):
    """Every output value is a sum over C/groups·kh·kw products; the sampling is not counted."""
    return Macs(weights=prod(output_shape(x, offset, weight, mask, bias, **config)) * prod(weight.shape[1:]))


@kernel
def forward(x: Array, offset: Array, weight: Array, mask: Array | None = None, bias: Array | None = None, *, stride: int | Pair = 1,
            padding: int | Pair = 0, dilation: int | Pair = 1, groups: int = 1, offset_groups: int = 1,
            kink: str = "right") -> tuple[Array, Cache]:
    cache = Cache(x, offset, weight, mask, bias, stride, padding, dilation, groups, offset_groups, kink)
    N, O, Ho, Wo = len(x), len(weight), *offset.shape[2:]
    S, _ = bilinear_sample.forward(_by_offset_group(x, cache), *coordinates(cache))         # (F2)
    col = S if mask is None else _factor(mask, offset_groups) * S                           # (F3)
    K = weight.reshape(groups, O // groups, prod(weight.shape[1:]))
    y = (K @ _columns(col, cache)).reshape(N, O, Ho, Wo)                                    # (F4)
    if bias is not None:
        y = y + bias[:, None, None]                                                         # (F4)
    return y, cache


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, offset, weight, mask, bias, groups = *cache[:5], cache.groups
    N, O, Ho, Wo = dy.shape
    ys, xs = coordinates(cache)
    S, sampling = bilinear_sample.forward(_by_offset_group(x, cache), ys, xs)
    col = S if mask is None else _factor(mask, cache.offset_groups) * S
    K, d = weight.reshape(groups, O // groups, prod(weight.shape[1:])), dy.reshape(N, groups, O // groups, Ho * Wo)
    dbias = None if bias is None else dy.sum((0, 2, 3))                                     # (B1)
    dweight = (d @ _columns(col, cache).swapaxes(-1, -2)).sum(0)                            # (B2)
    dcol = (K.swapaxes(-1, -2) @ d).reshape(S.shape)                                        # (B3)
    dmask = None if mask is None else (dcol * S).sum(1)                                     # (B4)
    dS = dcol if mask is None else _factor(mask, cache.offset_groups) * dcol                # (B4)
    dx, ddy, ddx = bilinear_sample.backward(dS, sampling)                                   # (B5)
    if cache.kink == "zero_outside":
        outside = (ys.real <= -1) | (xs.real <= -1)
        ddy, ddx = np.where(outside, 0, ddy), np.where(outside, 0, ddx)
        dmask = None if dmask is None else np.where(outside, 0, dmask)
    doffset = np.stack([ddy, ddx], 2)                                                       # (N·Go, K, 2, Ho, Wo)
    return Grads(dx.reshape(x.shape), doffset.reshape(offset.shape), dweight.reshape(weight.shape),
                 None if mask is None or dmask is None else dmask.reshape(mask.shape), dbias)


def coordinates(cache: Cache) -> tuple[Array, Array]:
    """ys and xs of (F1), (N·Go, K, Ho, Wo): where the taps read for each offset group of each image, in the precision of offset."""
    offset, (kh, kw) = cache.offset, cache.weight.shape[2:]
    (sh, sw), (ph, pw), (dh, dw) = pair("stride", cache.stride), pair("padding", cache.padding, 0), pair("dilation", cache.dilation)
    Ho, Wo = offset.shape[2:]
    p, q, i, j = np.ogrid[:kh, :kw, :Ho, :Wo]
    images = len(offset) * cache.offset_groups
    moved = offset.reshape(images, kh, kw, 2, Ho, Wo)
    ys = (i * sh - ph + p * dh).astype(offset.real.dtype) + moved[:, :, :, 0]               # (F1)
    xs = (j * sw - pw + q * dw).astype(offset.real.dtype) + moved[:, :, :, 1]               # (F1)
    return ys.reshape(images, kh * kw, Ho, Wo), xs.reshape(images, kh * kw, Ho, Wo)


def _by_offset_group(x: Array, cache: Cache) -> Array:
    """x as one image per offset group, (N·Go, C/Go, H, W)."""
    (N, C, H, W), Go = x.shape, cache.offset_groups
    return x.reshape(N * Go, C // Go, H, W)


def _factor(mask: Array, Go: int) -> Array:
    """mask as (N·Go, 1, K, Ho, Wo), the same for all channels of an offset group."""
    N, points, Ho, Wo = mask.shape
    return mask.reshape(N * Go, 1, points // Go, Ho, Wo)


def _columns(col: Array, cache: Cache) -> Array:
    """col (N·Go, C/Go, K, Ho, Wo) as (N, groups, C/groups·K, Ho·Wo): what a row of the weight is multiplied with."""
    return col.reshape(len(cache.x), cache.groups, prod(cache.weight.shape[1:]), prod(col.shape[3:]))
