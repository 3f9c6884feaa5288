"""Spectrum resize: the weights of a global filter brought to another size, as if the half spectrum were an image.

Shapes       weight (C, h, w, 2), size (H, V) -> y (C, H, V, 2); the spectrum of an H x W map has V = ⌊W/2⌋ + 1 columns
Forward      (F1) y[c, :, :, e] = R_H weight[c, :, :, e] R_Vᵀ with e = 0 the real and e = 1 the imaginary part; R_H and R_V are the
             matrices of `resize_bilinear` with align_corners: the first row stays the first and the last the last
Backward     (B1) dweight[c, :, :, e] = R_Hᵀ dy[c, :, :, e] R_V
Constraints  (C1) weight is (C, h, w, 2) with h, w >= 1
Smooth       everywhere (linear)                                        Source: HorNet, arXiv 2207.14284, official code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops import resize_bilinear
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): weight: Array; size: int | Pair         # weight gives the shape
class Grads(NamedTuple): weight: Array


def output_shape(weight, *, size):
    require(weight.ndim == 4 and weight.shape[1] >= 1 and weight.shape[2] >= 1 and weight.shape[3] == 2, "C1", weight=weight)
    return (len(weight), *pair("size", size), 2)


@kernel
def forward(weight: Array, *, size: int | Pair) -> tuple[Array, Cache]:
    parts, _ = resize_bilinear.forward(np.moveaxis(weight, -1, 1), size=size, align_corners=True)       # (F1)
    return np.ascontiguousarray(np.moveaxis(parts, 1, -1)), Cache(weight, size)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    parts = resize_bilinear.Cache(np.moveaxis(cache.weight, -1, 1), cache.size, True)
    dparts = resize_bilinear.backward(np.moveaxis(dy, -1, 1), parts).x                                  # (B1)
    return Grads(np.ascontiguousarray(np.moveaxis(dparts, 1, -1)))
