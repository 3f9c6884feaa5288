"""A learner's forward or backward, judged by the laws on a few cases: exact, approximate or wrong."""

from __future__ import annotations

import importlib
import textwrap
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from pyhybrid.check import cases as catalogue
from pyhybrid.check.adapt import adapt, by_name
from pyhybrid.check.case import Case
from pyhybrid.check.subject import Result
from pyhybrid.check.suite import laws

__all__ = ["Grade", "grade"]


@dataclass(frozen=True)
class Grade:
    """What the comparison showed.

    `verdict` is "exact" (every bit agrees), "approximate" (within rounding) or "wrong"; `worst` the largest relative
    difference by name, `first` the first failing case and what was wrong with it.
    """

    verdict: str
    worst: dict[str, float]
    tried: int
    first: str = ""

    @property
    def passed(self) -> bool:
        """True unless the two differ by more than rounding."""
        return self.verdict != "wrong"

    def __str__(self) -> str:
        said = {"exact": "every bit agrees", "approximate": "equal up to rounding", "wrong": "not the same function"}[
            self.verdict
        ]
        lines = [f"{self.verdict}: {said} ({self.tried} cases)"]
        lines += [
            f"  {name}: largest difference {value:.1e} of the largest value" for name, value in self.worst.items()
        ]
        lines += self.first.splitlines()
        # the width of a notebook's page, which would break a longer line in the middle of a word
        return "\n".join(textwrap.fill(line, 100, subsequent_indent="    ", break_on_hyphens=False) for line in lines)


def grade(
    student: Callable[..., Any],
    operator: Any,
    direction: str = "backward",
    *,
    cases: Sequence[Case] | None = None,
    only: Sequence[str] | None = None,
    count: int = 8,
    show: bool = True,
) -> Grade:
    """Compare a learner's function with an operator; prints the verdict (unless `show` is False) and returns it.

    `operator` is a module, the name of one in `pyhybrid.ops`, or any function of arrays (then give `cases`; the results
    are compared). "forward": `student(*arrays, **config)` returns y, alone or first of a tuple. "backward":
    `student(dy, cache)` gets the operator's own cache and returns Grads, a tuple, a dict by argument name, or the one
    gradient there is. `only` names the gradients that are asked for. Small ordinary cases come first.
    """
    if direction not in ("forward", "backward"):
        raise ValueError(f'direction must be "forward" or "backward"; got {direction!r}')
    module = importlib.import_module(f"pyhybrid.ops.{operator}") if isinstance(operator, str) else operator
    if cases is None:
        name = str(getattr(module, "__name__", "")).rpartition(".")[2]
        if name not in catalogue.CASES:
            raise ValueError(f"there are no ready-made cases for {name or module!r}; pass cases=[check.Case(...), ...]")
        cases = [case for case in catalogue.seeded(name, count) if all(a.size for a in case.arrays.values())]
        cases.sort(key=lambda case: ("ordinary" not in case.note, sum(a.size for a in case.arrays.values())))
    judged: list[list[Result]]
    if not hasattr(module, "forward"):
        judged = [_as_functions(student, module, case) for case in cases]
    elif direction == "forward":
        judged = [_forward(student, module, case) for case in cases]
    else:
        judged = [_backward(student, module, case, only) for case in cases]
    verdict = _sum_up(list(cases), judged)
    if show:
        print(verdict)
    return verdict


def _forward(student: Callable[..., Any], module: Any, case: Case) -> list[Result]:
    def oracle(*arrays: Any, **config: Any) -> Any:
        return _reference(module.forward)(*arrays, **config)[0]

    return laws(adapt(student, like=module), case, oracle=oracle, exact=False, only=["value", "unchanged", "repeat"])


def _backward(student: Callable[..., Any], module: Any, case: Case, only: Sequence[str] | None) -> list[Result]:
    names = list(module.Grads._fields)
    wanted = names if only is None else list(only)
    Part = module.Grads if only is None else _part(wanted)

    def select(grads: Any) -> list[Any]:
        return [getattr(grads, name) for name in wanted]

    def expected(dy: Any, *args: Any, **config: Any) -> list[Any]:
        return select(_reference(module.backward)(dy, _reference(module.forward)(*args, **config)[1]))

    def learner(dy: Any, cache: Any) -> Any:
        given = student(dy, cache)
        if len(wanted) < len(names) and isinstance(given, module.Grads):
            given = select(given)
        return Part(*by_name(given, wanted))

    parts = {"backward": learner, "output_shape": module.output_shape, "Cache": module.Cache, "Grads": Part}
    candidate = SimpleNamespace(__name__="student", forward=_reference(module.forward), **parts)
    return laws(candidate, case, oracle_backward=expected, exact=False, only=["oracle gradient", "unchanged", "repeat"])


def _as_functions(student: Callable[..., Any], reference: Any, case: Case) -> list[Result]:
    """Plain functions: arrays in, one array or a tuple of arrays out."""

    def outputs(function: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
        def forward(*arrays: Any, **config: Any) -> tuple[Any, Any]:
            values = function(*arrays, **config)
            values = tuple(values) if isinstance(values, tuple | list) else (values,)
            return np.asarray(values[0]), _outputs(len(values))(*map(np.asarray, values))

        return forward

    found = []
    count = len(case.copy().call(outputs(reference))[1])
    for n in range(count):

        def nth(*arrays: Any, n: int = n, **config: Any) -> tuple[Any, Any]:
            values = outputs(student)(*arrays, **config)[1]
            if len(values) != count:
                raise ValueError(f"got {len(values)} outputs; wanted are {count}")
            return values[n], ()

        def wanted(*arrays: Any, n: int = n, **config: Any) -> Any:
            return outputs(reference)(*arrays, **config)[1][n]

        candidate = SimpleNamespace(__name__="student", forward=nth, backward=None, output_shape=None)
        found += laws(candidate, case, oracle=wanted, exact=False, only=["value", "unchanged", "repeat"])
    return found


def _sum_up(tried: list[Case], judged: list[list[Result]]) -> Grade:
    kinds = ("value", "oracle gradient")
    compared = [r for results in judged for r in results if r.law in kinds and r.what not in ("call", "Grads")]
    worst: dict[str, float] = {}
    for r in compared:
        off = r.relative if np.isfinite(r.relative) else r.measure  # of a gradient that is exactly 0, the size itself
        worst[r.what] = max(worst.get(r.what, 0.0), off)
    for n, results in enumerate(judged):
        broken = [r for r in results if not r.passed]
        if broken:
            details = dict.fromkeys(f"  {r.detail}" for r in broken)
            lines = [f"first failing case ({n + 1} of {len(tried)}): {tried[n]!r}", *list(details)[:4]]
            return Grade("wrong", worst, len(tried), "\n".join(lines))
    exact = all(r.measure == 0 for r in compared)
    return Grade("exact" if exact else "approximate", worst, len(tried))


def _reference(function: Any) -> Any:
    """The NumPy body: what a learner writes is compared with what a learner reads."""
    return getattr(function, "reference", function)


def _part(names: list[str]) -> Any:
    return namedtuple("Part", names)


def _outputs(count: int) -> Any:
    return _part([f"output{n}" for n in range(count)])
