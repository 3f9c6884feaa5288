"""Replay recorded cases: decide by operator and configuration what to run, run it both ways, compare every array."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid import backend as backends
from pyhybrid.conformance import acmix, coatnet, das, hornet, smt
from pyhybrid.conformance.case import Case, NotUnderstood, Replayed, Unreadable, load
from pyhybrid.conformance.compare import Comparison, compare, dyadic, magnitude, tolerance
from pyhybrid.conformance.report import Report, Row
from pyhybrid.errors import UsageError

__all__ = ["SYSTEMS", "Implementation", "replay"]

Array = np.ndarray
Replay = Callable[[Case], Replayed]
# (inputs, params, config) -> outputs, or that and (inputs, params, config, cotangents) -> gradients
Implementation = Callable[..., Any] | tuple[Callable[..., Any], Callable[..., Any]]

SYSTEMS: dict[str, Mapping[str, Replay]] = {
    "acmix": acmix.OPERATORS,
    "coatnet": coatnet.OPERATORS,
    "das": das.OPERATORS,
    "hornet": hornet.OPERATORS,
    "smt": smt.OPERATORS,
}


def replay(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    backend: str | None = None,
    implementation: Mapping[str, Implementation] | None = None,
) -> Report:
    """Replay every case in `paths` (files, or folders with all .npz files below them) and compare all arrays.

    backend         "numpy", "rust" or "both"; None means both if the compiled core is installed, otherwise numpy
    implementation  replay these functions instead of the project's: operator -> function, or (function, gradient).
                    function(inputs, params, config) gives the output, or a mapping of outputs by name;
                    gradient(inputs, params, config, cotangents) gives a mapping "input.NAME" | "param.NAME" -> array.
                    Without a gradient the outputs alone are compared, and the report says so.

    A case that is not understood completely fails. UsageError: a path does not exist or holds no case.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    files = find_files(paths)
    if implementation is not None:
        return Report([_row(file, "given", implementation) for file in files])
    rows = []
    for name in _backends(backend):
        with backends.use(name):
            rows += [_row(file, name, None) for file in files]
    return Report(rows)


