"""A table that is -inf beyond a radius: local relative attention, and without content a depthwise convolution away from the borders."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import local_relative_attention
from pyhybrid.proofs import _relative
from pyhybrid.proofs import static_relative_attention_is_a_normalised_convolution as static
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv, interior
from pyhybrid.proofs._proof import Counterexample, Proof, Step
from pyhybrid.proofs._relative import as_map, biases, bound, convolved, near, ones, relative, spelled, step, tokens


def world(draw: Draw, *, score: float = -np.inf, **sizes: Any) -> World:
    """`score` stands in the table for the displacements beyond the radius; `everywhere` is the table before."""
    w = _relative.world(draw, **sizes)
    return changed(w, table=np.where(_relative.outside_radius(w), score, w.table), everywhere=w.table)


def silent_world(draw: Draw, **sizes: Any) -> World:
    return _relative.alike(world(draw, **sizes))


def inside(w: World, x: Array) -> Array:
    """The pixels at least ρ away from every border."""
    return interior(x, (w.config["radius"], w.config["radius"]))


def kernel(w: World) -> Array:
    """e^w / Σ e^w over the displacements up to ρ, (heads, 2ρ+1, 2ρ+1)."""
    e = np.exp(near(w, w.table))
    return e / e.sum((1, 2), keepdims=True)


def unpadded(w: World) -> Array:
    return Conv(w.v, _relative.flipped(w, kernel(w)), groups=w.v.shape[1])


def padded(w: World) -> Array:
    return convolved(w, w.v, kernel(w))


def share(w: World) -> Array:
    """The part of the kernel that lies inside the map, at every pixel."""
    return convolved(w, ones(w), kernel(w))


CONV = Step("conv2d(v, e^w/Σe^w flipped, padding = ρ, groups = C)", padded)
PROOF = Proof(
    name="windowed_table_is_a_depthwise_convolution",
    title="Without content, a table that is -inf beyond ρ is a depthwise convolution away from the borders",
    statement="relative_attention(q, κ, v, w) = conv2d(v, e^w / Σ e^w flipped, groups = C) at the pixels at least ρ away from every "
              "border, a kernel of (2ρ+1)² taps per head",
    hypotheses=("w_δ = -inf if |δ| > ρ in one direction, finite otherwise", "the content term q_t·k_u does not depend on u", "form \"pre\"",
                "the pixel is at least ρ away from every border"),
    domain="any N, heads, d, 2ρ < H, W; at the borders see static_relative_attention_is_a_normalised_convolution",
    source=_relative.SOURCE,
    world=silent_world,
    sizes=(dict(N=2, heads=2, d=3, H=4, W=3, radius=1), dict(N=1, heads=1, d=2, H=5, W=6, radius=2),
           dict(N=1, heads=3, d=1, H=2, W=3, radius=0)),
    small=(),
    steps=(
        Step("relative_attention(q, κ, v, w), interior", lambda w: inside(w, relative(w))),
        step("conv(v, e^w) / conv(1, e^w), interior", lambda w: inside(w, static.normalised(w)),
             "static_relative_attention_is_a_normalised_convolution; e^(-inf) = 0"),
        step("conv(v, e^w) / Σ_δ e^(w_δ), interior", lambda w: inside(w, convolved(w, w.v, np.exp(w.table))) / np.repeat(
            np.exp(near(w, w.table)).sum((1, 2)), w.v.shape[1] // w.heads)[:, None, None],
             "there all (2ρ+1)² taps that are not 0 lie inside the map, so the convolution of ones is their sum"),
        step("conv2d(v, e^w/Σe^w flipped, groups = C), no padding", unpadded,
             "the other taps are 0; a convolution without padding has the pixels of the interior (conv2d (F1)-(F3))")),
    counterexamples=(
        Counterexample("the borders: relative attention divides by the taps inside the map, a padded convolution by all", silent_world,
                       dict(N=1, heads=1, d=2, H=4, W=5, radius=1), Step("relative_attention(q, κ, v, w)", relative), CONV, bound=bound,
                       agrees=(("the interior", lambda w: inside(w, relative(w)), lambda w: inside(w, padded(w))),
                               ("everywhere, times the part of the kernel inside the map", lambda w: relative(w) * share(w), padded))),
        Counterexample("a table that is finite everywhere: no pixel is away from the borders", silent_world,
                       dict(N=1, heads=1, d=2, H=4, W=5, radius=1),
                       Step("relative_attention(q, κ, v, w), interior", lambda w: inside(w, relative(changed(w, table=w.everywhere)))),
                       Step("conv2d(v, e^w/Σe^w flipped), interior", unpadded), bound=bound),
        Counterexample("content that differs from key to key", silent_world, dict(N=1, heads=1, d=2, H=4, W=5, radius=1),
                       Step("relative_attention(q, k, v, w), interior", lambda w: inside(w, relative(changed(w, k=w.keys)))),
                       Step("conv2d(v, e^w/Σe^w flipped), interior", unpadded), bound=lambda w: bound(changed(w, k=w.keys))),
    ),
)


def local(w: World) -> Array:
    """The operator local_relative_attention, with the displacements up to ρ as its table."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    table = np.ascontiguousarray(near(w, w.everywhere))
    return as_map(w, local_relative_attention.forward(q, k, v, table, size=(w.H, w.W), radius=w.config["radius"], scale=w.scale)[0])


