"""The chain of gates of gnConv: a narrow vector at every pixel is multiplied by a filtered map and widened, time after time.

Shapes       p0 (N, C₀, H, W), filtered (N, (2ⁿ-1)·C₀, H, W) -> y (N, C, H, W); n = order, C_k = 2ᵏ·C₀, C = C_{n-1}
             filtered holds f₀, …, f_{n-1}, C_k channels each, narrow to wide
             weight (Σ C_k·C_{k-1},) holds W₁, …, W_{n-1} one after another, W_k (C_k, C_{k-1}) row by row
             bias (Σ C_k,) holds b₁, …, b_{n-1}
Forward      (F1) u₀ = p₀, and u_k = W_k p_k + b_k at every pixel for k = 1 … n-1
             (F2) p_{k+1} = scale·f_k·u_k    (F3) y = p_n: a product of n filtered maps and p₀
Backward     (B1) df_k = scale·dp_{k+1}·u_k    (B2) du_k = scale·dp_{k+1}·f_k, from dp_n = dy down to k = 0
             (B3) dW_k = Σ du_k p_kᵀ, db_k = Σ du_k, dp_k = W_kᵀ du_k    (B4) dp₀ = du₀
Constraints  (C1) order is at most 30
             (C2) p0 is (N, C0, H, W) with C0 >= 1
             (C3) filtered is (N, (2^order - 1)·C0, H, W): all gates side by side, each twice as wide as the one before
             (C4) weight is flat and holds the order - 1 projections of `projections`; at order 1 it is None or empty
             (C5) bias, if given, is flat and holds one value per output channel of each projection
             (C6) scale is a finite number
Smooth       everywhere (linear in p0, and in each f_k, W_k and b_k alone)
Source       HorNet, arXiv 2207.14284, gnConv: p_{k+1} = f_k(q_k)·g_k(p_k)/α with g₀ = 1, scale = 1/α, widths C_k = C/2^(n-k-1)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import pointwise_conv
from pyhybrid.ops._sizes import integer

Array = np.ndarray


class Cache(NamedTuple):
    p0: Array; filtered: Array; weight: Array | None; bias: Array | None; order: int; scale: float
    u: Array          # u_1 … u_{n-1} side by side: matrix products, while each p_k is one multiplication away from them
class Grads(NamedTuple): p0: Array; filtered: Array; weight: Array | None; bias: Array | None


def output_shape(p0, filtered, weight=None, bias=None, *, order, scale=1):
    order = integer("order", order)
    require(order <= 30, "C1", order=order)
    require(p0.ndim == 4 and p0.shape[1] >= 1, "C2", p0=p0)
    N, C0, H, W = p0.shape
    require(filtered.shape == (N, (2**order - 1) * C0, H, W), "C3", filtered=filtered, p0=p0, order=order)
    shapes = projections(C0, order)
    require(weight is None if not shapes and weight is None else _holds(weight, sum(O * C for O, C in shapes)), "C4",
            weight=weight, p0=p0, order=order)
    require(bias is None or _holds(bias, sum(O for O, _ in shapes)), "C5", bias=bias, p0=p0, order=order)
    require(isinstance(scale, Real) and isfinite(scale), "C6", scale=scale)
    return (N, 2 ** (order - 1) * C0, H, W)


def macs(p0, filtered, weight=None, bias=None, *, order, scale=1):
    """The projections at every pixel, and a product of computed values per channel of `filtered`; the scale is not counted."""
    N, _, H, W = output_shape(p0, filtered, weight, bias, order=order, scale=scale)
    return Macs(weights=0 if weight is None else N * H * W * weight.size, products=prod(filtered.shape))


@kernel
def forward(p0: Array, filtered: Array, weight: Array | None = None, bias: Array | None = None, *, order: int,
            scale: float = 1) -> tuple[Array, Cache]:
    Ws, bs = unpack(weight, bias, p0.shape[1], order)
    factor = factor_for(scale, filtered)
    us, p = [], p0
    for k, f in enumerate(gates(filtered, order)):
        u = pointwise_conv.forward(p, Ws[k - 1], bs[k - 1])[0] if k else p0      # (F1)
        p = factor * f * u                                                       # (F2)
        us.append(u)
    u = np.concatenate([p0[:, :0], *us[1:]], axis=1)
    return p, Cache(p0, filtered, weight, bias, order, scale, u)                 # (F3)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    p0, filtered, weight, bias, order, scale, _ = cache
    Ws, bs = unpack(weight, bias, p0.shape[1], order)
    factor, fs, us = factor_for(scale, filtered), gates(filtered, order), projected(cache)
    dfs, dWs, dbs, dp = [], [], [], dy
    for k in reversed(range(order)):
        df = factor * dp * us[k]                                                 # (B1)
        du = factor * dp * fs[k]                                                 # (B2)
        dfs.append(df)
        if k:
            p = factor * fs[k - 1] * us[k - 1]                                   # (F2) again
            dp, dW, db = pointwise_conv.backward(du, pointwise_conv.Cache(p, Ws[k - 1], bs[k - 1]))      # (B3)
            dWs.append(dW)
            dbs.append(db)
    dweight, dbias = pack(dWs[::-1], None if bias is None else dbs[::-1])
    dfiltered = np.concatenate(dfs[::-1], axis=1)
    absent = [None if a is None else np.zeros_like(a) for a in (weight, bias)]   # the empty gradients of order 1
    return Grads(du, dfiltered, absent[0] if dweight is None else dweight, absent[1] if dbias is None else dbias)      # (B4)


def projections(C0: int, order: int) -> list[tuple[int, int]]:
    """Shapes (C_k, C_{k-1}) of W_1 … W_{n-1}."""
    return [(2**k * C0, 2 ** (k - 1) * C0) for k in range(1, order)]


def pack(weights: Sequence[Array], biases: Sequence[Array] | None = None) -> tuple[Array | None, Array | None]:
    """W_1 … W_{n-1}, (C_k, C_{k-1}) or (C_k, C_{k-1}, 1, 1), and their biases as the two flat arrays; None where there is none."""
    flat = [np.concatenate([a.reshape(-1) for a in arrays]) if arrays else None for arrays in (weights, biases)]
    return flat[0], flat[1]


def unpack(weight: Array | None, bias: Array | None, C0: int, order: int) -> tuple[list[Array], list[Array | None]]:
    """Views: the projections as (C_k, C_{k-1}, 1, 1), ready for a pointwise convolution, and their biases (None without)."""
    shapes = projections(C0, order)
    Ws = [] if weight is None else np.split(weight, np.cumsum([O * C for O, C in shapes]))
    bs: list[Array | None] = [None for _ in shapes]
    if bias is not None:
        bs = [*np.split(bias, np.cumsum([O for O, _ in shapes]))[:-1]]
    return [W.reshape(O, C, 1, 1) for W, (O, C) in zip(Ws, shapes, strict=False)], bs


def gates(filtered: Array, order: int) -> list[Array]:
    """Views f_0 … f_{n-1} of C_0, 2·C_0, 4·C_0, … channels."""
    C0 = filtered.shape[1] // (2**order - 1)
    return [filtered[:, (2**k - 1) * C0 : (2 ** (k + 1) - 1) * C0] for k in range(order)]


def projected(cache: Cache) -> list[Array]:
    """u_0 … u_{n-1}: p0 and the saved projections, as views."""
    C0 = cache.p0.shape[1]
    return [cache.p0] + [cache.u[:, (2**k - 2) * C0 : (2 ** (k + 1) - 2) * C0] for k in range(1, cache.order)]


def last(cache: Cache) -> Array:
    """y again: p_n is one multiplication away from u_{n-1}."""
    return factor_for(cache.scale, cache.filtered) * gates(cache.filtered, cache.order)[-1] * projected(cache)[-1]


def factor_for(scale: float, like: Array) -> float:
    """scale as a plain float, but as it is for exact numbers."""
    return scale if like.dtype == object else float(scale)


def _holds(flat: Array | None, size: int) -> bool:
    return flat is not None and flat.shape == (size,)
