"""All laws of an operator on one case: the list of results for reports, the assertion for tests."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pyhybrid.check import independence, parity
from pyhybrid.check.adjoint import adjoint
from pyhybrid.check.case import Case
from pyhybrid.check.close import NOISE, TOLERANCE, measure
from pyhybrid.check.gradient import STEP, along, directional, jacobian, pull_back
from pyhybrid.check.subject import Result, Subject, fields, holds, kind, on, verdict

__all__ = ["LAWS", "STANDARD", "laws", "operator"]

_HALF_EPS = 2.0**-53


def laws(
    subject: Any,
    case: Case,
    *,
    oracle: Callable[..., Any] | None = None,
    oracle_backward: Callable[..., Any] | None = None,
    linear: Sequence[str] | None = None,
    exact: bool | None = None,
    step: str | None = None,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
) -> list[Result]:
    """What each law finds for an operator on a case; never raises for a fault of the operator.

    `oracle(*arrays, **config)` is the output by other means, `oracle_backward(dy, *arrays, **config)` the gradients in
    the order of the arguments; laws that need one that is not given are left out. `linear` and `exact` default to what
    the case says. `step` is "complex" or "central"; None tries whether the operator is analytic. `only` and `skip`
    choose laws by name (see `LAWS`; without `only`, `STANDARD`).
    """
    unknown = {*(only or ()), *skip} - {*LAWS}
    if unknown:
        raise ValueError(f"no law is called {sorted(unknown)}; there are {list(LAWS)}")
    linear, exact = case.linear if linear is None else linear, case.exact if exact is None else exact
    chosen = Subject(subject, case, oracle, oracle_backward, linear, exact, step)
    results = []
    for name, law in LAWS.items():
        if name in (only or STANDARD) and name not in skip:
            results += _run(name, law, chosen)
    return results


def operator(subject: Any, case: Case, oracle: Callable[..., Any] | None = None, **options: Any) -> list[Result]:
    """`laws`, raising AssertionError with every broken law, operator and case; otherwise returns the results."""
    results = laws(subject, case, oracle=oracle, **options)
    broken = [r for r in results if not r.passed]
    if broken:
        name = str(getattr(subject, "__name__", "operator")).rpartition(".")[2]
        kinds = ", ".join(dict.fromkeys(r.law for r in broken))
        lines = [f"{name} breaks {kinds} on {case!r}", *(f"  {r.law}: {r.detail}" for r in broken[:12])]
        if len(broken) > 12:
            lines.append(f"  and {len(broken) - 12} more")
        raise AssertionError("\n".join(lines))
    return results


def _run(name: str, law: Callable[[Subject], Iterator[Result]], subject: Subject) -> list[Result]:
    results: list[Result] = []
    try:
        results.extend(law(subject))
    except Exception as error:  # whatever an operator raises on legal arguments is its fault, and is told as such
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.name}, line {frame.lineno}"
        results.append(holds(name, "call", False, f"raised {type(error).__name__}: {error} (in {place})"))
    return results


def value(s: Subject) -> Iterator[Result]:
    """y is what the oracle says; == if exact."""
    if s.oracle is not None:
        with on("numpy"):
            expected = np.asarray(s.case.copy().call(s.oracle))
        yield s.compare("value", "y", s.base_y, expected, s.limit("y", expected), " against the oracle")


def oracle_gradient(s: Subject) -> Iterator[Result]:
    """The gradients are what the oracle's backward says; == if exact."""
    if s.oracle_backward is not None and s.operator.backward is not None:
        with on("numpy"):
            expected = s.oracle_backward(s.dy.copy(), *s.case.copy().arguments.values(), **s.case.config)
        names = list(fields(s.base.grads))
        counts = f"the oracle has {len(expected)} gradients, Grads has {len(names)}"
        yield holds("oracle gradient", "Grads", len(expected) == len(names), counts)
        for name, e in zip(names, expected, strict=False):
            got = getattr(s.base.grads, name)
            if e is None or got is None:
                yield holds("oracle gradient", f"d{name}", e is got, f"d{name} is {kind(got)}, expected {kind(e)}")
            else:
                yield s.compare("oracle gradient", f"d{name}", got, e, s.limit(f"d{name}", e), " against the oracle")


def form(s: Subject) -> Iterator[Result]:
    """`output_shape` tells y's shape; Grads has a field per array argument, of its shape and dtype, None for None."""
    for backend in s.backends:
        for dtype in (np.float64, np.float32):
            where, case = f" ({np.dtype(dtype).name}, {backend})", s.case.astype(dtype)
            shape = tuple(case.call(s.operator.output_shape))
            run = s.run(case, s.dy.astype(dtype), forward=backend)
            yield holds(
                "form", "y", run.y.shape == shape, f"y has shape {run.y.shape}, output_shape says {shape}{where}"
            )
            yield holds("form", "y", run.y.dtype == dtype, f"y has dtype {run.y.dtype}{where}")
            names, got = list(case.arguments), fields(run.grads)
            if not s.operator.backward:
                continue
            yield holds(
                "form", "Grads", list(got) == names, f"Grads has fields {list(got)}, the arguments are {names}{where}"
            )
            for name, gradient in got.items():
                a = case.arguments.get(name)
                fits = (
                    gradient is None
                    if a is None
                    else getattr(gradient, "shape", None) == a.shape and gradient.dtype == dtype
                )
                yield holds(
                    "form", f"d{name}", fits, f"d{name} is {kind(gradient)} where the argument is {kind(a)}{where}"
                )
            for name, kept in fields(run.cache).items():
                if name in case.arrays:
                    same = isinstance(kept, np.ndarray) and np.array_equal(kept, case.arrays[name], equal_nan=True)
                    yield holds(
                        "form",
                        f"cache.{name}",
                        same,
                        f"cache.{name} {'holds' if same else 'does not hold'} the argument{where}",
                    )


