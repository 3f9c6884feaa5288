"""When relative attention of a moved map is the moved relative attention: on a torus, within a radius, on an empty background."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _relative, _tokens
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Pair, Shift, Sum, heads_of
from pyhybrid.proofs._proof import Counterexample, Proof, Step
from pyhybrid.proofs._relative import (
    at_positions,
    bound,
    changed,
    convolved,
    drawn_table,
    generic_bound,
    moved,
    no_table,
    places,
    plain,
    post_bound,
    post_step,
    relative,
    spelled,
    step,
    with_table,
)


def torus_world(draw: Draw, *, offset: Pair, form: str = "pre", **sizes: Any) -> World:
    """The table w[a, b] = base[a mod H, b mod W]; `generic` is any table, `rows` one that is periodic in rows alone; p are positions."""
    w = _relative.world(draw, form=form, **sizes)
    base = drawn_table(draw, form, w.heads, w.H, w.W)
    down, right = (np.arange(1 - n, n) for n in (w.H, w.W))
    half = w.table[:, w.H - 1 :]
    return changed(w, base=base, table=base[:, down[:, None] % w.H, right % w.W], generic=w.table, rows=half[:, down % w.H], offset=offset,
                   p=draw.exponent("p", 1, *w.q.shape[1:]))


def of_moved(w: World, offset: Pair | None = None) -> Array:
    s = w.offset if offset is None else offset
    return relative(changed(w, q=moved(w.q, s), k=moved(w.k, s), v=moved(w.v, s)))


def moved_result(w: World, offset: Pair | None = None) -> Array:
    return moved(relative(w), w.offset if offset is None else offset)


def come_from(w: World) -> tuple[Array, Array]:
    """The row and column that every pixel of the moved map comes from."""
    row, column = places(w)
    return (row - w.offset[0]) % w.H, (column - w.offset[1]) % w.W


def unrolled(w: World) -> Array:
    """Σ_u m(τ q_{t-s}·k_u, w_{(t-s)-u})·v_u, displacements modulo the size of the map."""
    (i, j), (row, column) = come_from(w), places(w)
    b = w.base[:, (i[:, None] - row) % w.H, (j[:, None] - column) % w.W]
    return spelled(w, b, w.form, order=i * w.W + j)


def moved_before(w: World) -> World:
    """Every q, k, v of the moved map."""
    return changed(w, **{name: moved(getattr(w, name), w.offset) for name in "qkv"})


TORUS_OUTSIDE = _relative.OUTSIDE | dict(offset=(1, 2))
TORUS = Proof(
    name="relative_attention_is_translation_equivariant",
    title="With a periodic table, relative attention commutes with every circular shift",
    statement="relative_attention(roll(q), roll(k), roll(v), w) = roll(relative_attention(q, k, v, w)) if w_{a-H, b} = w_{a, b} "
              "= w_{a, b-W} for a, b > 0",
    hypotheses=("the table is periodic: the map is a torus", "q, k and v carry no position of their own"),
    domain="any N, heads, d, H, W >= 1, any shift, both forms",
    source=_relative.SOURCE + ", table 1",
    world=torus_world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4, offset=(1, 2)), dict(N=2, heads=2, d=3, H=3, W=4, offset=(-1, 1), form="post"),
           dict(N=1, heads=3, d=1, H=1, W=6, offset=(0, 5)), dict(N=1, heads=1, d=2, H=4, W=2, offset=(2, 1), form="post")),
    small=(dict(N=1, heads=1, d=1, H=2, W=2, offset=(1, 0), scale=1.0),
           dict(N=1, heads=1, d=1, H=1, W=3, offset=(0, 1), form="post", scale=1.0)),
    steps=(
        Step("relative_attention(roll(q), roll(k), roll(v), w)", of_moved),
        post_step("Σ_u m_tu·v_{u-s}, m of τ q_{t-s}·k_{u-s} and w_{t-u}", lambda w: spelled(moved_before(w), _relative.biases(w), w.form),
                  "roll (F1), relative_attention (F1)-(F6)"),
        post_step("Σ_u m_tu·v_u, m of τ q_{t-s}·k_u and w_{(t-s)-u mod (H, W)}", unrolled,
                  "re-index u -> u + s around the border: t - (u+s) is (t-s) - u but for whole turns, which a periodic table does not see"),
        post_step("roll(relative_attention(q, k, v, w))", moved_result, "relative_attention (F1)-(F6) at the pixel t - s")),
    counterexamples=(
        Counterexample("a table that is not periodic, as it is learnt", torus_world, TORUS_OUTSIDE,
                       Step("relative_attention(roll(q), roll(k), roll(v), w)", lambda w: of_moved(with_table(w, w.generic))),
                       Step("roll(relative_attention(q, k, v, w))", lambda w: moved_result(with_table(w, w.generic))), bound=generic_bound,
                       agrees=(("without a table", lambda w: of_moved(no_table(w)), lambda w: moved_result(no_table(w))),)),
        Counterexample("a table that is periodic from row to row only, and a shift along a row", torus_world, TORUS_OUTSIDE,
                       Step("relative_attention(roll(q), roll(k), roll(v), w)", lambda w: of_moved(with_table(w, w.rows))),
                       Step("roll(relative_attention(q, k, v, w))", lambda w: moved_result(with_table(w, w.rows))), bound=generic_bound,
                       agrees=(("a shift by whole rows", lambda w: of_moved(with_table(w, w.rows), (1, 0)),
                                lambda w: moved_result(with_table(w, w.rows), (1, 0))),)),
        Counterexample("absolute positions added to the moved queries and keys, in place of a table", torus_world, TORUS_OUTSIDE,
                       Step("relative_attention(roll(q) + p, roll(k) + p, roll(v), 0)", lambda w: relative(at_positions(moved_before(w)))),
                       Step("roll(relative_attention(q + p, k + p, v, 0))", lambda w: moved(relative(at_positions(w)), w.offset)),
                       bound=generic_bound,
                       agrees=(("positions that move along", lambda w: of_moved(at_positions(w)),
                                lambda w: moved(relative(at_positions(w)), w.offset)),)),
    ),
)


def scene_world(draw: Draw, *, H: int, W: int, offset: Pair, **sizes: Any) -> World:
    """q, k, v of a scene that is larger than the map by the offset; the table is -inf beyond the radius; p are positions in the map."""
    w = _tokens.world(draw, H=H + offset[0], W=W + offset[1], **sizes)
    w = changed(w, H=H, W=W, offset=offset, form="pre", p=draw.real("p", 1, w.q.shape[1], H, W))
    table = drawn_table(draw, "pre", w.heads, 2 * H - 1, 2 * W - 1)
    return changed(w, table=np.where(_relative.outside_radius(w), -np.inf, table), everywhere=table)


def view(w: World, place: Pair) -> World:
    """The map of H x W pixels of the scene that begins at this place."""
    (s, t), H, W = place, w.H, w.W
    return changed(w, **{name: getattr(w, name)[..., s : s + H, t : t + W] for name in "qkv"})


def seen_twice(w: World, y: Array, place: Pair, margin: int | None = None) -> Array:
    """Of the result of a view: the pixels of the scene that are at least ρ away from the borders of both views."""
    r = w.config["radius"] if margin is None else margin
    (s, t), (a, b) = w.offset, place
    return y[..., s + r - a : w.H - r - a, t + r - b : w.W - r - b]


def second(w: World, margin: int | None = None) -> Array:
    return seen_twice(w, relative(view(w, w.offset)), w.offset, margin)


def first(w: World, margin: int | None = None) -> Array:
    return seen_twice(w, relative(view(w, (0, 0))), (0, 0), margin)


def in_the_scene(w: World) -> Array:
    """Σ_δ e^(τ q_t·k_{t-δ} + w_δ)·v_{t-δ} / Σ_δ e^(…), |δ| <= ρ, read in the scene."""
    (s, t), r = w.offset, w.config["radius"]
    rows, columns = np.arange(s + r, w.H - r), np.arange(t + r, w.W - r)

    def read(x: Array, a: int, b: int) -> Array:
        return heads_of(x[:, :, rows[:, None] - a, columns - b], w.heads)

    near = [(a, b) for a in range(-r, r + 1) for b in range(-r, r + 1)]
    e = [np.exp(w.tau * (read(w.q, 0, 0) * read(w.k, a, b)).sum(2) + w.everywhere[:, a + w.H - 1, b + w.W - 1][:, None, None])
         for a, b in near]
    o = Sum(x[:, :, None] * read(w.v, a, b) for x, (a, b) in zip(e, near, strict=True)) / Sum(e)[:, :, None]
    return o.reshape(len(o), -1, *o.shape[3:])


def everywhere(w: World) -> World:
    return changed(w, table=w.everywhere)


def positioned(w: World, place: Pair) -> Array:
    """Positions of the map, which do not move with the scene, added to the queries and keys of a view."""
    v = view(w, place)
    return seen_twice(w, relative(changed(v, q=v.q + w.p, k=v.k + w.p)), place)


def positioned_bound(w: World) -> float:
    return bound(changed(w, table=w.everywhere, q=np.abs(w.q) + np.abs(w.p).max(), k=np.abs(w.k) + np.abs(w.p).max()))


SCENE: dict[str, Any] = dict(N=1, heads=1, d=2, H=5, W=6, radius=1, offset=(1, 2))
INTERIOR = Proof(
    name="relative_attention_is_translation_equivariant.interior",
    title="With a table of finite radius, two views of a scene agree where both see the whole neighbourhood",
    statement="relative_attention(view at s)_{t-s} = relative_attention(view at 0)_t, at the pixels t of the scene that are at least "
              "ρ away from the borders of both views",
    hypotheses=("w_δ = -inf if |δ| > ρ in one direction", "the pixel is at least ρ away from the borders of both views", "form \"pre\"",
                "q, k and v depend on the scene only, not on the place in the view"),
    domain="any N, heads, d, any offset that leaves a common interior; the scene is arbitrary, new content enters at the border",
    source=_relative.SOURCE + ", table 1",
    world=scene_world,
    sizes=(dict(N=2, heads=2, d=3, H=4, W=5, radius=1, offset=(1, 1)), dict(N=1, heads=1, d=2, H=6, W=5, radius=2, offset=(1, 0)),
           dict(N=1, heads=2, d=1, H=3, W=4, radius=0, offset=(2, 1))),
    small=(),
    steps=(
        Step("relative_attention(view at s)_{t-s}", second),
        step("Σ_δ softmax_δ(τ q_t·k_{t-δ} + w_δ)·v_{t-δ}, |δ| <= ρ, in the scene", in_the_scene,
             "e^(-inf) = 0, and all |δ| <= ρ lie inside the view: neither the query nor the bias knows where the view begins"),
        step("relative_attention(view at 0)_t", first, "the same, for the other view")),
    counterexamples=(
        Counterexample("pixels less than ρ away from a border of a view: part of their neighbourhood is cut off", scene_world, SCENE,
                       Step("relative_attention(view at s)_{t-s}, all common pixels", lambda w: second(w, 0)),
                       Step("relative_attention(view at 0)_t, all common pixels", lambda w: first(w, 0)), bound=bound,
                       agrees=(("ρ away from the borders", second, first),)),
        Counterexample("a table that is finite everywhere: all pixels see the borders", scene_world, SCENE,
                       Step("relative_attention(view at s)_{t-s}", lambda w: second(everywhere(w))),
                       Step("relative_attention(view at 0)_t", lambda w: first(everywhere(w))), bound=lambda w: bound(everywhere(w))),
        Counterexample("absolute positions added to the queries and keys of a view", scene_world, SCENE,
                       Step("relative_attention(view at s with positions)_{t-s}", lambda w: positioned(w, w.offset)),
                       Step("relative_attention(view at 0 with positions)_t", lambda w: positioned(w, (0, 0))), bound=positioned_bound),
    ),
)


def object_world(draw: Draw, *, extent: Pair, offset: Pair, form: str = "post", **sizes: Any) -> World:
    """q, k, v are 0 but for an object of this extent, in the corner of the map; `ground` are keys and values without an object."""
    w = _relative.world(draw, form=form, **sizes)
    mask = np.zeros((w.H, w.W), bool)
    mask[: extent[0], : extent[1]] = True
    return changed(w, offset=offset, mask=mask, **{name: np.where(mask, getattr(w, name), 0.0) for name in "qkv"})


def displaced(w: World) -> World:
    """The map moved down and to the right, zeros coming in."""
    s, t = w.offset
    return changed(w, **{name: Shift(getattr(w, name), -s, -t) for name in "qkv"})


def arrived(w: World, y: Array) -> Array:
    """The pixels of the moved map that come from the map."""
    return y[..., w.offset[0] :, w.offset[1] :]


def left(w: World, y: Array) -> Array:
    """The pixels of the map that stay in it."""
    return y[..., : w.H - w.offset[0], : w.W - w.offset[1]]


def after(w: World, form: str = "post") -> Array:
    return arrived(w, relative(displaced(w), form))


def before(w: World, form: str = "post") -> Array:
    return left(w, relative(w, form))


def on_grey(w: World) -> World:
    """The same object, but values of 1 around it, before and after the move."""
    return changed(w, v=np.where(w.mask, w.v, 1.0))


def after_on_grey(w: World) -> Array:
    there = Shift(w.mask[None, None].astype(float), -w.offset[0], -w.offset[1])[0, 0] > 0
    m = displaced(w)
    return arrived(w, relative(changed(m, v=np.where(there, m.v, 1.0))))


OBJECT: dict[str, Any] = dict(N=1, heads=1, d=2, H=4, W=4, extent=(2, 2), offset=(1, 2))
BACKGROUND = Proof(
    name="relative_attention_is_translation_equivariant.empty_background",
    title="In the form \"post\", an object on an empty background may move as long as it stays in the map",
    statement="relative_attention(Shift(q, k, v), w), form post = Shift(relative_attention(q, k, v, w)) "
              "at the pixels that come from inside the map",
    hypotheses=("form \"post\"", "q, k and v are 0 outside the object", "the object is inside the map before and after the move"),
    domain="any N, heads, d, any finite table, any offset down and to the right; by reflection in every direction",
    source=_relative.SOURCE + ", table 1",
    world=object_world,
    sizes=(dict(N=2, heads=2, d=3, H=4, W=5, extent=(2, 3), offset=(1, 2)), dict(N=1, heads=1, d=2, H=3, W=4, extent=(1, 1), offset=(2, 3)),
           dict(N=1, heads=3, d=1, H=1, W=6, extent=(1, 4), offset=(0, 2))),
    small=(),
    steps=(
        Step("relative_attention(Shift(q, k, v), w), form post, at t", after),
        post_step("attention(Shift(q, k, v)) + conv(Shift(v), w), at t", lambda w: arrived(w, plain(displaced(w)) + convolved(
            w, displaced(w).v, w.table)), "post_form_is_attention_plus_convolution"),
        post_step("attention(q, k, v) + conv(Shift(v), w)_t, at t - s", lambda w: left(w, plain(w)) + arrived(w, convolved(
            w, displaced(w).v, w.table)), "the keys and values are the same in another order: what left was 0, as what came in"),
        post_step("attention(q, k, v) + conv(v, w), at t - s", lambda w: left(w, plain(w) + convolved(w, w.v, w.table)),
                  "a convolution commutes with shifts of a map whose support stays inside (shift_is_depthwise_conv)"),
        post_step("relative_attention(q, k, v, w), form post, at t - s", before, "post_form_is_attention_plus_convolution")),
    counterexamples=(
        Counterexample("form \"pre\": the bias weighs the background too, and the sum of those weights depends on the place",
                       object_world, OBJECT,
                       Step("relative_attention(Shift(q, k, v), w), form pre, at t", lambda w: after(w, "pre")),
                       Step("relative_attention(q, k, v, w), form pre, at t - s", lambda w: before(w, "pre")), bound=post_bound,
                       agrees=(("without a table", lambda w: after(no_table(w), "pre"), lambda w: before(no_table(w), "pre")),)),
        Counterexample("an object that is partly moved out of the map", object_world, OBJECT | dict(offset=(1, 3)),
                       Step("relative_attention(Shift(q, k, v), w), form post, at t", after),
                       Step("relative_attention(q, k, v, w), form post, at t - s", before), bound=post_bound),
        Counterexample("values of 1 in place of an empty background", object_world, OBJECT,
                       Step("relative_attention(moved), form post, at t", after_on_grey),
                       Step("relative_attention(q, k, v, w), form post, at t - s", lambda w: before(on_grey(w))),
                       bound=lambda w: post_bound(on_grey(w)),
                       agrees=(("without a table", lambda w: after_on_grey(no_table(w)), lambda w: before(on_grey(no_table(w)))),)),
    ),
)


PROOFS = (TORUS, INTERIOR, BACKGROUND)
