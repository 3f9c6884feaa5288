"""The compiled kernels against the NumPy bodies: y, every saved value and every gradient, in all mixes of backends.

In float64 the two agree within the tolerance table. In float32 neither is the truth: the compiled kernel may err at
most twice as much against the float64 result as the NumPy body does (at its worst on this case and two next to it,
since on small cases it may be right by luck), plus the effect of rounding the inputs, a few units in the last place of
the largest value, and the smallest number with all its digits: a result far below it, as the tail of GELU's slope, is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.close import NOISE, TOLERANCE, measure, rounded
from pyhybrid.check.subject import Result, Run, Subject, fields, holds, verdict

__all__ = ["parity", "special"]

Array = np.ndarray
_ULPS = 8


def parity(s: Subject) -> Iterator[Result]:
    """All four mixes of backends, in float64 and float32. Nothing to do for an operator without compiled kernels."""
    if "rust" not in s.backends:
        return
    for forward, backward in product(s.backends, repeat=2):
        if forward == backward == "numpy":
            continue
        where = f" ({forward} forward, {backward} backward)"
        run = s.run(forward=forward, backward=backward)
        yield from _same_settings(s.base, run, where)
        for name, expected in s.base.outputs.items():
            yield s.compare("parity", name, run.outputs.get(name), expected, s.limit(name, expected), where)
    yield from _single(s)


def _single(s: Subject) -> Iterator[Result]:
    """float32: errors are measured against float64 on the same (float32) numbers."""
    narrow, dy = s.case.astype(np.float32), s.dy.astype(np.float32)
    eps, smallest = float(np.finfo(np.float32).eps), float(np.finfo(np.float32).smallest_normal)
    truth, errors = _errors(s, narrow, dy)
    for turn in (1, 2) if not s.exact else ():
        random = s.case.random(10, turn)
        near = _errors(s, narrow.map(lambda a: rounded(a, random, eps)), dy)[1]  # noqa: B023  (used at once)
        errors = {name: max(error, near[name]) for name, error in errors.items()}
    for forward, backward in product(s.backends, repeat=2):
        if forward == backward == "numpy":
            continue
        run = s.run(narrow, dy, forward=forward, backward=backward).outputs
        for name, exact in truth.items():
            where = f" in float32 ({forward} forward, {backward} backward)"
            if s.exact:
                yield s.compare("parity", name, run[name], exact.astype(np.float32), 0.0, where)
                continue
            largest = float(np.abs(exact[np.isfinite(exact)]).max(initial=0.0))
            rounding = NOISE / 4 * s.noise[name] * eps / 2 + _ULPS * eps * largest + smallest
            allowed = 2 * errors[name] + rounding
            ceiling = 100 * TOLERANCE["gradient"]["float32"] * largest + 8 * rounding  # twice a wrong result is no bound
            found = measure(run[name], exact, dtype=False)
            yield verdict("parity", name, found, min(allowed, ceiling), where)


def _errors(s: Subject, narrow: Case, dy: Array) -> tuple[dict[str, Array], dict[str, float]]:
    """The float64 outputs for these float32 numbers, and how far the NumPy body in float32 is from them."""
    truth = s.run(narrow.astype(np.float64), dy.astype(np.float64)).outputs
    plain = s.run(narrow, dy).outputs
    return truth, {name: measure(plain[name], exact, dtype=False).absolute for name, exact in truth.items()}


def special(s: Subject) -> Iterator[Result]:
    """One NaN, inf or -inf in one argument at a time: the same places of every output are NaN or inf on both backends.

    Not part of the standard laws: a kernel that adds in another order may meet an infinite intermediate elsewhere.
    """
    if "rust" not in s.backends:
        return
    for salt, (name, a) in enumerate(s.case.arrays.items()):
        for value in (np.nan, np.inf, -np.inf):
            if not a.size:
                continue
            poisoned = a.copy()
            poisoned.flat[s.case.random(4, salt).integers(a.size)] = value
            case = s.case.with_(**{name: poisoned})
            expected, got = s.run(case).outputs, s.run(case, forward="rust").outputs
            for output, e in expected.items():
                found = measure(got[output], e)
                limit = s.limit(output, e, exact=False)
                if not found.within(limit):         # by the noise of this case, then: terms may cancel here that do not elsewhere
                    limit = max(limit, replace(s, case=case).limit(output, e, exact=False))
                yield verdict("special values", output, found, limit, f" with {value} in {name}")


def _same_settings(base: Run, run: Run, where: str) -> Iterator[Result]:
    """The configuration and the arguments in the cache are the same on both backends."""
    expected, got = fields(base.cache), fields(run.cache)
    yield holds(
        "parity",
        "cache",
        list(expected) == list(got),
        f"cache fields are {list(got)}, expected {list(expected)}{where}",
    )
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            same = isinstance(got.get(name), np.ndarray)
        else:
            same = type(got.get(name)) is type(value) and got.get(name) == value
        if not same:
            yield holds(
                "parity", f"cache.{name}", same, f"cache.{name} is {got.get(name)!r}, expected {value!r}{where}"
            )
