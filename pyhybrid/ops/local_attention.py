"""Local multi-head self-attention: each pixel attends to the k x k window around it.

Shapes       q, k, v (N, C, H, W), pe (d, H, W) with d = C/heads -> o (N, C, Ho, Wo), Ho = ⌈H/sh⌉; channel n*d + e belongs to head n
             U(x) (…, k*k, Ho, Wo): the window of every output pixel, plane m = u*k + v; queries are read at (i·sh, j·sw)
Forward      (F1) q_ij = q on the stride grid    (F2) E = U(k) + pe_ij - U(pe)    (F3) S = scale · Σ_e q_ij·E
             (F4) lse = log Σ_m exp(S)    (F5) a = exp(S - lse): the softmax over the window    (F6) o = Σ_m a·U(v)
Backward     (B1) dU(v) = a·do    (B2) da = Σ_e do·U(v)    (B3) dS = a·(da - Σ_m a·da)    (B4) dq_ij = scale · Σ_m dS·E
             (B5) dE = scale·q_ij·dS    (B6) dk = Uᵀ(dE), dv = Uᵀ(dU(v))
             (B7) dpe = -Uᵀ(Σ_n dE) over images and heads: the centre term pe_ij adds Σ_m dS = 0
Border       "reflect": the map is mirrored (official code);  "zero": keys, values and pe are 0 outside and join the softmax;
             "mask": the softmax runs over the taps inside the map
Constraints  (C1) q is (N, C, H, W); k and v have the shape of q
             (C2) heads divides the channels C
             (C3) pe, if given, is (C/heads, H, W)
             (C4) kernel_size is odd
             (C5) border is "reflect", "zero" or "mask"
             (C6) border "reflect" needs a map larger than half the window: ⌊kernel_size/2⌋ < H and < W
             (C7) scale, if given, is a finite number; None means (C/heads)^(-1/2)
Smooth       everywhere                                                 Source: ACmix, arXiv 2111.14556, eqs. (10)-(15)
"""

from __future__ import annotations

from math import isfinite, prod
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import reflection_pad, unfold
from pyhybrid.ops._sizes import ceil_div, integer, pair
from pyhybrid.ops._taps import crop, pad_zeros
from pyhybrid.ops.softmax import from_log_sum, largest

Array = np.ndarray
Pair = tuple[int, int]
BORDERS = ("reflect", "zero", "mask")


class Cache(NamedTuple):
    q: Array; k: Array; v: Array; pe: Array | None
    heads: int; kernel_size: int; stride: int | Pair; border: str; scale: float | None
    lse: Array          # (N, heads, Ho, Wo): k² times smaller than the weights, which are cheap to recompute from it
class Grads(NamedTuple): q: Array; k: Array; v: Array; pe: Array | None


