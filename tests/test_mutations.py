"""Deliberate mistakes in the operators, each of which the judges must catch.

A mutation replaces one piece of an operator's source. The mutated module is run through the very call that tests the real one
(`check.laws` with the naive loops as oracle, NumPy bodies only) on seeded cases; at least one law must fail, and the laws that fail are
named, so that a mistake is caught for the right reason.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import naive
import pytest
from mutations import MUTATIONS, Mutation

import pyhybrid.ops
from pyhybrid import backend, check
from pyhybrid.check import cases

FOLDER = Path(pyhybrid.ops.__file__).parent


@contextmanager
def mutated(mutation: Mutation) -> Iterator[types.ModuleType]:
    """The operator's module with one piece of source replaced; the package's own module stays as it is."""
    name = f"pyhybrid.ops.{mutation.operator}"
    source = (FOLDER / f"{mutation.operator}.py").read_text("utf-8")
    assert mutation.old in source, f"{mutation.operator}: the source has no {mutation.old!r} any more; state the mutation anew"
    module, original = types.ModuleType(name), importlib.import_module(name)
    module.__file__ = original.__file__
    sys.modules[name] = module      # where the seam looks for Cache, Grads and output_shape
    try:
        exec(compile(source.replace(mutation.old, mutation.new, 1), module.__file__ or name, "exec"), module.__dict__)
        yield module
    finally:
        sys.modules[name] = original


def broken_laws(module: types.ModuleType, operator: str, only: tuple[str, ...] | None = None) -> Iterator[str]:
    """Names of the laws (all, or these) that fail on some corner or seeded case, one after the other, NumPy bodies only."""
    with backend.use("numpy"):
        for case in [*cases.corners(operator), *cases.seeded(operator, 8)]:
            results = check.laws(module, case, oracle=getattr(naive, operator), only=only, skip=("parity",))
            yield from (result.law for result in results if not result.passed)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.operator}: {m.what}")
def test_mutation_is_caught(mutation: Mutation):
    with mutated(mutation) as module:
        if any(broken_laws(module, mutation.operator, (mutation.caught_by,))):      # the first case that fails is enough
            return
        failed = sorted(set(broken_laws(module, mutation.operator)))
    raise AssertionError(f"the law {mutation.caught_by!r} should have failed; failed: {failed or 'none'}")


@pytest.mark.parametrize("operator", sorted({m.operator for m in MUTATIONS}))
def test_the_operator_itself_is_not_caught(operator: str):
    """By the laws that catch its mutations; all laws on these cases and more are the tests of the operator."""
    module, laws = importlib.import_module(f"pyhybrid.ops.{operator}"), {m.caught_by for m in MUTATIONS if m.operator == operator}
    assert set(broken_laws(module, operator, tuple(laws))) == set()
