"""Linear map of the last axis: the same matrix for every token.

Shapes       x (..., C), weight (O, C), bias (O,) -> y (..., O)
Forward      (F1) y = x weightᵀ + bias
Backward     (B1) dbias = Σ dy    (B2) dweight = dyᵀ x, both over all tokens    (B3) dx = dy weight
Constraints  (C1) x has at least one axis; the last one holds its C channels
             (C2) weight is (O, C) with C the channels of x
             (C3) bias, if given, is (O,), one value per row of weight
Smooth       everywhere (linear in x and in weight)                     Source: Transformer, arXiv 1706.03762, section 3.3
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): x: Array; weight: Array; bias: Array | None
class Grads(NamedTuple): x: Array; weight: Array; bias: Array | None


def output_shape(x, weight, bias=None):
    require(x.ndim >= 1, "C1", x=x)
    require(weight.ndim == 2 and weight.shape[1] == x.shape[-1], "C2", weight=weight, x=x)
    require(bias is None or bias.shape == weight.shape[:1], "C3", bias=bias, weight=weight)
    return (*x.shape[:-1], weight.shape[0])


def macs(x, weight, bias=None):
    """Every output value is a sum over C products."""
    return Macs(weights=prod(output_shape(x, weight, bias)) * weight.shape[1])


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Cache]:
    y = x @ weight.T if bias is None else x @ weight.T + bias      # (F1)
    return y, Cache(x, weight, bias)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias = cache
    dbias = None if bias is None else tokens(dy).sum(0)            # (B1)
    dweight = tokens(dy).T @ tokens(x)                             # (B2)
    dx = dy @ weight                                               # (B3)
    return Grads(dx, dweight, dbias)


def tokens(x: Array) -> Array:
    """x (..., C) as one list of tokens (T, C)."""
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
