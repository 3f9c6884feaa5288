"""A positional term that is linear in the location prefers a corner of the window: position alone cannot single out an inner tap."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from pyhybrid.ops import local_attention
from pyhybrid.proofs import _attention as spelled
from pyhybrid.proofs import positional_bias_has_no_effect as term
from pyhybrid.proofs import positional_term_is_relative as relative
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, U, interior
from pyhybrid.proofs._proof import EPS, Counterexample, Function, Proof, Step

SOURCE = "positional term: official ACmix code; the statement follows from it"


def world(draw: Draw, *, d: int, H: int, W: int, k: int) -> World:
    w = relative.world(draw, d=d, H=H, W=W, k=k)
    return World(**vars(w), q=draw("q", d, 1, 1, 1), table=draw("B", k * k, 1, 1))


def logits(w: World, vectors: Array) -> Array:
    """Σ_e q·vectors, (k·k, ...)."""
    return (w.q * vectors).sum(0)


def everywhere(w: World) -> Array:
    """S at every pixel, windows reflected at the border."""
    pe = relative.pe(w)
    return logits(w, pe[:, None] - U(pe, w.k))


def scaled(w: World, S: Array) -> Array:
    return (w.k - 1) ** 2 * S


def corners(w: World, S: Array) -> Array:
    """The corner logits with their weights: (k-1-u)(k-1-v) for the first corner, …, uv for the last; the weights add up to (k-1)²."""
    end = w.k - 1
    u, v = (t[:, None, None] for t in np.divmod(np.arange(w.k**2), w.k))
    first, right, left, last = (S[m] for m in (0, end, end * w.k, end * w.k + end))
    return (end - u) * (end - v) * first + (end - u) * v * right + u * (end - v) * left + u * v * last


INSIDE = Step("(k-1)²·S[u, v], S = q·(pe_ij - U(pe))", lambda w: scaled(w, logits(w, relative.relative(w, relative.pe(w)))))
BY_CORNERS = "(k-1-u)(k-1-v)·S[0, 0] + (k-1-u)v·S[0, k-1] + u(k-1-v)·S[k-1, 0] + uv·S[k-1, k-1]"
SIZE = dict(d=2, H=5, W=9, k=3)

CORNER = Proof(
    name="linear_position_peaks_at_a_corner",
    title="A content-free logit is a weighted mean of the logits at the corners of the window",
    statement=f"(k-1)²·S[u, v] = {BY_CORNERS}, S = q·(pe_ij - U(pe)): no factor is negative and they add up to (k-1)², "
              "so no tap exceeds the largest corner",
    hypotheses=("the logit has no content: the keys add nothing", "the window stays inside the map"),
    domain="any query, d, odd window, H, W > 1; H-1 and W-1 are powers of two in the check, so that locations are exact",
    source=SOURCE,
    world=world,
    sizes=(SIZE, dict(d=3, H=9, W=9, k=7), dict(d=1, H=5, W=5, k=5)),
    small=(dict(d=2, H=5, W=3, k=3),),
    degree=2,
    steps=(
        INSIDE,
        Step("(k-1)²·T[u, v], T = q·W_p (2(r-v)/(W-1), 2(r-u)/(H-1))", lambda w: scaled(w, logits(w, relative.steps_of_grid(w))),
             "the positional term depends on the displacement alone (positional_term_is_relative)"),
        Step(BY_CORNERS.replace("S", "T"), lambda w: corners(w, logits(w, relative.steps_of_grid(w))),
             "T is linear in u and in v, and r-u = ((k-1-u)·r + u·(-r))/(k-1)"),
        Step(BY_CORNERS, lambda w: corners(w, logits(w, relative.relative(w, relative.pe(w)))), "positional_term_is_relative again")),
    counterexamples=(
        Counterexample("the border: a mirrored window folds the slope, and its fold can be the highest point", world, SIZE,
                       Step("(k-1)²·S[u, v] at every pixel", lambda w: scaled(w, everywhere(w))),
                       Step("the weighted mean of its corners", lambda w: corners(w, everywhere(w))),
                       agrees=(("the interior, where no window leaves the map", lambda w: interior(scaled(w, everywhere(w)), (1, 1)),
                                lambda w: interior(corners(w, everywhere(w)), (1, 1))),)),
        Counterexample("a table with one number per displacement, as in windows with a bias table", world, SIZE,
                       Step("(k-1)²·B[u, v]", lambda w: scaled(w, w.table)),
                       Step("the weighted mean of its corners", lambda w: corners(w, w.table)),
                       agrees=(("the corners", lambda w: scaled(w, w.table)[[0, 2, 6, 8]], lambda w: corners(w, w.table)[[0, 2, 6, 8]]),)),
    ),
)


def weights_world(draw: Draw, **sizes: Any) -> World:
    """As for every attention; on symbols all queries are 1, which loses nothing, since q and W_p enter only as q·W_p."""
    w = spelled.world(draw, **sizes)
    return changed(w, q=np.full(w.q.shape, Fraction(1), object)) if draw.kind == "symbols" else w


def weights(w: World, key: Array) -> Array:
    """The weights a of the operator, (N, heads, k·k, H, W), with the positional term pe = W_p L."""
    _, cache = local_attention.forward(w.q, key, w.v, term.position(w, False), **w.config)
    return local_attention.weights(cache)


def inside(w: World, a: Array) -> Array:
    return interior(a, (w.size // 2, w.size // 2))


def triples(k: int) -> list[list[int]]:
    """Taps t with taps t-δ and t+δ on either side, as three lists of tap numbers; δ and -δ are counted once."""
    places = [(t, s) for t in product(range(k), repeat=2) for s in product(range(-(k // 2), k // 2 + 1), repeat=2) if s > (0, 0)]
    found = [((u, v), (u - a, v - b), (u + a, v + b)) for (u, v), (a, b) in places]
    kept = [three for three in found if all(0 <= x < k for tap in three for x in tap)]
    return [[u * k + v for u, v in taps] for taps in zip(*kept, strict=True)]


def squared(w: World, a: Array) -> Array:
    middle = a[:, :, triples(w.size)[0]]
    return middle * middle


def multiplied(w: World, a: Array) -> Array:
    _, before, after = triples(w.size)
    return a[:, :, before] * a[:, :, after]


def content_free(w: World) -> Array:
    """S = τ q·(pe_ij - U(pe)), (N, heads, k·k, H, W)."""
    return spelled.scores(w, term.relative(w, term.position(w, False))[None, None])


def over_Z_squared(w: World, S: Array) -> Array:
    """exp(S) / Z², Z = Σ exp(S) of the content-free scores; their lse is taken out first, as in the operator."""
    scores = content_free(w)
    lse = local_attention.log_sum_exp(scores)[:, :, None]
    Z = np.exp(scores - lse).sum(2, keepdims=True)
    return np.exp(S - 2 * lse) / (Z * Z)


def opposite_taps(w: World) -> Array:
    _, before, after = triples(w.size)
    S = content_free(w)
    return over_Z_squared(w, S[:, :, before] + S[:, :, after])


def doubled(w: World) -> Array:
    return over_Z_squared(w, 2 * content_free(w)[:, :, triples(w.size)[0]])


def bound(w: World) -> float:
    """A weight <= 1 is off by (n + 8)·u + 2δ, δ = (d + 8)·L·u with L >= every |score|; each side multiplies two."""
    d = w.q.shape[1] // w.heads
    L = w.tau * d * np.abs(w.q).max() * 4 * np.abs(w.W_p).max()
    return float(4 * EPS * (w.size**2 + 8 + 2 * (d + 8) * L))


def step(text: str, value: Function, reason: str) -> Step:
    return Step(text, value, reason, bound, "4u·(k² + 8 + 2·(d+8)·L), L >= every |score|")


def hard(draw: Draw, **sizes: Any) -> World:
    """A query of 1000 and a key that is 1 at the pixel (2, 2) and 0 elsewhere; no positional term."""
    w = spelled.world(draw, **sizes)
    key, query = np.zeros(w.k.shape), np.full(w.q.shape, 1000.0)
    key[..., 2, 2] = 1
    return changed(w, q=query, k=key, W_p=0 * w.W_p)


FREE = Step("a[t]²", lambda w: inside(w, squared(w, weights(w, 0 * w.k))))
BOTH_SIDES = Step("a[t-δ]·a[t+δ]", lambda w: inside(w, multiplied(w, weights(w, 0 * w.k))), "weights (F3)-(F5) again")
WEIGHTS = Proof(
    name="linear_position_peaks_at_a_corner.weights",
    title="By position alone, a tap gets the geometric mean of what two opposite taps get",
    statement="a[t]² = a[t-δ]·a[t+δ] for all taps t, t-δ, t+δ of the window: a[t] = 1 would need a product of 1 where 0 is left. "
              "Over all δ: the centre gets at most 1/k², what a box mean gives it",
    hypotheses=("keys 0", "the window stays inside the map", "pe = W_p L (b_p would drop out: positional_bias_has_no_effect)"),
    domain="any N, heads, d, odd window; the check on fractions needs locations that are whole, H, W <= 3",
    source=SOURCE,
    world=weights_world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, k=3), dict(N=1, heads=1, d=4, H=8, W=7, k=7), dict(N=1, heads=3, d=1, H=6, W=5, k=5)),
    small=(dict(N=1, heads=1, d=1, H=3, W=3, k=3, scale=1.0),),
    steps=(
        FREE,
        step("exp(2·S[t]) / Z², S = τ q·(pe_ij - U(pe)), Z = Σ exp(S)", lambda w: inside(w, doubled(w)),
             "local_attention (F2)-(F5) with k = 0"),
        step("exp(S[t-δ] + S[t+δ]) / Z²", lambda w: inside(w, opposite_taps(w)),
             "S is linear in the displacement (positional_term_is_relative): 2·S[t] = S[t-δ] + S[t+δ]"),
        step("a[t-δ]·a[t+δ]", lambda w: inside(w, multiplied(w, weights(w, 0 * w.k))), "local_attention (F4), (F5)")),
    counterexamples=(
        Counterexample("content: a key that stands out takes all the weight, wherever in the window it is", hard,
                       dict(N=1, heads=1, d=1, H=5, W=5, k=3, scale=1.0),
                       Step("a[t]²", lambda w: inside(w, squared(w, weights(w, w.k)))),
                       Step("a[t-δ]·a[t+δ]", lambda w: inside(w, multiplied(w, weights(w, w.k)))), bound=lambda w: 0.5,
                       agrees=(("at pixel (2, 2) the centre has weight 1", lambda w: weights(w, w.k)[:, :, 4, 2, 2],
                                lambda w: np.ones((1, 1))),)),
        Counterexample("the border: mirrored taps go back, so the logits bend there", spelled.world,
                       dict(N=1, heads=1, d=2, H=5, W=5, k=3),
                       Step("a[t]² at every pixel", lambda w: squared(w, weights(w, 0 * w.k))),
                       Step("a[t-δ]·a[t+δ] at every pixel", lambda w: multiplied(w, weights(w, 0 * w.k))), bound=bound,
                       agrees=(("the interior", FREE.value, BOTH_SIDES.value),)),
    ),
)

PROOFS = (CORNER, WEIGHTS)
