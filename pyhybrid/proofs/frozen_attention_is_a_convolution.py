"""Attention whose weights are the same at every pixel is a depthwise convolution: weigh and sum becomes shift and sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import shift_sum
from pyhybrid.ops.local_attention import Window
from pyhybrid.ops.softmax import forward as softmax
from pyhybrid.proofs import _attention as spelled
from pyhybrid.proofs import positional_bias_has_no_effect as term
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv, Pair, Shift, Sum, attention, heads_of, interior, mirrored, on_grid, taps
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (10)-(15), and stage II of a convolution, eqs. (7)-(9)"


def world(draw: Draw, *, N: int, heads: int, d: int, H: int, W: int, k: int, stride: Pair = (1, 1), border: str = "zero") -> World:
    varying = draw("w", N, heads, k * k, H, W)
    return World(v=draw("v", N, heads * d, H, W), a=draw("a", heads, k * k), varying=varying, heads=heads, k=k, r=k // 2, stride=stride,
                 window=Window(k, stride, border, (H, W)))


def aggregated(w: World, a: Array) -> Array:
    """Σ_m a·U(v), (F6) of local_attention; a broadcasts to (N, heads, k·k, Ho, Wo)."""
    o = (a[:, :, None] * heads_of(w.window.read(w.v), w.heads)).sum(3)
    return o.reshape(len(o), -1, *o.shape[3:])


def frozen(w: World) -> Array:
    return aggregated(w, w.a[None, :, :, None, None])


def per_channel(w: World) -> Array:
    """a as one number per tap and channel, (k·k, C, 1, 1): head n gives its numbers to its d channels."""
    return np.repeat(w.a, w.v.shape[1] // w.heads, axis=0).T[:, :, None, None]


def kernel(a: Array, d: int, k: int) -> Array:
    """a (heads, k·k) as the kernel of a depthwise convolution, (C, 1, k, k)."""
    return np.repeat(a, d, axis=0).reshape(-1, 1, k, k)


def depthwise(w: World, x: Array, padding: int) -> Array:
    C = x.shape[1]
    return Conv(x, kernel(w.a, C // w.heads, w.k), padding=padding, stride=w.stride, groups=C)


def shifted_sum(w: World, before: bool) -> Array:
    """Σ_m of the shifted values, multiplied by their weights before or after the shift."""
    a = per_channel(w)
    terms = ((Shift(a[m] * w.v, u - w.r, v - w.r) if before else a[m] * Shift(w.v, u - w.r, v - w.r)) for m, u, v in taps((w.k, w.k)))
    return on_grid(Sum(terms), w.stride)


def stage_two(w: World, a: Array) -> Array:
    """shift_sum of the maps a[m]·v, a (N, heads, k·k, H, W) or broadcasting to it."""
    maps = a[:, :, None] * heads_of(w.v, w.heads)[:, :, :, None]                       # (N, heads, d, k·k, H, W)
    N, heads, d, taps_, H, W = maps.shape
    return shift_sum.forward(maps.reshape(N, heads * d, taps_, H, W).swapaxes(1, 2).copy(), kernel_size=w.k, stride=w.stride)[0]


MIRRORED = Proof(
    name="frozen_attention_is_a_convolution",
    title="With the same weights at every pixel, attention is a depthwise convolution",
    statement="Σ_m a[n, m]·U(v)[n·d+e, m] = conv2d(v reflected, a, groups = C, stride = s), one k x k kernel per head",
    hypotheses=("the weights do not depend on the pixel (nor on the image)", "border \"reflect\": v is continued by reflection"),
    domain="any weights, also negative ones; any N, heads, d, odd window with ⌊k/2⌋ < H, W, any stride",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, k=3, border="reflect"),
           dict(N=1, heads=1, d=2, H=5, W=7, k=7, stride=(2, 3), border="reflect"),
           dict(N=1, heads=3, d=1, H=1, W=2, k=1, border="reflect")),
    small=(dict(N=1, heads=2, d=1, H=3, W=2, k=3, border="reflect"),),
    degree=2,
    steps=(
        Step("Σ_m a[n, m]·U(v)[n·d+e, m]", frozen),
        Step("Σ_uv a[n, u, v]·(v reflected)[s·i+u, s·j+v]", lambda w: Sum(
            per_channel(w)[m] * on_grid(mirrored(w.v, w.r)[..., u : u + w.v.shape[2], v : v + w.v.shape[3]], w.stride)
            for m, u, v in taps((w.k, w.k))), "local_attention (F6); U reads the reflected map"),
        Step("conv2d(v reflected, a, groups = C, stride = s)", lambda w: depthwise(w, mirrored(w.v, w.r), 0),
             "a number per tap that is the same at every pixel is a kernel; conv2d (F1)-(F3), one channel per group")),
    counterexamples=(
        Counterexample("weights that differ from pixel to pixel, against the kernel of the pixel (0, 0)", world,
                       dict(N=1, heads=1, d=1, H=4, W=4, k=3, border="reflect"),
                       Step("Σ_m w_ij[m]·U(v)[m]", lambda w: aggregated(w, w.varying)),
                       Step("conv2d(v reflected, w_00)", lambda w: depthwise(changed(w, a=w.varying[0, :, :, 0, 0]),
                                                                            mirrored(w.v, w.r), 0)),
                       agrees=(("the pixel (0, 0)", lambda w: aggregated(w, w.varying)[..., 0, 0], lambda w: depthwise(
                           changed(w, a=w.varying[0, :, :, 0, 0]), mirrored(w.v, w.r), 0)[..., 0, 0]),)),
        Counterexample("a convolution that pads with zeros instead of reflecting", world,
                       dict(N=1, heads=1, d=2, H=4, W=4, k=3, border="reflect"),
                       Step("Σ_m a[m]·U(v)[m]", frozen), Step("conv2d(v, a, groups = C, padding = r)", lambda w: depthwise(w, w.v, w.r)),
                       agrees=(("the interior, where no window leaves the map", lambda w: interior(frozen(w), (1, 1)),
                                lambda w: interior(depthwise(w, w.v, w.r), (1, 1))),)),
    ),
)

STAGE_TWO = Proof(
    name="frozen_attention_is_a_convolution.stage_two",
    title="With the same weights at every pixel, stage II of attention is stage II of a convolution",
    statement="Σ_m a[n, m]·U(v)[n·d+e, m] = shift_sum of the k² maps a[n, m]·v: weigh and sum is shift and sum",
    hypotheses=("the weights do not depend on the pixel", "border \"zero\": v continues with zeros, as in a convolution"),
    domain="any weights, N, heads, d, H, W >= 1, odd window, any stride",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, k=3), dict(N=1, heads=1, d=2, H=3, W=7, k=7, stride=(2, 3)),
           dict(N=1, heads=3, d=1, H=2, W=2, k=5)),
    small=(dict(N=1, heads=2, d=1, H=2, W=2, k=3),),
    degree=2,
    steps=(
        Step("Σ_m a[n, m]·U(v)[n·d+e, m]", frozen),
        Step("Σ_m a[m]·Shift(v, u-r, v-r), on the stride grid", lambda w: shifted_sum(w, before=False),
             "with zeros outside, tap m = (u, v) of all windows together is the shifted map"),
        Step("Σ_m Shift(a[m]·v, u-r, v-r), on the stride grid", lambda w: shifted_sum(w, before=True),
             "a[m] is one number: it commutes with the shift (pointwise_commutes_with_shift)"),
        Step("stage II(a[m]·v)", lambda w: stage_two(w, w.a[None, :, :, None, None]), "shift_sum (F1), (F2)"),
        Step("conv2d(v, a, groups = C, padding = r, stride = s)", lambda w: depthwise(w, w.v, w.r),
             "a convolution is shift and sum (conv_is_shift_and_sum)")),
    counterexamples=(
        Counterexample("weights that differ from pixel to pixel: multiplied before the shift, they arrive at other pixels", world,
                       dict(N=1, heads=1, d=1, H=4, W=4, k=3),
                       Step("Σ_m w_ij[m]·U(v)[m]", lambda w: aggregated(w, w.varying)),
                       Step("stage II(w[m]·v)", lambda w: stage_two(w, w.varying)),
                       agrees=(("with each weight shifted the other way first", lambda w: aggregated(w, w.varying),
                                lambda w: stage_two(w, sent_back(w))),)),
    ),
)


def sent_back(w: World) -> Array:
    """Weight m shifted by (r-u, r-v): the weights as the read pixel sees them."""
    return np.stack([Shift(w.varying[:, :, m], w.r - u, w.r - v) for m, u, v in taps((w.k, w.k))], axis=2)


def position_world(draw: Draw, **sizes: Any) -> World:
    """Queries that are the same at every pixel, q_ij = b_q, and keys 0."""
    w = spelled.world(draw, **sizes)
    b_q = draw.exponent("b_q", w.q.shape[1], 1, 1)
    return changed(w, q=np.broadcast_to(b_q, w.q.shape), k=0 * w.k, content=w.q, r=w.size // 2)


def positional(w: World, q: Array) -> Array:
    return attention(q, w.k, w.v, term.position(w, True), **w.config)


def inside(w: World, x: Array) -> Array:
    return interior(x, (w.r, w.r))


def table(w: World) -> Array:
    """softmax_m(τ b_q·(pe_ij - U(pe))) at the first pixel of the interior, (heads, k·k)."""
    S = spelled.scores(w, term.relative(w, term.position(w, True))[None, None])
    return softmax(S[0, :, :, w.r, w.r], axis=1)[0]


def by_table(w: World, x: Array) -> Array:
    C = x.shape[1]
    return Conv(x, kernel(table(w), C // w.heads, w.size), groups=C)


POSITION = Proof(
    name="frozen_attention_is_a_convolution.position",
    title="Attention by position alone is a convolution with the positional weights",
    statement="attention(b_q, 0, v, pe) = conv2d(v, softmax_m(τ b_q·W_p Δ_m), groups = C) where no window leaves the map, "
              "Δ_m the displacement of tap m; b_q = 0 gives the box mean",
    hypotheses=("every pixel has the same query: W_q = 0", "keys 0", "the window stays inside the map"),
    domain="any N, heads, d, odd window, stride 1; the check on fractions needs locations that are whole, H, W <= 3",
    source=SOURCE + "; positional term: official ACmix code",
    world=position_world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, k=3), dict(N=1, heads=1, d=4, H=9, W=8, k=7), dict(N=1, heads=3, d=1, H=5, W=6, k=5)),
    small=(dict(N=1, heads=1, d=1, H=3, W=3, k=3, scale=1.0),),
    steps=(
        Step("attention(b_q, 0, v, pe), interior", lambda w: inside(w, positional(w, w.q))),
        spelled.exact_step("Σ_m softmax_m(τ b_q·(pe_ij - U(pe)))·U(v), interior", lambda w: inside(w, spelled.by_definition(
            w, spelled.scores(w, term.relative(w, term.position(w, True))[None, None]))), "local_attention (F1)-(F6) with k = 0"),
        spelled.exact_step("conv2d(v, softmax_m(τ b_q·(pe_rr - U(pe)_rr)), groups = C)", lambda w: by_table(w, w.v),
                           "pe_ij - U(pe) is the same at every inner pixel (positional_term_is_relative), and so are the weights")),
    counterexamples=(
        Counterexample("the border: mirrored taps count with their true places, so the weights change there", position_world,
                       dict(N=1, heads=1, d=2, H=5, W=5, k=3),
                       Step("attention(b_q, 0, v, pe)", lambda w: positional(w, w.q)),
                       Step("conv2d(v reflected, the same kernel)", lambda w: by_table(w, mirrored(w.v, w.r))), bound=spelled.bound,
                       agrees=(("the interior", lambda w: inside(w, positional(w, w.q)), lambda w: by_table(w, w.v)),)),
        Counterexample("queries that see the image", position_world, dict(N=1, heads=1, d=2, H=5, W=5, k=3),
                       Step("attention(q, 0, v, pe), interior", lambda w: inside(w, positional(w, w.content))),
                       Step("conv2d(v, softmax_m(τ b_q·W_p Δ_m))", lambda w: by_table(w, w.v)), bound=spelled.bound),
    ),
)

PROOFS = (MIRRORED, STAGE_TWO, POSITION)
