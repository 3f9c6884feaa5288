"""The error function erf, and the two parts of its complement that serve the Gaussian distribution of GELU.

Shapes       x (any) -> y, same shape
Forward      (F1) z = |x|    (F2) erf x = 2/√π Σ_n (-1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)) for z < 1
             (F3) erf x = ±(1 - exp(-z²)·R(z)) elsewhere, with R(z) = exp(z²) erfc(z), which falls slowly from 1 to 0
Backward     (B1) dx = dy·2/√π·exp(-x²)
Smooth       everywhere; erf(±∞) = ±1, NaN stays NaN
Error        at most 4e-16 in float64 and 2e-7 in float32, 3 units in the last place; complement and Gaussian a few units of theirs
Source       GELU, arXiv 1606.08415, section 2, needs it; the coefficients of R were computed for this file, see there
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel

Array = np.ndarray
FAR = 28.0  # exp(-28²) is 0 in every dtype
SERIES = [2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(19)]     # the next term is 1e-19

# (z + POLE)·R(z) as a polynomial in t = (z - POLE)/(z + POLE), which maps 0 … ∞ to -1 … 1; lowest power first. It interpolates at
# the 24 Chebyshev nodes, in arithmetic of 60 digits, with R(z) = exp(z²) erfc(z) there; its relative error is below 7e-18.
POLE = 3.75
COMPLEMENT = [
    1.0919229095627891, -0.9587415766529096, 0.7363189252217538, -0.49047029120767954, 0.27906204903368126, -0.13195540117846893,
    0.0491187786172679, -0.012535880042283688, 0.000986338059654386, 0.000794823110351232, -0.0003486467384382464,
    1.0593939364370455e-05, 3.7471304066174455e-05, -8.903816175024503e-06, -3.288558690228855e-06, 1.6559088365725826e-06,
    2.786425585878482e-07, -2.6373615721141846e-07, -2.5911956713608297e-08, 4.046079129250125e-08, 2.7702753111578317e-09,
    -5.469789765358524e-09, -2.2908304096310187e-10, 4.579984140831587e-10,
]


class Cache(NamedTuple): x: Array
class Grads(NamedTuple): x: Array


def output_shape(x):
    return x.shape


@kernel
def forward(x: Array) -> tuple[Array, Cache]:
    b = within(x, FAR)
    z = np.where(b.real < 0, -b, b)                                   # (F1)
    near = np.where(z.real < 1, x, 0.0)
    series = near * polynomial(SERIES, near * near)                   # (F2)
    rest = gauss(z, 1.0) * scaled_complement(z)                       # erfc(z)
    far = np.where(x.real < 0, rest - 1, 1 - rest)                    # (F3)
    return np.where(z.real < 1, series, far), Cache(x)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    dx = dy * (2 / math.sqrt(math.pi) * gauss(within(cache.x, FAR), 1.0))     # (B1)
    return Grads(np.asarray(dx))


def gauss(x: Array, c: float) -> Array:
    """exp(-c·x²) for |x| <= 64, c a power of two, to a few units in the last place: the square of x rounded to sixteenths is exact."""
    near = np.rint(16.0 * x.real) / 16.0
    return np.exp(-c * near * near) * np.exp(-c * (x - near) * (x + near))


def scaled_complement(z: Array) -> Array:
    """R(z) = exp(z²) erfc(z) for finite z with real part >= 0."""
    q = 1.0 / (z + POLE)
    return polynomial(COMPLEMENT, (z - POLE) * q) * q


def within(x: Array, bound: float) -> Array:
    """x with its real part held in -bound … bound; NaN stays NaN."""
    return np.where(x.real > bound, bound, np.where(x.real < -bound, -bound, x)).astype(x.dtype, copy=False)


def polynomial(coefficients: Sequence[float], t: Array) -> Array:
    """Σ_n coefficients[n]·tⁿ by Horner's rule."""
    value = np.full_like(t, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = value * t + c
    return value
