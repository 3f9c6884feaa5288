"""Cases by family of operators: every family is one module with CASES, a generator per operator, and CORNERS, its awkward draws."""

from pyhybrid.check.draws import acmix, activation, attention, coatnet, convolution, das, hornet, normalisation, pooling, smt
from pyhybrid.check.draws._draw import REGIMES, Draw, Pins, Source, Values

__all__ = ["FAMILIES", "REGIMES", "Draw", "Pins", "Source", "Values"]

FAMILIES = (acmix, activation, attention, coatnet, convolution, das, hornet, normalisation, pooling, smt)
