"""Squeeze and excitation: every channel is scaled by a gate between 0 and 1, which a small network reads off the channels' means.

Shapes       x (N, C, H, W), reduce_weight (R, C), expand_weight (C, R), reduce_bias (R,), expand_bias (C,) -> y (N, C, H, W)
Forward      (F1) u = mean of x over the pixels    (F2) t = u·V₁ᵀ + b₁    (F3) z = act(t), act being `activation`
             (F4) e = z·V₂ᵀ + b₂    (F5) s = σ(e)    (F6) y = x·s; V₁ = reduce_weight, V₂ = expand_weight
Backward     (B1) ds = Σ dy·x over the pixels    (B2) de = ds·σ'(e)    (B3) dV₂ = deᵀ z, db₂ = Σ_N de
             (B4) dt = (de·V₂)·act'(t)    (B5) dV₁ = dtᵀ u, db₁ = Σ_N dt
             (B6) dx = dy·s + dt·V₁/(H·W): x acts at its own pixel, and at every pixel of all channels through the mean
Constraints  (C1) x is (N, C, H, W)
             (C2) reduce_weight is (R, C) and expand_weight (C, R), with C the channels of x
             (C3) reduce_bias, if given, is (R,) and expand_bias (C,)
             (C4) the map has at least one pixel to take the mean of
             (C5) activation is "silu", "relu" or "gelu"
Smooth       everywhere, but with "relu" where an entry of t is 0: the slope there is 0
Source       Squeeze-and-Excitation, arXiv 1709.01507, eqs. (2)-(4); inside the MBConv block of CoAtNet, arXiv 2106.04803
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import gelu, relu, silu
from pyhybrid.ops.sigmoid import value_and_slope

Array = np.ndarray
ACTIVATIONS = {"silu": silu, "relu": relu, "gelu": gelu}


class Cache(NamedTuple):
    x: Array; reduce_weight: Array; expand_weight: Array; reduce_bias: Array | None; expand_bias: Array | None; activation: str
    u: Array          # (N, C): a pass over x saved; all else is as small and cheap to compute again
class Grads(NamedTuple): x: Array; reduce_weight: Array; expand_weight: Array; reduce_bias: Array | None; expand_bias: Array | None


def output_shape(x, reduce_weight, expand_weight, reduce_bias=None, expand_bias=None, *, activation="silu"):
    require(x.ndim == 4, "C1", x=x)
    C = x.shape[1]
    fits = reduce_weight.ndim == 2 and reduce_weight.shape[1] == C and expand_weight.shape == reduce_weight.shape[::-1]
    require(fits, "C2", reduce_weight=reduce_weight, expand_weight=expand_weight, x=x)
    require((reduce_bias is None or reduce_bias.shape == reduce_weight.shape[:1]) and (expand_bias is None or expand_bias.shape == (C,)),
            "C3", reduce_bias=reduce_bias, expand_bias=expand_bias)
    require(x.shape[2] > 0 and x.shape[3] > 0, "C4", x=x)
    require(isinstance(activation, str) and activation in ACTIVATIONS, "C5", activation=activation)
    return x.shape


def macs(x, reduce_weight, expand_weight, reduce_bias=None, expand_bias=None, *, activation="silu"):
    """The two small linear maps, once per image; the mean and the gate are not counted."""
    return Macs(weights=2 * len(x) * prod(reduce_weight.shape))


@kernel
def forward(x: Array, reduce_weight: Array, expand_weight: Array, reduce_bias: Array | None = None, expand_bias: Array | None = None, *,
            activation: str = "silu") -> tuple[Array, Cache]:
    u = means(x)                                                                         # (F1)
    cache = Cache(x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation, u)
    return x * gate(cache)[:, :, None, None], cache                                      # (F6)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x = cache.x
    ds = (dy * x).sum((2, 3))                                                            # (B1)
    du, dV1, dV2, db1, db2 = through_gate(ds, cache)
    dx = dy * gate(cache)[:, :, None, None] + du[:, :, None, None]                       # (B6)
    return Grads(dx, dV1, dV2, db1, db2)


def through_gate(ds: Array, cache: Cache) -> tuple[Array, Array, Array, Array | None, Array | None]:
    """What ds does to every pixel of x through the means (N, C), and the gradients of the small network."""
    x, V1, V2, b1, b2, activation, u = cache
    _, z, act_cache, e = excitation(cache)
    slope = value_and_slope(e)[1]
    de = ds * slope                                                                      # (B2)
    dV2, db2 = de.T @ z, None if b2 is None else de.sum(0)                               # (B3)
    dt = ACTIVATIONS[activation].backward(de @ V2, act_cache).x                          # (B4)
    dV1, db1 = dt.T @ u, None if b1 is None else dt.sum(0)                               # (B5)
    return (dt @ V1) / (x.shape[2] * x.shape[3]), dV1, dV2, db1, db2


def means(x: Array) -> Array:
    """u of (F1), (N, C)."""
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])                                     # (F1)


def gate(cache: Cache) -> Array:
    """s of (F5), (N, C): what every channel is scaled by."""
    return value_and_slope(excitation(cache)[-1])[0]                                     # (F5)


def excitation(cache: Cache) -> tuple[Array, Array, NamedTuple, Array]:
    """t, z with the cache of its activation, and e."""
    _, V1, V2, b1, b2, activation, u = cache
    t = u @ V1.T if b1 is None else u @ V1.T + b1                                        # (F2)
    z, act_cache = ACTIVATIONS[activation].forward(t)                                    # (F3)
    e = z @ V2.T if b2 is None else z @ V2.T + b2                                        # (F4)
    return t, z, act_cache, e
