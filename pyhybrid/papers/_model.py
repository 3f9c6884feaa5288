"""A model of a paper as data: how it is built, what was published of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pyhybrid.nn import Module

__all__ = ["Published", "Variant"]


class Published(NamedTuple):
    """Figures of a paper's table."""

    params: float           # millions
    macs: float             # billions of multiply-adds; papers call them FLOPs
    image_size: int = 224   # pixels on a side that `macs` belongs to


class Variant(NamedTuple):
    """One row of a paper's table."""

    build: Callable[..., Module]        # (*, image_size, num_classes, dtype, seed, **options)
    published: Published | None
    difference: str                     # why a count differs from the published figure, or that it does not
    released: bool = True               # False: the authors published no code for it
