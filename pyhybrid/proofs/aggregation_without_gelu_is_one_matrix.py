"""Without its GELU, and with the running statistics of its batch norm, the scale-aware aggregation is one affine map at every pixel.

Bound. Let u = 2^-52, and let P be the expression with every factor replaced by its absolute value. A sum of E products of sums of N
products is off by (E + N + 12)·u·P at most, whatever its order; two sides of a step differ by twice that.
"""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import batch_norm, gelu, pointwise_conv, regroup, scale_aware_aggregation
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv, Sum
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step

SOURCE = "SMT, arXiv 2307.08579, eqs. (2)-(4), as the official code"


def world(draw: Draw, *, N: int, heads: int, M: int, R: int, O: int, H: int = 1, W: int = 1) -> World:
    """R maps of each of M groups; s = γ/√(var + eps) and m are batch norm's running statistics, β its bias."""
    E = M * R
    return World(x=draw("x", N, heads * M, H, W), z=draw("z", N, heads * M, H, W), W0=draw("W0", E, heads, 1, 1), b0=draw("b0", E),
                 s=draw("s", E), m=draw("m", E), beta=draw("β", E), W1=draw("W1", O, E, 1, 1), b1=draw("b1", O), heads=heads, M=M, R=R)


def maps(vector: Array) -> Array:
    return vector[:, None, None]


def expanded(w: World, x: Array | None = None) -> Array:
    """e = W0·regroup(x) + b0, in M groups."""
    return Conv(regroup.forward(w.x if x is None else x, heads=w.heads)[0], w.W0, groups=w.M) + maps(w.b0)


def aggregated(w: World, x: Array | None = None) -> Array:
    """W1·(s·(e - m) + β) + b1."""
    return Conv(maps(w.s) * (expanded(w, x) - maps(w.m)) + maps(w.beta), w.W1) + maps(w.b1)


def spelled(w: World) -> Array:
    u = []
    for e in range(len(w.W0)):
        i = e // w.R
        inner = Sum(w.W0[e, t, 0, 0] * w.x[:, t * w.M + i] for t in range(w.heads)) + w.b0[e]
        u.append(w.s[e] * (inner - w.m[e]) + w.beta[e])
    return np.stack([Sum(w.W1[o, e, 0, 0] * u[e] for e in range(len(u))) + w.b1[o] for o in range(len(w.W1))], axis=1)


def matrix(w: World, s: Array | None = None) -> Array:
    """A[o, t·M + i] = Σ_r W1[o, i·R + r]·s[i·R + r]·W0[i·R + r, t]."""
    s = w.s if s is None else s
    columns = [Sum(w.W1[:, e, 0, 0] * s[e] * w.W0[e, t, 0, 0] for e in range(i * w.R, (i + 1) * w.R))
               for t in range(w.heads) for i in range(w.M)]
    return np.stack(columns, axis=1)[:, :, None, None]


def constant(w: World, s: Array | None = None) -> Array:
    """a = W1·(s·(b0 - m) + β) + b1."""
    s = w.s if s is None else s
    return w.W1[:, :, 0, 0] @ (s * (w.b0 - w.m) + w.beta) + w.b1


def collapsed(w: World, s: Array | None = None) -> Array:
    return pointwise_conv.forward(w.x, matrix(w, s), constant(w, s))[0]


def with_gelu(w: World) -> Array:
    u = maps(w.s) * (expanded(w) - maps(w.m)) + maps(w.beta)
    return Conv(gelu.forward(u)[0], w.W1) + maps(w.b1)


def in_training(w: World, x: Array) -> Array:
    """Batch norm by the statistics of x itself, and no GELU."""
    return Conv(batch_norm.forward(expanded(w, x), w.s, w.beta)[0], w.W1) + maps(w.b1)


def coarse(w: World) -> float:
    return 1e-6


