"""The checker: neighbours in a chain are compared, and counterexamples must fail.

How neighbours are compared
exact      On float64 arrays that hold integers small enough for every sum to stay below 2^53, hence without rounding: `==`. If two
           polynomials of degree d differ, they agree at a point drawn from |S| values per variable with chance at most d/|S| (Schwartz,
           Zippel). Each listed size gets several draws, each draw runs on every backend. Expressions that need exp are compared up to
           the step's stated bound instead. Above degree FLOAT_DEGREE so small integers would be too few values: there the arrays hold
           Python's integers, which are never rounded, and run through the NumPy bodies only.
fractions  On object arrays of fractions, with logits as logarithms of fractions: `==` again, also through exp and log.
symbolic   On symbols: the difference expands to 0, entry by entry. This proves the statement for the size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pyhybrid import backend
from pyhybrid.proofs._draw import Draw, World, sympy
from pyhybrid.proofs._numbers import plain
from pyhybrid.proofs._proof import Counterexample, Difference, Failure, Proof, Step, StepVerdict, Verdict

__all__ = ["MODES", "check", "compare", "kind_of", "largest_integer", "survival"]

MODES = {"exact": ("integers", 3), "fractions": ("fractions", 3), "symbolic": ("symbols", 1)}  # kind of draw, draws per size
EXACT_BITS = 36  # integers of a degree-d product are below 2^(36/d), which leaves 2^17 terms per sum before 2^53
FLOAT_DEGREE = 4
FRACTION_LIMIT = WHOLE_LIMIT = 10**6
INSTANCE_LIMIT = 9  # counterexamples are printed: one digit each


def survival(degree: int, values: int, draws: int) -> float:
    """Chance at most that two different polynomials of this degree agree at `draws` points drawn from `values` values per variable."""
    return min(1.0, degree / values) ** draws


def largest_integer(degree: int) -> int:
    """The integers drawn are at most this large, so that products of `degree` of them can be summed without rounding."""
    return int(2 ** (EXACT_BITS // degree))


def kind_of(proof: Proof) -> str:
    """The kind of draw that judges a proof in the mode "exact"."""
    return "wholes" if (proof.degree or 0) > FLOAT_DEGREE else "integers"


def check(proof: Proof, mode: str = "exact", *, draws: int | None = None, seed: int = 0) -> Verdict:
    """Check every step and every counterexample; `draws` per size. A proof without small sizes is checked on numbers in every mode."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {tuple(MODES)}; got {mode!r}")
    started = time.perf_counter()
    mode = mode if proof.small else "exact"
    kind, usual = MODES[mode]
    kind = kind_of(proof) if kind == "integers" else kind
    draws = usual if draws is None or kind == "symbols" else draws
    limit = {"fractions": FRACTION_LIMIT, "wholes": WHOLE_LIMIT}.get(kind) or largest_integer(proof.degree or 2)
    sizes = proof.sizes if mode == "exact" else proof.small
    chain = [_Tally(step) for step in proof.steps[1:]]
    for world, name in _worlds(proof.world, sizes, kind, draws, seed, limit):
        with backend.use(name):
            values = [step.value(world) for step in proof.steps]
        for tally, left, right in zip(chain, values, values[1:], strict=False):
            tally.add(left, right, world, exact=kind != "integers")
    if kind == "integers" and proof.degree:
        _check_headroom(proof, limit)
    failures = tuple(_outside(example, seed, kind_of(proof)) for example in proof.counterexamples)
    chance = 0.0 if kind == "symbols" else survival(proof.degree, 2 * limit + 1, draws) if proof.degree else None
    return Verdict(proof, mode, tuple(tally.verdict() for tally in chain), failures, len(sizes), draws,
                   _backends(kind), chance, time.perf_counter() - started)


