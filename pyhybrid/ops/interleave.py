"""Interleave: the channels of two maps in turn, as the local and the global half of HorNet's filter are put together.

Shapes       a (N, D, H, W), b (N, D, H, W) -> y (N, 2·D, H, W)
Forward      (F1) y[:, 2c] = a[:, c]    (F2) y[:, 2c + 1] = b[:, c]
Backward     (B1) da[:, c] = dy[:, 2c]    (B2) db[:, c] = dy[:, 2c + 1]
Constraints  (C1) a is (N, D, H, W), and b has the shape of a
Smooth       everywhere (linear; exact)                                 Source: HorNet, arXiv 2207.14284, official code
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple): a: Array; b: Array          # for their shape
class Grads(NamedTuple): a: Array; b: Array


def output_shape(a, b):
    require(a.ndim == 4 and a.shape == b.shape, "C1", a=a, b=b)
    N, D, H, W = a.shape
    return (N, 2 * D, H, W)


@kernel
def forward(a: Array, b: Array) -> tuple[Array, Cache]:
    y = np.empty(output_shape(a, b), np.result_type(a, b))
    y[:, 0::2] = a                         # (F1)
    y[:, 1::2] = b                         # (F2)
    return y, Cache(a, b)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    da = dy[:, 0::2].copy()                # (B1)
    db = dy[:, 1::2].copy()                # (B2)
    return Grads(da, db)
