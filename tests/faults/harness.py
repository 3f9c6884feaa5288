"""What the fault tests share: cases of chosen sizes, one pass of an operator as named arrays, and child processes.

A test of a crash, a hang or a limit of the process runs in a child, so that what it provokes is one failed test and not the end of the run.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from faults.tables import BUSY

import pyhybrid.ops
from pyhybrid import backend
from pyhybrid.check import cases
from pyhybrid.check.case import Case
from pyhybrid.examples import example

Array = np.ndarray
NAMES: list[str] = list(pyhybrid.ops.__all__)
DTYPES = (np.float32, np.float64)
SEED = 20
TESTS = Path(__file__).parents[1]
PACKAGE = Path(pyhybrid.__file__).parent


def operator(name: str) -> ModuleType:
    return importlib.import_module(f"pyhybrid.ops.{name}")


def compiled(name: str) -> bool:
    """True if both directions have a compiled kernel."""
    return backend.available() and all(hasattr(backend.core(), f"{name}_{direction}") for direction in ("forward", "backward"))


# Cases.


class _Seeded:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self._random.integers(low, high + 1))


def pinned(name: str, seed: int = SEED, **pins: Any) -> Case:
    """A case with some draws fixed; pins that the operator does not draw are ignored."""
    return cases.CASES[name](cases.Draw(_Seeded(seed), pins))


def example_case(name: str) -> Case:
    """The readable example: quarters from -2 to 2."""
    arrays, config = example(name)
    return Case({parameter: arrays.get(parameter) for parameter in operator(name).Grads._fields}, config, SEED)


def wide(name: str, width: int, seed: int = SEED, **pins: Any) -> Case:
    """A map of four rows and `width` columns; windows fit."""
    window = {"kernel_size": 3} if width < 4 else {}
    border = {"border": "zero"} if width == 1 else {}
    return pinned(
        name,
        seed,
        **{"N": 1, "H": 4, "W": width, "n": width, "shape": (2, width), "axis": -1, "size": (4, width), **window, **border, **pins},
    )


def busy(name: str, dtype: Any = np.float64) -> Case:
    """A case large enough to be shared among threads."""
    shapes, config = BUSY[name]
    random = np.random.default_rng(SEED)
    arrays = {n: random.standard_normal(shapes[n]).astype(dtype) if n in shapes else None for n in operator(name).Grads._fields}
    return Case(arrays, config, SEED)


# One pass.


def run(name: str, case: Case, dy: Array | None = None, cached: Callable[[Array], Array] = lambda a: a) -> dict[str, Array]:
    """Forward and backward: y, the saved arrays ("cache.lse") and the gradients ("dx"). `cached` is applied to what is saved in between."""
    module = operator(name)
    y, cache = case.call(module.forward)
    if dy is None:
        dy = case.cotangent(y.shape, y.dtype)
    saved = {f: v for f, v in zip(cache._fields, cache, strict=True) if isinstance(v, np.ndarray) and f not in case.arguments}
    grads = module.backward(dy, cache._replace(**{f: cached(v) for f, v in saved.items()}))
    gradients = {f"d{f}": g for f, g in zip(grads._fields, grads, strict=True) if g is not None}
    return {"y": y, **{f"cache.{f}": v for f, v in saved.items()}, **gradients}


def same_bits(got: Mapping[str, Array], expected: Mapping[str, Array], what: str) -> None:
    """Raise AssertionError unless all arrays agree in shape, dtype and every bit (any NaN equals any NaN)."""
    assert list(got) == list(expected), f"{what}: got {list(got)}, expected {list(expected)}"
    for name, e in expected.items():
        g = got[name]
        assert g.shape == e.shape and g.dtype == e.dtype, f"{what}: {name} is {g.dtype}{g.shape}, expected {e.dtype}{e.shape}"
        bits = f"u{e.dtype.itemsize}"
        differ = (np.ascontiguousarray(g).view(bits) != np.ascontiguousarray(e).view(bits)) & ~(np.isnan(g) & np.isnan(e))
        if differ.any():
            at = tuple(int(n) for n in np.argwhere(differ)[0])
            raise AssertionError(
                f"{what}: {name} differs in {int(differ.sum())} of {e.size} entries, first at {at}: {g[at]!r} and {e[at]!r}"
            )


def aligned(shape: tuple[int, ...], dtype: Any, offset: int = 0, line: int = 64) -> Array:
    """Uninitialised array whose first byte is `offset` bytes behind a cache line."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(nbytes + 2 * line, np.uint8)
    start = -raw.ctypes.data % line + offset
    return raw[start : start + nbytes].view(dtype).reshape(shape)


# Children.


def in_child(program: Callable[..., None], *arguments: Any, seconds: float = 60, **environment: str) -> str:
    """Run a function of `programs` in a new interpreter; returns what it printed. A crash, a hang or an exception is an AssertionError."""
    call = f"programs.{program.__name__}(*{arguments!r})"
    watchdog = f"faulthandler.dump_traceback_later({seconds - 1}, exit=True)"
    done = child(
        f"import faulthandler; faulthandler.enable(); {watchdog}\nfrom faults import programs\n{call}", seconds=seconds, **environment
    )
    assert done.returncode == 0, f"{call} ended with status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def child(program: str, *, seconds: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python text in a new interpreter that finds this package and these tests."""
    paths = os.pathsep.join([str(PACKAGE.parent), str(TESTS)])
    env = {**os.environ, "PYTHONPATH": paths, "RUST_BACKTRACE": "0", **environment}
    try:
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as hung:
        raise AssertionError(f"no end after {seconds} s:\n{program}\n{(hung.stderr or b'').decode()[-4000:]}") from None