OUTSIDE = dict(N=1, heads=2, M=2, R=2, O=2, H=2, W=2)
COLLAPSED = Step("A·x + a", collapsed)
EXACT = Proof(
    name="aggregation_without_gelu_is_one_matrix",
    title="Without its GELU the aggregation, in evaluation mode, is one affine map at every pixel",
    statement="W1·(s·(W0·regroup(x) + b0 - m) + β) + b1 = A·x + a, A = W1·diag(s)·blockdiag(W0)·Π, a = W1·(s·(b0 - m) + β) + b1, "
              "s = γ/√(var + eps)",
    hypotheses=("batch norm takes the running mean m and variance var: constants", "no GELU"),
    domain="any N, heads, M, R, O, H, W >= 1; so its E·(heads + O) weights describe no more than the O·C of A",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, heads=4, M=2, R=3, O=4, H=2, W=3), dict(N=1, heads=2, M=3, R=4, O=6), dict(N=1, heads=3, M=1, R=2, O=1, H=1, W=2)),
    small=(dict(N=1, heads=2, M=2, R=1, O=2),),
    degree=4,
    steps=(
        Step("W1·(s·(W0·regroup(x) + b0 - m) + β) + b1", aggregated),
        Step("y[o] = Σ_e W1[o, e]·(s_e·(Σ_t W0[e, t]·x[t·M + ⌊e/R⌋] + b0_e - m_e) + β_e) + b1_o", spelled,
             "regroup (F1): group i = ⌊e/R⌋ holds the channels t·M + i; no pixel sees another"),
        Step("A·x + a", COLLAPSED.value, "collect what multiplies x[t·M + i], and what multiplies nothing")),
    counterexamples=(
        Counterexample("with the GELU", world, OUTSIDE, Step("W1·GELU(s·(e - m) + β) + b1", with_gelu), COLLAPSED),
        Counterexample("batch norm in training mode, not affine even without the GELU: f(x) - f(0) and f(z) - f(0) do not add up", world,
                       OUTSIDE, Step("f(x) + f(z)", lambda w: in_training(w, w.x) + in_training(w, w.z)),
                       Step("f(x + z) + f(0)", lambda w: in_training(w, w.x + w.z) + in_training(w, 0 * w.x)), bound=coarse,
                       agrees=(("in evaluation they do", lambda w: aggregated(w, w.x) + aggregated(w, w.z),
                                lambda w: aggregated(w, w.x + w.z) + aggregated(w, 0 * w.x)),)),
    ),
)


def far_world(draw: Draw, *, N: int, heads: int, M: int, R: int, O: int, H: int = 1, W: int = 1) -> World:
    """Real numbers, a variance, and a bias of batch norm so large that u >= 9 everywhere; `near` is the bias 0."""
    E = M * R
    gamma, var = draw.real("γ", E), 0.5 + np.abs(draw.real("var", E))
    w = World(x=draw.real("x", N, heads * M, H, W), W0=draw.real("W0", E, heads, 1, 1), b0=draw.real("b0", E), m=draw.real("m", E),
              W1=draw.real("W1", O, E, 1, 1), b1=draw.real("b1", O), gamma=gamma, var=var, s=gamma / np.sqrt(var + 1e-5),
              near=np.zeros(E), heads=heads, M=M, R=R)
    w.beta = np.full(E, 9 + np.abs(maps(w.s) * (expanded(w) - maps(w.m))).max())
    return w


def operator(w: World, bias: Array | None = None) -> Array:
    beta = w.beta if bias is None else bias
    return scale_aware_aggregation.forward(w.x, w.W0, w.b0, w.gamma, beta, w.W1, w.b1, w.m, w.var)[0]


def rounding(w: World) -> float:
    positive = changed(w, m=-np.abs(w.m), **{name: np.abs(getattr(w, name)) for name in ("x", "W0", "b0", "s", "W1", "b1")})
    return float(2 * (len(w.W0) + w.heads + 12) * EPS * aggregated(positive).max())


BOUND = "2·(E + N + 12)·u·P, u = 2^-52, P: all factors positive"
FAR = Proof(
    name="aggregation_without_gelu_is_one_matrix.far_from_zero",
    title="Where all its arguments are 9 or more, GELU does nothing, and the operator itself is one affine map",
    statement="scale_aware_aggregation(x, …, running statistics) = A·x + a if u = s·(e - m) + β >= 9 at every pixel",
    hypotheses=("u >= 9 everywhere", "batch norm has running statistics"),
    domain="float64: Φ(u) rounds to 1 from 8.3 on; any sizes",
    source=SOURCE,
    world=far_world,
    sizes=(dict(N=2, heads=4, M=2, R=3, O=4, H=2, W=3), dict(N=1, heads=2, M=3, R=4, O=6)),
    small=(),
    steps=(
        Step("scale_aware_aggregation(x, W0, b0, γ, β, W1, b1, m, var)", operator),
        Step("W1·(s·(W0·regroup(x) + b0 - m) + β) + b1", aggregated,
             "scale_aware_aggregation (F1)-(F5); GELU(u) = u·Φ(u), and 1 - Φ(9) < 2e-19 is less than u/2", rounding, BOUND),
        Step("A·x + a", COLLAPSED.value, "the first statement", rounding, BOUND)),
    counterexamples=(
        Counterexample("β = 0, as at the start: then u lies around 0", far_world, OUTSIDE,
                       Step("scale_aware_aggregation(x, …, β = 0, …)", lambda w: operator(w, w.near)),
                       Step("A·x + a, β = 0", lambda w: collapsed(changed(w, beta=w.near))), bound=rounding),
    ),
)

PROOFS = (EXACT, FAR)