def output_shape(q, k, v, pe=None, *, heads, kernel_size=7, stride=1, border="reflect", scale=None):
    heads, window, (sh, sw) = integer("heads", heads), integer("kernel_size", kernel_size), pair("stride", stride)
    require(q.ndim == 4 and q.shape == k.shape == v.shape, "C1", q=q, k=k, v=v)
    N, C, H, W = q.shape
    require(C % heads == 0, "C2", heads=heads, q=q)
    require(pe is None or pe.shape == (C // heads, H, W), "C3", pe=pe, q=q, heads=heads)
    require(window % 2 == 1, "C4", kernel_size=kernel_size)
    require(border in BORDERS, "C5", border=border)
    require(border != "reflect" or window == 1 or window // 2 < min(H, W), "C6", kernel_size=kernel_size, q=q)
    require(scale is None or (isinstance(scale, Real) and isfinite(scale)), "C7", scale=scale)
    return (N, C, ceil_div(H, sh), ceil_div(W, sw))


def macs(q, k, v, pe=None, *, kernel_size=7, **config):
    """A score and a weighted value for each of the k² taps, channel and output pixel."""
    return Macs(products=2 * integer("kernel_size", kernel_size) ** 2 * prod(output_shape(q, k, v, pe, kernel_size=kernel_size, **config)))


@kernel
def forward(q: Array, k: Array, v: Array, pe: Array | None = None, *, heads: int, kernel_size: int = 7, stride: int | Pair = 1,
            border: str = "reflect", scale: float | None = None) -> tuple[Array, Cache]:
    window = Window(kernel_size, pair("stride", stride), border, q.shape[2:])
    scale_ = head_scale(q.shape[1] // heads, scale)
    q_ij = by_head(window.centre(q), heads)[:, :, :, None]                 # (F1) (N, heads, d, 1, Ho, Wo)
    E = relative_keys(window, k, pe, heads)                                # (F2) (N, heads, d, k*k, Ho, Wo)
    S = window.keep(scale_ * (q_ij * E).sum(2))                            # (F3) (N, heads, k*k, Ho, Wo)
    lse = log_sum_exp(S)                                                   # (F4)
    a = from_log_sum(S, lse[:, :, None], 2)                                # (F5)
    Uv = by_head(window.read(v), heads)
    o = (a[:, :, None] * Uv).sum(3)                                        # (F6) (N, heads, d, Ho, Wo)
    y = o.reshape(*q.shape[:2], *lse.shape[2:])
    return y, Cache(q, k, v, pe, heads, kernel_size, stride, border, scale, lse)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    q, k, v, pe, heads, kernel_size, stride, border, scale, lse = cache
    window = Window(kernel_size, pair("stride", stride), border, q.shape[2:])
    scale_ = head_scale(q.shape[1] // heads, scale)
    q_ij = by_head(window.centre(q), heads)[:, :, :, None]
    E = relative_keys(window, k, pe, heads)
    S = window.keep(scale_ * (q_ij * E).sum(2))                            # (F3) again
    a = from_log_sum(S, lse[:, :, None], 2)                                # (F5) again
    do = by_head(dy, heads)[:, :, :, None]                                 # (N, heads, d, 1, Ho, Wo)
    dUv = a[:, :, None] * do                                               # (B1)
    da = (do * by_head(window.read(v), heads)).sum(2)                      # (B2)
    dS = a * (da - (a * da).sum(2, keepdims=True))                         # (B3)
    dq_ij = scale_ * (dS[:, :, None] * E).sum(3)                           # (B4)
    dE = scale_ * q_ij * dS[:, :, None]                                    # (B5)
    dq = window.centre_adjoint(dq_ij.reshape(dy.shape))
    dk = window.read_adjoint(dE.reshape(*q.shape[:2], *dE.shape[3:]))      # (B6)
    dv = window.read_adjoint(dUv.reshape(*q.shape[:2], *dE.shape[3:]))
    dpe = None if pe is None else -window.read_adjoint(dE.sum((0, 1)))     # (B7)
    return Grads(dq, dk, dv, dpe)


def weights(cache: Cache) -> Array:
    """a of (F5), (N, heads, k*k, Ho, Wo): how much pixel (i, j) of the output looks at tap m = u*k + v of its window."""
    q, k, _, pe, heads, kernel_size, stride, border, scale, lse = cache
    window = Window(kernel_size, pair("stride", stride), border, q.shape[2:])
    q_ij = by_head(window.centre(q), heads)[:, :, :, None]
    E = relative_keys(window, k, pe, heads)
    return from_log_sum(window.keep(head_scale(q.shape[1] // heads, scale) * (q_ij * E).sum(2)), lse[:, :, None], 2)


class Window(NamedTuple):
    """U and its adjoint: the k x k neighbourhoods of the pixels on the stride grid of a map of `size`."""

    kernel_size: int; stride: Pair; border: str; size: tuple[int, ...]

    def centre(self, x: Array) -> Array:
        """x at the pixels of the stride grid, (..., Ho, Wo)."""
        return x[..., :: self.stride[0], :: self.stride[1]]

    def centre_adjoint(self, dcentre: Array) -> Array:
        """(..., Ho, Wo) -> (..., H, W): zero between the pixels of the grid."""
        dx = np.zeros((*dcentre.shape[:-2], *self.size), dcentre.dtype)
        dx[..., :: self.stride[0], :: self.stride[1]] = dcentre
        return dx

    def _pad(self, x: Array) -> Array:
        r = self.kernel_size // 2
        return reflection_pad.forward.reference(x, padding=r)[0] if self.border == "reflect" else pad_zeros(x, (r, r))

    def read(self, x: Array) -> Array:
        """U(x), (..., H, W) -> (..., k*k, Ho, Wo)."""
        if 0 in self.size:
            return np.zeros((*x.shape[:-2], self.kernel_size**2, *self.centre(x).shape[-2:]), x.dtype)
        return unfold.forward.reference(self._pad(x), kernel_size=self.kernel_size, stride=self.stride)[0]

    def read_adjoint(self, dU: Array) -> Array:
        """Uᵀ(dU), (..., k*k, Ho, Wo) -> (..., H, W): every tap returns its share to the pixel it read."""
        r, (H, W) = self.kernel_size // 2, self.size
        if 0 in self.size:
            return np.zeros((*dU.shape[:-3], H, W), dU.dtype)
        padded = np.broadcast_to(np.zeros((), dU.dtype), (*dU.shape[:-3], H + 2 * r, W + 2 * r))
        (dpadded,) = unfold.backward.reference(dU, unfold.Cache(padded, self.kernel_size, self.stride))
        if self.border != "reflect":
            return crop(dpadded, (r, r), self.size)
        return reflection_pad.backward.reference(dpadded, reflection_pad.Cache(padded[..., :H, :W], r)).x

    def keep(self, S: Array) -> Array:
        """Scores with -inf where border "mask" excludes the tap."""
        return S if self.border != "mask" else np.where(self.read(np.ones(self.size)) != 0, S, -np.inf)


def by_head(x: Array, heads: int) -> Array:
    """(N, C, ...) -> (N, heads, C/heads, ...): channels are head-major."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads, *x.shape[2:])


def relative_keys(window: Window, k: Array, pe: Array | None, heads: int) -> Array:
    """E of (F2): the window's keys, plus where the query is minus where each key is."""
    Uk = by_head(window.read(k), heads)
    return Uk if pe is None else Uk + window.centre(pe)[:, None] - window.read(pe)


def head_scale(width: int, scale: float | None) -> float:
    """The factor of the scores: `scale`, or one over the square root of the head width."""
    return float(scale) if scale is not None else max(width, 1) ** -0.5


def log_sum_exp(S: Array) -> Array:
    """log Σ_m exp(S) over axis 2, with the largest score taken out first."""
    top = largest(S, 2)
    return (top + np.log(np.exp(S - top).sum(2, keepdims=True)))[:, :, 0]
