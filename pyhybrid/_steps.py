"""What a trace is made of: steps, in the order they ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyhybrid._listing import Listing

__all__ = ["Step", "Trace", "snapshot"]


@dataclass(frozen=True, eq=False)
class Step:
    """One finished statement: `names` hold `values` after it, `inputs` is what it read, `loops` the loop variables.

    The values are copies of that moment; nothing that runs later changes them.
    """

    kind: str  # "call" (the arguments), "assign" or "return"
    label: str  # "F2"; "F1, F2" if the line carries two; "" if none
    lineno: int
    end_lineno: int
    source: str
    names: tuple[str, ...]
    values: tuple[Any, ...]
    inputs: dict[str, Any]
    loops: dict[str, Any]
    listing: Listing
    phase: str  # "forward" or "backward", from the name of the outermost function
    depth: int  # 1 in the traced function, 2 in a function that it calls, …

    @property
    def name(self) -> str:
        return ", ".join(self.names)

    @property
    def value(self) -> Any:
        """The value of `name`: one value, or a tuple if the statement wrote several names."""
        return self.values[0] if len(self.values) == 1 else self.values

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of an array or NumPy scalar, otherwise None."""
        return getattr(self.value, "shape", None)

    @property
    def dtype(self) -> Any:
        return getattr(self.value, "dtype", None)

    @property
    def equation(self) -> str:
        """The docstring's text for the label; one line per label, empty if there is none."""
        table = self.listing.equations
        return "\n".join(table[label] for label in self.label.split(", ") if label in table)


class Trace(tuple[Step, ...]):
    """The steps in the order they ran; `results` maps each phase to what its function returned."""

    results: dict[str, Any]

    def __new__(cls, steps: Iterable[Step], results: Mapping[str, Any]) -> Trace:
        trace = super().__new__(cls, steps)
        trace.results = dict(results)
        return trace

    @property
    def forward(self) -> Trace:
        """The steps of the forward function alone."""
        return self._phase("forward")

    @property
    def backward(self) -> Trace:
        """The steps of the backward function alone."""
        return self._phase("backward")

    @property
    def result(self) -> Any:
        """What the last of the traced functions returned."""
        return [*self.results.values()][-1] if self.results else None

    def last(self, name: str) -> Any:
        """The last value recorded for `name`; KeyError if no step wrote it."""
        return {n: value for step in self for n, value in zip(step.names, step.values, strict=True)}[name]

    def _phase(self, phase: str) -> Trace:
        return Trace((s for s in self if s.phase == phase), {p: r for p, r in self.results.items() if p == phase})

    def __repr__(self) -> str:
        functions = ", ".join(dict.fromkeys(s.listing.name for s in self if s.depth == 1))
        return f"<Trace of {functions or 'nothing'}: {len(self)} steps>"

    def __str__(self) -> str:
        from pyhybrid.stepper import as_text  # inside: the viewers know the trace, not the other way round

        return as_text(self)

    def _repr_html_(self) -> str:
        from pyhybrid.stepper import widget

        return widget(self)


def snapshot(value: Any, before: Any = None) -> Any:
    """`value` out of reach of later changes; `before`, an earlier copy, if it still says the same.

    Arrays, tuples, lists and dictionaries are copied, arrays read-only; a value of another type is kept as it is.
    """
    if isinstance(value, np.ndarray):
        same = isinstance(before, np.ndarray) and (before.dtype, before.shape) == (value.dtype, value.shape)
        if same and before.tobytes() == value.tobytes():
            return before
        copy = value.copy()
        copy.flags.writeable = False
        return copy
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(map(snapshot, value))
    if type(value) in (tuple, list):
        return type(value)(map(snapshot, value))
    if type(value) is dict:
        return {key: snapshot(part) for key, part in value.items()}
    return value