def summed_in_window(w: World) -> Array:
    """Σ e^(z - max z)·v_u / Σ e^(z - max z) over the pixels u that are at most ρ away from t, pixel by pixel."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    (row, column), r = _relative.places(w), w.config["radius"]
    rows = []
    for t, (i, j) in enumerate(zip(row, column, strict=True)):
        u = np.flatnonzero((np.abs(row - i) <= r) & (np.abs(column - j) <= r))
        z = w.tau * (q[:, :, t, None] * k[:, :, u]).sum(3) + w.everywhere[:, i - row[u] + w.H - 1, j - column[u] + w.W - 1]
        e = np.exp(z - z.max(2, keepdims=True))
        rows.append((e[..., None] * v[:, :, u]).sum(2) / e.sum(2)[..., None])
    return as_map(w, np.stack(rows, axis=2))


def loud_world(draw: Draw, **sizes: Any) -> World:
    """Scores of 0, but 90 for the first pixel of the map, where v is 1 and elsewhere 0; a table of 0, and -100 beyond the radius."""
    w = world(draw, score=-100.0, **sizes)
    k, v = np.zeros(w.k.shape), np.zeros(w.v.shape)
    k[..., 0, 0], v[..., 0, 0] = 90, 1
    return changed(w, q=np.ones(w.q.shape), k=k, v=v, table=np.where(_relative.outside_radius(w), -100.0, 0.0) + 0 * w.table,
                   everywhere=0 * w.table)


def hidden(w: World, score: float) -> Array:
    return relative(changed(w, table=np.where(_relative.outside_radius(w), score, w.everywhere)))


LOCAL = Step("local_relative_attention(q, k, v, w near 0, radius = ρ)", local)
WINDOW = Proof(
    name="windowed_table_is_a_depthwise_convolution.local",
    title="With content, a table that is -inf beyond ρ is local relative attention",
    statement="relative_attention(q, k, v, w) = local_relative_attention(q, k, v, w_δ for |δ| <= ρ, radius = ρ) at every pixel, "
              "if w_δ = -inf for the others",
    hypotheses=("w_δ = -inf if |δ| > ρ in one direction", "form \"pre\"", "keys outside the map are left out"),
    domain="any N, heads, d, H, W > ρ; ρ = 0 gives v itself; the borders are included",
    source=_relative.SOURCE + " and section 2.2, option (B)",
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=4, W=3, radius=1), dict(N=1, heads=1, d=2, H=3, W=5, radius=2),
           dict(N=1, heads=2, d=2, H=2, W=3, radius=0), dict(N=1, heads=1, d=2, H=3, W=3, radius=1, score=-1e30)),
    small=(),
    steps=(
        Step("relative_attention(q, k, v, w)", relative),
        step("Σ_u softmax_u(τ q_t·k_u + w_{t-u})·v_u over all pixels", lambda w: spelled(w, biases(w)), "relative_attention (F1)-(F6)"),
        step("Σ_u softmax_u(τ q_t·k_u + w_{t-u})·v_u over |t-u| <= ρ", summed_in_window,
             "e^(-inf) = 0, and e^(-1e30) rounds to 0: the others add nothing to either sum"),
        step(LOCAL.text, local, "local_relative_attention (F1)-(F6)")),
    counterexamples=(
        Counterexample("-100 instead of -inf, where a hidden score is 90 above the others", loud_world,
                       dict(N=1, heads=1, d=1, H=4, W=4, radius=1, scale=1.0),
                       Step("relative_attention(q, k, v, w), -100 beyond ρ", relative), LOCAL,
                       bound=bound, agrees=(("-inf in its place", lambda w: hidden(w, -np.inf), local),)),
        Counterexample("a table that is finite everywhere", world, dict(N=1, heads=1, d=2, H=4, W=4, radius=1),
                       Step("relative_attention(q, k, v, w)", lambda w: relative(changed(w, table=w.everywhere))), LOCAL,
                       bound=lambda w: bound(changed(w, table=w.everywhere))),
    ),
)

PROOFS = (PROOF, WINDOW)
