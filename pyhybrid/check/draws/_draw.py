"""The small interface through which cases are drawn: named draws, and array entries of a regime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from pyhybrid.check.case import Case

__all__ = ["REGIMES", "THIN", "Draw", "Pins", "Source", "Values", "both"]

T = TypeVar("T")
Array = np.ndarray
Pins = dict[str, Any]
REGIMES = ("ordinary", "whole", "large", "tiny")
THIN: list[Pins] = [dict(H=1, N=2), dict(W=1, N=2), dict(H=1, W=1), dict(N=0)]    # maps that every operator on maps must survive


class Source(Protocol):
    """Where numbers come from."""

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high."""


class Draw:
    """Named draws; `pinned` fixes some of them, whatever the source says.

    The source is asked for the pinned ones too, so that shrinking away the pins leaves the other draws as they were.
    """

    def __init__(self, source: Source, pinned: Mapping[str, Any] | None = None) -> None:
        self._source, self._pinned = source, dict(pinned or {})

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number from low to high; shrinks to low."""
        drawn = self._source.integer(low, max(low, high))
        return int(self._pinned.get(name, drawn))

    def choice(self, name: str, options: Sequence[T]) -> T:
        """One of the options; shrinks to the first."""
        drawn = options[self._source.integer(0, len(options) - 1)]
        return self._pinned.get(name, drawn)

    def batch(self) -> int:
        """Number of images: 1, 2 or 3, sometimes 0."""
        return self.choice("N", (1, 2, 3, 2, 2, 0))

    def pair(self, name: str, low: int, high: int) -> int | tuple[int, int]:
        """One number for both directions, or a pair (vertical, horizontal)."""
        single, *both = self._source.integer(0, 1), self._source.integer(low, high), self._source.integer(low, high)
        return self._pinned.get(name, both[0] if single == 0 else tuple(both))

    def values(self, regimes: Sequence[str] = REGIMES) -> Values:
        """A source of array entries."""
        return Values(self.integer("seed", 0, 2**31 - 1), self.choice("regime", regimes))


class Values:
    """Array entries of one regime.

    "ordinary": normal; "whole": whole numbers from -4 to 4, so that sums of products are exact in float32 and float64;
    "large" and "tiny": normal times 1e6 and 1e-8, where absolute constants in an operator would show.
    """

    def __init__(self, seed: int, regime: str) -> None:
        self.seed, self.regime = seed, regime
        self._random = np.random.default_rng([seed, 1])

    def array(self, *shape: int, scale: float = 1.0) -> Array:
        if self.regime == "whole":
            return self._random.integers(-4, 5, shape).astype(np.float64)
        factor = {"ordinary": 1.0, "large": 1e6, "tiny": 1e-8}[self.regime]
        return self._random.standard_normal(shape) * (factor * scale)

    def optional(self, wanted: bool, *shape: int) -> Array | None:
        return self.array(*shape) if wanted else None

    def case(
        self, arguments: Mapping[str, Array | None], config: Mapping[str, Any], *, polynomial: bool, **knowledge: Any
    ) -> Case:
        """A case; exact if the values are whole numbers and the operator is `polynomial` in them."""
        return Case(
            arguments,
            config,
            self.seed,
            f"{self.regime} values",
            exact=polynomial and self.regime == "whole",
            **knowledge,
        )


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
