"""What a paper card holds. A card is data: it names functions and options in full, so that a test can find them."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

__all__ = ["Card", "Difference", "Equation", "find", "ops", "within"]


class Equation(NamedTuple):
    """One statement of the paper and the functions that compute it."""

    label: str          # as the paper numbers it; "code" if it stands in the official code only
    statement: str
    functions: tuple[str, ...]


class Difference(NamedTuple):
    """A point where paper and official code differ, or where the code fails, and what we do."""

    topic: str
    paper: str
    code: str
    default: str        # what we do unless told otherwise
    options: tuple[tuple[str, Any], ...] = ()     # (argument of the layer, value) that gives another behaviour
    layer: str = ""                               # the class that the options belong to, if not the card's own
    listing: str = ""                             # what a widely copied listing does, if there is one that shows it


class Card(NamedTuple):
    """A paper on one page."""

    title: str
    identifier: str
    venue: str
    code: str
    layer: str          # the class that the options of `differences` belong to
    equations: tuple[Equation, ...]
    names: tuple[tuple[str, str, str], ...]       # (official parameter name, argument of our operator, what it is)
    differences: tuple[Difference, ...]
    names_of: str = "Official parameter names"     # heading of `names`
    note: str = ""      # what a reader of the equations must know first


def find(name: str) -> Any:
    """The object behind a full dotted name such as "pyhybrid.ops.shift.forward"."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def within(package: str, *names: str) -> tuple[str, ...]:
    """Full dotted names of what a package holds."""
    return tuple(f"{package}.{name}" for name in names)


def ops(*names: str) -> tuple[str, ...]:
    """Full dotted names of operators' functions: "conv2d" is its forward, "shift_conv.shift_weight" what it says."""
    return within("pyhybrid.ops", *(name if "." in name else f"{name}.forward" for name in names))
