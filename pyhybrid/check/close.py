"""How far two arrays are apart, and how far they may be.

The tolerance belongs to the dtype and to the kind of number (value or gradient), never to a test. It has two parts: a
fraction of the largest expected entry, and a multiple of the *noise*, which is how much the result moves when every
input is changed by one rounding. The second part lets one table serve cancelling sums and gradients that vanish: there
the largest entry says nothing about rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["NOISE", "TOLERANCE", "Measure", "assert_close", "bound", "measure", "rounded"]

Array = np.ndarray

# Fraction of max |expected|, by kind and dtype. "difference": for a gradient against a central difference.
TOLERANCE: dict[str, dict[str, float]] = {
    "value": {"float32": 1e-5, "float64": 1e-12, "complex64": 1e-5, "complex128": 1e-12},
    "gradient": {"float32": 1e-4, "float64": 1e-11, "complex64": 1e-4, "complex128": 1e-11},
    "difference": {"float32": 1e-2, "float64": 1e-7, "complex64": 1e-2, "complex128": 1e-7},
}
NOISE = 64.0  # roundings that may pile up: sums of some thousand terms, in any order


@dataclass(frozen=True)
class Measure:
    """The difference of two arrays, measured where it is largest.

    `absolute` is max |got - expected|, `relative` that over max |expected|; `index` is the place, `got` and `expected`
    the two values there. `fault` says in words what makes the arrays incomparable (shape, dtype, NaN or inf in other
    places); then both measures are inf.
    """

    absolute: float
    relative: float
    index: tuple[int, ...] = ()
    got: Any = None
    expected: Any = None
    fault: str = ""

    def within(self, limit: float) -> bool:
        """True if the arrays are comparable and at most `limit` apart."""
        return not self.fault and self.absolute <= limit

    def text(self, what: str, limit: float) -> str:
        """One line: what and how far off; beyond the bound also where, got and expected."""
        if self.fault:
            return f"{what}: {self.fault}"
        if self.within(limit):
            return f"{what}: difference {self.absolute:.3g}, bound {limit:.3g}"
        place = f"{what}[{', '.join(map(str, self.index))}]" if self.index else what
        difference = f"difference {self.absolute:.3g} ({self.relative:.3g} of the largest expected value)"
        return f"{place}: got {self.got}, expected {self.expected}; {difference}, bound {limit:.3g}"


def measure(got: Any, expected: Any, *, dtype: bool = True) -> Measure:
    """Compare two arrays of one shape and, with `dtype`, of one dtype; NaN and inf must stand in the same places."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        return _fault(f"got shape {got.shape}, expected shape {expected.shape}")
    if dtype and got.dtype.newbyteorder("=") != expected.dtype.newbyteorder("="):
        return _fault(f"got dtype {got.dtype}, expected dtype {expected.dtype}")
    if got.size == 0:
        return Measure(0.0, 0.0)
    if object in (got.dtype, expected.dtype):  # exact numbers: only their differences become floats
        return _largest(np.abs(got - expected).astype(float), np.abs(expected).astype(float), got, expected)
    for name, test in (("NaN", np.isnan), ("inf", np.isinf)):
        if (fault := _places(name, test(got), test(expected), got, expected)) is not None:
            return fault
    infinite = np.isinf(expected)
    if (wrong := infinite & (got != expected)).any():
        index = _first(wrong)
        return _fault(f"at {index}: got {got[index]}, expected {expected[index]}", index, got, expected)
    finite = np.isfinite(expected)
    wide: Any = np.complex128 if "c" in got.dtype.kind + expected.dtype.kind else np.float64
    if np.longdouble in (got.dtype, expected.dtype):
        wide = np.longdouble
    a, b = np.where(finite, got, 0).astype(wide), np.where(finite, expected, 0).astype(wide)
    return _largest(np.abs(a - b), np.abs(b), got, expected)


def bound(expected: Any, kind: str = "value", *, noise: float = 0.0, dtype: Any = None) -> float:
    """Largest difference allowed to `expected`: by the table for its dtype (or `dtype`), plus `NOISE` times `noise`."""
    expected = np.asarray(expected)
    name = np.dtype(dtype or expected.dtype).newbyteorder("=").name
    if name not in TOLERANCE[kind]:
        raise TypeError(f"no tolerance is defined for {name} arrays; compare them exactly")
    finite = np.abs(expected[np.isfinite(expected)])
    return TOLERANCE[kind][name] * float(finite.max(initial=0.0)) + NOISE * noise


def assert_close(
    got: Any,
    expected: Any,
    what: str = "value",
    *,
    kind: str = "value",
    exact: bool = False,
    noise: float = 0.0,
    dtype: bool = True,
) -> Measure:
    """Raise AssertionError, saying what differs where and by how much, unless the arrays agree; returns the measure.

    `kind` is "value" or "gradient", `exact` asks for ==, `noise` is the effect of one rounding of the inputs.
    """
    found = measure(got, expected, dtype=dtype)
    limit = 0.0 if exact else bound(expected, kind, noise=noise)
    if not found.within(limit):
        raise AssertionError(found.text(what, limit))
    return found


def rounded(value: Any, random: np.random.Generator, eps: float) -> Any:
    """A float array with every entry changed by up to `eps` of itself; anything else unchanged."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    return value * np.asarray(1 + eps * random.uniform(-1, 1, value.shape), value.dtype)


def _places(name: str, got_mask: Array, expected_mask: Array, got: Array, expected: Array) -> Measure | None:
    differ = got_mask != expected_mask
    if not differ.any():
        return None
    index = _first(differ)
    counts = f"{name} in {int(got_mask.sum())} places, expected in {int(expected_mask.sum())}"
    return _fault(f"{counts}; first at {index}: got {got[index]}, expected {expected[index]}", index, got, expected)


def _first(mask: Array) -> tuple[int, ...]:
    return tuple(int(n) for n in np.argwhere(mask)[0])


def _fault(text: str, index: tuple[int, ...] = (), got: Any = None, expected: Any = None) -> Measure:
    here, wanted = (None, None) if got is None else (got[index], expected[index])
    return Measure(np.inf, np.inf, index, here, wanted, text)


def _largest(difference: Array, size: Array, got: Array, expected: Array) -> Measure:
    index = tuple(int(n) for n in np.unravel_index(int(difference.argmax()), difference.shape))
    absolute, scale = float(difference[index]), float(size.max())
    relative = absolute / scale if scale else (0.0 if absolute == 0 else np.inf)
    return Measure(absolute, relative, index, got[index], expected[index])
