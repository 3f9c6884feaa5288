"""What a proof is, and what checking it means.

A proof is a chain of expressions. Each is a function of the arrays it speaks of, a text, and the reason why it equals the one above it.
Checking evaluates the chain and compares neighbours (see _check), so a wrong step is found where it stands. Outside the hypotheses, where
a counterexample says that the statement fails, its two sides must differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyhybrid.proofs._draw import World

__all__ = ["EPS", "Counterexample", "Difference", "Failure", "Function", "Proof", "Step", "StepVerdict", "Verdict"]

Array = np.ndarray
Function = Callable[[World], Any]
Bound = Callable[[World], Any]
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Step:
    """One expression: its text, how to compute it, why it equals the one above. `bound` admits rounding; `bound_text` is its formula."""

    text: str
    value: Function
    reason: str = ""
    bound: Bound | None = None
    bound_text: str = ""


@dataclass(frozen=True)
class Counterexample:
    """Outside the hypotheses: an instance where `left` and `right` differ. `agrees` are (text, left, right) that are still equal."""

    outside: str
    world: Callable[..., World]
    sizes: dict[str, Any]
    left: Step
    right: Step
    agrees: tuple[tuple[str, Function, Function], ...] = ()
    bound: Bound | None = None


@dataclass(frozen=True)
class Proof:
    """A statement and its derivation. `sizes` are checked on numbers, `small` on fractions and symbols (none: numbers only).

    `degree` is the total degree of the expressions in the drawn entries; None if they are no polynomials.
    """

    name: str
    title: str
    statement: str
    hypotheses: tuple[str, ...]
    domain: str
    source: str
    world: Callable[..., World]
    sizes: tuple[dict[str, Any], ...]
    small: tuple[dict[str, Any], ...]
    steps: tuple[Step, ...]
    counterexamples: tuple[Counterexample, ...]
    degree: int | None = None

    def __post_init__(self) -> None:
        complete = len(self.steps) > 1 and all(step.reason for step in self.steps[1:]) and self.sizes and self.counterexamples
        if not complete:
            raise ValueError(f"{self.name}: a proof needs two expressions, a reason for every step, sizes and a counterexample")

    def __str__(self) -> str:
        from pyhybrid.proofs import _render
        return _render.proof_text(self)

    def _repr_html_(self) -> str:
        from pyhybrid.proofs import _render
        return _render.proof_html(self)


@dataclass(frozen=True)
class Difference:
    """Where two arrays first differ (row-major), and in how many entries; `place` is None if already the shapes differ."""

    place: tuple[int, ...] | None
    left: Any
    right: Any
    count: int = 0
    total: int = 0

    def __str__(self) -> str:
        if self.place is None:
            return f"shapes: lhs {self.left} rhs {self.right}"
        how_many = f"{self.count} of {self.total} entries differ"
        return f"at {self.place} lhs {_number(self.left)} rhs {_number(self.right)} ({how_many})"


@dataclass(frozen=True)
class StepVerdict:
    """Whether a step equals the one above. `worst` is the largest deviation and `bound` what was allowed there, for steps with rounding."""

    step: Step
    draws: int
    difference: Difference | None = None
    worst: float | None = None
    bound: float | None = None

    @property
    def holds(self) -> bool:
        return self.difference is None and self.draws > 0


@dataclass(frozen=True)
class Failure:
    """What a counterexample did: it `fails` if its two sides differed and what should still agree did agree."""

    counterexample: Counterexample
    difference: Difference | None
    disagreement: str = ""

    @property
    def fails(self) -> bool:
        return self.difference is not None and not self.disagreement


@dataclass(frozen=True)
class Verdict:
    """The outcome of `check`. `survival` bounds the chance that a false step was not noticed at one size; None if that is not known."""

    proof: Proof
    mode: str
    steps: tuple[StepVerdict, ...]
    failures: tuple[Failure, ...]
    sizes: int
    draws: int
    backends: tuple[str, ...]
    survival: float | None
    seconds: float = field(compare=False)

    @property
    def holds(self) -> bool:
        """Every step holds and every counterexample fails."""
        return all(s.holds for s in self.steps) and all(f.fails for f in self.failures)

    def as_dict(self) -> dict[str, Any]:
        from pyhybrid.proofs import _render
        return _render.verdict_dict(self)

    def __str__(self) -> str:
        from pyhybrid.proofs import _render
        return _render.verdict_text(self)

    def _repr_html_(self) -> str:
        from pyhybrid.proofs import _render
        return _render.verdict_html(self)


def _number(value: Any) -> str:
    """A value as a reader wants it: whole numbers without a decimal point."""
    if not isinstance(value, float):  # np.float64 is one
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 else f"{value:.6g}"
