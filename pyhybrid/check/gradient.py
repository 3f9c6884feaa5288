"""Derivatives of a forward function without knowing its backward: complex step, central difference, full Jacobians.

Complex step: for an analytic f, f(x + i·h·v) = f(x) + i·h·f'(x)v + O(h²), so the imaginary part over h is the
directional derivative, with no subtraction and therefore to full precision (h = 1e-30). A function that calls `abs`,
compares complex numbers or drops the imaginary part is not analytic in this sense; then the central difference
(f(x + h·v) - f(x - h·v)) / 2h is taken, good to about ten digits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pyhybrid.check.case import Case

__all__ = ["STEP", "analytic", "central_difference", "complex_step", "directional", "jacobian", "pull_back"]

Array = np.ndarray
Function = Callable[[Array], Array]

COMPLEX_STEP = 1e-30
_EPS = float(np.finfo(np.float64).eps)
STEP = _EPS ** (1 / 3)  # balances the cut Taylor series (h²) against rounding (eps / h)


def complex_step(function: Function, x: Array, v: Array) -> Array:
    """Directional derivative f'(x)v of an analytic function by one complex evaluation."""
    y = function(x + 1j * COMPLEX_STEP * v)
    return np.asarray(y).imag / COMPLEX_STEP


def central_difference(function: Function, x: Array, v: Array, step: float = STEP) -> Array:
    """Directional derivative f'(x)v from two values; v has the scale of x, `step` is a fraction of it."""
    return (np.asarray(function(x + step * v)) - np.asarray(function(x - step * v))) / (2 * step)


def analytic(function: Function, x: Array, v: Array) -> bool:
    """True if `function` takes complex numbers and its complex step agrees with a central difference to four digits.

    Two steps are tried, one in the scale of x and one of unit scale: a function of logits bends at 1, whatever their
    size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a discarded imaginary part is only warned about
            exact = complex_step(function, x, v)
            size = float(np.abs(function(x)).max(initial=0.0))
    except Exception:  # a function may refuse complex numbers in any way it likes
        return False
    for step in (STEP, STEP / (float(np.abs(v).max(initial=0.0)) or 1.0)):
        rough = central_difference(function, x, v, step)
        scale = max(float(np.abs(rough).max(initial=0.0)), float(np.abs(exact).max(initial=0.0)))
        if np.abs(exact - rough).max(initial=0.0) <= 1e-4 * scale + 16 * _EPS * size / step:
            return True
    return False


def directional(function: Function, x: Array, v: Array, *, step: str) -> Array:
    """f'(x)v by the "complex" step or the "central" difference."""
    if step not in ("complex", "central"):
        raise ValueError(f'step must be "complex" or "central"; got {step!r}')
    return complex_step(function, x, v) if step == "complex" else central_difference(function, x, v)


def jacobian(function: Function, x: Array, *, step: str | None = None) -> Array:
    """All partial derivatives, y.shape + x.shape, one or two evaluations per entry; `step` None tries which fits."""
    scale = float(np.abs(x).max(initial=0.0)) or 1.0
    if step is None:
        v = scale * np.random.default_rng(0).standard_normal(x.shape)
        step = "complex" if analytic(function, x, v) else "central"
    columns = []
    for unit in np.eye(x.size, dtype=x.dtype):
        columns.append(directional(function, x, scale * unit.reshape(x.shape), step=step) / scale)
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape)


def pull_back(backward: Callable[[Array], Any], y: Array) -> list[Array | None]:
    """The Jacobians that a backward claims, y.shape + x.shape for each gradient: one row per unit cotangent."""
    units = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
    rows = [[None if g is None else np.array(g) for g in backward(unit)] for unit in units]
    columns = zip(*rows, strict=True)
    return [None if c[0] is None else np.stack(c).reshape(*y.shape, *c[0].shape) for c in columns]


def along(forward: Callable[..., Any], case: Case, name: str) -> Function:
    """The operator's output as a function of one argument, the others fixed as in `case`."""
    return lambda value: case.with_(**{name: value}).call(forward)[0]
