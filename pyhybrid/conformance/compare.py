"""How a computed array is compared with a recorded one.

The rule is max|a - b| <= rtol·max|b| with a = computed, b = recorded; the error shown is max|a - b| / max|b|. Two kinds of array have no
digits of their own to compare: one that is zero in theory is recorded as rounding noise, and one in which larger numbers cancel has the
rounding of those. So a gradient that is noise beside the largest gradient of its case is measured against that one, and every array
may differ by a few units in the last place of the largest gradient, or of the largest number of the case if it is no gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Comparison", "Tolerance", "compare", "dyadic", "tolerance"]

Array = np.ndarray


class Tolerance(NamedTuple):
    """Bounds of one precision. `noise`: a recorded gradient below this share of the case's largest one is rounding.

    `rounding`: about fifty units in the last place, relative to the case's largest number.
    """

    rtol: float
    rounding: float
    noise: float


_TOLERANCE = {np.dtype(np.float64): Tolerance(1e-10, 1e-14, 1e-12), np.dtype(np.float32): Tolerance(2e-4, 5e-6, 1e-5)}


def tolerance(dtype: np.dtype) -> Tolerance:
    """The bounds for a case recorded in float64 or float32."""
    return _TOLERANCE[dtype]


class Comparison(NamedTuple):
    """One array of a case: how far it is from the recorded one, and how far it may be (0: equal with ==)."""

    array: str
    error: float
    bound: float
    problem: str = ""      # why there is no error to measure, such as a wrong shape

    @property
    def passed(self) -> bool:
        """True if the array could be compared and is within its bound."""
        return not self.problem and self.error <= self.bound

    def __str__(self) -> str:
        if self.problem:
            return f"{self.array}: {self.problem}"
        rule = f"at most {self.bound:.0e}" if self.bound else "exact equality"
        return f"{self.array}: relative error {self.error:.2e}, {rule} expected"


def compare(
    array: str, computed: Any, recorded: Array, rules: Tolerance, *, exact: bool, largest: float = 0.0, gradient: bool = False
) -> Comparison:
    """Measure `computed` against `recorded`; `largest` is the case's largest gradient, or its largest number if this is none."""
    bound = 0.0 if exact or recorded.dtype.kind in "iu" else rules.rtol
    try:
        found = np.asarray(computed)
    except Exception as wrong:      # whatever a stranger's object does when it is asked for its numbers
        return Comparison(array, np.inf, bound, f"is not an array: {wrong}")
    if found.dtype.kind not in "fiu":
        return Comparison(array, np.inf, bound, f"is {type(computed).__name__} of {found.dtype}, not real numbers")
    if found.shape != recorded.shape:
        return Comparison(array, np.inf, bound, f"has shape {found.shape}, recorded {recorded.shape}")
    scale = magnitude([recorded])
    scale = largest if gradient and scale <= rules.noise * largest else max(scale, rules.rounding / rules.rtol * largest)
    wide = np.result_type(found, recorded, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (found == recorded) | (np.isnan(found) & np.isnan(recorded))
        distance = np.where(same, 0, np.abs(found.astype(wide) - recorded.astype(wide)))
    worst = float(distance.max(initial=0))
    error = 0.0 if worst == 0 else worst / scale if scale else np.inf
    return Comparison(array, error if np.isfinite(error) else np.inf, bound)


def magnitude(arrays: Iterable[Array]) -> float:
    """The largest finite absolute value in `arrays`; 0 if there is none."""
    return max((float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in arrays), default=0.0)


def dyadic(arrays: Iterable[Array]) -> bool:
    """True if all numbers are multiples of 2⁻⁸ not above 16.

    Sums of up to 2¹⁷ products of three of them are then exact in float64, whatever the order of summation.
    """
    return all(a.dtype == np.float64 and np.all((a * 256 == np.rint(a * 256)) & (np.abs(a) <= 16)) for a in arrays)
