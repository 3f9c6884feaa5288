"""Relative attention with the same bias everywhere is plain attention in the form "pre", plus a sum of all values in the form "post"."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _relative
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, heads_of
from pyhybrid.proofs._proof import Counterexample, Proof, Step
from pyhybrid.proofs._relative import biases, bound, plain, post_bound, post_step, relative, spelled, step


def world(draw: Draw, *, form: str = "pre", zero: bool = False, **sizes: Any) -> World:
    """c is one number per head, 0 if so asked; `table` is c everywhere, and `generic` any table."""
    w = _relative.world(draw, form=form, **sizes)
    c = draw.zeros(w.heads) if zero else draw.log("c", w.heads) if form == "pre" else draw.real("c", w.heads)
    return changed(w, table=constant(c, w.table), generic=w.table, c=c)


def constant(c: Array, table: Array) -> Array:
    return np.broadcast_to(c[:, None, None], table.shape)


def total(w: World) -> Array:
    """c·Σ_u v_u, the same at every pixel."""
    v = heads_of(w.v, w.heads)
    s = w.c[:, None] * v.sum((3, 4))
    return np.broadcast_to(s[..., None, None], v.shape).reshape(w.v.shape)


def generic(w: World) -> World:
    return changed(w, table=w.generic)


def raised(w: World) -> World:
    return changed(w, table=w.generic + w.table)


def generic_bound(w: World) -> float:
    """The bound with the larger of the two tables."""
    return bound(changed(w, table=np.abs(w.generic) + np.abs(w.table)))


PLAIN = Step("attention(q, k, v)", plain)
PROOF = Proof(
    name="constant_bias_is_plain_attention",
    title="Relative attention with a constant table, 0 for example, is plain attention",
    statement="relative_attention(q, k, v, w) = attention(q, k, v) if w_δ = c for all displacements, form pre",
    hypotheses=("the table of each head is constant", "form \"pre\""),
    domain="any N, heads, d, H, W >= 1, any constants, one per head",
    source=_relative.SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4), dict(N=1, heads=3, d=1, H=1, W=5), dict(N=1, heads=2, d=2, H=3, W=3, zero=True),
           dict(N=1, heads=1, d=2, H=4, W=4, spread=100.0)),
    small=(dict(N=1, heads=2, d=1, H=1, W=2, scale=1.0), dict(N=1, heads=1, d=1, H=2, W=2, scale=1.0, zero=True)),
    steps=(
        Step("relative_attention(q, k, v, c)", relative),
        step("Σ_u softmax_u(τ q_t·k_u + c)·v_u", lambda w: spelled(w, biases(w)), "relative_attention (F1)-(F6); every entry read is c"),
        step("Σ_u softmax_u(τ q_t·k_u)·v_u", lambda w: spelled(w, 0), "softmax_ignores_a_constant"),
        step(PLAIN.text, plain, "attention (F1)-(F4)")),
    counterexamples=(
        Counterexample("form \"post\": the constant is added to the weights, not to the scores", world, _relative.OUTSIDE,
                       Step("relative_attention(q, k, v, c), form post", lambda w: relative(w, "post")), PLAIN, bound=post_bound,
                       agrees=(("the difference is c·Σ_u v_u", lambda w: relative(w, "post"), lambda w: plain(w) + total(w)),)),
        Counterexample("a table that is not constant", world, _relative.OUTSIDE,
                       Step("relative_attention(q, k, v, w)", lambda w: relative(generic(w))), PLAIN, bound=generic_bound),
    ),
)

SHIFTED = Proof(
    name="constant_bias_is_plain_attention.added",
    title="A constant added to the table of a head changes nothing",
    statement="relative_attention(q, k, v, w + c) = relative_attention(q, k, v, w), form pre",
    hypotheses=("c is the same for all displacements of a head", "form \"pre\""),
    domain="any N, heads, d, H, W >= 1, any finite table; so the gradient of the table sums to 0",
    source=_relative.SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4), dict(N=1, heads=3, d=1, H=1, W=5)),
    small=(dict(N=1, heads=2, d=1, H=1, W=2, scale=1.0),),
    steps=(
        Step("relative_attention(q, k, v, w + c)", lambda w: relative(raised(w))),
        Step("Σ_u softmax_u(τ q_t·k_u + w_{t-u} + c)·v_u", lambda w: spelled(w, biases(raised(w))), "relative_attention (F1)-(F6)",
             generic_bound, _relative.BOUND),
        Step("Σ_u softmax_u(τ q_t·k_u + w_{t-u})·v_u", lambda w: spelled(w, biases(generic(w))), "softmax_ignores_a_constant",
             generic_bound, _relative.BOUND),
        Step("relative_attention(q, k, v, w)", lambda w: relative(generic(w)), "relative_attention (F1)-(F6)", generic_bound,
             _relative.BOUND)),
    counterexamples=(
        Counterexample("a factor instead of a term: 2w is a sharper kernel", world, _relative.OUTSIDE,
                       Step("relative_attention(q, k, v, 2w)", lambda w: relative(changed(w, table=2 * w.generic))),
                       Step("relative_attention(q, k, v, w)", lambda w: relative(generic(w))), bound=generic_bound),
    ),
)

POST = Proof(
    name="constant_bias_is_plain_attention.post",
    title="In the form \"post\", a constant table adds the sum of all values",
    statement="relative_attention(q, k, v, c), form post = attention(q, k, v) + c·Σ_u v_u; only c = 0 is plain attention",
    hypotheses=("the table of each head is constant", "form \"post\""),
    domain="any N, heads, d, H, W >= 1, any constants, one per head",
    source=_relative.SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4, form="post"), dict(N=1, heads=3, d=1, H=1, W=5, form="post"),
           dict(N=1, heads=2, d=2, H=3, W=3, form="post", zero=True)),
    small=(dict(N=1, heads=2, d=1, H=1, W=2, scale=1.0, form="post"),),
    steps=(
        Step("relative_attention(q, k, v, c), form post", relative),
        post_step("Σ_u (softmax_u(τ q_t·k_u) + c)·v_u", lambda w: spelled(w, biases(w), "post"),
                  "relative_attention (F1)-(F6); every entry read is c"),
        post_step("Σ_u softmax_u(τ q_t·k_u)·v_u + c·Σ_u v_u", lambda w: spelled(w, 0) + total(w), "the product distributes over the sum"),
        post_step("attention(q, k, v) + c·Σ_u v_u", lambda w: plain(w) + total(w), "attention (F1)-(F4)")),
    counterexamples=(
        Counterexample("form \"pre\": the softmax takes the constant out", world, _relative.OUTSIDE,
                       Step("relative_attention(q, k, v, c), form pre", lambda w: relative(w, "pre")),
                       Step("attention(q, k, v) + c·Σ_u v_u", lambda w: plain(w) + total(w)), bound=post_bound,
                       agrees=(("without the sum", lambda w: relative(w, "pre"), plain),)),
    ),
)

PROOFS = (PROOF, SHIFTED, POST)
