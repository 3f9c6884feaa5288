"""Adjoint test of a linear map and its gradient: <A x, u> = <x, Aᵀ u>."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Adjoint", "adjoint"]

Array = np.ndarray


@dataclass(frozen=True)
class Adjoint:
    """Both inner products, and the sums of the sizes of their terms (what rounding is relative to)."""

    left: Any
    right: Any
    scale: float

    @property
    def difference(self) -> float:
        """How far apart the two sides are."""
        return abs(float(self.left - self.right))


def adjoint(apply: Callable[[Array], Array], ATu: Array, x: Array, u: Array) -> Adjoint:
    """<A x, u> and <x, Aᵀ u>; `apply` is A up to a constant, A x = apply(x) - apply(0), `ATu` claims to be Aᵀ u."""
    Ax = apply(x) - apply(np.zeros_like(x))
    scale = float(np.abs(Ax * u).sum() + np.abs(x * ATu).sum())
    return Adjoint((Ax * u).sum(), (x * ATu).sum(), scale)
