"""What the viewers show of a value: the arrays in it, how much of a large one, and what its axes are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from pyhybrid.trace import Step

__all__ = ["axis_names", "describe", "parts", "window"]


def parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays and plain values in `value`: fields of a NamedTuple as `cache.n`, arrays in a list as `maps[0]`."""
    if hasattr(value, "_fields"):
        for key, part in zip(value._fields, value, strict=True):
            yield from parts(f"{name}.{key}", part)
    elif isinstance(value, list | tuple) and any(isinstance(p, np.ndarray) or hasattr(p, "_fields") for p in value):
        for index, part in enumerate(value):
            yield from parts(f"{name}[{index}]", part)
    else:
        yield name, value


def describe(value: Any) -> str:
    """Type and shape: `float64 (2, 3)`, `int`, `tuple`."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}" if value.ndim else f"{value.dtype}"
    return "" if value is None else type(value).__name__


def window(shape: tuple[int, ...], rows: int, columns: int, panels: int) -> tuple[slice, ...]:
    """The leading corner of an array: at most `rows` × `columns` of the last two axes and `panels` such matrices.

    A stack of 1×1 matrices, as the weight of a pointwise convolution, is one matrix of the axes before.
    """
    if len(shape) > 2 and shape[-2:] == (1, 1):
        return (*window(shape[:-2], rows, columns, panels), slice(0, 1), slice(0, 1))
    sizes = list(shape)
    for axis, most in ((-1, columns), (-2, rows)):
        if len(sizes) >= -axis:
            sizes[axis] = min(sizes[axis], most)
    left = panels
    for axis in range(len(sizes) - 3, -1, -1):
        sizes[axis] = min(sizes[axis], max(left, 1))
        left //= max(sizes[axis], 1)
    return tuple(slice(0, size) for size in sizes)


def axis_names(step: Step, name: str, ndim: int) -> tuple[str, ...]:
    """Names of the axes from the line's comment, `# (N, O, H, W)`, or from the docstring's `name (N, O, H, W)`.

    Empty if neither gives as many names as there are axes. A gradient `dx` has the axes of `x`.
    """
    remark = step.source.rpartition("#")[2] if "#" in step.source and len(step.names) == 1 else ""
    comment = re.findall(r"\(([^()]*)\)", remark)
    field = name.rpartition(".")[2]
    shapes = re.search(r"(?ms)^Shapes\b(.*?)(?=^\S|\Z)", step.listing.docstring)
    for key in dict.fromkeys([field, field.removeprefix("d")]):
        documented = re.findall(rf"\b{re.escape(key)} \(([^()]*)\)", shapes[1]) if shapes else []
        for axes in [*comment, *documented]:
            names = tuple(part.strip() for part in axes.split(","))
            if len(names) == ndim and "..." not in axes and all(names):
                return names
        comment = []
    return ()
