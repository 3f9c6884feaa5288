"""The result of a replay: a row per case and backend, a table per operator, and every failure in words."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from pyhybrid.commands import console

__all__ = ["Report", "Row"]


@dataclass(frozen=True)
class Row:
    """One recorded case, replayed by one backend (or by the implementation under test)."""

    file: str
    system: str
    operator: str
    case: str
    backend: str
    precision: str
    arrays: int                       # how many were compared
    error: float                      # the worst relative error of them
    worst: str                        # and the array it is in
    failures: tuple[str, ...] = ()    # why the case failed; empty if it passed
    gradients: bool = True            # False: the implementation under test gave none, so none were compared

    @property
    def passed(self) -> bool:
        """True if nothing failed."""
        return not self.failures


@dataclass(frozen=True)
class Report:
    """All rows of a replay. `str()` is the table with a line per failure."""

    rows: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True if something was replayed and nothing failed."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    def operators(self) -> list[dict[str, Any]]:
        """One summary per operator, precision and backend, in alphabetical order."""
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.operator, row.precision, row.backend), []).append(row)
        return [_summary(rows) for _, rows in sorted(groups.items())]

    def to_json(self) -> str:
        """The report as one JSON object; an error that is not finite is null."""
        rows = [{**vars(row), "passed": row.passed, "error": _finite(row.error)} for row in self.rows]
        operators = [{**entry, "error": _finite(entry["error"])} for entry in self.operators()]
        return json.dumps({"passed": self.passed, "operators": operators, "rows": rows})

    def __str__(self) -> str:
        header = ("operator", "precision", "backend", "cases", "passed", "worst relative error", "in")
        lines = [list(summary.values()) for summary in self.operators()]
        for line in lines:
            line[5] = f"{line[5]:.1e}" if line[5] else "0" if line[4] else ""       # nothing compared: no number
        failed = [row for row in self.rows if not row.passed]
        text = [console.table(header, lines), ""] if lines else []
        text += [f"{console.paint('FAIL', 'red')} {r.file} [{r.backend}] {why}" for r in failed for why in r.failures]
        bare = sum(not row.gradients for row in self.rows)
        text += [f"outputs only, no gradients compared: {_count(bare, 'case')}"] if bare else []
        done = f"{_count(len(self.rows), 'replay')}, {len(failed)} failed"
        return "\n".join([*text, console.paint(done, "green" if self.passed else "red")])


def _summary(rows: list[Row]) -> dict[str, Any]:
    worst = max(rows, key=lambda row: row.error)
    return {
        "operator": worst.operator,
        "precision": worst.precision,
        "backend": worst.backend,
        "cases": len(rows),
        "passed": sum(row.passed for row in rows),
        "error": worst.error,
        "worst": f"{worst.case}: {worst.worst}" if worst.error else "",
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None
