"""Arguments to try an operator on: sizes and configuration drawn, values from a drawn seed and regime.

`CASES[name]` is one function that draws through a small interface, `Draw`. It serves two masters: `strategy(name)` lets
Hypothesis draw (and shrink), `seeded(name)` draws from a seed and needs nothing but NumPy. `CORNERS[name]` lists draws
that must never be left to luck: every axis of length 1 and 0, strides that do not divide, kernels larger than the map,
groups = channels, even kernels; `corners(name)` makes their cases.

Every draw shrinks to its first option or lowest number: one image, one channel, one pixel, no bias, stride 1, seed 0,
ordinary values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws import FAMILIES, REGIMES, Draw, Pins, Source, Values

__all__ = ["CASES", "CORNERS", "REGIMES", "Draw", "Values", "corners", "seeded", "strategy"]

CASES: dict[str, Callable[[Draw], Case]] = {name: draw for family in FAMILIES for name, draw in family.CASES.items()}
CORNERS: dict[str, list[Pins]] = {name: pins for family in FAMILIES for name, pins in family.CORNERS.items()}

# The two ways to draw.


class _Seeded:
    """Draws from NumPy's generator."""

    def __init__(self, *seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self._random.integers(low, high + 1))


def corners(name: str) -> list[Case]:
    """The cases that are always tried; what a corner leaves open is drawn from a fixed seed."""
    return [_make(name, _Seeded(7, n), pinned) for n, pinned in enumerate(CORNERS[name])]


def seeded(name: str, count: int = 8, seed: int = 0) -> list[Case]:
    """`count` cases that are the same in every run: random ones, the first of them plain, then some of the corners."""
    known = corners(name)
    picked = [known[round(n * (len(known) - 1) / max(1, count // 2 - 1))] for n in range(min(count // 2, len(known)))]
    plain: list[Pins] = [dict(regime="ordinary", N=2), dict(regime="whole", N=1), dict(regime="ordinary", N=3)]
    first = [_plain(name, seed, n, pins) for n, pins in enumerate(plain[: count - len(picked)])]
    return first + [_make(name, _Seeded(seed, n), {}) for n in range(len(first), count - len(picked))] + picked


def _plain(name: str, seed: int, n: int, pins: Pins) -> Case:
    """The first case of a series of draws in which no array is empty."""
    tries = (_make(name, _Seeded(seed, n, turn), pins) for turn in range(1000))
    return next(case for case in tries if all(a.size for a in case.arrays.values()))


def strategy(name: str) -> Any:
    """Hypothesis strategy for the cases of an operator; a third start from a corner. Needs Hypothesis installed."""
    from hypothesis import strategies as st  # inside: the package runs without it

    class Hypothetical:
        def __init__(self, draw: Callable[[Any], Any]) -> None:
            self._draw = draw

        def integer(self, low: int, high: int) -> int:
            return int(self._draw(st.integers(low, high)))

    @st.composite
    def build(draw: Callable[[Any], Any]) -> Case:
        options: list[Pins] = [{}] * (2 * len(CORNERS[name])) + CORNERS[name]
        return _make(name, Hypothetical(draw), draw(st.sampled_from(options)))

    return build()


def _make(name: str, source: Source, pinned: Mapping[str, Any]) -> Case:
    if name not in CASES:
        raise KeyError(f"there are no cases for an operator {name!r}; there are {sorted(CASES)}")
    return CASES[name](Draw(source, pinned))
