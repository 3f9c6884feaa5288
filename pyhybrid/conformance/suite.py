"""The judges of `pyhybrid.check` on somebody else's operator, summed up law by law."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyhybrid import backend, check
from pyhybrid.check import cases as catalogue
from pyhybrid.commands import console
from pyhybrid.errors import UsageError

__all__ = ["LawRow", "Verdict", "judge"]


@dataclass(frozen=True)
class LawRow:
    """One law over all cases; `measure` and `bound` are those of the check nearest to its bound, or furthest beyond."""

    law: str
    checks: int
    failed: int
    measure: float
    bound: float
    first: str = ""     # the first failing case and what was wrong with it


@dataclass(frozen=True)
class Verdict:
    """What all laws found. `str()` is a table with a line per broken law; laws without anything to check are named."""

    operator: str
    cases: int
    rows: list[LawRow] = field(default_factory=list)
    not_judged: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True if something was checked and no law is broken."""
        return any(row.checks for row in self.rows) and not any(row.failed for row in self.rows)

    def to_json(self) -> str:
        """The verdict as one JSON object; a measure that is not finite is null."""
        rows = [{**vars(row), "measure": row.measure if math.isfinite(row.measure) else None} for row in self.rows]
        return json.dumps({**vars(self), "rows": rows, "passed": self.passed})

    def __str__(self) -> str:
        header = ("law", "checks", "passed", "largest difference", "bound")
        lines = [(r.law, r.checks, r.checks - r.failed, f"{r.measure:.1e}", f"{r.bound:.1e}") for r in self.rows]
        text = [f"{self.operator}, {self.cases} cases", "", console.table(header, lines)] if lines else [self.operator]
        text += [f"{console.paint('FAIL', 'red')} {row.law}: {row.first}" for row in self.rows if row.failed]
        if self.not_judged:
            text.append(f"not judged: {', '.join(self.not_judged)}")
        return "\n".join(text)


def judge(
    forward: Callable[..., Any],
    gradient: Callable[..., Any] | None = None,
    *,
    like: Any,
    count: int = 12,
    seed: int = 0,
    cases: Sequence[check.Case] | None = None,
    skip: Sequence[str] = (),
) -> Verdict:
    """Judge `forward(*arrays, **config) -> y` as an implementation of `like`, an operator module or its name.

    `gradient(dy, *arrays, **config)` gives the gradients as tuple or as dict by argument name; without it the laws
    about gradients are not judged, and the verdict says so. `cases` replaces the ready-made ones, of which `count` are
    taken. `skip` leaves out laws by name (`check.LAWS`), such as "strides" for a function that wants contiguous arrays.
    """
    operator = importlib.import_module(f"pyhybrid.ops.{like}") if isinstance(like, str) else like
    name = operator.__name__.rpartition(".")[2]
    if cases is None:
        if name not in catalogue.CASES:
            raise UsageError(f"there are no ready-made cases for {name}; pass cases=[check.Case(...), ...]")
        cases = catalogue.seeded(name, count, seed)

    def oracle(*arrays: Any, **config: Any) -> Any:
        with backend.use("numpy"):
            return operator.forward(*arrays, **config)[0]

    def oracle_backward(dy: Any, *arrays: Any, **config: Any) -> Any:
        with backend.use("numpy"):
            return operator.backward(dy, operator.forward(*arrays, **config)[1])

    candidate = check.adapt(forward, gradient, like=operator)
    pull = oracle_backward if gradient else None
    found: dict[str, list[tuple[check.Case, check.Result]]] = {law: [] for law in check.STANDARD}
    for case in cases:
        # Another order of summation is no fault: rounding is allowed even where the case itself is free of it.
        for result in check.laws(candidate, case, oracle=oracle, oracle_backward=pull, exact=False, skip=skip):
            found[result.law].append((case, result))
    rows = [_row(law, results) for law, results in found.items() if results]
    return Verdict(name, len(cases), rows, tuple(law for law, results in found.items() if not results))


def _row(law: str, results: list[tuple[check.Case, check.Result]]) -> LawRow:
    def share(result: check.Result) -> float:
        return result.measure / result.bound if result.bound else (math.inf if result.measure else 0.0)

    broken = [(case, result) for case, result in results if not result.passed]
    worst = max((result for _, result in broken or results), key=share)
    first = f"{broken[0][1].detail}, on {broken[0][0]!r}" if broken else ""
    return LawRow(law, len(results), len(broken), worst.measure, worst.bound, first)
