"""gnConv of order n is a polynomial of degree n+1 in its input, exactly; its part of that degree is gnConv without biases."""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from pyhybrid.ops import gate_chain, layer_norm
from pyhybrid.proofs import _gnconv
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._gnconv import (
    along,
    bare,
    chain,
    changed,
    coefficients,
    difference,
    filtered,
    floats,
    gn,
    gn_bare,
    plus,
    recursion,
    start,
    top,
)
from pyhybrid.proofs._notation import Array, Sum, times
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def by_coefficients(w: World) -> Array:
    """Σ_k a_k·Δ^(n+1) t^k, the differences of 0^k, 1^k, …."""
    m = w.order + 1
    return Sum(a * difference([j**k for j in range(m + 1)], m) for k, a in enumerate(coefficients(w)))


def with_norms(w: World, x: Array) -> Array:
    """As in the official models with global filters: layer norms before and after the filter, here a depthwise convolution."""
    p, q = start(w, x)
    f = np.concatenate(filtered(w, layer_norm.forward(q, axis=1, eps=1e-6)[0], w.bD), axis=1)
    return plus(times(w.O, chain(w, p, _gnconv.slots(w, layer_norm.forward(f, axis=1, eps=1e-6)[0]))), w.bO)


def float_world(draw: Draw, **sizes: Any) -> World:
    return floats(_gnconv.world(draw, **sizes))


def a_millionth(w: World) -> float:
    return 1e-6 * float(np.abs(with_norms(w, w.x)).max())


DIFFERENCE = Step("Δ^(n+1) gn_conv", lambda w: along(w, w.order + 1))
DEGREE = Proof(
    name="gnconv_has_degree_order_plus_one",
    title="gnConv of order n is a polynomial of degree n+1",
    statement="Δ^(n+1) gn_conv = (n+1)!·gn_conv_0(v): along a line this difference is one constant, whatever x and the biases",
    hypotheses=("every f_k and g_k is linear, or linear and a bias",),
    domain="any n >= 1, any C that 2^(n-1) divides, any map, odd kernel, scale; v any direction, Δ its differences at x, x+v, x+2v, …",
    source=_gnconv.SOURCE,
    world=_gnconv.world,
    sizes=_gnconv.ORDERS,
    small=_gnconv.SMALL[:1],
    degree=_gnconv.DEGREE,
    steps=(
        DIFFERENCE,
        Step("Σ_j (-1)^(n+1-j) binom(n+1, j) φ_out(p_n(x + j·v))", lambda w: along(w, w.order + 1, recursion),
             "gn_conv (F1)-(F4), gate_chain (F1)-(F3)"),
        Step("Σ_k a_k·Δ^(n+1) t^k, F(x + t·v) = Σ_(k <= n+1) a_k t^k", by_coefficients,
             "p_0 and the n filtered maps are of degree 1 in t, and each of the n+1 enters the product once"),
        Step("(n+1)!·a_(n+1)", lambda w: factorial(w.order + 1) * coefficients(w)[-1],
             "each difference lowers the degree of t^k by one: Δ^m t^k = 0 for k < m, and Δ^m t^m = m!"),
        Step("(n+1)!·gn_conv_0(v)", top, "a_(n+1) takes the part in t of every factor, where no bias stands: it is F_0 at v")),
    counterexamples=(
        Counterexample("a lower degree: the difference of order n+1 does not vanish", _gnconv.world, _gnconv.OUTSIDE, DIFFERENCE,
                       Step("0", lambda w: 0 * w.x)),
        Counterexample("the same order of difference for the degree n, as the order is called in the paper", _gnconv.world, _gnconv.OUTSIDE,
                       Step("Δ^n gn_conv", lambda w: along(w, w.order)),
                       Step("n!·gn_conv_0(v)", lambda w: factorial(w.order) * gn_bare(w, w.v)),
                       agrees=(("its own difference, at x and x+v, is the statement",
                                lambda w: along(changed(w, x=w.x + w.v), w.order) - along(w, w.order), top),)),
    ),
)

