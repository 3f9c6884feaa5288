"""Sizes given as one whole number or as a pair (vertical, horizontal)."""

from __future__ import annotations

import operator
from typing import Any

from pyhybrid.errors import describe

_LARGEST = 2**31 - 1  # no axis of an image is longer; keeps every later product far from overflow


def integer(name: str, value: Any, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; TypeError or ValueError name the argument."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number; got {type(value).__name__} {describe(value)}")
    number = operator.index(value)
    if not minimum <= number <= _LARGEST:
        raise ValueError(f"{name} must be a whole number from {minimum} to {_LARGEST}; got {number}")
    return number


def pair(name: str, value: Any, minimum: int = 1) -> tuple[int, int]:
    """`value` as (vertical, horizontal): a whole number stands for both."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{name} must be a whole number or a pair (vertical, horizontal); got {describe(value)}")
        return integer(name, value[0], minimum), integer(name, value[1], minimum)
    number = integer(name, value, minimum)
    return number, number


def ceil_div(length: int, step: int) -> int:
    """Number of grid points 0, step, 2·step, … below `length`."""
    return -(-length // step)
