"""A model of a paper as data: how it is built, what was published of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pyhybrid.nn import Module, Seed

__all__ = ["Published", "Variant", "builder"]


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


def builder(kind: Callable[..., Module], sized: str | None = None, /, **given: Any) -> Callable[..., Module]:
    """How a variant is built: `kind` with the arguments `given`, unless the options of the caller replace them.

    `sized` names the argument of `kind` that takes the image size, 224 if nobody says; None: it takes images of any size.
    """

    def build(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
        size = {} if sized is None else {sized: image_size or 224}
        return kind(**{**size, **given, **options, "num_classes": num_classes, "dtype": dtype, "seed": seed})

    return build
