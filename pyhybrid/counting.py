"""Counting multiply-adds: a forward in which no operator computes, and each says what it would have cost.

An operator that multiplies defines `macs(arguments…) -> Macs` beside its `output_shape`. Inside `counting()` the seam asks for both and
hands back zeros of the right shape that take no memory, so that a network of any size is counted in a moment. Additions, comparisons,
exponentials, normalisations and pooling are not multiply-adds and count as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Call", "Macs", "counting", "current", "placeholder"]


class Macs(NamedTuple):
    """Multiply-adds of one call: with learnt weights, and between two computed arrays, as attention's scores and sums are."""

    weights: int = 0
    products: int = 0

    @property
    def total(self) -> int:
        """Both kinds together."""
        return self.weights + self.products

    def __add__(self, other: object) -> Macs:
        if not isinstance(other, Macs):
            return NotImplemented
        return Macs(self.weights + other.weights, self.products + other.products)


class Call(NamedTuple):
    """One call of an operator: its name, the shape of its output, its cost."""

    operator: str
    shape: tuple[int, ...]
    macs: Macs


current: ContextVar[Callable[[Call], None] | None] = ContextVar("pyhybrid_counting", default=None)


@contextmanager
def counting(record: Callable[[Call], None] | None = None) -> Iterator[list[Call]]:
    """In this block operators are counted instead of run; the calls are collected, and given to `record` one by one."""
    calls: list[Call] = []

    def note(call: Call) -> None:
        calls.append(call)
        if record is not None:
            record(call)

    token = current.set(note)
    try:
        yield calls
    finally:
        current.reset(token)


def placeholder(shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """Zeros of any shape in the memory of one number."""
    return np.broadcast_to(np.zeros((), dtype), shape)
