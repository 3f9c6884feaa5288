"""What the operators accept as arrays, checked once at the seam.

float32 and float64 run on both backends. Complex numbers (for complex-step gradients), objects (for exact fractions) and
wider floats run through the NumPy bodies. Integers are refused, because they would overflow silently, and so are half
precision and masked arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyhybrid.errors import describe

__all__ = ["check_array", "check_size", "compiled_dtype", "plain"]

_COMPILED = (np.dtype(np.float32), np.dtype(np.float64))
_REFUSED = (np.ma.MaskedArray, np.matrix)  # arrays whose arithmetic differs
_LARGEST = 2**63 - 1  # bytes that one array can hold on a 64-bit machine


def check_array(operator: str, name: str, value: Any) -> None:
    """Raise TypeError, naming the argument, unless `value` is an array of a supported number type."""
    expected = "a NumPy array of float32, float64, complex or object numbers"
    if not isinstance(value, np.ndarray) or isinstance(value, _REFUSED):
        raise TypeError(f"{operator}: {name} must be {expected}; got {type(value).__name__} {describe(value)}")
    kind, width = value.dtype.kind, value.dtype.itemsize
    if kind not in "fcO" or (kind == "f" and width < 4):
        raise TypeError(f"{operator}: {name} must be {expected}; got {describe(value)} (convert it: {name}.astype(np.float64))")


def check_size(operator: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise ValueError before anything is allocated if an output of this shape cannot exist."""
    if math.prod(shape) * itemsize > _LARGEST:
        raise ValueError(f"{operator}: the output would have shape {shape}, more than 2**63 bytes")


def compiled_dtype(arrays: list[np.ndarray]) -> bool:
    """True if the compiled kernels take these arrays: all float32 or all float64, in either byte order."""
    kinds = {dtype.newbyteorder("=") for dtype in {a.dtype for a in arrays}}
    return len(kinds) == 1 and kinds <= set(_COMPILED)


def plain(value: Any) -> Any:
    """An array as the kernels want it (contiguous, aligned, native byte order; a copy only if needed); other values unchanged."""
    if not isinstance(value, np.ndarray):
        return tuple(value) if isinstance(value, list) else value  # a size may be a list; the kernels know pairs
    if value.flags.c_contiguous and value.flags.aligned and value.dtype.isnative:
        return value
    return np.require(value, dtype=value.dtype.newbyteorder("="), requirements=["C", "A"])
