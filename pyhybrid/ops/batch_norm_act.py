"""Batch normalisation and the activation behind it as one operator: what lies between the two is neither written nor kept.

Shapes       x (N, C, ...), weight (C,), bias (C,), running_mean (C,), running_var (C,) -> y, the shape of x
Forward      (F1) z = batch_norm of x, by the batch's statistics or by running ones    (F2) y = act(z), act being `activation`
Backward     (B1) dz = dy·act'(z), with z once more from x    (B2) dx, dweight, dbias, ...: what batch_norm gives for dz
Constraints  (C1) activation is "gelu", "relu" or "silu"; all else is as batch_norm says
Smooth       everywhere for running_var >= 0, but with "relu" where an entry of z is 0: the slope there is 0
Source       Batch Normalization, arXiv 1502.03167, section 3.2: the norm stands right before the nonlinearity
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops import batch_norm, gelu, relu, silu

Array = np.ndarray
ACTIVATIONS = {"gelu": gelu, "relu": relu, "silu": silu}


class Cache(NamedTuple):
    x: Array; weight: Array; bias: Array; running_mean: Array | None; running_var: Array | None; eps: float; activation: str
    mean: Array; var: Array          # (C,): what x was normalised by
class Grads(NamedTuple): x: Array; weight: Array; bias: Array; running_mean: Array | None; running_var: Array | None


def output_shape(x, weight, bias, running_mean=None, running_var=None, *, eps=1e-5, activation="gelu"):
    require(isinstance(activation, str) and activation in ACTIVATIONS, "C1", activation=activation)
    return batch_norm.output_shape(x, weight, bias, running_mean, running_var, eps=eps)


@kernel
def forward(x: Array, weight: Array, bias: Array, running_mean: Array | None = None, running_var: Array | None = None, *,
            eps: float = 1e-5, activation: str = "gelu") -> tuple[Array, Cache]:
    z, norm = batch_norm.forward(x, weight, bias, running_mean, running_var, eps=eps)      # (F1)
    y, _ = ACTIVATIONS[activation].forward(z)                                              # (F2)
    return y, Cache(x, weight, bias, running_mean, running_var, eps, activation, norm.mean, norm.var)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, running_mean, running_var, eps, activation, mean, var = cache
    act = ACTIVATIONS[activation]
    z, _ = batch_norm.forward(x, weight, bias, mean, var, eps=eps)                         # (F1) again
    dz = act.backward(dy, act.forward(z)[1]).x                                             # (B1)
    norm = batch_norm.Cache(x, weight, bias, running_mean, running_var, eps, mean, var)
    return Grads(*batch_norm.backward(dz, norm))                                           # (B2)
