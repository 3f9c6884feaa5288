"""Bilinear sampling gives affine maps back, with their slopes; the parts of the pixels sum to 1 inside and fade to 0 around the map."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import bilinear_sample
from pyhybrid.proofs._deformable import S, numbers, quarters
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "Deformable convolution, arXiv 1703.06211, eqs. (3)-(4)"
SIZES = (dict(N=2, C=2, H=4, W=5, points=12), dict(N=1, C=1, H=2, W=3, points=20), dict(N=1, C=3, H=1, W=1, points=3))
OUTSIDE = dict(N=1, C=1, H=4, W=4, points=12)


def world(draw: Draw, *, N: int, C: int, H: int, W: int, points: int, beyond: bool = False, below: float = 0.0) -> World:
    """α, β, γ of each channel; positions in quarters, in the map; `beyond`: up to two pixels outside; `below`: that far from its end."""
    around = 2 if beyond else 0
    ys = quarters(draw, N, points, low=-around, high=H - 1 - below + around)
    xs = quarters(draw, N, points, low=-around, high=W - 1 - below + around)
    rows, columns = numbers(draw, np.arange(H)[:, None]), numbers(draw, np.arange(W)[None])
    a, b, c = (draw(name, N, C, 1, 1) for name in "abc")
    return World(a=a, b=b, c=c, rows=rows, columns=columns, ys=ys, xs=xs, x=a + b * rows + c * columns)


def hat(u: Array, length: int) -> Array:
    """g(u, r) = max(0, 1 - |u - r|) for r = 0 … length-1, along a new last axis."""
    return np.maximum(0, 1 - np.abs(u[..., None] - np.arange(length)))


def parts(w: World) -> Array:
    """g(y, r)·g(x, q), (N, 1, points, H, W): the part that pixel (r, q) has in each point."""
    H, W = w.x.shape[2:]
    return (hat(w.ys, H)[..., None] * hat(w.xs, W)[..., None, :])[:, None]


def point(values: Array) -> Array:
    """(N, C, 1, 1) -> (N, C, 1): the same for all points."""
    return values[..., 0]


def moments(w: World) -> Array:
    """α·Σ g g + β·Σ r g g + γ·Σ q g g."""
    g = parts(w)
    zeroth, first, second = (np.asarray((g * factor).sum((3, 4))) for factor in (1, w.rows, w.columns))
    return point(w.a) * zeroth + point(w.b) * first + point(w.c) * second


def at_points(w: World) -> Array:
    """α + β·y + γ·x."""
    return point(w.a) + point(w.b) * w.ys[:, None] + point(w.c) * w.xs[:, None]


def sampled(w: World, x: Array | None = None) -> Array:
    return S(w.x if x is None else x, w.ys, w.xs)


AFFINE = Proof(
    name="bilinear_sampling_reproduces_affine_maps",
    title="Bilinear sampling reproduces affine maps",
    statement="x[r, q] = α + β·r + γ·q for all pixels implies bilinear_sample(x; y, x') = α + β·y + γ·x'",
    hypotheses=("0 <= y <= H-1 and 0 <= x' <= W-1",),
    domain="any N, C, H, W >= 1, any position in the map (checked at quarters of a pixel)",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=(dict(N=1, C=1, H=2, W=3, points=4),),
    degree=1,
    steps=(
        Step("bilinear_sample(x; y, x')", sampled),
        Step("Σ_rq g(y, r)·g(x', q)·x[r, q], g(u, r) = max(0, 1-|u-r|)",
             lambda w: (parts(w) * w.x[:, :, None]).sum((3, 4)),
             "bilinear_sample (F1)-(F3): 1-a and a are g at the two rows around y, and g is 0 at all others"),
        Step("α·Σ g g + β·Σ r·g g + γ·Σ q·g g", moments, "the sum is linear in x, and x = α + β·r + γ·q"),
        Step("α + β·y + γ·x'", at_points,
             "in the map Σ_r g(y, r) = (1-a) + a = 1 and Σ_r r·g(y, r) = (1-a)·y0 + a·(y0+1) = y; the same for x'")),
    counterexamples=(
        Counterexample("positions outside the map: the zeros there are not on the plane α + β·y + γ·x'", world,
                       OUTSIDE | dict(beyond=True), Step("bilinear_sample(x; y, x')", sampled), Step("α + β·y + γ·x'", at_points),
                       agrees=(("as a sum over the pixels it is still right", sampled, moments),)),
        Counterexample("a map that is bent: x[r, q] = r²", world, OUTSIDE,
                       Step("bilinear_sample(r²; y, x')", lambda w: sampled(w, bent(w))),
                       Step("y²", lambda w: w.ys[:, None] * w.ys[:, None]),
                       agrees=(("at whole positions", lambda w: S(bent(w), np.floor(w.ys), np.floor(w.xs)),
                                lambda w: (np.floor(w.ys) * np.floor(w.ys))[:, None]),)),
    ),
)


def bent(w: World) -> Array:
    return np.ascontiguousarray(np.broadcast_to(w.rows * w.rows, w.x.shape))


def slopes(w: World) -> Array:
    """Σ_c of the gradients along y and along x, from the backward with ds = 1: (2, N, points)."""
    y, cache = bilinear_sample.forward(w.x, w.ys, w.xs)
    _, dys, dxs = bilinear_sample.backward(np.ones_like(y), cache)
    return np.stack([dys, dxs])


def steps_between_pixels(w: World) -> Array:
    """(B2), (B3) of the affine map: the differences of its neighbouring pixels, blended."""
    a, b = w.ys - np.floor(w.ys), w.xs - np.floor(w.xs)
    down, across = w.b.sum((1, 2, 3))[:, None], w.c.sum((1, 2, 3))[:, None]
    return np.stack([(1 - b) * down + b * down, (1 - a) * across + a * across])


def constants(w: World) -> Array:
    """Σ_c β and Σ_c γ at every point."""
    return np.stack([np.broadcast_to(v.sum((1, 2, 3))[:, None], w.ys.shape) for v in (w.b, w.c)])


def on_the_last_pixel(draw: Draw, **sizes: Any) -> World:
    w = world(draw, **sizes)
    w.ys, w.xs = np.full_like(w.ys, w.x.shape[2] - 1), np.full_like(w.xs, w.x.shape[3] - 1)
    return w


SLOPES = Proof(
    name="bilinear_sampling_reproduces_affine_maps.slopes",
    title="Bilinear sampling reproduces the slopes of affine maps",
    statement="x[r, q] = α + β·r + γ·q implies bilinear_sample.backward(1) = (…, β, γ), summed over the channels",
    hypotheses=("0 <= y < H-1 and 0 <= x' < W-1: to the right of the last row the map falls to 0",),
    domain="any N, C, H, W >= 2, any such position, the whole ones too",
    source=SOURCE + "; the slopes: eq. (7)",
    world=world,
    sizes=(dict(N=2, C=2, H=4, W=5, points=12, below=0.25), dict(N=1, C=1, H=2, W=3, points=20, below=0.25)),
    small=(dict(N=1, C=1, H=2, W=3, points=4, below=0.25),),
    degree=1,
    steps=(
        Step("bilinear_sample.backward(1), dys and dxs", slopes),
        Step("Σ_c ((1-b)·β + b·β, (1-a)·γ + a·γ)", steps_between_pixels,
             "bilinear_sample (B2), (B3): y0+1 <= H-1, so all four pixels lie in the map; Z_10 - Z_00 = β, Z_01 - Z_00 = γ"),
        Step("Σ_c (β, γ)", constants, "(1-b) + b = 1")),
    counterexamples=(
        Counterexample("the last pixel, y = H-1 and x' = W-1: the derivative to the right looks at the zeros outside", on_the_last_pixel,
                       OUTSIDE, Step("bilinear_sample.backward(1), dys and dxs", slopes), Step("Σ_c (β, γ)", constants),
                       agrees=(("the value is still that of the plane", sampled, at_points),
                               ("both derivatives are -x[H-1, W-1]", slopes, lambda w: np.stack(
                                   [np.broadcast_to(-w.x[:, :, -1, -1].sum(1)[:, None], w.ys.shape)] * 2)))),
    ),
)


def ramp(u: Array, length: int) -> Array:
    """h(u): 1 from 0 to length-1, falling to 0 at -1 and at length."""
    return np.maximum(0, np.minimum(1, np.minimum(1 + u, length - u)))


def same_everywhere(w: World) -> Array:
    return np.ascontiguousarray(np.broadcast_to(w.a, w.x.shape))


def faded(w: World) -> Array:
    H, W = w.x.shape[2:]
    return point(w.a) * (ramp(w.ys, H) * ramp(w.xs, W))[:, None]


UNITY = Proof(
    name="bilinear_sampling_reproduces_affine_maps.partition_of_unity",
    title="The parts of the pixels sum to 1 in the map and fade to 0 within one pixel around it",
    statement="bilinear_sample(α; y, x') = α·h(y)·h(x'), h(y) = max(0, min(1, 1+y, H-y)): continuous on the whole plane",
    hypotheses=("zeros continue the map, also in the blend",),
    domain="any N, C, H, W >= 1, any position, in the map and outside (checked up to two pixels outside)",
    source=SOURCE,
    world=world,
    sizes=tuple(size | dict(beyond=True) for size in SIZES),
    small=(dict(N=1, C=1, H=2, W=3, points=6, beyond=True),),
    degree=1,
    steps=(
        Step("bilinear_sample(α; y, x')", lambda w: sampled(w, same_everywhere(w))),
        Step("α·Σ_r g(y, r)·Σ_q g(x', q)", lambda w: point(w.a) * (
            hat(w.ys, w.x.shape[2]).sum(-1) * hat(w.xs, w.x.shape[3]).sum(-1))[:, None],
             "bilinear_sample (F1)-(F3): the factor of a pixel is g(y, r)·g(x', q), and pixels outside are 0"),
        Step("α·h(y)·h(x')", faded,
             "in the map (1-a) + a = 1; for -1 < y < 0 only row 0 is left, g(y, 0) = 1+y; for H-1 < y < H only row H-1, g = H-y")),
    counterexamples=(
        Counterexample("the sum 1 everywhere", world, OUTSIDE | dict(beyond=True),
                       Step("bilinear_sample(α; y, x')", lambda w: sampled(w, same_everywhere(w))),
                       Step("α", lambda w: point(w.a) * np.ones_like(w.ys)[:, None]),
                       agrees=(("for positions pulled back into the map",
                                lambda w: S(same_everywhere(w), np.clip(w.ys, 0, 3), np.clip(w.xs, 0, 3)),
                                lambda w: point(w.a) * np.ones_like(w.ys)[:, None]),)),
    ),
)

PROOFS = (AFFINE, SLOPES, UNITY)
