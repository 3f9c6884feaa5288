"""The convolution path on a rolled map, rolled back: the map is cut along one row and column, and its opposite borders are glued."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import conv_path, roll
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Shift, Sum, heads_of, taps
from pyhybrid.proofs._proof import Counterexample, Function, Proof, Step

SOURCE = "official Swin-ACmix code: in a shifted block the convolution path sees the rolled map"


def world(draw: Draw, *, N: int, heads: int, d: int, H: int, W: int, shift: int, k: int = 3) -> World:
    C = heads * d
    P = [draw(name, N, C, H, W) for name in "qkv"]
    return World(P=P, fc=draw("fc", k * k, 3 * heads, 1, 1), fc_bias=draw("fc_b", k * k), D=draw("D", C, k * k, k, k), heads=heads, d=d,
                 k=k, r=k // 2, s=shift, H=H, W=W)


def Roll(x: Array, s: int) -> Array:
    """x (N, C, H, W) moved s rows down and s columns to the right, around the border."""
    return np.moveaxis(roll.forward(np.moveaxis(x, 1, 3), offset=s)[0], 3, 1)


def path(w: World, P: list[Array]) -> Array:
    return conv_path.forward(*map(np.ascontiguousarray, P), w.fc, w.D, w.fc_bias, heads=w.heads)[0]


def rolled(w: World) -> Array:
    return Roll(path(w, [Roll(x, -w.s) for x in w.P]), w.s)


def plain(w: World) -> Array:
    return path(w, w.P)


def F(w: World) -> Array:
    """F[e, m] = Σ_t fc[m, t]·P[t, e] + fc_bias[m], as channels e·k² + m."""
    P = np.concatenate([heads_of(x, w.heads) for x in w.P], axis=1)
    maps = np.einsum("mt,ntehw->nemhw", w.fc[:, :, 0, 0], P) + w.fc_bias[:, None, None]
    return maps.reshape(len(maps), -1, w.H, w.W)


def dep_conv(w: World, maps: Array) -> Array:
    return Conv(np.ascontiguousarray(maps), w.D, padding=w.r, groups=w.d)


def at_tap(w: World, maps: Array, u: int, v: int) -> Array:
    """D[:, :, u, v] applied to the maps at every pixel."""
    return Conv(np.ascontiguousarray(maps), np.ascontiguousarray(w.D[:, :, u : u + 1, v : v + 1]), groups=w.d)


def crosses(w: World, length: int, offset: int) -> Array:
    """Whether reading at `offset` from each place of an axis crosses the cut between s-1 and s."""
    reached = (np.arange(length) - w.s) % length + offset
    return (reached < 0) | (reached >= length)


def cut_and_glued(w: World) -> Array:
    """Σ_uv D_uv F[(i+u-r) mod H, (j+v-r) mod W] over the taps that do not cross the cut."""
    terms = []
    for _, u, v in taps((w.k, w.k)):
        stays = ~crosses(w, w.H, u - w.r)[:, None] & ~crosses(w, w.W, v - w.r)
        terms.append(np.where(stays, at_tap(w, np.roll(F(w), (w.r - u, w.r - v), axis=(2, 3)), u, v), 0))
    return Sum(terms)


def far(w: World, length: int) -> Array:
    """The places of an axis whose taps reach neither the cut nor the border."""
    i = np.arange(length)
    return i[(i >= w.r) & (i < length - w.r) & ((i < w.s - w.r) | (i >= w.s + w.r))]


def away(w: World, y: Array) -> Array:
    return y[:, :, far(w, w.H)][..., far(w, w.W)]


def away_from(value: Function) -> Function:
    return lambda w: away(w, value(w))


def near(w: World) -> Array:
    """1 on the rows and columns 0, s-1, s and last (for k = 3), 0 elsewhere, (H, W)."""
    mask = np.ones((w.H, w.W))
    mask[np.ix_(far(w, w.H), far(w, w.W))] = 0
    return mask


SIZES = (dict(N=2, heads=2, d=2, H=8, W=7, shift=3), dict(N=1, heads=1, d=2, H=7, W=6, shift=2), dict(N=1, heads=2, d=1, H=6, W=9, shift=1),
         dict(N=1, heads=1, d=1, H=11, W=12, shift=5, k=5))
SMALL = (dict(N=1, heads=1, d=1, H=4, W=4, shift=1),)
ROLLED = Step("roll(conv_path(roll(q, k, v; -s)); +s)", rolled)
COMMON = (
    ROLLED,
    Step("roll(dep_conv(roll(F; -s)); +s)", lambda w: Roll(dep_conv(w, Roll(F(w), -w.s)), w.s),
         "conv_path (F1), (F2): fc and its bias act on every pixel alike, so they commute with the roll"),
    Step("Σ_uv D_uv F[(i+u-r) mod H, (j+v-r) mod W] over the taps that do not cross the cut", cut_and_glued,
         "conv2d (F1)-(F3) pads the rolled map, whose border is the cut between rows s-1 and s; rows H-1 and 0 are neighbours in it"),
)

GLUED = Proof(
    name="rolled_conv_path_is_cut_and_glued",
    title="A rolled convolution path, rolled back, is the path on a map that is cut in one place and glued in another",
    statement="roll(conv_path(roll(q, k, v; -s)); +s)[i, j] = Σ_uv D_uv F[(i+u-r) mod H, (j+v-r) mod W] over the taps that cross neither "
              "between rows s-1 and s nor between columns s-1 and s",
    hypotheses=("the convolution pads with zeros", "0 < s < H, W"),
    domain="any N, heads, d, odd k, with the bias of fc; stride 1",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=3,
    steps=COMMON,
    counterexamples=(
        Counterexample("without the cut: a convolution around the border", world, dict(N=1, heads=1, d=1, H=6, W=6, shift=2), ROLLED,
                       Step("Σ_uv D_uv F[(i+u-r) mod H, (j+v-r) mod W] over all taps", lambda w: Sum(
                           at_tap(w, np.roll(F(w), (w.r - u, w.r - v), axis=(2, 3)), u, v) for _, u, v in taps((w.k, w.k))))),
    ),
)

AWAY = Proof(
    name="rolled_conv_path_is_cut_and_glued.away_from_the_seams",
    title="Away from the seams, rolling does not change the convolution path",
    statement="roll(conv_path(roll(q, k, v; -s)); +s) = conv_path(q, k, v) except on the rows and columns 0, s-1, s and last (for k = 3)",
    hypotheses=("row and column are at least r away from the border and from the cut between s-1 and s",),
    domain="any N, heads, d, odd k, 0 < s < H, W, with the bias of fc; stride 1",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=3,
    steps=(
        *(Step(step.text + ", away from the seams", away_from(step.value), step.reason) for step in COMMON),
        Step("Σ_uv D_uv Shift(F, u-r, v-r), away from the seams", lambda w: away(w, Sum(
            at_tap(w, Shift(F(w), u - w.r, v - w.r), u, v) for _, u, v in taps((w.k, w.k)))),
             "there no tap crosses the cut, and none leaves the map, so the modulo does nothing"),
        Step("conv_path(q, k, v), away from the seams", lambda w: away(w, plain(w)),
             "a convolution is shift and sum (conv_is_shift_and_sum); conv_path (F1)-(F3)")),
    counterexamples=tuple(
        Counterexample(f"the whole map, s = {sizes['shift']}", world, sizes, ROLLED, Step("conv_path(q, k, v)", plain),
                       agrees=(("the pixels that differ are exactly those rows and columns",
                                lambda w: (rolled(w) != plain(w)).any((0, 1)).astype(float), near),))
        for sizes in (dict(N=1, heads=2, d=2, H=8, W=7, shift=3), dict(N=1, heads=2, d=2, H=6, W=7, shift=1))),
)

PROOFS = (GLUED, AWAY)