def compare(left: Any, right: Any, bound: Any = None) -> tuple[Difference | None, float]:
    """(first difference or None, largest deviation) of two arrays; without `bound` they must be equal. NaN equals nothing."""
    left, right = np.asarray(left), np.asarray(right)
    if left.shape != right.shape:
        return Difference(None, left.shape, right.shape), np.inf
    if left.dtype == object or right.dtype == object:
        unequal = np.array([not _same(a, b) for a, b in zip(left.flat, right.flat, strict=True)], bool)
        worst = 0.0
    else:
        with np.errstate(invalid="ignore"):
            deviation = np.abs(left - right)
        unequal = ~(left == right).ravel() if bound is None else ~(deviation <= bound).ravel()
        worst = float(deviation.max(initial=0.0))
    if not unequal.any():
        return None, worst
    first = int(np.argmax(unequal))
    place = tuple(int(i) for i in np.unravel_index(first, left.shape))
    return Difference(place, plain(left[place]), plain(right[place]), int(unequal.sum()), left.size), worst


class _Tally:
    """What a step did over all draws: the first difference, or the deviation that came closest to its bound."""

    def __init__(self, step: Step) -> None:
        self.step, self.draws = step, 0
        self.difference: Difference | None = None
        self.worst = self.bound = None  # type: float | None

    def add(self, left: Any, right: Any, world: World, exact: bool) -> None:
        bound = None if exact or self.step.bound is None else np.asarray(self.step.bound(world)).max()
        difference, worst = compare(left, right, bound)
        self.draws += 1
        self.difference = self.difference or difference
        if bound is not None and (self.worst is None or self.bound is None or worst * self.bound > self.worst * bound):
            self.worst, self.bound = worst, float(bound)

    def verdict(self) -> StepVerdict:
        return StepVerdict(self.step, self.draws, self.difference, self.worst, self.bound)


def _backends(kind: str) -> tuple[str, ...]:
    """Objects run through the NumPy bodies whatever was chosen; numbers run on both, unless one was chosen by `backend.use`."""
    return ("numpy", "rust") if kind == "integers" and backend.active() == "rust" else ("numpy",)


def _worlds(world: Callable[..., World], sizes: tuple[dict[str, Any], ...], kind: str, draws: int, seed: int,
            limit: int) -> Iterator[tuple[World, str]]:
    """Every draw of every size, once for each backend that is to run it."""
    for case, size in enumerate(sizes):
        for number in range(draws):
            drawn = world(Draw(kind, [seed, case, number], limit), **size)
            for name in _backends(kind):
                yield drawn, name


def _check_headroom(proof: Proof, limit: int) -> None:
    """With every entry at its largest, every expression must stay below 2^53: then so does every partial sum of every draw.

    This holds for sums of products; an expression that subtracts must have fewer than the 2^17 terms that EXACT_BITS leaves room for.
    """
    for size in proof.sizes:
        world = proof.world(Draw("largest", [0], limit), **size)
        largest = max(float(np.abs(np.asarray(step.value(world))).max(initial=0.0)) for step in proof.steps)
        if largest >= 2**53:
            raise ValueError(f"{proof.name}: integers up to {limit} reach {largest:.3g} >= 2^53 at {size}: choose smaller sizes")


def _outside(example: Counterexample, seed: int, kind: str) -> Failure:
    """Look for one instance where the sides differ; what must agree has to agree at every draw."""
    first: Difference | None = None
    for world, name in _worlds(example.world, (example.sizes,), kind, MODES["exact"][1], seed, INSTANCE_LIMIT):
        with backend.use(name), np.errstate(over="ignore", invalid="ignore"):
            bound = None if example.bound is None else example.bound(world)
            first = first or compare(example.left.value(world), example.right.value(world), bound)[0]
            for text, left, right in example.agrees:
                difference, _ = compare(left(world), right(world), bound)
                if difference is not None:
                    return Failure(example, first, f"{text}: {difference}")
    return Failure(example, first)


def _same(left: Any, right: Any) -> bool:
    a, b = plain(left), plain(right)
    if bool(a == b):
        return True
    if not (hasattr(a, "free_symbols") or hasattr(b, "free_symbols")):
        return False
    algebra = sympy()
    rest = algebra.expand(a - b)
    return bool(rest == 0) or bool(algebra.expand(algebra.fraction(algebra.together(rest))[0]) == 0)