def derivative(s: Subject) -> Iterator[Result]:
    """<dy, J v> = <gradient, v> in a random direction v of each argument, J v by complex step or central difference."""
    for n, (name, a) in enumerate(s.case.arrays.items() if s.operator.backward else ()):
        if not a.size or not s.dy.size:
            continue
        v = s.case.random(5, n).standard_normal(a.shape) * (np.abs(a).max() or 1.0)
        with on("numpy"):
            step = s.step_for(name)
            Jv = directional(along(s.operator.forward, s.case, name), a, v, step=step)
        gradient = s.base.named_grads.get(f"d{name}")
        if gradient is None or gradient.shape != a.shape:
            yield holds("derivative", f"d{name}", False, f"d{name} is {kind(gradient)} where the argument is {kind(a)}")
            continue
        left, right = (s.dy * Jv).sum(), (gradient * v).sum()
        size = float(np.abs(s.dy * Jv).sum() + np.abs(gradient * v).sum())
        limit = NOISE * s.noise[f"d{name}"] * _HALF_EPS * float(np.abs(v).sum())
        if step == "complex":
            limit += TOLERANCE["gradient"]["float64"] * size
        else:
            limit += TOLERANCE["difference"]["float64"] * size + NOISE * s.noise["y"] * _HALF_EPS / STEP * float(
                np.abs(s.dy).sum()
            )
        yield verdict("derivative", f"d{name}", measure(right, left), limit, f" along a random direction ({step} step)")


def full_jacobian(s: Subject) -> Iterator[Result]:
    """Every partial derivative, on sizes small enough for it."""
    small = {name: a for name, a in s.case.arrays.items() if 0 < a.size <= s.tiny and f"d{name}" in s.base.named_grads}
    if not s.operator.backward or not small or not 0 < s.dy.size <= s.tiny:
        return
    with on("numpy"):
        claimed = dict(
            zip(
                fields(s.base.grads), pull_back(lambda dy: s.operator.backward(dy, s.base.cache), s.base_y), strict=True
            )
        )
    for name, a in small.items():
        with on("numpy"):
            step = s.step_for(name)
            expected = jacobian(along(s.operator.forward, s.case, name), a, step=step)
        # The noise is that of a random cotangent; a unit one has a share of it, at most all.
        unit = NOISE * s.noise[f"d{name}"] * _HALF_EPS / min(1.0, float(np.abs(s.dy).max()) or 1.0)
        table = "difference" if step == "central" else "gradient"
        rough = 0.0 if step == "complex" else NOISE * s.noise["y"] * _HALF_EPS / STEP / (float(np.abs(a).max()) or 1.0)
        limit = TOLERANCE[table]["float64"] * float(np.abs(expected).max(initial=0.0)) + unit + rough
        where = " as Jacobian (output index, then argument index)"
        yield verdict("jacobian", f"d{name}", measure(claimed[name], expected), limit, where)


def adjointness(s: Subject) -> Iterator[Result]:
    """<A x, u> = <x, Aᵀ u> for each argument in which the operator is linear up to a constant; == if exact."""
    for n, name in enumerate(s.linear if s.operator.backward else ()):
        a = s.case.arguments.get(name)
        if a is None:
            continue
        x = s.case.random(6, n).permuted(a.reshape(-1)).reshape(a.shape)
        case = s.case.with_(**{name: x})
        gradient = getattr(s.run(case).grads, name)
        with on("numpy"):
            found = adjoint(along(s.operator.forward, case, name), gradient, x, s.dy)
        limit = 0.0
        if not s.exact:
            rounding = s.noise["y"] * float(np.abs(s.dy).sum()) + s.noise[f"d{name}"] * float(np.abs(x).sum())
            limit = TOLERANCE["gradient"]["float64"] * found.scale + NOISE * rounding * _HALF_EPS
        yield verdict("adjoint", f"d{name}", measure(found.right, found.left), limit, ": <x, Aᵀu> against <Ax, u>")


LAWS: dict[str, Callable[[Subject], Iterator[Result]]] = {
    "value": value,
    "oracle gradient": oracle_gradient,
    "form": form,
    "derivative": derivative,
    "jacobian": full_jacobian,
    "adjoint": adjointness,
    "parity": parity.parity,
    "unchanged": independence.unchanged,
    "memory": independence.memory,
    "repeat": independence.repeat,
    "strides": independence.strides,
    "batch": independence.batch,
    "special values": parity.special,
}
STANDARD = tuple(name for name in LAWS if name != "special values")
