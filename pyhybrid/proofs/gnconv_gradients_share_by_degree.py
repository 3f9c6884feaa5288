"""Euler's relations and exact slopes: what the hand-written backward of gnConv must give, because the forward is a polynomial."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from pyhybrid.ops import gate_chain, gn_conv
from pyhybrid.proofs import _gnconv
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._gnconv import applied, bare, coefficients, difference, gn, inner, line, slots
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def gradients(w: World) -> gn_conv.Grads:
    return gn_conv.backward(w.dy, applied(w)[1])


def loss(w: World) -> Any:
    """L = <y, dy>."""
    return inner(gn(w), w.dy)[()]


def slope(values: list[Any]) -> Any:
    """f'(0) from f(0), f(1), …, f(m) of a polynomial of degree m: Σ_k (-1)^(k-1)·Δ^k f(0)/k, log(1 + Δ) cut where Δ^k f = 0."""
    return sum((Fraction((-1) ** (k - 1), k) * difference(values, k) for k in range(1, len(values))), Fraction(0))


def parts(w: World, x: Array, P: Array, D: Array, G: list[Array], O: Array) -> list[Array]:
    """x, the rows of p_0, q_0, … in φ_in, the slots of the depthwise kernel, the g_k and φ_out, as one list."""
    rows = [P[: w.C0], *slots(w, P[w.C0 :], 0)]
    return [x, *rows, *slots(w, D, 0), *G, O]


def shares(w: World, gradients: Callable[[World], gn_conv.Grads] = gradients) -> Array:
    """<θ, dθ> for every part θ."""
    g = gradients(w)
    dG, _ = gate_chain.unpack(g.pws_weight, None, w.C0, w.order)
    mine = parts(w, w.x, w.P, w.D, list(w.G), w.O)
    assert g.proj_out_weight is not None
    theirs = parts(w, g.x, g.proj_in_weight, g.dwconv_weight, dG, g.proj_out_weight)
    return np.array([inner(a, b)[()] for a, b in zip(mine, theirs, strict=True)])


def degrees(w: World) -> list[int]:
    """How often each part enters every term of y."""
    return [w.order + 1] + [1] * (len(parts(w, w.x, w.P, w.D, list(w.G), w.O)) - 1)


def grown(w: World, which: int, t: int) -> World:
    """The same with part number `which` times t."""
    factors = [t if i == which else 1 for i in range(len(degrees(w)))]
    x, rows, rest = factors[0], factors[1 : w.order + 2], factors[w.order + 2 :]
    P = np.concatenate([f * a for f, a in zip(rows, [w.P[: w.C0], *slots(w, w.P[w.C0 :], 0)], strict=True)])
    D = np.concatenate([f * a for f, a in zip(rest, slots(w, w.D, 0), strict=False)])
    G = tuple(f * a for f, a in zip(rest[w.order :], w.G, strict=False))
    return changed(w, x=x * w.x, P=P, D=D, G=G, O=rest[-1] * w.O)


def slopes(w: World) -> Array:
    """d/dt L at t = 1 where part θ is t·θ, from the values at t = 1, 2, …."""
    return np.array([slope([loss(grown(w, which, t)) for t in range(1, degree + 2)]) for which, degree in enumerate(degrees(w))])


def bare_world(draw: Draw, **sizes: Any) -> World:
    return bare(_gnconv.world(draw, **sizes))


def half_gradients(w: World) -> gn_conv.Grads:
    """A backward in which the gates forget p: only the filtered maps get a gradient, of p_0 nothing comes back."""
    g = gradients(w)
    row = np.array(g.proj_in_weight)
    row[: w.C0] = 0
    return g._replace(proj_in_weight=row)


SIZES: tuple[dict[str, Any], ...] = (
    dict(N=2, C=2, order=1, H=2, W=2, scale=1), dict(N=1, C=4, order=2, H=2, W=2, scale=3),
    dict(N=1, C=4, order=3, H=2, W=1, kernel=(3, 1), scale=1), dict(N=1, C=8, order=4, H=1, W=2, kernel=(1, 3), scale=2))
