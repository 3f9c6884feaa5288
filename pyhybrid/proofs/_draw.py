"""Where a proof's arrays come from: integers in float64, integers of any length, fractions, or symbols.

`draw("x", 2, 3)` is for polynomial statements. Statements with a softmax use `draw.log` for what is exponentiated, `draw.exponent` for what
multiplies it, and `draw.real` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.proofs._numbers import Log

__all__ = ["KINDS", "Draw", "World", "changed", "sympy"]

Array = np.ndarray
KINDS = ("integers", "largest", "wholes", "fractions", "symbols")
DENOMINATOR = 12


class World(SimpleNamespace):
    """The arrays and sizes that a proof speaks of, by name."""


def changed(w: World, /, **others: Any) -> World:
    """The same world with some of its arrays or sizes replaced, or with more of them."""
    return World(**vars(w) | others)


def sympy() -> Any:
    """The module sympy; `UsageError` says how to install it if it is absent."""
    try:
        import sympy
    except ImportError:
        message = "symbolic proofs need sympy, which is not installed: pip install 'pyhybrid[symbolic]'"
        raise UsageError(message) from None
    return sympy


class Draw:
    """One way of filling the arrays of a `World`. Integers and numerators come from the 2·limit + 1 values -limit … limit.

    Kind "integers" is in float64, kind "wholes" are Python's integers. Kind "largest" puts `limit` everywhere: with it, an expression
    without subtractions takes the largest value it can take.
    """

    def __init__(self, kind: str, seed: list[int], limit: int) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}; got {kind!r}")
        self.kind, self.limit = kind, limit
        self.random = np.random.default_rng(seed)

    @property
    def exact(self) -> bool:
        """Whether the entries are objects, so that not even rounding stands between two expressions."""
        return self.kind in ("wholes", "fractions", "symbols")

    def __call__(self, name: str, *shape: int) -> Array:
        """An array of this shape, every entry drawn from the same number of values."""
        if self.kind == "largest":
            return _frozen(np.full(shape, float(self.limit)))
        if self.kind == "integers":
            return _frozen(self._integers(shape, -self.limit).astype(np.float64))
        if self.kind == "wholes":
            return _objects(shape, self._integers(shape, -self.limit).ravel().tolist())
        if self.kind == "fractions":
            parts = zip(self._integers(shape, -self.limit).flat, self._denominators(shape), strict=True)
            return _objects(shape, [Fraction(int(p), q) for p, q in parts])
        return self._symbols(name, shape, real=True)

    def real(self, name: str, *shape: int, spread: float = 1.0) -> Array:
        """Normally distributed numbers; exactly: as `draw(...)`."""
        return self(name, *shape) if self.exact else _frozen(spread * self.random.standard_normal(shape))

    def exponent(self, name: str, *shape: int, spread: float = 1.0) -> Array:
        """What logits are multiplied by: as `real`, but of the fractions only whole numbers, for 2^(1/2) is not one."""
        if self.kind == "fractions":
            return _objects(shape, [Fraction(int(n)) for n in self.random.integers(-3, 4, shape).flat])
        return self.real(name, *shape, spread=spread)

    def log(self, name: str, *shape: int, spread: float = 1.0) -> Array:
        """Logits; exactly: logarithms of positive fractions or symbols."""
        if not self.exact:
            return self.real(name, *shape, spread=spread)
        if self.kind == "symbols":
            return _objects(shape, [Log(r) for r in self._symbols(name, shape, positive=True).flat])
        parts = zip(self._integers(shape, 1).flat, self._denominators(shape), strict=True)
        return _objects(shape, [Log(Fraction(int(p), q)) for p, q in parts])

    def zeros(self, *shape: int) -> Array:
        return _frozen(np.zeros(shape, object if self.exact else np.float64))

    def _integers(self, shape: tuple[int, ...], lowest: int) -> Array:
        return self.random.integers(lowest, self.limit, shape, endpoint=True)

    def _denominators(self, shape: tuple[int, ...]) -> list[int]:
        return [int(q) for q in self.random.integers(1, DENOMINATOR, shape, endpoint=True).flat]

    def _symbols(self, name: str, shape: tuple[int, ...], **assumptions: bool) -> Array:
        make: Callable[..., Any] = sympy().Symbol
        return _objects(shape, [make("_".join([name, *map(str, i)]), **assumptions) for i in np.ndindex(shape)])


def _objects(shape: tuple[int, ...], entries: list[Any]) -> Array:
    array = np.empty(shape, object)
    array.reshape(-1)[:] = entries
    return _frozen(array)


def _frozen(array: Array) -> Array:
    array.flags.writeable = False  # every expression of a chain sees the same arrays
    return array
