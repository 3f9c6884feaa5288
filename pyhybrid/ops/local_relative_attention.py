"""Local relative attention: relative attention in which a query sees only the keys near it, those outside the image left out.

Shapes       q, k (B, heads, H·W, d), v (B, heads, H·W, e), table (heads, 2ρ+1, 2ρ+1), size (H, W), radius ρ -> o (B, heads, H·W, e)
             token t is the pixel (r_t, c_t), row-major; plane p of L is one displacement, and the window of a token is all of them
Forward      (F1) L(k), L(v): for each displacement and query t, the token u with r_t - r_u = i - ρ and c_t - c_u = j - ρ; 0 outside
             (F2) z = scale·Σ q·L(k), and in the form "pre" + table[i, j]; -∞ for a key outside the image
             (F3) lse = log Σ_ij exp(z)    (F4) a = e / Σ e, e = exp(z - lse): the softmax over the keys in the window
             (F5) m = a in the form "pre", a + table[i, j] inside the image in the form "post"    (F6) o = Σ_ij m·L(v)
Backward     (B1) dv = Lᵀ(m·do)    (B2) dm = Σ_e do·L(v)    (B3) dz = a·(dm - Σ_ij a·dm)    (B4) dq = scale·Σ_ij dz·L(k)
             (B5) dk = scale·Lᵀ(dz·q)    (B6) dtable[i, j] = Σ of dz ("pre") or dm ("post") over images and tokens inside
Constraints  (C1) q and k are (B, heads, N, d) and v is (B, heads, N, e)
             (C2) size is (H, W) with H·W = N tokens
             (C3) table is (heads, 2·radius + 1, 2·radius + 1)
             (C4) form is "pre" or "post"
             (C5) scale, if given, is a finite number; None means d^(-1/2)
Smooth       everywhere
Source       CoAtNet, arXiv 2106.04803, section 2.2, option (B), eq. (3) with a neighbourhood in place of all positions
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.ops._taps import crop, pad_zeros, tap
from pyhybrid.ops.local_attention import head_scale
from pyhybrid.ops.relative_attention import FORMS
from pyhybrid.ops.softmax import from_log_sum, largest

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple):
    q: Array; k: Array; v: Array; table: Array; size: int | Pair; radius: int; form: str; scale: float | None
    lse: Array          # (B, heads, H·W): as many times smaller than the weights as there are keys in a window
class Grads(NamedTuple): q: Array; k: Array; v: Array; table: Array


def output_shape(q, k, v, table, *, size, radius, form="pre", scale=None):
    (H, W), radius = pair("size", size), integer("radius", radius, 0)
    require(q.ndim == v.ndim == 4 and q.shape == k.shape and v.shape[:3] == q.shape[:3], "C1", q=q, k=k, v=v)
    require(q.shape[2] == H * W, "C2", size=size, q=q)
    require(table.shape == (q.shape[1], 2 * radius + 1, 2 * radius + 1), "C3", table=table, radius=radius, q=q)
    require(isinstance(form, str) and form in FORMS, "C4", form=form)
    require(scale is None or (isinstance(scale, Real) and isfinite(scale)), "C5", scale=scale)
    return v.shape


def macs(q, k, v, table, *, radius, **config):
    """A score and a weighted value for each key of the window, as if the image had no border."""
    (B, heads, N, d), e = q.shape, v.shape[3]
    return Macs(products=B * heads * N * (2 * integer("radius", radius, 0) + 1) ** 2 * (d + e))


@kernel
def forward(q: Array, k: Array, v: Array, table: Array, *, size: int | Pair, radius: int, form: str = "pre",
            scale: float | None = None) -> tuple[Array, Cache]:
    near = Neighbourhood(*pair("size", size), radius)
    z = scores(near, q, near.read(k), table, form, scale)          # (F1) (F2) (B, heads, (2ρ+1)², N)
    top = largest(z, 2)
    lse = (top + np.log(np.exp(z - top).sum(2, keepdims=True)))[:, :, 0]     # (F3)
    a = from_log_sum(z, lse[:, :, None], 2)                        # (F4)
    m = mixed(near, a, table, form)                                # (F5)
    o = (m[..., None] * near.read(v)).sum(2)                       # (F6)
    return o, Cache(q, k, v, table, size, radius, form, scale, lse)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    q, k, v, table, size, radius, form, scale, lse = cache
    near, scale_ = Neighbourhood(*pair("size", size), radius), head_scale(q.shape[3], scale)
    Lk, do = near.read(k), dy[:, :, None]
    a = from_log_sum(scores(near, q, Lk, table, form, scale), lse[:, :, None], 2)
    dv = near.read_adjoint(mixed(near, a, table, form)[..., None] * do)      # (B1)
    dm = near.keep((do * near.read(v)).sum(-1), 0.0)               # (B2)
    dz = a * (dm - (a * dm).sum(2, keepdims=True))                 # (B3)
    dq = scale_ * (dz[..., None] * Lk).sum(2)                      # (B4)
    dk = near.read_adjoint(scale_ * dz[..., None] * q[:, :, None])           # (B5)
    db = dm if form == "post" else near.keep(dz, 0.0)
    dtable = db.sum((0, 3)).reshape(table.shape)   # (B6)
    return Grads(dq, dk, dv, dtable)


def scores(near: Neighbourhood, q: Array, Lk: Array, table: Array, form: str, scale: float | None) -> Array:
    """z of (F2), (B, heads, (2ρ+1)², N)."""
    z = head_scale(q.shape[3], scale) * (q[:, :, None] * Lk).sum(-1)
    return near.keep(z + by_tap(table) if form == "pre" else z, -np.inf)


def mixed(near: Neighbourhood, a: Array, table: Array, form: str) -> Array:
    """m of (F5), (B, heads, (2ρ+1)², N)."""
    return near.keep(a + by_tap(table), 0.0) if form == "post" else a


def by_tap(table: Array) -> Array:
    """One number per head and plane, for all tokens."""
    return table.reshape(len(table), table.shape[1] * table.shape[2], 1)


class Neighbourhood(NamedTuple):
    """L and its adjoint on an H x W grid: plane p = i·(2ρ+1) + j holds the tokens at displacement (i - ρ, j - ρ) before the query."""

    H: int; W: int; radius: int

    def starts(self) -> list[Pair]:
        """Where each plane begins in the padded grid: the largest displacement looks furthest back."""
        width = 2 * self.radius
        return [(width - i, width - j) for i in range(width + 1) for j in range(width + 1)]

    def read(self, x: Array) -> Array:
        """(B, heads, N, d) -> (B, heads, (2ρ+1)², N, d)."""
        maps = x.swapaxes(-1, -2).reshape(*x.shape[:2], x.shape[3], self.H, self.W)
        padded = pad_zeros(maps, (self.radius, self.radius))
        planes = np.stack([tap(padded, i, j, (self.H, self.W)) for i, j in self.starts()], axis=2)
        return planes.reshape(*planes.shape[:4], self.H * self.W).swapaxes(-1, -2)

    def read_adjoint(self, dL: Array) -> Array:
        """Every plane returns its share to the token it read."""
        B, heads, _, _, d = dL.shape
        maps = dL.swapaxes(-1, -2).reshape(*dL.shape[:3], d, self.H, self.W)
        padded = np.zeros((B, heads, d, self.H + 2 * self.radius, self.W + 2 * self.radius), dL.dtype)
        for p, (i, j) in enumerate(self.starts()):
            tap(padded, i, j, (self.H, self.W))[...] += maps[:, :, p]
        dx = crop(padded, (self.radius, self.radius), (self.H, self.W))
        return dx.reshape(B, heads, d, self.H * self.W).swapaxes(-1, -2).copy()

    def inside(self) -> Array:
        """Whether the key lies in the image, ((2ρ+1)², N)."""
        ones = np.ones((1, 1, self.H * self.W, 1))
        return self.read(ones)[0, 0, :, :, 0] == 1

    def keep(self, values: Array, outside: float) -> Array:
        """`values` inside the image, a constant outside."""
        kept = values.copy()
        kept[..., ~self.inside()] = outside
        return kept
