"""Relative attention on maps: what the statements about it have in common.

Notation. t and u are pixels, t - u their displacement, w the table of a head: a number per displacement, w_δ = table[δ + (H-1, W-1)].
conv(x, w) is the depthwise convolution Σ_u w_{t-u}·x_u over the pixels of the map. conv2d slides the kernel the other way, so that its
kernel is w flipped along both axes, and its padding (H-1, W-1).

Bound. A score is off by δ = (d + 4)·L·u, L >= every |score|, bias included; outputs are off as in _tokens. A sum of n products of a weight
and a value, each at most T·max|v|, is off by n²·u·T·max|v| in either order; in the form "post" T is the largest |w|, and at least 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import attention, relative_attention, roll, softmax
from pyhybrid.proofs import _tokens
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv, Pair
from pyhybrid.proofs._proof import EPS, Function, Step
from pyhybrid.proofs._tokens import as_map, places, tokens

SOURCE = "CoAtNet, arXiv 2106.04803, eqs. (1)-(3)"
BOUND = "2u·max|v|·(n + 8 + 2·(d+4)·L), n pixels, L >= every |score|"
POST_BOUND = "2u·max|v|·(n + 8 + 2·(d+4)·L + n²·max(1, |w|)), n pixels, L >= every |score|"


def world(draw: Draw, *, form: str = "pre", **sizes: Any) -> World:
    """q, k, v as maps, and a table. In the form "pre" the table is exponentiated, in the form "post" it is not."""
    w = _tokens.world(draw, **sizes)
    return changed(w, table=drawn_table(draw, form, w.heads, 2 * w.H - 1, 2 * w.W - 1), form=form)


def drawn_table(draw: Draw, form: str, *shape: int) -> Array:
    return draw.log("w", *shape) if form == "pre" else draw.real("w", *shape)


def alike(w: World) -> World:
    """The same with one key for all pixels: that of the pixel (0, 0)."""
    return changed(w, k=np.broadcast_to(w.k[..., :1, :1], w.k.shape), keys=w.k)


def relative(w: World, form: str | None = None) -> Array:
    """The operator relative_attention."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    form = w.form if form is None else form
    return as_map(w, relative_attention.forward(q, k, v, w.table, size=(w.H, w.W), form=form, scale=w.scale)[0])


def plain(w: World) -> Array:
    """The operator attention, without a bias."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    return as_map(w, attention.forward(q, k, v, scale=w.scale)[0])


def biases(w: World) -> Array:
    """w_{t-u} for every pair of pixels, (heads, H·W, H·W)."""
    down, right = (x[:, None] - x for x in places(w))
    return w.table[:, down + w.H - 1, right + w.W - 1]


def spelled(w: World, b: Array | float, form: str = "pre", order: Array | None = None) -> Array:
    """Σ_u m_tu·v_u, m = softmax_u(τ q_t·k_u + b_tu) or softmax_u(τ q_t·k_u) + b_tu; with an order, the query of t is that of order[t]."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    q = q if order is None else q[:, :, order]
    z = w.tau * (q[:, :, :, None] * k[:, :, None]).sum(4)                                 # (N, heads, t, u)
    m = softmax.forward(z + b)[0] if form == "pre" else softmax.forward(z)[0] + b
    return as_map(w, (m[..., None] * v[:, :, None]).sum(3))


def weighed(w: World, m: Array) -> Array:
    """Σ_u m_tu·v_u, m (heads, t, u)."""
    return as_map(w, (m[..., None] * tokens(w, w.v)[:, :, None]).sum(3))


def flipped(w: World, table: Array) -> Array:
    """A table of each head, flipped, as the depthwise kernel of the channels of the head, (C, 1, kh, kw)."""
    return np.repeat(table[:, None, ::-1, ::-1], w.v.shape[1] // w.heads, axis=0)


def convolved(w: World, x: Array, table: Array) -> Array:
    """conv(x, table), zeros outside the map; the table is odd in height and width, and its middle is the displacement 0."""
    (kh, kw), C = table.shape[1:], x.shape[1]
    return Conv(x, flipped(w, table), padding=(kh // 2, kw // 2), groups=C)


def ones(w: World) -> Array:
    return np.ones_like(w.v)


def outside_radius(w: World) -> Array:
    """Whether a displacement is longer than ρ in one direction, (2H-1, 2W-1)."""
    down, right = (np.abs(np.arange(2 * n - 1) - (n - 1)) > w.config["radius"] for n in (w.H, w.W))
    return down[:, None] | right


def near(w: World, table: Array) -> Array:
    """The displacements up to ρ of a table, (heads, 2ρ+1, 2ρ+1)."""
    r = w.config["radius"]
    return table[:, w.H - 1 - r : w.H + r, w.W - 1 - r : w.W + r]


def moved(x: Array, offset: Pair) -> Array:
    """x (N, C, H, W) rolled: down and to the right, around the border."""
    return np.moveaxis(roll.forward(np.ascontiguousarray(np.moveaxis(x, 1, 3)), offset=offset)[0], 3, 1)


def with_table(w: World, table: Array) -> World:
    return changed(w, table=table)


def no_table(w: World) -> World:
    return changed(w, table=0 * w.table)


def at_positions(w: World) -> World:
    """Positions added to queries and keys, and no table."""
    return changed(no_table(w), q=w.q + w.p, k=w.k + w.p)


def bound(w: World) -> float:
    """max|v|·2·((n + 8)·u + 2δ), δ = (d + 4)·L·u."""
    d = w.q.shape[1] // w.heads
    table = float(np.abs(w.table[w.table > HIDDEN]).max(initial=0.0))
    L = float(w.tau * d * np.abs(w.q).max() * np.abs(w.k).max()) + table
    return float(np.abs(w.v).max()) * 2 * EPS * (w.H * w.W + 8 + 2 * (d + 4) * L)


def post_bound(w: World) -> float:
    """As `bound`, with n²·u·max|w| for the sum of the biases times the values."""
    return bound(w) + 2 * EPS * float(np.abs(w.v).max()) * (w.H * w.W) ** 2 * max(1.0, float(np.abs(w.table).max()))


def generic_bound(w: World) -> float:
    """For worlds with a further table `generic` and positions p."""
    return post_bound(changed(w, table=np.abs(w.generic) + np.abs(w.table), q=np.abs(w.q) + np.abs(w.p), k=np.abs(w.k) + np.abs(w.p)))


def step(text: str, value: Function, reason: str) -> Step:
    return Step(text, value, reason, bound, BOUND)


def post_step(text: str, value: Function, reason: str) -> Step:
    return Step(text, value, reason, post_bound, POST_BOUND)


HIDDEN = -1e29  # a table entry below hides its pixels: their weights are exactly 0, so it counts in no bound
OUTSIDE: dict[str, Any] = dict(N=1, heads=1, d=2, H=3, W=4)
