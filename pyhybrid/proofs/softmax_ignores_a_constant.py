"""Softmax ignores a constant added to all logits.

Bound. Let u = 2^-52. Logits that are off by δ change each weight by the factor exp(±2δ) at most, and a sum or difference of logits up to
L is off by δ <= 2·L·u; exp, the sum of n terms and the quotient are off by (n + 8)·u together. No weight exceeds 1, so each side of a step
is off by at most (n + 8)·u + 2δ.
"""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import softmax
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (10)-(15)"


def world(draw: Draw, *, shape: tuple[int, int], spread: float = 1.0) -> World:
    x, c, other = draw.log("x", *shape, spread=spread), draw.log("c", shape[0], 1, spread=spread), draw.log("k", *shape)
    return World(x=x, c=c, other=other)


def Softmax(x: Array) -> Array:
    return softmax.forward(x)[0]


def normalised(e: Array) -> Array:
    """e / Σ e over the last axis."""
    return e / e.sum(-1, keepdims=True)


def top(x: Array) -> Array:
    """max x over the last axis."""
    return x.max(-1, keepdims=True)


def weight_bound(w: World) -> float:
    """2·((n + 8)·u + 2δ) with δ = 2·L·u, L the largest logit that occurs: both sides of a step are off by half of it."""
    largest = float(np.abs(w.x).max() + np.abs(w.c).max())
    return 2 * EPS * (w.x.shape[-1] + 8 + 4 * largest)


WEIGHT_BOUND = "2u·(n + 8 + 4·(max|x| + max|c|)), u = 2^-52"
OFFICIAL = Step("softmax(x)", lambda w: Softmax(w.x), "softmax (F1), (F2)", weight_bound, WEIGHT_BOUND)

DEFINITION = Proof(
    name="softmax_ignores_a_constant.definition",
    title="The softmax that subtracts the maximum is the softmax",
    statement="exp(x_m) / Σ_l exp(x_l) = exp(x_m - M) / Σ_l exp(x_l - M), M = max x",
    hypotheses=("exp(x) does not overflow: in float64 x < 709",),
    domain="any number of logits, |x| < 300 in the check",
    source=SOURCE,
    world=world,
    sizes=(dict(shape=(50, 9)), dict(shape=(50, 49), spread=30.0), dict(shape=(5, 1))),
    small=(dict(shape=(2, 3)), dict(shape=(1, 1))),
    steps=(
        Step("exp(x) / Σ exp(x)", lambda w: normalised(np.exp(w.x))),
        Step("exp(x)·exp(-M) / Σ exp(x)·exp(-M)", lambda w: normalised(np.exp(w.x) * np.exp(-top(w.x))),
             "numerator and denominator times the same number exp(-M) > 0", weight_bound, WEIGHT_BOUND),
        Step("exp(x - M) / Σ exp(x - M)", lambda w: normalised(np.exp(w.x - top(w.x))),
             "exp(a)·exp(b) = exp(a + b)", weight_bound, WEIGHT_BOUND),
        OFFICIAL),
    counterexamples=(
        Counterexample("logits in the thousands: without the maximum taken out, exp overflows", world,
                       dict(shape=(4, 9), spread=5000.0),
                       Step("exp(x) / Σ exp(x)", lambda w: normalised(np.exp(w.x))),
                       Step("softmax(x)", lambda w: Softmax(w.x)), bound=weight_bound,
                       agrees=(("softmax(x) still sums to 1", lambda w: Softmax(w.x).sum(-1), lambda w: np.ones(len(w.x))),)),
    ),
)

CONSTANT = Proof(
    name="softmax_ignores_a_constant",
    title="Softmax ignores a constant added to all logits",
    statement="softmax(x + c) = softmax(x) for every constant c, one per row",
    hypotheses=("c is the same for all logits of a row",),
    domain="any number of logits of any finite size (1e6 in the check); the rounding of x + c is felt: see the bound",
    source=SOURCE,
    world=world,
    sizes=(dict(shape=(50, 9)), dict(shape=(50, 49), spread=1e3), dict(shape=(50, 9), spread=1e6), dict(shape=(5, 1), spread=10.0)),
    small=(dict(shape=(2, 3)), dict(shape=(1, 1))),
    steps=(
        Step("softmax(x + c)", lambda w: Softmax(w.x + w.c)),
        Step("exp(x + c - max(x + c)) / Σ exp(x + c - max(x + c))",
             lambda w: normalised(np.exp(w.x + w.c - top(w.x + w.c))), "softmax (F1), (F2)", weight_bound, WEIGHT_BOUND),
        Step("exp(x - max x) / Σ exp(x - max x)", lambda w: normalised(np.exp(w.x - top(w.x))),
             "max(x + c) = max x + c, so c cancels in the exponent", weight_bound, WEIGHT_BOUND),
        OFFICIAL),
    counterexamples=(
        Counterexample("a term that differs from logit to logit", world, dict(shape=(3, 9)),
                       Step("softmax(x + c_m)", lambda w: Softmax(w.x + w.other)), Step("softmax(x)", lambda w: Softmax(w.x)),
                       bound=weight_bound),
        Counterexample("a factor instead of a term: softmax(2x) is sharper", world, dict(shape=(3, 9)),
                       Step("softmax(2·x)", lambda w: Softmax(2 * w.x)), Step("softmax(x)", lambda w: Softmax(w.x)),
                       bound=weight_bound),
    ),
)

PROOFS = (CONSTANT, DEFINITION)
