"""Regroup: channels ordered head by head are ordered anew so that every group holds one channel of each head.

Shapes       x (any), axis with C = heads·M channels -> y, same shape; heads N, groups M, head t < N, group i < M
Forward      (F1) y[i·N + t] = x[t·M + i] along `axis`, the transpose of an N × M table    (F2) inverse: y[t·M + i] = x[i·N + t]
Backward     (B1) dx = the inverse of the forward's order, applied to dy: a permutation's transpose undoes it
Constraints  (C1) axis is an axis of x, and x has at least one axis
             (C2) heads divides the number of channels
Smooth       everywhere (linear; exact)
Notes        The inverse for N heads is the forward for M. Tokens (B, T, C) become a map (B, C, T) as x.reshape(B, T·C) with T heads.
Source       SMT, arXiv 2307.08579, the groups of the aggregation; ShuffleNet's channel shuffle, arXiv 1707.01083
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer

Array = np.ndarray


class Cache(NamedTuple): x: Array; heads: int; axis: int; inverse: bool        # x gives the shape
class Grads(NamedTuple): x: Array


def output_shape(x, *, heads, axis=1, inverse=False):
    N, axis = integer("heads", heads), integer("axis", axis, -(2**31))
    if not isinstance(inverse, bool):
        raise TypeError(f"inverse must be True or False; got {inverse!r}")
    require(-x.ndim <= axis < x.ndim, "C1", axis=axis, x=x)
    require(x.shape[axis] % N == 0, "C2", heads=heads, x=x, axis=axis)
    return x.shape


@kernel
def forward(x: Array, *, heads: int, axis: int = 1, inverse: bool = False) -> tuple[Array, Cache]:
    M = x.shape[axis] // heads
    y = transposed(x, axis, M, heads) if inverse else transposed(x, axis, heads, M)             # (F2) (F1)
    return y, Cache(x, heads, axis, inverse)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, heads, axis, inverse = cache
    M = x.shape[axis] // heads
    dx = transposed(dy, axis, heads, M) if inverse else transposed(dy, axis, M, heads)          # (B1)
    return Grads(dx)


def transposed(x: Array, axis: int, rows: int, columns: int) -> Array:
    """x with the rows·columns entries along `axis` taken as a table row by row and written column by column."""
    before, after = x.shape[: axis % x.ndim], x.shape[axis % x.ndim + 1 :]
    table = x.reshape(*before, rows, columns, *after)
    return np.array(table.swapaxes(len(before), len(before) + 1), order="C").reshape(x.shape)
