"""Linear map of the last axis: the same matrix for every token.

Shapes       x (..., C), weight (O, C), bias (O,) -> y (..., O); with channels_first x (..., T, C) -> y (..., O, T)
Forward      (F1) y = x weightᵀ + bias    (F2) channels_first: the transpose, T tokens as one map of each channel
Backward     (B1) dbias = Σ dy    (B2) dweight = dyᵀ x, both over all tokens    (B3) dx = dy weight    (B4) dy of (F2) transposed first
Constraints  (C1) x has at least one axis; the last one holds its C channels
             (C2) weight is (O, C) with C the channels of x
             (C3) bias, if given, is (O,), one value per row of weight
             (C4) with channels_first x has at least two axes; the last but one counts the tokens of a map
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


class Cache(NamedTuple): x: Array; weight: Array; bias: Array | None; channels_first: bool
class Grads(NamedTuple): x: Array; weight: Array; bias: Array | None


def output_shape(x, weight, bias=None, *, channels_first=False):
    if not isinstance(channels_first, bool):
        raise TypeError(f"channels_first must be True or False; got {channels_first!r}")
    require(x.ndim >= 1, "C1", x=x)
    require(weight.ndim == 2 and weight.shape[1] == x.shape[-1], "C2", weight=weight, x=x)
    require(bias is None or bias.shape == weight.shape[:1], "C3", bias=bias, weight=weight)
    require(x.ndim >= 2 or not channels_first, "C4", x=x)
    return (*x.shape[:-2], len(weight), x.shape[-2]) if channels_first else (*x.shape[:-1], len(weight))


def macs(x, weight, bias=None, *, channels_first=False):
    """Every output value is a sum over C products."""
    return Macs(weights=prod(output_shape(x, weight, bias)) * weight.shape[1])


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None, *, channels_first: bool = False) -> tuple[Array, Cache]:
    y = x @ weight.T if bias is None else x @ weight.T + bias      # (F1)
    if channels_first:
        y = turned(y)                                              # (F2)
    return y, Cache(x, weight, bias, channels_first)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, channels_first = cache
    if channels_first:
        dy = turned(dy)                                            # (B4)
    dbias = None if bias is None else tokens(dy).sum(0)            # (B1)
    dweight = tokens(dy).T @ tokens(x)                             # (B2)
    dx = dy @ weight                                               # (B3)
    return Grads(dx, dweight, dbias)


def tokens(x: Array) -> Array:
    """x (..., C) as one list of tokens (T, C)."""
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def turned(x: Array) -> Array:
    """x (..., T, C) as (..., C, T), or back."""
    return np.ascontiguousarray(x.swapaxes(-1, -2))
