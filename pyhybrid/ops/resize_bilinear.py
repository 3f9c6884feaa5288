"""Bilinear resize of maps: each new pixel lies between old ones and takes their mean, weighted by nearness, along both axes.

Shapes       x (..., H, W), size (H', W') -> y (..., H', W')
Forward      (F1) s = max((i + ½)·H/H' - ½, 0): where the centre of new row i lies on the old rows, held at the first centre;
             with align_corners s = i·(H-1)/(H'-1), which maps first to first and last to last row, and s = 0 if H' = 1
             (F2) a = ⌊s⌋, b = min(a + 1, H - 1), t = s - a, and R_H[i] = (1-t) at a, + t at b: a matrix whose rows sum to 1;
             s is a fraction of whole numbers, so that a is exact
             (F3) y = R_H x R_Wᵀ, the same along the columns
Backward     (B1) dx = R_Hᵀ dy R_W: every new pixel returns to the old ones what it took from them
Constraints  (C1) x has at least two axes, (..., H, W), and the map has at least one pixel
             (C2) align_corners is True or False
Smooth       everywhere (linear)
Source       CoAtNet, arXiv 2106.04803, appendix A.1: the table of relative attention at another resolution
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple): x: Array; size: int | Pair; align_corners: bool          # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, size, align_corners=False):
    size = pair("size", size)
    require(x.ndim >= 2 and x.shape[-2] > 0 and x.shape[-1] > 0, "C1", x=x)
    require(isinstance(align_corners, bool), "C2", align_corners=align_corners)
    return (*x.shape[:-2], *size)


@kernel
def forward(x: Array, *, size: int | Pair, align_corners: bool = False) -> tuple[Array, Cache]:
    (h, w), (H, W) = pair("size", size), x.shape[-2:]
    rows = along_rows(x, *neighbours(H, h, align_corners))
    y = along_rows(rows.swapaxes(-1, -2), *neighbours(W, w, align_corners))      # (F3)
    return np.ascontiguousarray(y.swapaxes(-1, -2)), Cache(x, size, align_corners)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, size, align_corners = cache
    (h, w), (H, W) = pair("size", size), x.shape[-2:]
    dcolumns = along_rows_adjoint(dy.swapaxes(-1, -2), W, *neighbours(W, w, align_corners))
    dx = along_rows_adjoint(dcolumns.swapaxes(-1, -2), H, *neighbours(H, h, align_corners))      # (B1)
    return Grads(dx)


def neighbours(length: int, wanted: int, align_corners: bool) -> tuple[Array, Array, Array]:
    """a, b and t of (F2) for each of `wanted` positions on an axis of `length` pixels."""
    i = np.arange(wanted, dtype=np.int64)
    if align_corners:
        s, whole = i * (length - 1), max(wanted - 1, 1)                               # (F1) both in units of 1/whole of a pixel
    else:
        s, whole = np.maximum((2 * i + 1) * length - wanted, 0), 2 * wanted           # (F1)
    a, rest = np.divmod(s, whole)                                                     # (F2)
    return a, np.minimum(a + 1, length - 1), rest / whole


def along_rows(x: Array, a: Array, b: Array, t: Array) -> Array:
    """R x for x (..., H, W)."""
    far = t[:, None].astype(x.real.dtype) if x.dtype != object else t[:, None]
    return (1 - far) * x[..., a, :] + far * x[..., b, :]


def along_rows_adjoint(dy: Array, length: int, a: Array, b: Array, t: Array) -> Array:
    """Rᵀ dy, (..., H', W) -> (..., H, W)."""
    far = t[:, None].astype(dy.real.dtype)
    dx = np.zeros((*dy.shape[:-2], length, dy.shape[-1]), dy.dtype)
    rows = np.moveaxis(dx, -2, 0)                                                     # a view: adding to it adds to dx
    np.add.at(rows, a, np.moveaxis((1 - far) * dy, -2, 0))
    np.add.at(rows, b, np.moveaxis(far * dy, -2, 0))
    return dx