def find_files(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """The files that `paths` name, those in folders sorted by name, each once."""
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(f for f in path.rglob("*") if f.suffix.lower() == ".npz" and f.is_file())
            if not inside:
                raise UsageError(f"no .npz file in {path}")
        elif path.is_file():
            inside = [path]
        else:
            raise UsageError(f"no such file or folder: {path}")
        found |= dict.fromkeys(inside)
    if not found:
        raise UsageError("no file to replay; name .npz files or folders that hold some")
    return list(found)


def _backends(choice: str | None) -> list[str]:
    if choice is None:
        return ["numpy", "rust"] if backends.available() else ["numpy"]
    if choice not in ("numpy", "rust", "both"):
        raise UsageError(f'backend must be "numpy", "rust" or "both"; got {choice!r}')
    return ["numpy", "rust"] if choice == "both" else [choice]


def _row(file: Path, backend: str, implementation: Mapping[str, Implementation] | None) -> Row:
    """Replay one file; whatever goes wrong becomes a failure of its row."""
    system, operator, name, precision = "", "?", file.stem, ""
    comparisons: list[Comparison] = []
    gradients = True
    try:
        meta, arrays = load(file)
        case = Case(meta, arrays)
        system, operator, precision = _shown(case.system), _shown(case.operator), str(case.dtype)
        name = _shown(str(meta.get("case", name)))
        replayed = _understand(case)
        if implementation is not None:
            replayed = _substitute(case, replayed, implementation)
        comparisons = _compare(case, replayed)
        gradients = replayed.backward is not None or not case.named("cotangent")
        failures = [str(comparison) for comparison in comparisons if not comparison.passed]
    except Unreadable as wrong:
        failures = [str(wrong)]
    except NotUnderstood as wrong:
        failures = [f"not understood: {wrong}"]
    except Exception as wrong:      # the implementation under test may fail in any way; that must not end the replay
        failures = [f"raised {type(wrong).__name__}: {wrong}"]
    worst = max(comparisons, key=lambda c: np.inf if c.problem else c.error, default=Comparison("", 0.0, 0.0))
    found = (len(comparisons), worst.error, worst.array, tuple(failures), gradients)
    return Row(str(file), system, operator, name, backend, precision, *found)


def _shown(text: str) -> str:
    """A name from a file, safe to print."""
    return text if text.isprintable() and len(text) <= 60 else repr(text[:60])


def _understand(case: Case) -> Replayed:
    """What the project computes for the case, every configuration key and array accounted for."""
    holders = [system for system, operators in SYSTEMS.items() if case.operator in operators]
    if len(holders) > 1:        # some names mean different things in different systems
        holders = [system for system in holders if system == case.system]
    if not holders:
        raise NotUnderstood(f"operator {case.operator!r}")
    case.check_arrays()
    try:
        replayed = SYSTEMS[holders[0]][case.operator](case)
    except (TypeError, ValueError) as refused:      # a constraint of the operator, or parameter names of the layer
        raise NotUnderstood(str(refused)) from refused
    case.check_complete(replayed.outputs, replayed.aux, replayed.buffers, replayed.state, replayed.fixed,
                        replayed.constants)
    if case.named("cotangent") and replayed.backward is None:
        raise NotUnderstood(f"cotangents for {case.operator}, which has no inputs")
    return replayed


def _substitute(case: Case, ours: Replayed, implementation: Mapping[str, Implementation]) -> Replayed:
    """The outputs and gradients of the implementation under test, in place of ours."""
    if case.operator not in implementation:
        raise NotUnderstood(f"operator {case.operator!r} is not in the implementation")
    given = implementation[case.operator]
    function, gradient = given if isinstance(given, tuple) else (given, None)

    def arguments() -> tuple[dict[str, Array], dict[str, Array], dict[str, Any]]:
        # Copies each time: a function that writes into its arguments must not change what it is compared with.
        copies = ({name: a.copy() for name, a in case.named(kind).items()} for kind in ("input", "param"))
        return *copies, dict(case.config.values)    # type: ignore[return-value]

    outputs = function(*arguments())
    if not isinstance(outputs, Mapping):
        outputs = dict.fromkeys(ours.outputs, outputs) if len(ours.outputs) == 1 else {}
    if gradient is None:
        return Replayed(dict(outputs), None, {}, ours.exact)
    return Replayed(dict(outputs), lambda d: dict(gradient(*arguments(), d)), {}, ours.exact)


def _compare(case: Case, replayed: Replayed) -> list[Comparison]:
    """Every recorded output, gradient and intermediate result against the computed one."""
    rules = tolerance(case.dtype)
    cotangents, recorded = case.named("cotangent"), case.named("grad")
    data = [*case.named("input").values(), *case.named("param").values(), *cotangents.values()]
    exact, steepest = replayed.exact and dyadic(data), magnitude(recorded.values())
    largest = magnitude([*data, *case.named("output").values()])
    found = {f"output.{name}": value for name, value in replayed.outputs.items()}
    wanted = {f"output.{name}": value for name, value in case.named("output").items()}
    if cotangents and replayed.backward is not None:
        found |= {f"grad.{name}": value for name, value in replayed.backward(cotangents).items()}
        wanted |= {f"grad.{name}": value for name, value in recorded.items()}
    for kind in ("aux", "inter"):
        for name, value in case.named(kind).items():
            if name in replayed.aux:
                found[f"{kind}.{name}"], wanted[f"{kind}.{name}"] = replayed.aux[name](), value
    after = case.state_after()
    found |= {f"state_after.{name}": value for name, value in replayed.state.items() if after}
    wanted |= {f"state_after.{name}": value for name, value in after.items()}
    comparisons = []
    for name, value in wanted.items():
        if name in found:
            gradient = name.startswith("grad.")
            scale = steepest if gradient else largest
            comparisons.append(compare(name, found[name], value, rules, exact=exact, largest=scale, gradient=gradient))
        else:
            comparisons.append(Comparison(name, np.inf, 0.0, "was not computed"))
    strange = [name for name in found if name not in wanted]
    return comparisons + [Comparison(name, np.inf, 0.0, "is not recorded") for name in strange]
