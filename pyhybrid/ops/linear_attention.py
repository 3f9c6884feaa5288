"""Linear attention: keys and values are summed up once, and every query reads the sum; no pair of query and key is ever formed.

Shapes       q (B, heads, T, d), k (B, heads, S, d), v (B, heads, S, e) -> y (B, heads, T, e)
Kinds        "elu": a kernel φ(t) = elu(t) + 1 in place of the exponential of the scores;  "efficient": a softmax on either side
Forward      (F1) "elu": K = φ(k), Q = φ(q)    (F2) M = Kᵀ v (d, e), z = Σ_j K_j (d,)    (F3) D = Q z + eps    (F4) y = Q M / D
             (F5) "efficient": K = softmax of k over the positions, Q = softmax of q over the d features    (F6) y = Q M
Backward     (B1) "elu": g = dy/D, c = -Σ_e g·y: D acts on all channels    (B2) dQ = g Mᵀ + c zᵀ    (B3) dM = Qᵀ g, dz = Qᵀ c
             (B4) dK = v dMᵀ + dz, dv = K dM    (B5) dq = dQ·φ'(q), dk = dK·φ'(k)
             (B6) "efficient": dQ = dy Mᵀ, dM = Qᵀ dy, dK = v dMᵀ, dv = K dM; dq and dk by the derivative of the softmax
Constraints  (C1) q is (B, heads, T, d), k is (B, heads, S, d) and v is (B, heads, S, e)
             (C2) there is at least one key and one channel, S >= 1 and d >= 1
             (C3) kind is "elu" or "efficient"
             (C4) eps is a finite number, not negative; only "elu" adds it
Smooth       everywhere (φ once); where D is 0, after exponentials of numbers below -700, y is NaN
Source       CoAtNet, arXiv 2106.04803, section 2.2, option (C); arXiv 2006.16236 ("elu") and arXiv 1812.01243 ("efficient")
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import softmax
from pyhybrid.ops.elu_plus_one import value_and_slope

Array = np.ndarray
KINDS = ("elu", "efficient")


class Cache(NamedTuple): q: Array; k: Array; v: Array; kind: str; eps: float      # features and sums cost little: computed again
class Grads(NamedTuple): q: Array; k: Array; v: Array


def output_shape(q, k, v, *, kind="elu", eps=0.0):
    require(q.ndim == k.ndim == v.ndim == 4 and q.shape[:2] == k.shape[:2] == v.shape[:2]
            and k.shape[3] == q.shape[3] and v.shape[2] == k.shape[2], "C1", q=q, k=k, v=v)
    require(k.shape[2] >= 1 and k.shape[3] >= 1, "C2", k=k)
    require(isinstance(kind, str) and kind in KINDS, "C3", kind=kind)
    require(isinstance(eps, Real) and isfinite(eps) and float(eps) >= 0, "C4", eps=eps)
    return (*q.shape[:3], v.shape[3])


def macs(q, k, v, *, kind="elu", eps=0.0):
    """Keys times values, queries times that, and for "elu" the sum D."""
    (B, heads, T, d), (S, e) = q.shape, v.shape[2:]
    return Macs(products=B * heads * d * ((T + S) * e + (T if kind == "elu" else 0)))


@kernel
def forward(q: Array, k: Array, v: Array, *, kind: str = "elu", eps: float = 0.0) -> tuple[Array, Cache]:
    Q, K = features(q, k, kind)
    M = across(K) @ v                                             # (F2)
    y = Q @ M                                                     # (F6)
    if kind == "elu":
        z = K.sum(-2)[..., None]                                  # (B, heads, d, 1)
        D = Q @ z + eps                                           # (F3) (B, heads, T, 1)
        y = y / D                                                 # (F4)
    return y, Cache(q, k, v, kind, eps)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    q, k, v, kind, eps = cache
    Q, K = features(q, k, kind)
    M = across(K) @ v
    if kind == "efficient":
        dM = across(Q) @ dy                                       # (B6)
        dq = softmax.backward(dy @ across(M), softmax.Cache(-1, Q)).x
        dk = softmax.backward(v @ across(dM), softmax.Cache(-2, K)).x
        return Grads(dq, dk, K @ dM)
    z = K.sum(-2)[..., None]
    D = Q @ z + eps
    g = dy / D                                                    # (B1)
    c = -(g * (Q @ M / D)).sum(-1, keepdims=True)
    dQ = g @ across(M) + c * across(z)                            # (B2)
    dM, dz = across(Q) @ g, across(Q) @ c                         # (B3)
    dK, dv = v @ across(dM) + across(dz), K @ dM                  # (B4)
    dq, dk = dQ * value_and_slope(q)[1], dK * value_and_slope(k)[1]     # (B5)
    return Grads(dq, dk, dv)


def features(q: Array, k: Array, kind: str) -> tuple[Array, Array]:
    """Q and K: queries and keys as positive features."""
    if kind == "elu":
        return value_and_slope(q)[0], value_and_slope(k)[0]       # (F1)
    return softmax.forward(q, axis=-1)[0], softmax.forward(k, axis=-2)[0]       # (F5)


def across(x: Array) -> Array:
    """The matrices of the last two axes, transposed."""
    return x.swapaxes(-1, -2)
