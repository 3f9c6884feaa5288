"""gnConv, the recursive gated convolution: interactions of order n at the price of a depthwise and a few pointwise convolutions.

Shapes       x (N, C_in, H, W), proj_in_weight (2·C, C_in, 1, 1), dwconv_weight (2·C - C₀, 1, kh, kw), proj_out_weight (O, C, 1, 1),
             pws_weight, pws_bias flat as in `gate_chain`, other biases one value per output channel -> y (N, O, H, W)
             n = order, C₀ = C/2^(n-1); without proj_out_weight y is p_n, (N, C, H, W)
Forward      (F1) [p₀, q] = proj_in of x: C₀ channels, then q = [q₀, …, q_{n-1}], narrow to wide
             (F2) f = q * dwconv_weight + dwconv_bias: every channel by its own kernel, zero padding (⌊kh/2⌋, ⌊kw/2⌋)
             (F3) p_n = gate_chain(p₀, f), with pws and scale    (F4) y = proj_out of p_n
Backward     (B1) dp_n, dproj_out = backward of (F4)    (B2) dp₀, df, dpws = backward of (F3)
             (B3) dq, ddwconv = backward of (F2)    (B4) dx, dproj_in = backward of (F1) on [dp₀, dq]
Constraints  (C1) x is (N, C_in, H, W) with at least one pixel
             (C2) order is at most 30, and proj_in_weight is (2·C, C_in, 1, 1) with C >= 1 and 2^(order-1) a divisor of C
             (C3) dwconv_weight is (2·C - C/2^(order-1), 1, kh, kw): one kernel for each channel of q
             (C4) kh and kw are odd, so that the map keeps its size
             (C5) proj_out_weight, if given, is (O, C, 1, 1)
             (C6) pws_weight is flat and holds the order - 1 projections of gate_chain; at order 1 it is None or empty
             (C7) proj_in_bias, dwconv_bias, pws_bias and proj_out_bias, if given, have one value per output channel of their weight
             (C8) scale is a finite number
Smooth       everywhere; y is a polynomial of degree n + 1 in x         Source: HorNet, arXiv 2207.14284, gnConv (scale = 1/α)
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import conv2d, gate_chain, pointwise_conv
from pyhybrid.ops._sizes import integer
from pyhybrid.ops.gated_conv import borders

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; proj_in_weight: Array; dwconv_weight: Array; pws_weight: Array | None; proj_out_weight: Array | None
    proj_in_bias: Array | None; dwconv_bias: Array | None; pws_bias: Array | None; proj_out_bias: Array | None
    order: int; scale: float
    p0: Array                 # (N, C_0, H, W)                All four are what the backward multiplies by;
    q: Array                  # (N, 2·C - C_0, H, W)          each costs a convolution to make again.
    filtered: Array           # (N, 2·C - C_0, H, W): f
    u: Array                  # (N, 2·C - 2·C_0, H, W): the projections of the chain
class Grads(NamedTuple):
    x: Array; proj_in_weight: Array; dwconv_weight: Array; pws_weight: Array | None; proj_out_weight: Array | None
    proj_in_bias: Array | None; dwconv_bias: Array | None; pws_bias: Array | None; proj_out_bias: Array | None


def output_shape(x, proj_in_weight, dwconv_weight, pws_weight=None, proj_out_weight=None, proj_in_bias=None, dwconv_bias=None,
                 pws_bias=None, proj_out_bias=None, *, order, scale=1):
    order = integer("order", order)
    require(x.ndim == 4 and x.shape[2] >= 1 and x.shape[3] >= 1, "C1", x=x)
    (N, inputs, H, W), rows = x.shape, len(proj_in_weight) if proj_in_weight.ndim else 0
    fits = proj_in_weight.ndim == 4 and proj_in_weight.shape[1:] == (inputs, 1, 1)
    require(order <= 30 and fits and rows >= 2 and rows % 2**order == 0, "C2", order=order, proj_in_weight=proj_in_weight, x=x)
    C, C0 = rows // 2, rows // 2**order
    require(dwconv_weight.ndim == 4 and dwconv_weight.shape[:2] == (2 * C - C0, 1), "C3",
            dwconv_weight=dwconv_weight, proj_in_weight=proj_in_weight, order=order)
    require(dwconv_weight.shape[2] % 2 == 1 and dwconv_weight.shape[3] % 2 == 1, "C4", dwconv_weight=dwconv_weight)
    require(proj_out_weight is None or (proj_out_weight.ndim == 4 and proj_out_weight.shape[1:] == (C, 1, 1)), "C5",
            proj_out_weight=proj_out_weight, proj_in_weight=proj_in_weight)
    shapes = gate_chain.projections(C0, order)
    size = sum(O * I for O, I in shapes)
    require(size == 0 if pws_weight is None else pws_weight.shape == (size,), "C6", pws_weight=pws_weight, order=order,
            proj_in_weight=proj_in_weight)
    O = 0 if proj_out_weight is None else len(proj_out_weight)
    biases = ((proj_in_bias, 2 * C), (dwconv_bias, 2 * C - C0), (pws_bias, sum(O for O, _ in shapes)), (proj_out_bias, O))
    has_weight = proj_out_bias is None or proj_out_weight is not None
    require(has_weight and all(bias is None or bias.shape == (size,) for bias, size in biases), "C7", proj_in_bias=proj_in_bias,
            dwconv_bias=dwconv_bias, pws_bias=pws_bias, proj_out_bias=proj_out_bias)
    require(isinstance(scale, Real) and isfinite(scale), "C8", scale=scale)
    return (N, C if proj_out_weight is None else O, H, W)


def macs(x, proj_in_weight, dwconv_weight, pws_weight=None, proj_out_weight=None, *biases, order, scale=1, **named):
    """At every pixel each weight once, and a gate for each channel of q; biases and the scale are not counted."""
    output_shape(x, proj_in_weight, dwconv_weight, pws_weight, proj_out_weight, *biases, order=order, scale=scale, **named)
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    weights = [a.size for a in (proj_in_weight, dwconv_weight, pws_weight, proj_out_weight) if a is not None]
    return Macs(weights=pixels * sum(weights), products=pixels * len(dwconv_weight))


@kernel
def forward(x: Array, proj_in_weight: Array, dwconv_weight: Array, pws_weight: Array | None = None, proj_out_weight: Array | None = None,
            proj_in_bias: Array | None = None, dwconv_bias: Array | None = None, pws_bias: Array | None = None,
            proj_out_bias: Array | None = None, *, order: int, scale: float = 1) -> tuple[Array, Cache]:
    C0 = len(proj_in_weight) // 2**order
    projected, _ = pointwise_conv.forward(x, proj_in_weight, proj_in_bias)                                             # (F1)
    p0, q = projected[:, :C0], projected[:, C0:]
    filtered, _ = conv2d.forward(q, dwconv_weight, dwconv_bias, padding=borders(dwconv_weight), groups=len(dwconv_weight))      # (F2)
    pn, chain = gate_chain.forward(p0, filtered, pws_weight, pws_bias, order=order, scale=scale)                       # (F3)
    y = pn if proj_out_weight is None else pointwise_conv.forward(pn, proj_out_weight, proj_out_bias)[0]               # (F4)
    return y, Cache(x, proj_in_weight, dwconv_weight, pws_weight, proj_out_weight, proj_in_bias, dwconv_bias, pws_bias, proj_out_bias,
                    order, scale, p0, q, filtered, chain.u)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    chain = chain_cache(cache)
    dpn, dproj_out, dproj_out_bias = dy, None, None
    if cache.proj_out_weight is not None:
        out = pointwise_conv.Cache(gate_chain.last(chain), cache.proj_out_weight, cache.proj_out_bias)
        dpn, dproj_out, dproj_out_bias = pointwise_conv.backward(dy, out)                                              # (B1)
    dp0, df, dpws, dpws_bias = gate_chain.backward(dpn, chain)                                                         # (B2)
    filtering = conv2d.Cache(cache.q, cache.dwconv_weight, cache.dwconv_bias, 1, borders(cache.dwconv_weight), 1, cache.q.shape[1])
    dq, ddwconv, ddwconv_bias = conv2d.backward(df, filtering)                                                         # (B3)
    dprojected = np.concatenate([dp0, dq], axis=1)
    entry = pointwise_conv.Cache(cache.x, cache.proj_in_weight, cache.proj_in_bias)
    dx, dproj_in, dproj_in_bias = pointwise_conv.backward(dprojected, entry)                                           # (B4)
    return Grads(dx, dproj_in, ddwconv, dpws, dproj_out, dproj_in_bias, ddwconv_bias, dpws_bias, dproj_out_bias)


def chain_cache(cache: Cache) -> gate_chain.Cache:
    """The cache of the chain inside."""
    return gate_chain.Cache(cache.p0, cache.filtered, cache.pws_weight, cache.pws_bias, cache.order, cache.scale, cache.u)
