"""Multi-head attention over all tokens: every query looks at every key, with an additive bias if one is given.

Shapes       q (B, heads, T, d), k (B, heads, S, d), v (B, heads, S, e), bias (P, h, T, S) -> o (B, heads, T, e)
             entry b of the batch reads bias[b mod P]: P = 1 is one bias for all, P = B is one for each, P = windows of an image
             gives each window its mask when the batch counts images first; h = 1 is one bias for all heads
Forward      (F1) z = scale·q kᵀ + bias: an entry -inf of the bias hides a key    (F2) lse = log Σ_u exp(z_tu)
             (F3) a = e / Σ e, e = exp(z - lse): the softmax over the keys; Σ e is 1 but for the rounding of lse    (F4) o = a v
Backward     (B1) dv = aᵀ do    (B2) da = do vᵀ    (B3) dz = a·(da - Σ_u a·da): 0 where the key is hidden
             (B4) dq = scale·dz k    (B5) dk = scale·dzᵀ q
             (B6) dbias = Σ dz over the entries of the batch, and for h = 1 over the heads, that read it
Constraints  (C1) q is (B, heads, T, d), k is (B, heads, S, d) and v is (B, heads, S, e)
             (C2) there is at least one key, S >= 1
             (C3) bias, if given, is (P, h, T, S), where P divides B and h is 1 or heads
             (C4) scale, if given, is a finite number; None means d^(-1/2)
Smooth       everywhere; a query whose keys are all hidden is NaN
Source       ACmix, arXiv 2111.14556, global and window attention (eqs. 19-20); bias of Swin, arXiv 2103.14030 eq. (4)
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops.local_attention import head_scale
from pyhybrid.ops.softmax import from_log_sum, largest

Array = np.ndarray


class Cache(NamedTuple):
    q: Array; k: Array; v: Array; bias: Array | None; scale: float | None
    lse: Array          # (B, heads, T): S times smaller than the weights, which are cheap to recompute from it
class Grads(NamedTuple): q: Array; k: Array; v: Array; bias: Array | None


def output_shape(q, k, v, bias=None, *, scale=None):
    require(q.ndim == k.ndim == v.ndim == 4 and q.shape[:2] == k.shape[:2] == v.shape[:2]
            and k.shape[3] == q.shape[3] and v.shape[2] == k.shape[2], "C1", q=q, k=k, v=v)
    (B, heads, T, _), (S, e) = q.shape, v.shape[2:]
    require(S >= 1, "C2", k=k)
    require(bias is None or (bias.ndim == 4 and bias.shape[0] >= 1 and B % bias.shape[0] == 0
                             and bias.shape[1] in (1, heads) and bias.shape[2:] == (T, S)), "C3", bias=bias, q=q, k=k)
    require(scale is None or (isinstance(scale, Real) and isfinite(scale)), "C4", scale=scale)
    return (B, heads, T, e)


def macs(q, k, v, bias=None, *, scale=None):
    """Scores over d channels and weighted values over e channels, for every pair of query and key."""
    (B, heads, T, d), (S, e) = q.shape, v.shape[2:]
    return Macs(products=B * heads * T * S * (d + e))


@kernel
def forward(q: Array, k: Array, v: Array, bias: Array | None = None, *, scale: float | None = None) -> tuple[Array, Cache]:
    z = scores(q, k, bias, scale)                                  # (F1) (B, heads, T, S)
    top = largest(z, -1)
    lse = (top + np.log(np.exp(z - top).sum(-1, keepdims=True)))[..., 0]     # (F2)
    a = from_log_sum(z, lse[..., None], -1)                        # (F3)
    o = a @ v                                                      # (F4)
    return o, Cache(q, k, v, bias, scale, lse)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    q, k, v, bias, scale, _ = cache
    scale_ = head_scale(q.shape[3], scale)
    a = weights(cache)
    dv = across(a) @ dy                                            # (B1)
    da = dy @ across(v)                                            # (B2)
    dz = a * (da - (a * da).sum(-1, keepdims=True))                # (B3)
    dq = scale_ * (dz @ k)                                         # (B4)
    dk = scale_ * (across(dz) @ q)                                 # (B5)
    dbias = None if bias is None else shared(dz, bias.shape)       # (B6)
    return Grads(dq, dk, dv, dbias)


def weights(cache: Cache) -> Array:
    """a of (F3), (B, heads, T, S): how much query t looks at key u."""
    q, k, _, bias, scale, lse = cache
    return from_log_sum(scores(q, k, bias, scale), lse[..., None], -1)


def scores(q: Array, k: Array, bias: Array | None, scale: float | None) -> Array:
    """z of (F1), (B, heads, T, S)."""
    z = head_scale(q.shape[3], scale) * (q @ across(k))
    return z if bias is None else (by_period(z, bias.shape[0]) + bias).reshape(z.shape)


def shared(dz: Array, shape: tuple[int, ...]) -> Array:
    """The adjoint of adding a bias of `shape` to the scores."""
    summed = by_period(dz, shape[0]).sum(0)
    return summed if shape[1] == dz.shape[1] else summed.sum(1, keepdims=True)


def by_period(z: Array, period: int) -> Array:
    """(B, heads, T, S) -> (B/period, period, heads, T, S): entry b = r·period + p reads bias[p]."""
    return z.reshape(z.shape[0] // period, period, *z.shape[1:])


def across(x: Array) -> Array:
    """The matrices of the last two axes, transposed."""
    return x.swapaxes(-1, -2)
