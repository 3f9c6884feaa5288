"""The positional term is a term of the keys, and its bias has no effect on attention."""

from __future__ import annotations

from pyhybrid.ops import positional_term
from pyhybrid.proofs._attention import (
    OUTSIDE,
    SIZES,
    SMALL,
    SOURCE,
    bound,
    by_definition,
    exact_step,
    scores,
    windows,
    world,
)
from pyhybrid.proofs._draw import World
from pyhybrid.proofs._notation import Array, U, attention, heads_of, on_grid
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def position(w: World, bias: bool) -> Array:
    """pe = W_p L + b_p, or without its bias."""
    return positional_term.forward(w.W_p, w.b_p if bias else None, size=w.q.shape[2:])[0]


def relative(w: World, pe: Array) -> Array:
    """pe_ij - U(pe): from the neighbour to the centre, (d, k·k, Ho, Wo)."""
    return on_grid(pe, w.stride)[:, None] - U(pe, w.size, w.stride)


def keys_minus(w: World, pe: Array) -> Array:
    """k - pe, in every head."""
    return (heads_of(w.k, w.heads) - pe).reshape(w.k.shape)


POSITIONAL_BIAS = Proof(
    name="positional_bias_has_no_effect",
    title="The positional term is a term of the keys, and its bias has no effect",
    statement="attention(q, k, v, pe = W_p L + b_p) = attention(q, k - W_p L, v): b_p and the centre's own pe_ij drop out",
    hypotheses=("every pixel of a window carries pe: border \"reflect\"", "b_p is the same at every pixel"),
    domain="any N, heads, d, odd window, stride; the check on fractions needs locations that are whole, H, W <= 3",
    source=SOURCE + "; positional term: official ACmix code",
    world=world,
    sizes=SIZES,
    small=SMALL,
    steps=(
        Step("attention(q, k, v, W_p L + b_p)", lambda w: attention(w.q, w.k, w.v, position(w, True), **w.config)),
        exact_step("Σ_m softmax_m(τ Σ_e q·(U(k) + pe_ij - U(pe)))·U(v), pe = W_p L + b_p",
                   lambda w: by_definition(w, scores(w, windows(w, w.k) + relative(w, position(w, True)))),
                   "local_attention (F1)-(F6)"),
        exact_step("the same with pe = W_p L", lambda w: by_definition(
            w, scores(w, windows(w, w.k) + relative(w, position(w, False)))), "b_p - U(b_p) = b_p - b_p = 0"),
        exact_step("Σ_m softmax_m(τ Σ_e q·(U(k) - U(W_p L)))·U(v)", lambda w: by_definition(
            w, scores(w, windows(w, w.k) - U(position(w, False), w.size, w.stride))),
                   "τ Σ_e q·pe_ij does not depend on the tap m: softmax ignores a constant"),
        exact_step("attention(q, k - W_p L, v)", lambda w: attention(w.q, keys_minus(w, position(w, False)), w.v, **w.config),
                   "U is linear; local_attention (F1)-(F6) without pe")),
    counterexamples=(
        Counterexample("border \"zero\": outside pe is 0, so its bias does not cancel", world, dict(OUTSIDE, border="zero"),
                       Step("attention(q, k, v, W_p L + b_p)", lambda w: attention(w.q, w.k, w.v, position(w, True), **w.config)),
                       Step("attention(q, k, v, W_p L)", lambda w: attention(w.q, w.k, w.v, position(w, False), **w.config)),
                       bound=bound),
        Counterexample("the part that does not drop out, W_p L at the neighbours", world, OUTSIDE,
                       Step("attention(q, k, v, W_p L)", lambda w: attention(w.q, w.k, w.v, position(w, False), **w.config)),
                       Step("attention(q, k, v)", lambda w: attention(w.q, w.k, w.v, **w.config)), bound=bound),
    ),
)

PROOFS = (POSITIONAL_BIAS,)
