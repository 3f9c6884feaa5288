"""The papers' notation as functions: the values of the operators alone, under the names that the texts of the proofs use."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator

import numpy as np

from pyhybrid.ops import conv2d, local_attention, pointwise_conv, reflection_pad, shift, softmax, unfold

Array = np.ndarray
Pair = tuple[int, int]


def taps(kernel: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """(m, p, q) for every tap of a kernel, m = p·kw + q."""
    return ((m, p, q) for m, (p, q) in enumerate(np.ndindex(kernel)))


def Sum(terms: Iterable[Array]) -> Array:
    """Σ of arrays, in their order."""
    return functools.reduce(operator.add, terms)


def half(kernel: tuple[int, ...]) -> Pair:
    """r = ⌊k/2⌋, vertically and horizontally."""
    return kernel[0] // 2, kernel[1] // 2


def Shift(x: Array, s: int, t: int) -> Array:
    """y[i, j] = x[i+s, j+t], 0 outside."""
    return shift.forward(x, offset=(s, t))[0]


def times(K: Array, x: Array, p: int = 0, q: int = 0) -> Array:
    """K_pq x: the matrix of one tap applied to the channels of every pixel."""
    return pointwise_conv.forward(x, K[:, :, p : p + 1, q : q + 1])[0]


def Conv(x: Array, K: Array, bias: Array | None = None, **config: int | Pair) -> Array:
    """conv2d(x, K, bias, …)."""
    return conv2d.forward(x, K, bias, **config)[0]


def with_ones(x: Array) -> Array:
    """[x; 1]: x with one more channel, which is 1 at every pixel."""
    N, _, H, W = x.shape
    return np.concatenate([x, np.ones((N, 1, H, W), x.dtype)], axis=1)


def on_grid(x: Array, stride: Pair) -> Array:
    """x[s·i, s·j]: the pixels of the stride grid."""
    return x[..., :: stride[0], :: stride[1]]


def interior(y: Array, border: Pair) -> Array:
    """y without `border` rows and columns on every side."""
    (H, W), (s, t) = y.shape[-2:], border
    return y[..., s : H - s, t : W - t]


def mirrored(x: Array, r: int) -> Array:
    """x continued by reflection, r pixels on every side."""
    return reflection_pad.forward(x, padding=r)[0]


def U(x: Array, k: int, stride: Pair = (1, 1)) -> Array:
    """The k x k windows of x around the pixels of the stride grid, reflected at the border: (..., H, W) -> (..., k·k, Ho, Wo)."""
    return unfold.forward(mirrored(x, k // 2), kernel_size=k, stride=stride)[0]


def heads_of(x: Array, heads: int) -> Array:
    """(N, C, ...) -> (N, heads, d, ...)."""
    return x.reshape(len(x), heads, -1, *x.shape[2:])


def attend(S: Array, Uv: Array) -> Array:
    """Σ_m softmax_m(S)·U(v), with scores S (N, heads, k·k, Ho, Wo) and windows Uv (N, heads, d, k·k, Ho, Wo); heads concatenated."""
    a = softmax.forward(S, axis=2)[0]
    o = (a[:, :, None] * Uv).sum(3)
    return o.reshape(len(o), -1, *o.shape[3:])


def attention(q: Array, k: Array, v: Array, pe: Array | None = None, **config: int | Pair | str | float | None) -> Array:
    """local_attention(q, k, v, pe, …)."""
    return local_attention.forward(q, k, v, pe, **config)[0]
