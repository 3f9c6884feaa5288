"""gnConv moves with the image away from the borders, a global filter exactly around them; at another size a filter is another filter."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import spectrum_resize
from pyhybrid.proofs import _circular, _gnconv
from pyhybrid.proofs._circular import circular, filtered, kernel
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._gnconv import gn
from pyhybrid.proofs._notation import Array, Conv, Pair, half
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def rolled(w: World, x: Array) -> Array:
    """T x: down and to the right by the offset, around the border."""
    return np.roll(x, w.offset, (2, 3))


def shifted(w: World, x: Array) -> Array:
    """Down and to the right by the offset, with zeros coming in."""
    s, t = w.offset
    y = np.zeros_like(x)
    y[:, :, s:, t:] = x[:, :, : x.shape[2] - s, : x.shape[3] - t]
    return y


def gnconv_world(draw: Draw, *, offset: Pair, **sizes: Any) -> World:
    return changed(_gnconv.world(draw, **sizes), offset=offset)


def inside(w: World, y: Array) -> Array:
    """Rows s+r … H-1-r and columns t+r … W-1-r, for an offset that moves; a direction that stands still loses nothing."""
    cut = [slice(o + r, n - r) if o else slice(None) for o, r, n in zip(w.offset, half(w.D.shape[2:]), y.shape[2:], strict=True)]
    return y[:, :, cut[0], cut[1]]


def on_torus(w: World, x: Array) -> Array:
    """gnConv whose convolutions read around the border in the directions that move."""
    p, q = _gnconv.start(w, x)
    (r, s), (H, W) = half(w.D.shape[2:]), x.shape[2:]
    r, s = (border if o else 0 for border, o in zip((r, s), w.offset, strict=True))
    wide = q[:, :, np.arange(-r, H + r) % H][..., np.arange(-s, W + s) % W]
    (zeros, more), (down, across) = half(w.D.shape[2:]), w.offset
    f = _gnconv.plus(Conv(wide, w.D, padding=(0 if down else zeros, 0 if across else more), groups=len(w.D)), w.bD)
    pn = _gnconv.chain(w, p, _gnconv.slots(w, f))
    return _gnconv.plus(_gnconv.times(w.O, pn), w.bO)


MOVES: tuple[dict[str, Any], ...] = (
    dict(N=1, C=1, order=1, H=9, W=9, kernel=(7, 7), offset=(1, 2), scale=1), dict(N=1, C=2, order=2, H=6, W=5, offset=(2, 1), scale=3),
    dict(N=1, C=4, order=3, H=2, W=7, kernel=(3, 3), offset=(0, 3), scale=1),
    dict(N=1, C=8, order=4, H=5, W=1, kernel=(3, 1), offset=(1, 0), scale=2))
THERE = Step("gn_conv(T x)", lambda w: gn(w, rolled(w, w.x)))
BACK = Step("T gn_conv(x)", lambda w: rolled(w, gn(w)))
GNCONV = Proof(
    name="gnconv_and_filters_move_with_the_image",
    title="gnConv moves with the image where its window meets no border, before or after",
    statement="gn_conv(T x) = T gn_conv(x) in the rows s+r … H-1-r and the columns t+r … W-1-r, T the roll by (s, t) >= 0, r = ⌊K/2⌋",
    hypotheses=("in these rows and columns; all of them in a direction that does not move",),
    domain="any n >= 1, any sizes, with biases",
    source=_gnconv.SOURCE,
    world=gnconv_world,
    sizes=MOVES,
    small=(dict(N=1, C=1, order=1, H=1, W=4, kernel=(1, 3), offset=(0, 1)),),
    degree=_gnconv.DEGREE,
    steps=(
        Step("gn_conv(T x), inside", lambda w: inside(w, THERE.value(w))),
        Step("gn_conv on the torus (T x), inside", lambda w: inside(w, on_torus(w, rolled(w, w.x))),
             "the window is inside the map, so no zero is read"),
        Step("T gn_conv on the torus (x), inside", lambda w: inside(w, rolled(w, on_torus(w, w.x))),
             "on the torus all pixels are alike: 1x1 maps and gates act on each alone, the convolution reads by displacement"),
        Step("T gn_conv(x), inside", lambda w: inside(w, BACK.value(w)), "pixel i - (s, t) has its window inside the map too")),
    counterexamples=(
        Counterexample("the whole map: at the border there are zeros instead of the other side", gnconv_world, MOVES[1], THERE, BACK,
                       agrees=(("inside", lambda w: inside(w, THERE.value(w)), lambda w: inside(w, BACK.value(w))),)),
        Counterexample("one row more at the top, where the border of the unmoved map has gone", gnconv_world, MOVES[1],
                       Step("gn_conv(T x), rows from s+r-1", lambda w: THERE.value(w)[:, :, 2:5]),
                       Step("T gn_conv(x), rows from s+r-1", lambda w: BACK.value(w)[:, :, 2:5])),
    ),
)


def filter_world(draw: Draw, *, offset: Pair, **sizes: Any) -> World:
    return changed(_circular.world(draw, **sizes), offset=offset)


def one_step(w: World) -> Array:
    """Weights of the filter that moves every map of this size by one row: e^(-2πi·u/H)."""
    k = np.zeros((w.x.shape[1], *w.size))
    k[:, 1, 0] = 1
    return _circular.weights(k)


def twice_as_large(w: World, x: Array) -> Array:
    return np.tile(x, (1, 1, 2, 2)) * np.linspace(1, 2, 2 * w.size[0])[:, None]


def resized(w: World, weights: Array) -> Array:
    """The weights brought to a map of twice the height and width, as the network does."""
    return spectrum_resize.forward(np.ascontiguousarray(weights), size=(2 * w.size[0], w.size[1] + 1))[0]


def large_bound(w: World) -> float:
    return 32 * _circular.bound(w) * max(1.0, float(np.abs(w.x).max()))


FILTER_SIZES: tuple[dict[str, Any], ...] = (dict(N=2, C=2, H=4, W=6, offset=(1, 2)), dict(N=1, C=1, H=5, W=7, offset=(3, 0)),
                                            dict(N=1, C=2, H=1, W=5, offset=(0, 4)))
FILTER = Proof(
    name="gnconv_and_filters_move_with_the_image.filter",
    title="A global filter moves with the image around its borders, everywhere",
    statement="global_filter(T x, w) = T global_filter(x, w) for every roll T",
    hypotheses=("the map is rolled: what leaves comes in on the other side", "the map keeps its size"),
    domain="any N, C, H, W >= 1, any weights, any offset",
    source=_circular.SOURCE,
    world=filter_world,
    sizes=FILTER_SIZES,
    small=(),
    steps=(
        Step("global_filter(T x, w)", lambda w: filtered(rolled(w, w.x), w.w)),
        _circular.step("Σ_ab k[a, b]·x[i-s-a, j-t-b]", lambda w: circular(rolled(w, w.x), kernel(w.w, w.size)),
                       "global_filter_is_a_circular_convolution; (T x)[i, j] = x[i-s, j-t]"),
        _circular.step("T Σ_ab k[a, b]·x[i-a, j-b]", lambda w: rolled(w, circular(w.x, kernel(w.w, w.size))), "the sum at i - s, j - t"),
        _circular.step("T global_filter(x, w)", lambda w: rolled(w, filtered(w.x, w.w)), "global_filter_is_a_circular_convolution")),
    counterexamples=(
        Counterexample("a camera that turns: zeros come in instead of the other side", filter_world, FILTER_SIZES[0],
                       Step("global_filter(shifted x, w)", lambda w: filtered(shifted(w, w.x), w.w)),
                       Step("shifted global_filter(x, w)", lambda w: shifted(w, filtered(w.x, w.w))), bound=_circular.bound),
        Counterexample("another size: weights that move a map by one row, resized, do not move a larger map by a row", filter_world,
                       FILTER_SIZES[0] | dict(W=4),
                       Step("global_filter(x, resized weights), x twice as large",
                            lambda w: filtered(twice_as_large(w, w.x), resized(w, one_step(w)))),
                       Step("x moved by one row", lambda w: np.roll(twice_as_large(w, w.x), 1, 2)), bound=large_bound,
                       agrees=(("at its own size it moves by one row", lambda w: filtered(w.x, one_step(w)), lambda w: np.roll(w.x, 1, 2)),
                               ("resized it is a filter, so it commutes with rolls still",
                                lambda w: filtered(rolled(w, twice_as_large(w, w.x)), resized(w, w.w)),
                                lambda w: rolled(w, filtered(twice_as_large(w, w.x), resized(w, w.w)))))),
    ),
)

PROOFS = (GNCONV, FILTER)
