"""Modulation with a linear branch has degree two in its input: factors come out squared, and third differences vanish."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np

from pyhybrid.ops import batch_norm, gelu, mixed_conv, modulation, pointwise_conv
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Sum
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "SMT, arXiv 2307.08579, eqs. (5)-(6)"


def world(draw: Draw, *, N: int, M: int, sizes: tuple[int, ...], H: int, W: int, factor: int = -3) -> World:
    """The value is V·x; the branch is a mixed convolution of x, its channels in order: without batch norm and GELU it is linear."""
    C = M * len(sizes)
    return World(x=draw("x", N, C, H, W), h=draw("h", N, C, H, W), V=draw("V", C, C, 1, 1), K=draw("K", M, sum(k * k for k in sizes)),
                 c=draw("c", C), b=draw("b", C), sizes=sizes, factor=factor)


def value(w: World, x: Array, bias: Array | None = None) -> Array:
    return modulation.tokens(pointwise_conv.forward(x, w.V, bias)[0])


def branch(w: World, x: Array, bias: Array | None = None) -> Array:
    return mixed_conv.forward(x, w.K, bias, kernel_sizes=w.sizes)[0]


def product(v: Array, modulator: Array) -> Array:
    return modulation.forward(np.ascontiguousarray(v), modulator)[0]


def modulated(w: World, x: Array) -> Array:
    return product(value(w, x), branch(w, x))


def with_biases(w: World, x: Array) -> Array:
    return product(value(w, x, w.b), branch(w, x, w.c))


def with_gelu(w: World, x: Array) -> Array:
    return product(value(w, x), gelu.forward(branch(w, x))[0])


def normed(w: World, x: Array) -> Array:
    """Batch norm in training mode behind the branch: by the statistics of x."""
    ones = np.ones(x.shape[1])
    return product(value(w, x), batch_norm.forward(branch(w, x), ones, 0 * ones, eps=1e-30)[0])


def difference(f: Callable[[World, Array], Array], w: World, order: int) -> Array:
    """Δ_h^order f at x: Σ_n (-1)^(order-n)·binomial(order, n)·f(x + n·h)."""
    return Sum((-1) ** (order - n) * comb(order, n) * f(w, w.x + n * w.h) for n in range(order + 1))


def mixed_terms(w: World) -> Array:
    """V h ⊙ M x + V x ⊙ M h, the part that is linear in h."""
    return product(value(w, w.h), branch(w, w.x)) + product(value(w, w.x), branch(w, w.h))


def expanded(w: World) -> Array:
    f, B, g = modulated(w, w.x), mixed_terms(w), modulated(w, w.h)
    return Sum((-1) ** (3 - n) * comb(3, n) * (f + n * B + n * n * g) for n in range(4))


def coarse(w: World) -> float:
    return float(1e-9 * (1 + np.abs(w.factor * normed(w, w.x)).max()))


SIZES = (dict(N=1, M=2, sizes=(1, 3), H=3, W=2), dict(N=2, M=1, sizes=(3, 5), H=2, W=4),
         dict(N=1, M=1, sizes=(1, 3, 3), H=2, W=2, factor=2))
SMALL = (dict(N=1, M=1, sizes=(1, 3), H=1, W=2),)
OUTSIDE = dict(N=1, M=1, sizes=(1, 3), H=2, W=3, factor=3)
HYPOTHESES = ("the branch is linear: no batch norm of the batch, no GELU", "neither value nor branch has a bias")
DOMAIN = "any sizes; any linear branch does: this one is a mixed convolution"

HOMOGENEOUS = Proof(
    name="modulation_is_of_degree_two",
    title="With a linear branch, modulation takes out factors squared",
    statement="f(a·x) = a²·f(x), f(x) = modulation(V·x, mixed_conv(x, K)); with a = -1: f(-x) = f(x)",
    hypotheses=HYPOTHESES,
    domain=DOMAIN + ", any number a",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=4,
    steps=(
        Step("modulation(V·(a·x), mixed_conv(a·x, K))", lambda w: modulated(w, w.factor * w.x)),
        Step("modulation(a·(V·x), a·mixed_conv(x, K))", lambda w: product(w.factor * value(w, w.x), w.factor * branch(w, w.x)),
             "both are linear in x"),
        Step("a²·modulation(V·x, mixed_conv(x, K))", lambda w: w.factor**2 * modulated(w, w.x), "modulation (F2) is a product")),
    counterexamples=(
        Counterexample("biases in value and branch, as all published models have them", world, OUTSIDE,
                       Step("f(3x)", lambda w: with_biases(w, 3 * w.x)), Step("9·f(x)", lambda w: 9 * with_biases(w, w.x))),
        Counterexample("batch norm of the batch behind the branch, which forgets the size of x: then f(a·x) = |a|·f(x)", world, OUTSIDE,
                       Step("f(3x)", lambda w: normed(w, 3 * w.x)), Step("9·f(x)", lambda w: 9 * normed(w, w.x)), bound=coarse,
                       agrees=(("3·f(x), eps aside", lambda w: normed(w, 3 * w.x), lambda w: 3 * normed(w, w.x)),
                               ("f(-x) = f(x), as before", lambda w: normed(w, -w.x), lambda w: normed(w, w.x)))),
        Counterexample("a GELU behind the branch", world, OUTSIDE, Step("f(-x)", lambda w: with_gelu(w, -w.x)),
                       Step("f(x)", lambda w: with_gelu(w, w.x))),
    ),
)

THIRD = Proof(
    name="modulation_is_of_degree_two.differences",
    title="With a linear branch, the third differences of modulation vanish in every direction",
    statement="f(x+3h) - 3·f(x+2h) + 3·f(x+h) - f(x) = 0 for all x and h, f(x) = modulation(V·x, mixed_conv(x, K))",
    hypotheses=HYPOTHESES[:1],
    domain=DOMAIN + "; a bias is no harm",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=4,
    steps=(
        Step("f(x+3h) - 3·f(x+2h) + 3·f(x+h) - f(x)", lambda w: difference(modulated, w, 3)),
        Step("Σ_n (-1)^(3-n)·binomial(3, n)·(f(x) + n·B(x, h) + n²·f(h))", expanded,
             "both factors are linear: f(x + n·h) = f(x) + n·B + n²·f(h), B = Vh ⊙ Mx + Vx ⊙ Mh"),
        Step("0", lambda w: 0 * modulated(w, w.x), "-1 + 3 - 3 + 1 = 0, 3 - 6 + 3 = 0 and 3 - 12 + 9 = 0")),
    counterexamples=(
        Counterexample("the second difference: it is what a map of degree two leaves", world, OUTSIDE,
                       Step("f(x+2h) - 2·f(x+h) + f(x)", lambda w: difference(modulated, w, 2)),
                       Step("0", lambda w: 0 * modulated(w, w.x)),
                       agrees=(("2·f(h)", lambda w: difference(modulated, w, 2), lambda w: 2 * modulated(w, w.h)),
                               ("the third difference, with biases", lambda w: difference(with_biases, w, 3),
                                lambda w: 0 * modulated(w, w.x)))),
        Counterexample("a GELU behind the branch", world, OUTSIDE, Step("Δ³f", lambda w: difference(with_gelu, w, 3)),
                       Step("0", lambda w: 0 * modulated(w, w.x)), bound=lambda w: 1e-6),
    ),
)

PROOFS = (HOMOGENEOUS, THIRD)
