"""Multi-head mixed convolution: the channels are cut into heads, and each head is filtered depthwise by kernels of its own size.

Shapes       x (N, C, H, W), weight (M, Σ k²), bias (C,), kernel_sizes (k_0, …, k_{heads-1}) -> y (N, C, H, W), M = C/heads
             Channel t·M + i is channel i of head t. Row i of weight holds its taps for all heads, side by side: k_0² for head 0, then
             k_1² for head 1, and so on, each p·k + q row-major; `pack` and `unpack` convert from and to one (M, 1, k, k) array per head
Forward      (F1) x is padded with ⌊k_t/2⌋ zeros on every side of head t
             (F2) y[tM+i, a, b] = Σ_pq K_t[i, p, q]·x[tM+i, a + p - ⌊k_t/2⌋, b + q - ⌊k_t/2⌋]    (F3) y += bias
Backward     (B1) dbias = Σ dy over images and pixels    (B2) dK_t[i, p, q] = Σ dy[tM+i, a, b]·x[tM+i, a + p - ⌊k_t/2⌋, b + q - ⌊k_t/2⌋]
             (B3) dx padded, at the pixel that tap (p, q) read, receives K_t[i, p, q]·dy; its border of zeros is cut off
Constraints  (C1) x is (N, C, H, W)
             (C2) kernel_sizes is a tuple or list of odd whole numbers of at least 1, one per head, at least one
             (C3) the number of heads divides C
             (C4) weight is (C/heads, Σ k²), all taps of all heads
             (C5) bias, if given, is (C,)
             (C6) the weights of the heads are (M, 1, k, k), of one M, with the kernel sizes given
Smooth       everywhere (bilinear)                                      Source: SMT, arXiv 2307.08579, eq. (1), with k_t = 3, 5, 7, …
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pyhybrid.arrays import check_array
from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops._sizes import integer
from pyhybrid.ops._taps import crop, pad_zeros, tap, taps

Array = np.ndarray


class Cache(NamedTuple): x: Array; weight: Array; bias: Array | None; kernel_sizes: Sequence[int]
class Grads(NamedTuple): x: Array; weight: Array; bias: Array | None


def output_shape(x, weight, bias=None, *, kernel_sizes=(3, 5, 7, 9)):
    require(x.ndim == 4, "C1", x=x)
    sizes = checked(kernel_sizes)
    C = x.shape[1]
    require(C % len(sizes) == 0, "C3", kernel_sizes=kernel_sizes, x=x)
    require(weight.shape == (C // len(sizes), sum(k * k for k in sizes)), "C4", weight=weight, x=x, kernel_sizes=kernel_sizes)
    require(bias is None or bias.shape == (C,), "C5", bias=bias, x=x)
    return x.shape


def macs(x, weight, bias=None, *, kernel_sizes=(3, 5, 7, 9)):
    """Every weight once at every pixel of every image."""
    N, _, H, W = x.shape
    return Macs(weights=N * H * W * weight.shape[0] * weight.shape[1])


@kernel
def forward(x: Array, weight: Array, bias: Array | None = None, *, kernel_sizes: Sequence[int] = (3, 5, 7, 9)) -> tuple[Array, Cache]:
    y = np.zeros(x.shape, np.result_type(x, weight))
    for k, head, columns in by_head(x, kernel_sizes):
        padded, K = pad_zeros(x[:, head], (k // 2, k // 2)), weight[:, columns, None, None]          # (F1)
        for m, p, q in taps((k, k)):
            y[:, head] += K[:, m] * tap(padded, p, q, x.shape[2:])                                   # (F2)
    y = y if bias is None else y + bias[:, None, None]                                               # (F3)
    return y, Cache(x, weight, bias, kernel_sizes)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, bias, kernel_sizes = cache
    dbias = None if bias is None else dy.sum((0, 2, 3))                                              # (B1)
    dx, dweight = np.zeros(x.shape, dy.dtype), np.zeros(weight.shape, dy.dtype)
    for k, head, columns in by_head(x, kernel_sizes):
        padded, K, dK = pad_zeros(x[:, head], (k // 2, k // 2)), weight[:, columns, None, None], dweight[:, columns]
        dpadded = np.zeros(padded.shape, dy.dtype)
        for m, p, q in taps((k, k)):
            dK[:, m] = (dy[:, head] * tap(padded, p, q, x.shape[2:])).sum((0, 2, 3))                 # (B2)
            tap(dpadded, p, q, x.shape[2:])[...] += K[:, m] * dy[:, head]                            # (B3)
        dx[:, head] = crop(dpadded, (k // 2, k // 2), x.shape[2:])
    return Grads(dx, dweight, dbias)


def by_head(x: Array, kernel_sizes: Sequence[int]) -> Iterator[tuple[int, slice, slice]]:
    """Kernel size, channels of x and columns of the weight of every head."""
    M, column = x.shape[1] // len(kernel_sizes), 0
    for t, k in enumerate(kernel_sizes):
        yield k, slice(t * M, (t + 1) * M), slice(column, column + k * k)
        column += k * k


def checked(kernel_sizes: Sequence[int]) -> list[int]:
    """The kernel sizes as ints; ConstraintError or TypeError if they are none."""
    require(isinstance(kernel_sizes, tuple | list) and len(kernel_sizes) >= 1, "C2", kernel_sizes=kernel_sizes)
    sizes = [integer("kernel_sizes", k) for k in kernel_sizes]
    require(all(k % 2 == 1 for k in sizes), "C2", kernel_sizes=kernel_sizes)
    return sizes


def official_sizes(heads: int) -> tuple[int, ...]:
    """The paper's kernel sizes: 3, 5, 7, … for `heads` heads."""
    return tuple(3 + 2 * t for t in range(integer("heads", heads)))


def pack(weights: Sequence[Array], kernel_sizes: Sequence[int]) -> Array:
    """The official weights of the heads, (M, 1, k, k) each, as one array (M, Σ k²)."""
    sizes = checked(kernel_sizes)
    for value in weights:
        check_array("mixed_conv", "weights", value)
    M = weights[0].shape[0] if weights and weights[0].ndim else 0
    fits = [K.shape for K in weights] == [(M, 1, k, k) for k in sizes]
    require(fits, "C6", weights=[K.shape for K in weights], kernel_sizes=kernel_sizes)
    return np.concatenate([K.reshape(M, -1) for K in weights], axis=1)


def unpack(weight: Array, kernel_sizes: Sequence[int]) -> list[Array]:
    """The inverse of `pack`, which also takes a gradient of the packed weight apart: one array (M, 1, k, k) per head."""
    sizes = checked(kernel_sizes)
    check_array("mixed_conv", "weight", weight)
    require(weight.ndim == 2 and weight.shape[1] == sum(k * k for k in sizes), "C4", weight=weight, kernel_sizes=kernel_sizes)
    ends = np.cumsum([k * k for k in sizes])[:-1]
    parts = np.split(weight, ends, axis=1)
    return [np.array(part, order="C").reshape(len(weight), 1, k, k) for part, k in zip(parts, sizes, strict=True)]
