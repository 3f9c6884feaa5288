"""Windows of the pooling operators: where they lie, and how many there are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pyhybrid.errors import describe
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Windows(NamedTuple):
    """Output pixel (i, j) looks at `kernel` pixels from (i·stride - padding) on, in both directions."""

    kernel: Pair
    stride: Pair
    padding: Pair
    size: Pair  # number of windows

    def pad(self, x: Array, value: float) -> Array:
        """x (..., H, W) with a border of `value` that reaches as far as the windows do, on the far side too."""
        border = [(0, 0)] * (x.ndim - 2)
        for length, k, s, p, n in zip(x.shape[-2:], *self[:3], self.size, strict=True):
            border.append((p, max(0, (n - 1) * s + k - length - p)))
        return np.pad(x, border, constant_values=value)

    def interior(self, padded: Array, shape: tuple[int, ...]) -> Array:
        """Adjoint of `pad`: the map (..., H, W) inside, copied."""
        (ph, pw), (H, W) = self.padding, shape[-2:]
        return padded[..., ph : ph + H, pw : pw + W].copy()


def windows(x: Array, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any) -> Windows:
    """The windows of a map; sizes of zero or less mean that not one fits.

    Without `ceil_mode` they lie inside the padded map. With it one more may reach beyond, if it begins inside the map or the padding
    before it.
    """
    if not isinstance(ceil_mode, bool):
        raise TypeError(f"ceil_mode must be True or False; got {type(ceil_mode).__name__} {describe(ceil_mode)}")
    kernel, padding = pair("kernel_size", kernel_size), pair("padding", padding, 0)
    stride = kernel if stride is None else pair("stride", stride)
    size = []
    for length, k, s, p in zip(x.shape[-2:], kernel, stride, padding, strict=True):
        spare = length + 2 * p - k
        n = (spare + s - 1 if ceil_mode else spare) // s + 1
        size.append(n - 1 if ceil_mode and (n - 1) * s >= length + p else n)
    return Windows(kernel, stride, padding, (size[0], size[1]))