TINY: dict[str, Any] = dict(N=1, C=2, order=2, H=1, W=2, kernel=(1, 3), scale=1)
SHARES = Step("<θ, dθ> from gn_conv.backward, θ = x, rows of φ_in, kernels, g_k, φ_out", shares)
EULER = Proof(
    name="gnconv_gradients_share_by_degree",
    title="Every part of gnConv has a share of the loss that is its degree (Euler)",
    statement="<x, dx> = (n+1)·L, and <θ, dθ> = L for the rows of φ_in of p_0 and of each q_k, each slot of kernels, each g_k, and φ_out; "
              "L = <gn_conv_0(x), dy>",
    hypotheses=("no biases",),
    domain="any n >= 1, any sizes, any dy; together: <W_in, dW_in> = (n+1)·L, and n·L for all kernels",
    source=_gnconv.SOURCE,
    world=bare_world,
    sizes=SIZES,
    small=_gnconv.SMALL[:1],
    degree=_gnconv.DEGREE + 1,
    steps=(
        SHARES,
        Step("d/dt L with t·θ in the place of θ, at t = 1", slopes,
             "<θ, dθ> is the derivative in the direction θ; the slope of a polynomial is a finite sum of differences"),
        Step("(n+1)·L for x, L for every other part", lambda w: np.array([d * loss(w) for d in degrees(w)]),
             "gnconv_has_degree_order_plus_one.homogeneous: t^(n+1) for x; .multilinear: t for what enters each term once")),
    counterexamples=(
        Counterexample("biases: some terms have fewer factors x", _gnconv.world, TINY, Step("<θ, dθ>", shares),
                       Step("degree of θ, times L", lambda w: np.array([d * loss(w) for d in degrees(w)])),
                       agrees=(("the slopes", shares, slopes),)),
        Counterexample("a backward that hands nothing to p_0", bare_world, TINY, Step("<θ, dθ>", lambda w: shares(w, half_gradients)),
                       Step("degree of θ, times L", lambda w: np.array([d * loss(w) for d in degrees(w)])),
                       agrees=(("<x, dx> does not see it", lambda w: shares(w, half_gradients)[:1], lambda w: shares(w)[:1]),)),
    ),
)


def along_v(w: World) -> list[Any]:
    """<F(x + j·v), dy>, j = 0 … n+1."""
    return [inner(y, w.dy)[()] for y in line(w, w.order + 1)]


def central(w: World) -> Array:
    """(f(1) - f(-1))/2."""
    up, down = (inner(gn(w, w.x + t * w.v), w.dy)[()] for t in (1, -1))
    return np.asarray(Fraction(1, 2) * (up - down))


def from_the_backward(w: World) -> Array:
    return inner(gradients(w).x, w.v)


SLOPE = Proof(
    name="gnconv_gradients_share_by_degree.slope",
    title="The gradient of gnConv is a finite sum of differences, without an error",
    statement="<dx, v> = Σ_(k=1)^(n+1) (-1)^(k-1)/k·Δ^k f(0), f(t) = <gn_conv(x + t·v), dy>",
    hypotheses=("f is evaluated at 0, 1, …, n+1",),
    domain="any n >= 1, any sizes, any v and dy, with biases",
    source=_gnconv.SOURCE,
    world=_gnconv.world,
    sizes=SIZES,
    small=_gnconv.SMALL[:1],
    degree=_gnconv.DEGREE + 1,
    steps=(
        Step("<gn_conv.backward(dy).x, v>", from_the_backward),
        Step("<a_1, dy>, F(x + t·v) = Σ_k a_k t^k", lambda w: inner(coefficients(w)[1], w.dy),
             "gn_conv (B1)-(B4): the derivative at t = 0"),
        Step("Σ_(k=1)^(n+1) (-1)^(k-1)/k·Δ^k f(0)", lambda w: np.asarray(slope(along_v(w))),
             "d/dt = log(1 + Δ), and Δ^(n+2) f = 0 ends the series (gnconv_has_degree_order_plus_one.vanishes)")),
    counterexamples=(
        Counterexample("the central difference with step 1: it errs by the terms of degree 3, 5, …", _gnconv.world, SIZES[1],
                       Step("<dx, v>", from_the_backward), Step("(f(1) - f(-1))/2", central),
                       agrees=(("order 1, of degree 2", lambda w: from_the_backward(first(w)), lambda w: central(first(w))),)),
        Counterexample("the series one term too short", _gnconv.world, SIZES[1], Step("<dx, v>", from_the_backward),
                       Step("Σ_(k=1)^n (-1)^(k-1)/k·Δ^k f(0)", lambda w: np.asarray(slope(along_v(w)[:-1])))),
    ),
)


def first(w: World) -> World:
    """The same maps through the first half of the weights, at order 1."""
    C = w.x.shape[1]
    return changed(w, order=1, C0=C, D=w.D[-C:], bD=w.bD[-C:], G=(), bG=())


PROOFS = (EULER, SLOPE)