VANISHES = Proof(
    name="gnconv_has_degree_order_plus_one.vanishes",
    title="The difference of order n+2 of gnConv is 0",
    statement="Δ^(n+2) gn_conv = 0 along every line",
    hypotheses=("every f_k and g_k is linear, or linear and a bias",),
    domain=DEGREE.domain,
    source=_gnconv.SOURCE,
    world=_gnconv.world,
    sizes=_gnconv.ORDERS,
    small=_gnconv.SMALL,
    degree=_gnconv.DEGREE,
    steps=(
        Step("Δ^(n+2) gn_conv", lambda w: along(w, w.order + 2)),
        Step("Δ^(n+1) gn_conv at x+v, less the same at x",
             lambda w: along(changed(w, x=w.x + w.v), w.order + 1) - along(w, w.order + 1), "Pascal's rule for the binomials"),
        Step("(n+1)!·gn_conv_0(v) - (n+1)!·gn_conv_0(v)", lambda w: top(w) - top(w), "gnconv_has_degree_order_plus_one: no x in it"),
        Step("0", lambda w: 0 * w.x, "a - a = 0")),
    counterexamples=(
        Counterexample("layer norms in the filter, as in the official models with global filters: no polynomial", float_world,
                       _gnconv.OUTSIDE, Step("Δ^(n+2)", lambda w: along(w, w.order + 2, with_norms)),
                       Step("0", lambda w: 0 * w.x), bound=a_millionth),
        Counterexample("the difference one order lower", _gnconv.world, _gnconv.OUTSIDE, DIFFERENCE, Step("0", lambda w: 0 * w.x)),
    ),
)


def scaled_parts(w: World) -> Array:
    """φ_out(t^(n+1)·p_n): p_0 and each of the n maps gave one t."""
    p, q = start(w, w.x)
    return times(w.O, w.t ** (w.order + 1) * chain(w, p, filtered(w, q)))


HOMOGENEOUS = Proof(
    name="gnconv_has_degree_order_plus_one.homogeneous",
    title="Without biases gnConv is homogeneous of degree n+1",
    statement="gn_conv_0(t·x) = t^(n+1)·gn_conv_0(x)",
    hypotheses=("no biases", "every f_k and g_k is linear"),
    domain="any n >= 1, any sizes, any number t",
    source=_gnconv.SOURCE,
    world=lambda draw, **sizes: bare(_gnconv.world(draw, **sizes)),
    sizes=_gnconv.ORDERS,
    small=_gnconv.SMALL,
    degree=_gnconv.DEGREE + 6,
    steps=(
        Step("gn_conv_0(t·x)", lambda w: gn(w, w.t * w.x)),
        Step("φ_out of p_(k+1) = s·f_k(t·q_k)·g_k(p_k), p_0 = t·p_0(x)", lambda w: recursion(w, w.t * w.x), "gn_conv (F1)-(F4)"),
        Step("φ_out(t^(n+1)·p_n)", scaled_parts, "p_k(t·x) = t^(k+1)·p_k(x): true for p_0, and every gate multiplies by one more t"),
        Step("t^(n+1)·gn_conv_0(x)", lambda w: w.t ** (w.order + 1) * gn(w), "φ_out is linear")),
    counterexamples=(
        Counterexample("biases: lower powers of t appear", _gnconv.world, _gnconv.OUTSIDE, Step("gn_conv(t·x)", lambda w: gn(w, w.t * w.x)),
                       Step("t^(n+1)·gn_conv(x)", lambda w: w.t ** (w.order + 1) * gn(w)),
                       agrees=(("without them", lambda w: gn_bare(w, w.t * w.x), lambda w: w.t ** (w.order + 1) * gn_bare(w)),)),
        Counterexample("layer norms around the filter: the gates do not see t, and the degree is 1 for every n",
                       lambda draw, **sizes: bare(float_world(draw, **sizes)), _gnconv.OUTSIDE,
                       Step("F(2x)", lambda w: with_norms(w, 2 * w.x)),
                       Step("2^(n+1)·F(x)", lambda w: 2 ** (w.order + 1) * with_norms(w, w.x)), bound=a_millionth,
                       agrees=(("2·F(x)", lambda w: with_norms(w, 2 * w.x), lambda w: 2 * with_norms(w, w.x)),)),
    ),
)


def slot_world(draw: Draw, *, slot: int, **sizes: Any) -> World:
    """The parts of a chain: p_0 (slot -1) or q_slot is a·r + b·r'."""
    w = bare(_gnconv.world(draw, **sizes))
    p, q = start(w, w.x)
    chosen = p if slot < 0 else _gnconv.slots(w, q)[slot]
    return changed(w, slot=slot, a=w.t, b=draw("b", 1)[0], p=p, q=q, r=draw("r", *chosen.shape), r2=draw("r2", *chosen.shape),
                   bias=tuple(draw(f"bias{k}", len(G)) for k, G in enumerate(w.G)))


