"""Squeeze and excitation, then a pointwise convolution: instead of the maps, the gate scales the columns of the kernel.

Shapes       x (N, C, H, W), reduce_weight (R, C), expand_weight (C, R), weight (O, C, 1, 1), reduce_bias (R,), expand_bias (C,), bias (O,)
             -> y (N, O, H, W)
Forward      (F1) s (N, C), the gate of x: (F1) to (F5) of squeeze_excite
             (F2) Kₙ = K diag(sₙ), K = weight[:, :, 0, 0]: since K (x ⊙ s) = (K diag(s)) x, the gated maps need not be made
             (F3) yₙ[:, i, j] = Kₙ xₙ[:, i, j] + bias
Backward     (B1) dbias = Σ dy    (B2) Gₙ = Σ_ij dyₙ xₙᵀ, (O, C) for each image    (B3) dK = Σₙ Gₙ diag(sₙ)
             (B4) dsₙ = Σ_o K ⊙ Gₙ    (B5) du and the gradients of the small network, from ds: (B2) to (B5) of squeeze_excite
             (B6) dxₙ = Kₙᵀ dyₙ + duₙ/(H·W)
Constraints  (C1) weight is (O, C, 1, 1) with C the channels of x
             (C2) bias, if given, is (O,); all else is as squeeze_excite says
Smooth       everywhere, but with "relu" where the first layer of the gate gives 0
Source       CoAtNet, arXiv 2106.04803, eq. (5): the last convolution of MBConv, and the gate before it
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import squeeze_excite

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; reduce_weight: Array; expand_weight: Array; weight: Array
    reduce_bias: Array | None; expand_bias: Array | None; bias: Array | None; activation: str
    u: Array          # (N, C), the means of the maps
class Grads(NamedTuple):
    x: Array; reduce_weight: Array; expand_weight: Array; weight: Array
    reduce_bias: Array | None; expand_bias: Array | None; bias: Array | None


def output_shape(x, reduce_weight, expand_weight, weight, reduce_bias=None, expand_bias=None, bias=None, *, activation="silu"):
    N, C, H, W = squeeze_excite.output_shape(x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation=activation)
    require(weight.ndim == 4 and weight.shape[1:] == (C, 1, 1), "C1", weight=weight, x=x)
    require(bias is None or bias.shape == weight.shape[:1], "C2", bias=bias, weight=weight)
    return (N, weight.shape[0], H, W)


def macs(x, reduce_weight, expand_weight, weight, reduce_bias=None, expand_bias=None, bias=None, *, activation="silu"):
    """Those of the gate's two layers, once per image, and of the kernel, once per pixel."""
    N, _, H, W = x.shape
    return squeeze_excite.macs(x, reduce_weight, expand_weight) + Macs(weights=N * H * W * prod(weight.shape))


@kernel
def forward(x: Array, reduce_weight: Array, expand_weight: Array, weight: Array, reduce_bias: Array | None = None,
            expand_bias: Array | None = None, bias: Array | None = None, *, activation: str = "silu") -> tuple[Array, Cache]:
    N, C, H, W = x.shape
    u = squeeze_excite.means(x)
    s = squeeze_excite.gate(squeeze_excite.Cache(x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation, u))      # (F1)
    K = weight[:, :, 0, 0] * s[:, None, :]                                                                                       # (F2)
    y = (K @ x.reshape(N, C, H * W)).reshape(N, len(weight), H, W)                                                               # (F3)
    if bias is not None:
        y = y + bias[:, None, None]
    return y, Cache(x, reduce_weight, expand_weight, weight, reduce_bias, expand_bias, bias, activation, u)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, V1, V2, weight, b1, b2, bias, activation, u = cache
    (N, C, H, W), K = x.shape, weight[:, :, 0, 0]
    excitation = squeeze_excite.Cache(x, V1, V2, b1, b2, activation, u)
    s = squeeze_excite.gate(excitation)
    dy_rows = dy.reshape(N, len(weight), H * W)
    dbias = None if bias is None else dy.sum((0, 2, 3))                                          # (B1)
    G = dy_rows @ x.reshape(N, C, H * W).swapaxes(1, 2)                                          # (B2)
    dK = (G * s[:, None, :]).sum(0)                                                              # (B3)
    ds = (K * G).sum(1)                                                                          # (B4)
    du, dV1, dV2, db1, db2 = squeeze_excite.through_gate(ds, excitation)                         # (B5)
    K_of_each = K * s[:, None, :]
    dx = (K_of_each.swapaxes(1, 2) @ dy_rows).reshape(x.shape) + du[:, :, None, None]            # (B6)
    return Grads(dx, dV1, dV2, dK.reshape(weight.shape), db1, db2, dbias)
