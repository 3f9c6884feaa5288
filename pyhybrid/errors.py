"""Errors with the text of the broken rule.

A constraint of an operator is written once, as `(C1) …` in the operator's docstring. `require` quotes that line when the
constraint does not hold, so documentation and error message cannot drift apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["BackendUnavailable", "ConstraintError", "OptionError", "UsageError", "check_cotangent", "choose", "constraint_text", "describe",
           "require"]


class ConstraintError(ValueError):
    """An argument breaks a labelled constraint (C…) of an operator."""


class OptionError(ConstraintError, TypeError):
    """An option of a layer is of another kind than it is declared as."""


class BackendUnavailable(RuntimeError):
    """The compiled core was asked for by name and is not installed."""


class UsageError(Exception):
    """A command of the command line cannot do what was asked; the message is all that the user sees."""


def describe(value: Any) -> str:
    """Short description of an argument: dtype and shape of an array, otherwise its repr."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def choose(owner: str, name: str, value: Any, allowed: Iterable[Any]) -> None:
    """`ConstraintError` unless `value`, the argument `name` of `owner`, is one of those allowed."""
    known = tuple(allowed)
    if value not in known:
        raise ConstraintError(f"{owner}: {name} must be one of {known}; got {value!r}")


def check_cotangent(owner: str, dy: Any, shape: tuple[int, ...]) -> None:
    """`ConstraintError` unless dy, what a backward of `owner` is given, has the shape of its output."""
    if not isinstance(dy, np.ndarray) or dy.shape != shape:
        raise ConstraintError(f"{owner}: dy must have the output's shape {shape}; got dy = {describe(dy)}")


def constraint_text(docstring: str | None, label: str) -> str:
    """The sentence behind `(label)` in a docstring, on one line; empty if the label is not there."""
    pattern = rf"\({label}\)\s*(.*?)(?=\s*\(C\d+\)|\n\s*\n|\n[A-Z]\w* {{2,}}|\Z)"
    found = re.search(pattern, docstring or "", flags=re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""


def require(holds: Any, label: str, **got: Any) -> None:
    """Raise `ConstraintError` naming constraint, expectation and what came, unless `holds`.

    The expectation is the text of `label` in the docstring of the calling module; `got` are the arguments it speaks of.
    """
    if holds:
        return
    caller = sys._getframe(1).f_globals
    operator = caller["__name__"].rpartition(".")[2]
    came = ", ".join(f"{name} = {describe(value)}" for name, value in got.items())
    raise ConstraintError(f"{operator} ({label}): {constraint_text(caller.get('__doc__'), label)}; got {came}")
