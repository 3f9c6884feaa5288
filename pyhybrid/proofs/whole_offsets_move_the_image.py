"""Whole offsets choose other pixels and blend nothing; if they are the same everywhere, the output of the convolution moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _deformable
from pyhybrid.proofs._deformable import SOURCE, Deform, by_pixels, by_samples, constant, deformed
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, Shift
from pyhybrid.proofs._proof import Counterexample, Proof, Step

WHOLE = dict(N=1, C=2, O=2, H=4, W=4, kernel=(3, 3), padding=(1, 1), step=1)

GATHER = Proof(
    name="whole_offsets_move_the_image.gather",
    title="With whole offsets every tap reads one pixel, and nothing is interpolated",
    statement="deform_conv2d(x, D, K, m)[o, i, j] = Σ_ck K[o, c, k]·m[k]·Z[c, y_k, x_k], Z = x and 0 outside, y_k = i·s-p+k·d+dy",
    hypotheses=("all offsets are whole numbers",),
    domain="any sizes and settings, any whole offsets, different at every tap and pixel (checked up to two pixels)",
    source=SOURCE,
    world=_deformable.world,
    sizes=(dict(N=2, C=2, O=3, H=4, W=5, kernel=(3, 3), padding=(1, 1), step=1),
           dict(N=1, C=4, O=2, H=6, W=5, kernel=(2, 3), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=2, step=1),
           dict(N=1, C=1, O=2, H=1, W=2, kernel=(3, 3), padding=(2, 1), step=1)),
    small=(dict(N=1, C=2, O=1, H=2, W=3, kernel=(2, 2), padding=(1, 0), step=1),),
    degree=3,
    steps=(
        Step("deform_conv2d(x, D, K, m)", deformed),
        Step("Σ_ck K[o, c, k]·m[k]·S(x[c]; y_k, x_k)", lambda w: by_samples(w, w.D, w.m), "deform_conv2d (F1)-(F4)"),
        Step("Σ_ck K[o, c, k]·m[k]·Z[c, y_k, x_k]", lambda w: by_pixels(w, w.D, w.m),
             "y_k and x_k are whole, so a = b = 0: in bilinear_sample (F3) only Z_00 has a factor, 1")),
    counterexamples=(
        Counterexample("offsets in quarters of a pixel, rounded down: the neighbours have a part too", _deformable.world,
                       WHOLE | dict(step=4), Step("deform_conv2d(x, D, K, m)", deformed),
                       Step("Σ_ck K·m·Z[c, ⌊y_k⌋, ⌊x_k⌋]", lambda w: by_pixels(w, np.floor(w.D), w.m)),
                       agrees=(("after rounding, both read the same pixels",
                                lambda w: Deform(w.x, np.floor(w.D), w.K, w.m, **w.config),
                                lambda w: by_pixels(w, np.floor(w.D), w.m)),)),
    ),
)


def world(draw: Draw, *, moved: Pair, **sizes: Any) -> World:
    w = _deformable.world(draw, **sizes)
    w.D, w.moved = constant(draw, moved, len(w.x), w.K.shape[2] * w.K.shape[3], w.D.shape[2:]), moved
    w.swapped = constant(draw, moved[::-1], len(w.x), w.K.shape[2] * w.K.shape[3], w.D.shape[2:])
    return w


def framed(w: World) -> tuple[Array, Pair]:
    """x in a frame of zeros that is wide enough for the padding and for the move, and the width of that frame."""
    (s, t), (ph, pw) = w.moved, w.config["padding"]
    rh, rw = ph + abs(s), pw + abs(t)
    return np.pad(w.x, [(0, 0), (0, 0), (rh, rh), (rw, rw)]), (rh, rw)


def moved_image(w: World) -> Array:
    """The convolution of the framed image, moved; the outputs that belong to the padding p."""
    X, (rh, rw) = framed(w)
    ph, pw = w.config["padding"]
    Ho, Wo = w.D.shape[2:]
    return Conv(np.ascontiguousarray(Shift(X, *w.moved)), w.K)[..., rh - ph : rh - ph + Ho, rw - pw : rw - pw + Wo]


def moved_output(w: World) -> Array:
    """The ordinary convolution with a wide padding, cut out (s, t) further on."""
    (s, t), (ph, pw), (Ho, Wo) = w.moved, w.config["padding"], w.D.shape[2:]
    wide = Conv(w.x, w.K, padding=(ph + abs(s), pw + abs(t)))
    return wide[..., abs(s) + s : abs(s) + s + Ho, abs(t) + t : abs(t) + t + Wo]


def plain(w: World) -> Array:
    return Deform(w.x, w.D, w.K, **w.config)


MOVED = Step("deform_conv2d(x, (s, t), K)", plain)
ONE = dict(N=1, C=1, O=2, H=5, W=5, kernel=(3, 3), padding=(1, 1))
MOVE = Proof(
    name="whole_offsets_move_the_image",
    title="A constant whole offset is a shift: the convolution of the moved image, or the moved output of the convolution",
    statement="deform_conv2d(x, (s, t) everywhere, K)[i, j] = conv2d(X moved by (s, t), K)[i, j] = conv2d(x, K)[i+s, j+t], "
              "X = x in a frame of zeros",
    hypotheses=("the offset is (dy, dx) = (s, t), whole, at every tap and pixel", "the zeros around x move along: X is wide enough",
                "stride 1"),
    domain="any sizes, kernel and padding, whole s and t of either sign, also beyond the map; every output, the border included",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=2, O=3, H=4, W=5, kernel=(3, 3), padding=(1, 1), moved=(1, -2)),
           dict(N=1, C=3, O=2, H=5, W=4, kernel=(2, 3), padding=(0, 2), moved=(-1, 0)),
           dict(N=1, C=1, O=2, H=2, W=2, kernel=(3, 1), padding=(1, 0), moved=(3, 1))),
    small=(dict(N=1, C=1, O=2, H=2, W=3, kernel=(2, 2), padding=(1, 0), moved=(1, -1)),),
    degree=2,
    steps=(
        MOVED,
        Step("Σ_pq K_pq Z[i+p-ph+s, j+q-pw+t]", lambda w: by_pixels(w, w.D, w.one),
             "whole offsets choose pixels (whole_offsets_move_the_image.gather)"),
        Step("conv2d(Shift(X, s, t), K), the outputs of the padding p", moved_image,
             "Shift(X, s, t)[i, j] = Z[i+s, j+t] wherever a tap reads: the frame of X is as wide as padding and shift together"),
        Step("conv2d(x, K, padding = p + |s|)[i+s, j+t]", moved_output,
             "a convolution is shift and sum, and shifts add up: the output moves with the image")),
    counterexamples=(
        Counterexample("the image moved inside its own frame: pixels that leave it are lost, yet a tap in the padding reads them", world,
                       ONE | dict(moved=(1, 0)), MOVED,
                       Step("conv2d(Shift(x, s, t), K)", lambda w: Conv(Shift(w.x, *w.moved), w.K, padding=w.config["padding"])),
                       agrees=(("all rows but the first", lambda w: plain(w)[..., 1:, :],
                                lambda w: Conv(Shift(w.x, *w.moved), w.K, padding=w.config["padding"])[..., 1:, :]),)),
        Counterexample("the offset as (dx, dy): the order of the two channels exchanged", world, ONE | dict(moved=(2, 0)),
                       Step("deform_conv2d(x, channels exchanged, K)", lambda w: Deform(w.x, w.swapped, w.K, **w.config)),
                       Step("conv2d(x, K)[i+s, j+t]", moved_output)),
        Counterexample("stride 2: an offset of one pixel of x is half a step of the output", world,
                       ONE | dict(H=6, W=6, stride=(2, 2), moved=(1, 0)), MOVED,
                       Step("conv2d(x, K, stride = 2)[i+s, j+t]", lambda w: one_further(w, 1)),
                       agrees=(("an offset of 2 is one step", lambda w: Deform(w.x, 2 * w.D, w.K, **w.config),
                                lambda w: one_further(w, 1)),)),
    ),
)


def one_further(w: World, rows: int) -> Array:
    """The strided convolution, read `rows` rows further on; x continues with zeros."""
    stride, (ph, pw) = w.config["stride"], w.config["padding"]
    longer = np.pad(w.x, [(0, 0), (0, 0), (ph, ph + rows * stride[0]), (pw, pw)])
    return Conv(longer, w.K, stride=stride)[..., rows : rows + w.D.shape[2], :]


PROOFS = (GATHER, MOVE)
