"""Relative attention whose content says nothing is a global convolution, normalised by the same convolution of ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _relative
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv
from pyhybrid.proofs._proof import Counterexample, Proof, Step
from pyhybrid.proofs._relative import BOUND, biases, bound, convolved, ones, relative, spelled, step, weighed


def world(draw: Draw, *, content: str = "alike", **sizes: Any) -> World:
    """Content "zero": queries 0. Content "alike": every query sees the same key at every pixel."""
    w = _relative.alike(_relative.world(draw, **sizes))
    return changed(w, q=draw.zeros(*w.q.shape)) if content == "zero" else w


def normalised(w: World) -> Array:
    """conv(v, e^w) / conv(1, e^w)."""
    e = np.exp(w.table)
    return convolved(w, w.v, e) / convolved(w, ones(w), e)


def unflipped(w: World) -> Array:
    """The same with the kernel e^w as conv2d takes it, which reads v_u with w_{u-t}."""
    K = np.repeat(np.exp(w.table)[:, None], w.v.shape[1] // w.heads, axis=0)
    config = dict(padding=(w.H - 1, w.W - 1), groups=w.v.shape[1])
    return Conv(w.v, K, **config) / Conv(ones(w), K, **config)


def zero_padded(w: World, x: Array) -> Array:
    """conv(x, e^w / Σ e^w): one division for all pixels."""
    e = np.exp(w.table)
    return convolved(w, x, e / e.sum((1, 2), keepdims=True))


def even(w: World) -> World:
    return changed(w, table=w.table + w.table[:, ::-1, ::-1])


def of_ones(w: World) -> Array:
    return relative(changed(w, v=ones(w)))


STATIC = Step("relative_attention(q, κ, v, w), form pre", relative)
PROOF = Proof(
    name="static_relative_attention_is_a_normalised_convolution",
    title="Where content tells no pixels apart, relative attention is a global convolution, divided by that of ones",
    statement="relative_attention(q, κ, v, w) = conv(v, e^w) / conv(1, e^w) at every pixel, conv(x, e^w)_t = Σ_u e^(w_{t-u})·x_u: "
              "one static depthwise kernel per head",
    hypotheses=("the content term q_t·k_u does not depend on u: all keys are κ, or the queries are 0", "form \"pre\""),
    domain="any N, heads, d, H, W >= 1, any finite table; the borders are included",
    source=_relative.SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4), dict(N=1, heads=3, d=1, H=1, W=6, content="zero"), dict(N=1, heads=1, d=2, H=4, W=2),
           dict(N=1, heads=1, d=2, H=4, W=4, spread=100.0)),
    small=(dict(N=1, heads=1, d=1, H=2, W=2, scale=1.0, content="zero"), dict(N=1, heads=2, d=1, H=1, W=2, scale=1.0)),
    steps=(
        STATIC,
        step("Σ_u softmax_u(τ q_t·κ + w_{t-u})·v_u", lambda w: spelled(w, biases(w)), "relative_attention (F1)-(F6)"),
        step("Σ_u softmax_u(w_{t-u})·v_u", lambda w: spelled(changed(w, q=0 * w.q), biases(w)),
             "τ q_t·κ is one number for all u (softmax_ignores_a_constant)"),
        step("Σ_u e^(w_{t-u})·v_u / Σ_u e^(w_{t-u})", lambda w: weighed(w, np.exp(biases(w))) / weighed(
            changed(w, v=ones(w)), np.exp(biases(w))), "the definition of softmax; the denominator does not depend on the channel"),
        Step("conv2d(v, e^w flipped) / conv2d(1, e^w flipped), padding = (H-1, W-1), groups = C", normalised,
             "both are Σ_u e^(w_{t-u})·x_u; tap p of conv2d reads u = t + p - (H-1, W-1), so it must hold w_{t-u}: the table from its end "
             "(conv2d (F1)-(F3))", bound, BOUND)),
    counterexamples=(
        Counterexample("a plain convolution with the normalised kernel, zeros outside: near a border, and with a global kernel every pixel "
                       "is near one, the kernel inside the map does not sum to 1", world, _relative.OUTSIDE, STATIC,
                       Step("conv2d(v, e^w/Σe^w flipped), padding = (H-1, W-1)", lambda w: zero_padded(w, w.v)), bound=bound,
                       agrees=(("divided by what it makes of ones", relative, lambda w: zero_padded(w, w.v) / zero_padded(w, ones(w))),
                               ("relative attention keeps ones", of_ones, ones))),
        Counterexample("the table as the kernel of conv2d, not flipped", world, _relative.OUTSIDE, STATIC,
                       Step("conv2d(v, e^w) / conv2d(1, e^w)", unflipped), bound=bound,
                       agrees=(("an even table, w_δ = w_{-δ}", lambda w: relative(even(w)), lambda w: unflipped(even(w))),)),
        Counterexample("content that differs from key to key", world, _relative.OUTSIDE,
                       Step("relative_attention(q, k, v, w)", lambda w: relative(changed(w, k=w.keys))),
                       Step("conv(v, e^w) / conv(1, e^w)", normalised), bound=bound),
    ),
)

PROOFS = (PROOF,)
