"""Without a table, relative attention does not know where a pixel is: it commutes with every permutation of the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _relative
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step
from pyhybrid.proofs._relative import at_positions, changed, generic_bound, relative, spelled, step, with_table


def permuted_world(draw: Draw, *, form: str = "pre", **sizes: Any) -> World:
    """No table; π is an order of the pixels, without a fixed place for the first; p are positions; `generic` is a table."""
    w = _relative.world(draw, form=form, **sizes)
    order = np.roll(draw.random.permutation(w.H * w.W), 1)
    order = np.roll(np.arange(w.H * w.W), 1) if (order == np.arange(w.H * w.W)).all() else order
    return changed(w, table=draw.zeros(*w.table.shape), generic=w.table, order=order, p=draw.exponent("p", 1, *w.q.shape[1:]))


def permuted(w: World, x: Array) -> Array:
    """x with the pixel π(t) at the place t."""
    return x.reshape(*x.shape[:2], -1)[..., w.order].reshape(x.shape)


def permuted_before(w: World) -> World:
    return changed(w, **{name: permuted(w, getattr(w, name)) for name in "qkv"})


def of_permuted(w: World) -> Array:
    return relative(permuted_before(w))


def permuted_result(w: World) -> Array:
    return permuted(w, relative(w))


def generic(w: World) -> World:
    return with_table(w, w.generic)


PROOF = Proof(
    name="attention_without_a_table_commutes_with_permutations",
    title="Without a table, relative attention commutes with every permutation of the pixels",
    statement="relative_attention(π(q), π(k), π(v), 0) = π(relative_attention(q, k, v, 0)), π(x)_t = x_π(t)",
    hypotheses=("the table is 0: in the form \"pre\" constant is enough", "q, k and v carry no position of their own"),
    domain="any N, heads, d, H, W >= 1, any permutation, both forms; so it cannot tell where a pixel is",
    source=_relative.SOURCE + ", table 1",
    world=permuted_world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4), dict(N=1, heads=1, d=2, H=4, W=2, form="post"), dict(N=1, heads=3, d=1, H=1, W=5)),
    small=(dict(N=1, heads=1, d=1, H=1, W=3, scale=1.0),),
    steps=(
        Step("relative_attention(π(q), π(k), π(v), 0)", of_permuted),
        step("Σ_u softmax_u(τ q_π(t)·k_π(u))·v_π(u)", lambda w: spelled(permuted_before(w), 0), "relative_attention (F1)-(F6) with w = 0"),
        step("Σ_u softmax_u(τ q_π(t)·k_u)·v_u", lambda w: spelled(w, 0, order=w.order), "re-index u -> π(u): a sum over all pixels"),
        step("π(relative_attention(q, k, v, 0))", permuted_result, "relative_attention (F1)-(F6) at the pixel π(t)")),
    counterexamples=(
        Counterexample("a table: it knows how far apart two pixels are", permuted_world, _relative.OUTSIDE,
                       Step("relative_attention(π(q), π(k), π(v), w)", lambda w: of_permuted(generic(w))),
                       Step("π(relative_attention(q, k, v, w))", lambda w: permuted_result(generic(w))), bound=generic_bound),
        Counterexample("absolute positions added to the permuted queries and keys", permuted_world, _relative.OUTSIDE,
                       Step("relative_attention(π(q) + p, π(k) + p, π(v), 0)", lambda w: relative(at_positions(permuted_before(w)))),
                       Step("π(relative_attention(q + p, k + p, v, 0))", lambda w: permuted(w, relative(at_positions(w)))),
                       bound=generic_bound),
    ),
)

PROOFS = (PROOF,)
