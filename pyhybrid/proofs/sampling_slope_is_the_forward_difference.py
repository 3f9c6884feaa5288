"""The slope that bilinear sampling returns is exactly the forward difference within the cell; at a whole position only that one."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import bilinear_sample
from pyhybrid.proofs._deformable import S, numbers, quarters
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "Deformable convolution, arXiv 1703.06211, eq. (7)"


def world(draw: Draw, *, N: int, C: int, H: int, W: int, points: int, whole: bool = False) -> World:
    """Positions in quarters, up to two pixels outside; h = 1/4 stays in the cell. `whole`: y is a whole number in the map."""
    ys, xs = quarters(draw, N, points, low=-2, high=H + 1), quarters(draw, N, points, low=-2, high=W + 1)
    if whole:
        ys, xs = np.arange(points) % (H - 1) + np.zeros((N, points)), np.clip(xs, 0, W - 1)
    return World(x=draw("x", N, C, H, W), ds=draw("d", N, C, points), ys=ys, xs=xs, h=numbers(draw, np.array(1), 4)[()])


def value(w: World, h: float = 0) -> Array:
    """Σ_c ds·S(x; y + h, x'), (N, points)."""
    return (w.ds * S(w.x, w.ys + h, w.xs)).sum(1)


def forward_difference(w: World) -> Array:
    return (value(w, w.h) - value(w)) / w.h


def central_difference(w: World) -> Array:
    return (value(w, w.h) - value(w, -w.h)) / (2 * w.h)


def within(w: World) -> World:
    """The same a quarter further on, in the middle of the steps of h."""
    return changed(w, ys=w.ys + w.h)


def rows(w: World) -> tuple[Array, Array]:
    """Σ_q g(x', q)·Z[r, q] for r = y0 and r = y0 + 1, g(u, q) = max(0, 1-|u-q|): (N, C, points) each."""
    H, W = w.x.shape[2:]
    across = np.maximum(0, 1 - np.abs(w.xs[..., None] - np.arange(W)))
    at = [1 * (np.floor(w.ys)[..., None] + p == np.arange(H)) for p in (0, 1)]
    upper, lower = (np.einsum("nph,npq,nchq->ncp", row, across, w.x) for row in at)
    return upper, lower


def blended(w: World) -> Array:
    """Σ_c ds·((1-a')·Z_0 + a'·Z_1 - (1-a)·Z_0 - a·Z_1)/h, a' = a + h."""
    upper, lower = rows(w)
    a = (w.ys - np.floor(w.ys))[:, None]
    there = (1 - a - w.h) * upper + (a + w.h) * lower
    here = (1 - a) * upper + a * lower
    return (w.ds * (there - here)).sum(1) / w.h


def next_minus_this(w: World) -> Array:
    upper, lower = rows(w)
    return (w.ds * (lower - upper)).sum(1)


def slope(w: World) -> Array:
    _, cache = bilinear_sample.forward(w.x, w.ys, w.xs)
    return bilinear_sample.backward(w.ds, cache).ys


PROOF = Proof(
    name="sampling_slope_is_the_forward_difference",
    title="The slope of bilinear sampling is the forward difference, exactly, at whole positions too",
    statement="(s(y + h) - s(y))/h = dys for every h with ⌊y⌋ <= y < y + h <= ⌊y⌋ + 1, s = Σ_c ds·bilinear_sample(x; y, x'); likewise dxs",
    hypotheses=("h > 0, and y + h does not leave the cell of y: the floor puts a whole y at the left end of its cell",),
    domain="any map, any position, also around the map and on y = -1 (checked at quarters of a pixel, h = 1/4)",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=2, H=3, W=4, points=20), dict(N=1, C=1, H=1, W=2, points=12)),
    small=(dict(N=1, C=1, H=2, W=2, points=6),),
    degree=2,
    steps=(
        Step("(s(y + h) - s(y))/h", forward_difference),
        Step("Σ_c ds·((1-a-h)·Z_0 + (a+h)·Z_1 - (1-a)·Z_0 - a·Z_1)/h", blended,
             "bilinear_sample (F1)-(F3), Z_p = row y0+p blended along x'; a + h <= 1, so both points blend the same two rows"),
        Step("Σ_c ds·(Z_1 - Z_0)", next_minus_this, "the difference is h·(Z_1 - Z_0): s is affine in y within a cell"),
        Step("bilinear_sample.backward(ds).ys", slope, "bilinear_sample (B2): (1-b)·Z_10 + b·Z_11 = Z_1, (1-b)·Z_00 + b·Z_01 = Z_0")),
    counterexamples=(
        Counterexample("the central difference at a whole position: half of it looks into the cell before", world,
                       dict(N=1, C=1, H=4, W=4, points=6, whole=True), Step("(s(y + h) - s(y - h))/2h", central_difference),
                       Step("bilinear_sample.backward(ds).ys", slope),
                       agrees=(("between whole positions, with both points in the cell", lambda w: central_difference(within(w)),
                                lambda w: slope(within(w))),
                               ("the forward difference", forward_difference, slope))),
    ),
)

PROOFS = (PROOF,)
