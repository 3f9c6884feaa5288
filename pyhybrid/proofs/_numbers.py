"""Numbers with an exact exponential: a logit is kept as the logarithm of a positive number that is known exactly.

With x = log r the softmax is r / Σ r, a rational function of r. So the real operators, run on object arrays of `Log`, can be compared
with `==` on fractions and simplified by sympy, although they call exp and log: NumPy calls the methods `exp` and `log` of the objects.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

__all__ = ["Log", "Number", "plain"]


def plain(value: Any) -> Any:
    """What stands inside a `Number` or `Log`; anything else unchanged."""
    return value.value if isinstance(value, Number | Log) else value


def _factor(value: Any) -> Any:
    """A number to calculate with; a float as the fraction that it is, so that nothing is rounded."""
    return Fraction(value) if isinstance(value, float) else plain(value)


class Number:
    """An exact number (a fraction or a sympy expression) that has a logarithm."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def log(self) -> Log:
        return Log(self.value)

    def __add__(self, other: Any) -> Number: return Number(self.value + _factor(other))
    def __sub__(self, other: Any) -> Number: return Number(self.value - _factor(other))
    def __rsub__(self, other: Any) -> Number: return Number(_factor(other) - self.value)
    def __mul__(self, other: Any) -> Number: return Number(self.value * _factor(other))
    def __truediv__(self, other: Any) -> Number: return Number(self.value / _factor(other))
    __radd__, __rmul__ = __add__, __mul__


class Log:
    """log r for a positive r: sums multiply r, factors raise it to a power, exp gives it back."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def exp(self) -> Number:
        return Number(self.value)

    def __neg__(self) -> Log: return Log(1 / self.value)
    def __add__(self, other: Any) -> Log: return Log(self.value * _argument(other))
    def __sub__(self, other: Any) -> Log: return Log(self.value / _argument(other))
    def __rsub__(self, other: Any) -> Log: return Log(_argument(other) / self.value)
    def __mul__(self, factor: Any) -> Log: return Log(self.value ** _exponent(factor))
    __radd__, __rmul__ = __add__, __mul__

    # The operators take the largest logit out. Symbols have no order; any will do, since which logit is taken out must not matter.
    def __ge__(self, other: Any) -> bool: return _order(self) >= _order(other)
    def __gt__(self, other: Any) -> bool: return _order(self) > _order(other)
    def __le__(self, other: Any) -> bool: return _order(self) <= _order(other)
    def __lt__(self, other: Any) -> bool: return _order(self) < _order(other)


def _argument(term: Any) -> Any:
    """r of a term log r; the number 0 is log 1."""
    if isinstance(term, Log):
        return term.value
    if term == 0:
        return Fraction(1)
    raise TypeError(f"only logarithms can be added to a logarithm; got {term!r}")


def _exponent(factor: Any) -> Any:
    number = _factor(factor)
    if isinstance(number, Fraction):
        if number.denominator != 1:
            raise TypeError(f"a power with the fraction {number} as exponent is not rational")
        return number.numerator
    return number


def _order(term: Any) -> Any:
    value = _argument(term)
    return value if isinstance(value, Fraction) else str(value)
