"""GELU: x times the chance that a standard normal number is below x, exactly or by a sigmoid.

Shapes       x (any), approximate ("none" or "tanh") -> y, same shape
Forward      (F1) "none": Φ = ½(1 + erf(x/√2)), from the complement ½·exp(-x²/2)·R(|x|/√2), so that the left tail keeps its digits
             (F2) "tanh": Φ = ½(1 + tanh u) = σ(2u), u = √(2/π)·(x + 0.044715·x³)    (F3) y = x·Φ
Backward     (B1) "none": φ = Φ' = exp(-x²/2)/√(2π)    (B2) "tanh": φ = Φ' = σ(2u)·(1-σ(2u))·2u'    (B3) dx = dy·(Φ + x·φ)
Constraints  (C1) approximate is "none" or "tanh"
Smooth       everywhere; at -∞ and ∞ value and derivative are their limits: -0 and 0, ∞ and 1; NaN stays NaN
Source       GELU, arXiv 1606.08415, section 2
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops.erf import gauss, scaled_complement, within
from pyhybrid.ops.sigmoid import value_and_slope

Array = np.ndarray
FAR = 40.0  # Φ(-40) is 0 in float32 and float64; beyond, x is held there, where neither x³ nor 0·∞ does harm


class Cache(NamedTuple): x: Array; approximate: str
class Grads(NamedTuple): x: Array


def output_shape(x, *, approximate="none"):
    require(approximate in ("none", "tanh"), "C1", approximate=approximate)
    return x.shape


@kernel
def forward(x: Array, *, approximate: str = "none") -> tuple[Array, Cache]:
    y = np.where(x.real < -FAR, -FAR, x) * distribution(x, approximate)[0]            # (F3)
    return np.asarray(y), Cache(x, approximate)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    Phi, phi = distribution(cache.x, cache.approximate)
    dx = dy * (Phi + within(cache.x, FAR) * phi)                                      # (B3)
    return Grads(np.asarray(dx))


def distribution(x: Array, approximate: str) -> tuple[Array, Array]:
    """Φ(x) and its derivative φ(x)."""
    b = within(x, FAR)
    if approximate == "tanh":
        v = 2 * math.sqrt(2 / math.pi) * (b + 0.044715 * b * b * b)                   # 2u
        Phi, slope = value_and_slope(v)                                               # (F2)
        return Phi, slope * (2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * b * b))       # (B2)
    bell = gauss(b, 0.5)
    tail = 0.5 * bell * scaled_complement(math.sqrt(0.5) * np.where(b.real < 0, -b, b))     # Φ(-|x|)
    return np.where(b.real < 0, tail, 1.0 - tail), bell / math.sqrt(2 * math.pi)      # (F1) (B1)
