"""Relative attention over a grid: the weights of attention plus a kernel that depends on the displacement alone, as a convolution's does.

Shapes       q, k (B, heads, N, d), v (B, heads, N, e), table (heads, 2H-1, 2W-1), size (H, W) with N = H·W -> o (B, heads, N, e)
             token t is the pixel (r_t, c_t), row-major; H = 1 is the form for sequences
Forward      (F1) b_tu = table[r_t - r_u + H-1, c_t - c_u + W-1], t the query and u the key; with sign "key - query" that of (u, t)
             (F2) z = scale·q kᵀ, and in the form "pre" + b: the scale acts on the product only, never on the bias
             (F3) lse = log Σ_u exp(z_tu)    (F4) a = e / Σ e, e = exp(z - lse): the softmax over the keys
             (F5) m = a in the form "pre", a + b in the form "post": rows of the latter do not sum to 1    (F6) o = m v
Backward     (B1) dv = mᵀ do    (B2) dm = do vᵀ    (B3) dz = a·(dm - Σ_u a·dm)    (B4) dq = scale·dz k, dk = scale·dzᵀ q
             (B5) db = Σ_B dz for "pre", Σ_B dm for "post"; dtable = Σ of db over all pairs (t, u) that read the entry
Constraints  (C1) q and k are (B, heads, N, d) and v is (B, heads, N, e)
             (C2) size is (H, W) with H·W = N tokens
             (C3) table is (heads, 2H-1, 2W-1)
             (C4) form is "pre" or "post", and sign is "query - key" or "key - query"
             (C5) scale, if given, is a finite number; None means d^(-1/2)
Smooth       everywhere
Source       CoAtNet, arXiv 2106.04803, eq. (3), which leaves the projections out: that is this with q = k = v = x, one head and scale 1
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import relative_bias
from pyhybrid.ops._sizes import pair
from pyhybrid.ops.local_attention import head_scale
from pyhybrid.ops.softmax import from_log_sum, largest

Array = np.ndarray
Pair = tuple[int, int]
FORMS = ("pre", "post")
SIGNS = ("query - key", "key - query")


class Cache(NamedTuple):
    q: Array; k: Array; v: Array; table: Array; size: int | Pair; form: str; sign: str; scale: float | None
    lse: Array          # (B, heads, N): N times smaller than the weights, which are cheap to compute again from it
class Grads(NamedTuple): q: Array; k: Array; v: Array; table: Array


def output_shape(q, k, v, table, *, size, form="pre", sign="query - key", scale=None):
    H, W = pair("size", size)
    require(q.ndim == v.ndim == 4 and q.shape == k.shape and v.shape[:3] == q.shape[:3], "C1", q=q, k=k, v=v)
    require(q.shape[2] == H * W, "C2", size=size, q=q)
    require(table.shape == (q.shape[1], 2 * H - 1, 2 * W - 1), "C3", table=table, size=size, q=q)
    require(isinstance(form, str) and form in FORMS and isinstance(sign, str) and sign in SIGNS, "C4", form=form, sign=sign)
    require(scale is None or (isinstance(scale, Real) and isfinite(scale)), "C5", scale=scale)
    return v.shape


def macs(q, k, v, table, **config):
    """Scores over d channels and weighted values over e channels, for every pair of query and key."""
    (B, heads, N, d), e = q.shape, v.shape[3]
    return Macs(products=B * heads * N * N * (d + e))


@kernel
def forward(q: Array, k: Array, v: Array, table: Array, *, size: int | Pair, form: str = "pre", sign: str = "query - key",
            scale: float | None = None) -> tuple[Array, Cache]:
    b = bias(table, size, sign)                                    # (F1)
    z = scores(q, k, b, form, scale)                               # (F2)
    top = largest(z, -1)
    lse = (top + np.log(np.exp(z - top).sum(-1, keepdims=True)))[..., 0]     # (F3)
    a = from_log_sum(z, lse[..., None], -1)                        # (F4)
    m = a + b if form == "post" else a                             # (F5)
    o = m @ v                                                      # (F6)
    return o, Cache(q, k, v, table, size, form, sign, scale, lse)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    q, k, v, table, size, form, sign, scale, lse = cache
    scale_ = head_scale(q.shape[3], scale)
    b = bias(table, size, sign)
    a = from_log_sum(scores(q, k, b, form, scale), lse[..., None], -1)
    m = a + b if form == "post" else a
    dv = across(m) @ dy                                            # (B1)
    dm = dy @ across(v)                                            # (B2)
    dz = a * (dm - (a * dm).sum(-1, keepdims=True))                # (B3)
    dq, dk = scale_ * (dz @ k), scale_ * (across(dz) @ q)          # (B4)
    db = (dm if form == "post" else dz).sum(0)                     # (B5)
    dtable = bias_adjoint(db, size, sign).reshape(table.shape)
    return Grads(dq, dk, dv, dtable)


def weights(cache: Cache) -> Array:
    """m of (F5), (B, heads, N, N): how much query t takes of value u."""
    q, k, _, table, size, form, sign, scale, lse = cache
    b = bias(table, size, sign)
    a = from_log_sum(scores(q, k, b, form, scale), lse[..., None], -1)
    return a + b if form == "post" else a


def scores(q: Array, k: Array, b: Array, form: str, scale: float | None) -> Array:
    """z of (F2), (B, heads, N, N)."""
    z = head_scale(q.shape[3], scale) * (q @ across(k))
    return z + b if form == "pre" else z


def bias(table: Array, size: int | Pair, sign: str) -> Array:
    """b of (F1), (heads, N, N)."""
    return table.reshape(len(table), table.shape[1] * table.shape[2])[:, index(size, sign)]


def bias_adjoint(db: Array, size: int | Pair, sign: str) -> Array:
    """Σ of db (heads, N, N) over the pairs that read each entry, (heads, (2H-1)·(2W-1))."""
    H, W = pair("size", size)
    dtable = np.zeros(((2 * H - 1) * (2 * W - 1), len(db)), db.dtype)
    np.add.at(dtable, index(size, sign), np.moveaxis(db, 0, -1))
    return dtable.T.copy()


def index(size: int | Pair, sign: str) -> Array:
    """Where the pair (t, u) of tokens reads the table, its last two axes taken as one, (N, N)."""
    rows = relative_bias.index(size)
    return rows if sign == "query - key" else rows.T


def across(x: Array) -> Array:
    """The matrices of the last two axes, transposed."""
    return x.swapaxes(-1, -2)
