"""Global filter: every frequency of a map is multiplied by a learnt complex number of its channel, which is a circular convolution.

Shapes       x (N, C, H, W), weight (C, H, V, 2), V = ⌊W/2⌋ + 1 -> y (N, C, H, W); the last axis of weight is (real, imaginary)
             frequency (u, v): u = 0 … H-1 along the rows, v = 0 … V-1 along the columns; the others are mirror images
Forward      (F1) X = rfft2(x)    (F2) Z = w·X, w = weight[..., 0] + i·weight[..., 1]
             (F3) y[i, j] = Σ_uv c_v·Re(Z[u, v]·e^(2πi(u·i/H + v·j/W)))/√(HW): irfft2(Z), whose width W must be told; c_v = 1 for
             v = 0 and, if W is even, v = W/2, else 2. In those columns Z need not be Hermitian: the part that is not drops out
Backward     (B1) dX = rfft2(dy)    (B2) dx = irfft2(conj(w)·dX): the filter with conjugated weights
             (B3) dw = c_v·Σ_n conj(X)·dX, dweight = (Re dw, Im dw): a column that stands for two counts twice
Constraints  (C1) x is (N, C, H, W) with at least one pixel
             (C2) weight is (C, H, W//2 + 1, 2) (spectrum_resize brings it to another size)
             (C3) x and weight are real floating-point numbers, as the transform is
Smooth       everywhere (linear in x and in weight)
Not finite   every pixel has a share in every frequency: a plane that holds NaN or ±∞, or whose weights do, becomes NaN altogether
Source       GFNet, arXiv 2107.00645, and HorNet, arXiv 2207.14284; transforms are "ortho", which does not change y
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): x: Array; weight: Array
class Grads(NamedTuple): x: Array; weight: Array


def output_shape(x, weight):
    require(x.ndim == 4 and x.shape[2] > 0 and x.shape[3] > 0, "C1", x=x)
    _, C, H, W = x.shape
    require(weight.shape == (C, H, W // 2 + 1, 2), "C2", weight=weight, x=x)
    require(x.dtype.kind == weight.dtype.kind == "f", "C3", x=x, weight=weight)
    return x.shape


def macs(x, weight):
    """Four real products for each complex one; the two transforms multiply by no weight and are not counted."""
    output_shape(x, weight)
    return Macs(weights=2 * len(x) * prod(weight.shape))


@kernel
def forward(x: Array, weight: Array) -> tuple[Array, Cache]:
    w = weight[..., 0] + 1j * weight[..., 1]
    X = np.fft.rfft2(x, norm="ortho")                                      # (F1)
    Z = w * X                                                              # (F2)
    y = np.fft.irfft2(Z, s=x.shape[2:], norm="ortho") + _nought(x) + _nought(weight, (1, 2, 3))[..., 0]      # (F3)
    return y, Cache(x, weight)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight = cache
    w = weight[..., 0] + 1j * weight[..., 1]
    X = np.fft.rfft2(x, norm="ortho")                                      # (F1) again
    dX = np.fft.rfft2(dy, norm="ortho")                                    # (B1)
    dx = np.fft.irfft2(w.conj() * dX, s=x.shape[2:], norm="ortho") + _nought(dy) + _nought(weight, (1, 2, 3))[..., 0]      # (B2)
    dw = (X.conj() * dX).sum(0) * multiplicity(x.shape[3], x.dtype)        # (B3)
    dweight = np.stack([dw.real, dw.imag], axis=-1) + (_nought(x) + _nought(dy)).sum(0)[..., None]
    return Grads(dx, dweight)


def multiplicity(width: int, dtype: np.dtype) -> Array:
    """c_v: 2 for a column of the half spectrum that stands for its mirror image too, 1 for one that is its own."""
    v = np.arange(width // 2 + 1)
    return np.where((v == 0) | (2 * v == width), 1, 2).astype(dtype)


def _nought(a: Array, axes: tuple[int, ...] = (2, 3)) -> Array:
    """0 for each plane of a map, or for each channel of weights; NaN if it is not finite: a transform of ∞ depends on how it is split."""
    return (0 * a).sum(axes, keepdims=True)
