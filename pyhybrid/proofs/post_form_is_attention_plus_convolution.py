"""Relative attention in the form "post" is attention plus a convolution, and with a table made for it any shared depthwise convolution."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from pyhybrid.proofs import _relative
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv
from pyhybrid.proofs._proof import Counterexample, Proof, Step
from pyhybrid.proofs._relative import biases, bound, convolved, plain, post_bound, post_step, relative, spelled, weighed


def world(draw: Draw, **sizes: Any) -> World:
    return _relative.world(draw, form="post", **sizes)


def unflipped(w: World) -> Array:
    K = np.repeat(w.table[:, None], w.v.shape[1] // w.heads, axis=0)
    return plain(w) + Conv(w.v, K, padding=(w.H - 1, w.W - 1), groups=w.v.shape[1])


def even(w: World) -> World:
    return changed(w, table=w.table + w.table[:, ::-1, ::-1])


def both(w: World) -> Array:
    return plain(w) + convolved(w, w.v, w.table)


POST = Step("relative_attention(q, k, v, w), form post", relative)
PROOF = Proof(
    name="post_form_is_attention_plus_convolution",
    title="In the form \"post\", relative attention is attention plus a convolution with one kernel per head",
    statement="relative_attention(q, k, v, w), form post = attention(q, k, v) + conv2d(v, w flipped, padding = (H-1, W-1), groups = C)",
    hypotheses=("form \"post\": the bias is added to the weights, after the softmax",),
    domain="any N, heads, d, H, W >= 1, any finite table of either sign; the borders are included, with zeros outside",
    source=_relative.SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4), dict(N=1, heads=3, d=1, H=1, W=6), dict(N=1, heads=1, d=2, H=4, W=2),
           dict(N=1, heads=1, d=2, H=4, W=4, spread=100.0)),
    small=(dict(N=1, heads=1, d=1, H=2, W=2, scale=1.0), dict(N=1, heads=2, d=1, H=1, W=2, scale=1.0)),
    steps=(
        POST,
        post_step("Σ_u (softmax_u(τ q_t·k_u) + w_{t-u})·v_u", lambda w: spelled(w, biases(w), "post"), "relative_attention (F1)-(F6)"),
        post_step("attention(q, k, v) + Σ_u w_{t-u}·v_u", lambda w: plain(w) + weighed(w, biases(w)),
                  "the product distributes over the sum; attention (F1)-(F4)"),
        post_step("attention(q, k, v) + conv2d(v, w flipped, padding = (H-1, W-1), groups = C)", both,
                  "tap p of conv2d reads u = t + p - (H-1, W-1), so it must hold w_{t-u}: the table from its end (conv2d (F1)-(F3))")),
    counterexamples=(
        Counterexample("form \"pre\": inside the softmax, the kernel multiplies the weights", world, _relative.OUTSIDE,
                       Step("relative_attention(q, k, v, w), form pre", lambda w: relative(w, "pre")),
                       Step("attention(q, k, v) + conv(v, w)", both), bound=post_bound),
        Counterexample("the table as the kernel of conv2d, not flipped", world, _relative.OUTSIDE, POST,
                       Step("attention(q, k, v) + conv2d(v, w)", unflipped), bound=post_bound,
                       agrees=(("an even table, w_δ = w_{-δ}", lambda w: relative(even(w)), lambda w: unflipped(even(w))),)),
    ),
)


def made_world(draw: Draw, *, kernel: tuple[int, int], **sizes: Any) -> World:
    """A kernel (heads, kh, kw) over small displacements; the table is that kernel, 0 elsewhere, minus 1/n; all keys are alike."""
    w = _relative.alike(world(draw, **sizes))
    (kh, kw), n = kernel, w.H * w.W
    small = draw.real("K", w.heads, kh, kw)
    full = np.array(draw.zeros(*w.table.shape))
    full[:, w.H - 1 - kh // 2 : w.H + kh // 2, w.W - 1 - kw // 2 : w.W + kw // 2] = small
    return changed(w, small=small, full=full, table=full - (Fraction(1, n) if draw.exact else 1 / n))


def mean(w: World) -> Array:
    """The mean of v over the map, at every pixel."""
    return np.broadcast_to(w.v.sum((2, 3), keepdims=True) / (w.H * w.W), w.v.shape)


def filtered(w: World) -> Array:
    """The zero-padded depthwise convolution with the small kernel."""
    return convolved(w, w.v, w.small)


def not_lowered(w: World) -> Array:
    return relative(changed(w, table=w.full))


def lowered_inside(w: World) -> World:
    """The table k - 1/n on the support of the kernel alone, and 0 elsewhere."""
    return changed(w, table=np.where(w.full == 0, 0.0, w.table))


def per_channel(w: World) -> Array:
    """A convolution with a kernel of its own for every channel: k, 2k, 3k, … ."""
    C = w.v.shape[1]
    K = _relative.flipped(w, w.small) * np.arange(1, C + 1)[:, None, None, None]
    return Conv(w.v, K, padding=(w.small.shape[1] // 2, w.small.shape[2] // 2), groups=C)


MADE = Step("relative_attention(q, κ, v, k - 1/n), form post", relative)
CONVOLUTION = Proof(
    name="post_form_is_attention_plus_convolution.any_kernel",
    title="With the table k - 1/n and content that says nothing, the form \"post\" is exactly the zero-padded convolution with k",
    statement="relative_attention(q, κ, v, w), form post, w_δ = k_δ - 1/n for all displacements = conv2d(v, k flipped, padding = ⌊size/2⌋, "
              "groups = C), n = H·W",
    hypotheses=("form \"post\"", "the content term q_t·k_u does not depend on u", "k_δ = 0 outside the small kernel, -1/n everywhere",
                "the channels of a head share one kernel"),
    domain="any N, heads, d, any odd kernel that fits the displacements of the map, of either sign; the borders are included",
    source=_relative.SOURCE,
    world=made_world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4, kernel=(3, 3)), dict(N=1, heads=3, d=1, H=1, W=6, kernel=(1, 5)),
           dict(N=1, heads=1, d=2, H=4, W=3, kernel=(7, 5))),
    small=(dict(N=1, heads=1, d=1, H=2, W=2, kernel=(3, 3), scale=1.0), dict(N=1, heads=2, d=1, H=1, W=3, kernel=(1, 3), scale=1.0)),
    steps=(
        MADE,
        post_step("Σ_u softmax_u(τ q_t·κ)·v_u + Σ_u (k_{t-u} - 1/n)·v_u", lambda w: plain(w) + convolved(w, w.v, w.table),
                  "post_form_is_attention_plus_convolution"),
        post_step("mean(v) + Σ_u (k_{t-u} - 1/n)·v_u", lambda w: mean(w) + convolved(w, w.v, w.table),
                  "n equal scores: every weight is 1/n (zero_queries_average)"),
        post_step("Σ_u k_{t-u}·v_u", lambda w: convolved(w, w.v, w.full), "Σ_u 1/n·v_u = mean(v), at every pixel"),
        post_step("conv2d(v, k flipped, padding = ⌊size/2⌋, groups = C)", filtered, "the other displacements have weight 0")),
    counterexamples=(
        Counterexample("the table k itself: the mean of the map is added", made_world, _relative.OUTSIDE | dict(kernel=(3, 3)),
                       Step("relative_attention(q, κ, v, k), form post", not_lowered), Step("conv(v, k)", filtered), bound=post_bound,
                       agrees=(("the difference is mean(v)", not_lowered, lambda w: filtered(w) + mean(w)),)),
        Counterexample("1/n taken from the kernel's own taps only", made_world, dict(N=1, heads=1, d=2, H=4, W=4, kernel=(3, 3)),
                       Step("relative_attention(q, κ, v, k - 1/n on 3 x 3, 0 elsewhere), form post",
                            lambda w: relative(lowered_inside(w))), Step("conv(v, k)", filtered), bound=post_bound),
        Counterexample("a kernel for every channel: the channels of a head share their weights", made_world,
                       _relative.OUTSIDE | dict(kernel=(3, 3)), MADE, Step("conv2d(v, c·k for channel c = 1, 2)", per_channel),
                       bound=post_bound, agrees=(("channel 1", lambda w: relative(w)[:, :1], lambda w: per_channel(w)[:, :1]),)),
        Counterexample("content that differs from key to key", made_world, _relative.OUTSIDE | dict(kernel=(3, 3)),
                       Step("relative_attention(q, k, v, k - 1/n), form post", lambda w: relative(changed(w, k=w.keys))),
                       Step("conv(v, k)", filtered), bound=lambda w: post_bound(w) + bound(changed(w, k=w.keys))),
    ),
)

PROOFS = (PROOF, CONVOLUTION)
