"""What gnConv costs: its multiply-adds in closed form, and what they stay below for every order."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from pyhybrid.counting import placeholder
from pyhybrid.ops import gate_chain, gn_conv
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, *, C: int, n: int, K: int = 7, H: int = 14, W: int = 14) -> World:
    return World(C=C, n=n, K=K, H=H, W=W, widths=[C // 2 ** (n - 1 - k) for k in range(n)])


def exactly(value: Any) -> Array:
    return np.array(value, object)


def counted(w: World) -> Array:
    """What the operator says of arrays of these shapes, which take no memory."""
    C0, shapes = w.widths[0], gate_chain.projections(w.widths[0], w.n)
    sizes = [(1, w.C, w.H, w.W), (2 * w.C, w.C, 1, 1), (2 * w.C - C0, 1, w.K, w.K), (sum(map(prod, shapes)),), (w.C, w.C, 1, 1)]
    return exactly(gn_conv.macs(*map(placeholder, sizes), order=w.n).total)


def terms(w: World, widths: list[int] | None = None) -> Array:
    """HW·(2C² + K²·Σ C_k + Σ C_k + Σ C_(k-1)·C_k + C²)."""
    widths = w.widths if widths is None else widths
    q, steps = sum(widths), sum(a * b for a, b in pairwise(widths))
    return exactly(w.H * w.W * (2 * w.C**2 + w.K**2 * q + q + steps + w.C**2))


def closed(w: World) -> Array:
    q, g = 1 - Fraction(1, 2**w.n), Fraction(2, 3) * Fraction(1, 4 ** (w.n - 1))
    return exactly(w.H * w.W * w.C * (2 * w.K**2 * q + (Fraction(11, 3) - g) * w.C + 2 * q))


def bound(w: World) -> Array:
    return exactly(w.H * w.W * w.C * (2 * w.K**2 + Fraction(11, 3) * w.C + 2))


def rest(w: World) -> Array:
    """HWC·(2K²/2^n + (2/3)·4^(1-n)·C + 2/2^n): three positive numbers."""
    pieces = (Fraction(2 * w.K**2, 2**w.n), Fraction(2, 3) * Fraction(w.C, 4 ** (w.n - 1)), Fraction(2, 2**w.n))
    return exactly(w.H * w.W * w.C * sum(abs(piece) for piece in pieces))


def as_wide_as_the_last(w: World) -> list[int]:
    return [w.C] * w.n


SIZES: tuple[dict[str, Any], ...] = (dict(C=64, n=2), dict(C=128, n=3), dict(C=256, n=4), dict(C=512, n=5), dict(C=1, n=1, K=1, H=1, W=1),
                                     dict(C=96, n=1), dict(C=6, n=2, K=3, H=5, W=2), dict(C=2**20, n=21, K=11, H=56, W=56))
FORMULA = Proof(
    name="gnconv_costs_less_than_a_bound_for_every_order",
    title="The multiply-adds of gnConv in closed form",
    statement="multiply-adds = HWC·[2K²·(1 - 2^-n) + (11/3 - (2/3)·4^(1-n))·C + 2 - 2^(1-n)]",
    hypotheses=("C_k = C/2^(n-1-k)", "as many channels out as in", "biases and the scale are not counted"),
    domain="any n >= 1, any C that 2^(n-1) divides, any map and odd K",
    source="HorNet, arXiv 2207.14284, complexity of gnConv; the form is derived here from the definition",
    world=world,
    sizes=SIZES,
    small=(),
    steps=(
        Step("gn_conv.macs", counted),
        Step("HW·[2C² + (K² + 1)·Σ_k C_k + Σ_(k>=1) C_(k-1)·C_k + C²]", terms,
             "φ_in; K² products per filtered value and one for its gate; the g_k; φ_out"),
        Step("HWC·[2K²·(1 - 2^-n) + (11/3 - (2/3)·4^(1-n))·C + 2 - 2^(1-n)]", closed,
             "Σ C_k = 2C·(1 - 2^-n) and Σ C_(k-1)·C_k = (2/3)·C²·(1 - 4^(1-n)): geometric series")),
    counterexamples=(
        Counterexample("all widths C: then every further gate costs C² + (K² + 1)·C more", world, dict(C=64, n=3),
                       Step("the sum with C_k = C", lambda w: terms(w, as_wide_as_the_last(w))), Step("the closed form", closed),
                       agrees=(("n = 1, where there is one width", lambda w: terms(one(w), [w.C]), lambda w: closed(one(w))),)),
    ),
)


def one(w: World) -> World:
    return changed(w, n=1, widths=[w.C])


BOUND = Proof(
    name="gnconv_costs_less_than_a_bound_for_every_order.bound",
    title="Whatever the order, gnConv costs less than HWC·(2K² + (11/3)·C + 2)",
    statement="HWC·(2K² + (11/3)·C + 2) - multiply-adds = HWC·[2K²/2^n + (2/3)·4^(1-n)·C + 2/2^n] > 0, and tends to 0",
    hypotheses=FORMULA.hypotheses,
    domain=FORMULA.domain,
    source=FORMULA.source,
    world=world,
    sizes=SIZES,
    small=(),
    steps=(
        Step("HWC·(2K² + (11/3)·C + 2) - gn_conv.macs", lambda w: bound(w) - counted(w)),
        Step("HWC·(2K² + (11/3)·C + 2) - HWC·[2K²·(1 - 2^-n) + …]", lambda w: bound(w) - closed(w),
             "gnconv_costs_less_than_a_bound_for_every_order"),
        Step("HWC·(|2K²/2^n| + |(2/3)·4^(1-n)·C| + |2/2^n|)", rest,
             "what is left is three positive terms, and each more gate at least halves them")),
    counterexamples=(
        Counterexample("all widths C: no bound holds for all n", world, dict(C=64, n=6),
                       Step("the smaller of cost and bound", lambda w: exactly(min(terms(w, as_wide_as_the_last(w))[()], bound(w)[()]))),
                       Step("the cost with C_k = C", lambda w: terms(w, as_wide_as_the_last(w))),
                       agrees=(("with halved widths", lambda w: exactly(min(terms(w)[()], bound(w)[()])), terms),)),
    ),
)

PROOFS = (FORMULA, BOUND)
