"""Modulation: the value of every token is multiplied, channel by channel, by what a convolutional branch computed for its pixel.

Shapes       v (N, T, C), tokens; modulator (N, C, H, W), a map of T = H·W pixels -> z (N, T, C), tokens
Forward      (F1) m[n, i·W + j, c] = modulator[n, c, i, j]: pixels are counted row by row    (F2) z = m·v
Backward     (B1) dv = m·dz    (B2) dmodulator[n, c, i, j] = (dz·v)[n, i·W + j, c]
Constraints  (C1) v is (N, T, C)
             (C2) modulator is (N, C, H, W), with the images and channels of v and H·W = T
Smooth       everywhere (bilinear); unlike a gate, the modulator is neither bounded nor positive
Source       SMT, arXiv 2307.08579, Z = Mod ⊙ V
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): v: Array; modulator: Array
class Grads(NamedTuple): v: Array; modulator: Array


def output_shape(v, modulator):
    require(v.ndim == 3, "C1", v=v)
    (N, T, C), shape = v.shape, modulator.shape
    require(modulator.ndim == 4 and shape[:2] == (N, C) and shape[2] * shape[3] == T, "C2", modulator=modulator, v=v)
    return v.shape


@kernel
def forward(v: Array, modulator: Array) -> tuple[Array, Cache]:
    m = tokens(modulator)                                          # (F1)
    z = m * v                                                      # (F2)
    return z, Cache(v, modulator)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    v, modulator = cache
    dv = tokens(modulator) * dy                                    # (B1)
    dmodulator = (dy * v).swapaxes(1, 2).reshape(modulator.shape)  # (B2)
    return Grads(dv, dmodulator)


def tokens(x: Array) -> Array:
    """(N, C, H, W) as (N, H·W, C), a view."""
    N, C, H, W = x.shape
    return x.reshape(N, C, H * W).swapaxes(1, 2)