def biased_slot_world(draw: Draw, **sizes: Any) -> World:
    w = slot_world(draw, **sizes)
    return changed(w, bG=w.bias)


def put(w: World, part: Array) -> tuple[Array, Array]:
    """p_0 and q with `part` in the chosen slot."""
    if w.slot < 0:
        return part, w.q
    qs = _gnconv.slots(w, w.q)
    return w.p, np.concatenate([*qs[: w.slot], part, *qs[w.slot + 1 :]], axis=1)


def chained(w: World, part: Array) -> Array:
    """The operator gate_chain on the filtered maps."""
    p, q = put(w, part)
    weight, bias = gate_chain.pack(w.G, w.bG)
    return gate_chain.forward(np.ascontiguousarray(p), np.concatenate(filtered(w, q), axis=1), weight, bias, order=w.order,
                              scale=w.scale)[0]


def mixed_factor(w: World) -> Array:
    """The chain with the factor a·f(r) + b·f(r') written in the chosen slot."""
    (p, q), (p2, q2) = put(w, w.r), put(w, w.r2)
    fs, fs2 = filtered(w, q), filtered(w, q2)
    if w.slot < 0:
        return chain(w, w.a * p + w.b * p2, fs)
    fs[w.slot] = w.a * fs[w.slot] + w.b * fs2[w.slot]
    return chain(w, p, fs)


MIXED = Step("p_n(…, a·r + b·r', …)", lambda w: chained(w, w.a * w.r + w.b * w.r2))
SPLIT = Step("a·p_n(…, r, …) + b·p_n(…, r', …)", lambda w: w.a * chained(w, w.r) + w.b * chained(w, w.r2))
OUTSIDE_SLOT: dict[str, Any] = dict(N=1, C=4, order=2, H=2, W=3, slot=-1, scale=1)


def doubled(w: World) -> Array:
    """p_n with p_0 and every q_k doubled."""
    return chained(changed(w, q=2 * w.q), 2 * w.r)


MULTILINEAR = Proof(
    name="gnconv_has_degree_order_plus_one.multilinear",
    title="The product of the gates is linear in p_0 and in each q_k",
    statement="p_n(…, a·r + b·r', …) = a·p_n(…, r, …) + b·p_n(…, r', …) for p_0 and for every q_k: together p_n is of degree n+1",
    hypotheses=("the f_k and g_k have no biases", "the other slots are held fixed"),
    domain="any n >= 1, any slot, any sizes",
    source=_gnconv.SOURCE,
    world=slot_world,
    sizes=(dict(N=2, C=2, order=1, H=2, W=3, slot=0), dict(N=1, C=4, order=2, H=2, W=3, slot=-1, scale=3),
           dict(N=1, C=4, order=3, H=2, W=2, slot=1, scale=1), dict(N=1, C=8, order=4, H=1, W=2, kernel=(1, 3), slot=3, scale=1)),
    small=(dict(N=1, C=1, order=1, H=1, W=2, kernel=(1, 3), slot=0), dict(N=1, C=1, order=1, H=1, W=2, kernel=(1, 3), slot=-1)),
    degree=_gnconv.DEGREE,
    steps=(
        MIXED,
        Step("the same with the factor a·f(r) + b·f(r') (a·r + b·r' for p_0)", mixed_factor,
             "f is linear, and the map enters nowhere else"),
        Step(SPLIT.text, SPLIT.value, "gates and projections are linear in what they multiply: gate_chain (F1)-(F3)")),
    counterexamples=(
        Counterexample("biases of the g_k: affine, not linear", biased_slot_world, OUTSIDE_SLOT, MIXED, SPLIT,
                       agrees=(("a = b = 1, less the value at 0", lambda w: chained(w, w.r + w.r2) - chained(w, 0 * w.r),
                                lambda w: chained(w, w.r) + chained(w, w.r2) - 2 * chained(w, 0 * w.r)),)),
        Counterexample("two slots at once: every one of the n+1 gives its factor", slot_world, OUTSIDE_SLOT,
                       Step("p_n(2·p_0, 2·q_0, …)", doubled), Step("2·p_n(p_0, q_0, …)", lambda w: 2 * chained(w, w.r)),
                       agrees=(("2^(n+1)·p_n", doubled, lambda w: 2 ** (w.order + 1) * chained(w, w.r)),)),
    ),
)

PROOFS = (DEGREE, VANISHES, HOMOGENEOUS, MULTILINEAR)
