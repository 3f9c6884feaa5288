"""Reading and adding one kernel tap of a padded map, for every output pixel at once.

Tap (p, q) of output pixel (i, j) reads padded pixel (i·stride + p·dilation, j·stride + q·dilation): a strided slice, no copy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray
Pair = tuple[int, int]


def taps(kernel: Pair) -> Iterator[tuple[int, int, int]]:
    """(m, p, q) for every tap, with m = p·kw + q row-major."""
    kh, kw = kernel
    return ((p * kw + q, p, q) for p in range(kh) for q in range(kw))


def tap(padded: Array, p: int, q: int, size: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Array:
    """View (..., Ho, Wo) of the pixels that tap (p, q) reads; assigning or adding to it is the adjoint."""
    (ho, wo), (sh, sw), (dh, dw) = size, stride, dilation
    return padded[..., p * dh : p * dh + ho * sh : sh, q * dw : q * dw + wo * sw : sw][..., :ho, :wo]


def pad_zeros(x: Array, padding: Pair) -> Array:
    """x (..., H, W) with `padding` rows and columns of zeros on every side."""
    (ph, pw), (h, w) = padding, x.shape[-2:]
    padded = np.zeros_like(x, order="C", shape=(*x.shape[:-2], h + 2 * ph, w + 2 * pw))      # np.pad mixes 64-bit zeros into exact numbers
    padded[..., ph : ph + h, pw : pw + w] = x
    return padded


def crop(padded: Array, padding: Pair, size: tuple[int, ...]) -> Array:
    """Adjoint of `pad_zeros`: the interior (..., H, W), copied."""
    (ph, pw), (h, w) = padding, size
    return padded[..., ph : ph + h, pw : pw + w].copy()
