"""What a model is made of: the output shape, parameters and multiply-adds of every layer, counted without computing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyhybrid.counting import Macs, counting, placeholder
from pyhybrid.nn.module import Module

__all__ = ["Row", "Summary", "evaluating", "summarize"]


class Row(NamedTuple):
    """One layer that called operators itself, at the place where it was first used."""

    name: str               # dotted; empty for the model itself
    kind: str               # its class, or its operator
    shape: tuple[int, ...]  # of its output
    params: int             # its own, not its children's
    macs: Macs              # of the operators that it called itself


class Summary(NamedTuple):
    """All rows and the totals."""

    rows: list[Row]
    shape: tuple[int, ...]
    params: int
    macs: Macs


def summarize(model: Module, shape: tuple[int, ...], dtype: Any = "float32") -> Summary:
    """Send an input of `shape` through `model`, computing nothing. Shapes that do not fit raise the error that a real forward would."""
    rows: dict[str, Row] = {}
    with evaluating(model), counting(), _watched(model) as watched:
        y, _ = model.forward(placeholder(shape, dtype))
    for name, module, output, macs in watched:
        own = sum(value.size for value in module.params.values())
        operator = getattr(module, "operator", None)
        kind = operator.__name__.rpartition(".")[2] if operator is not None else type(module).__name__
        before = rows.get(name)
        cost = macs if before is None else before.macs + macs
        if own or cost.total or operator is not None:
            rows[name] = Row(name, kind, output, own, cost)
    return Summary(list(rows.values()), y.shape, model.parameter_count(), sum((row.macs for row in rows.values()), Macs()))


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode for this block: training costs the same multiply-adds, but has batch statistics to keep, and here there are none."""
    training = [layer for _, layer in model.named_modules() if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


Visit = tuple[str, Module, tuple[int, ...], Macs]


@contextmanager
def _watched(model: Module) -> Iterator[list[Visit]]:
    """Note every forward of every layer, in the order in which they end, with the multiply-adds that it caused itself."""
    visits: list[Visit] = []
    open_layers: list[Macs] = []

    def watch(name: str, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            open_layers.append(Macs())
            place = len(visits)
            with counting(lambda call: open_layers.__setitem__(-1, open_layers[-1] + call.macs)):
                y, cache = forward(*args, **kwargs)
            visits.insert(place, (name, module, y.shape, open_layers.pop()))
            return y, cache

        return noted

    watched = list(model.named_modules())
    for name, module in watched:
        module.__dict__["forward"] = watch(name, module, module.forward)
    try:
        yield visits
    finally:
        for _, module in watched:
            module.__dict__.pop("forward", None)
