"""Attention with zero queries is a mean over the window."""

from __future__ import annotations

import numpy as np

from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, U, attend, attention, heads_of, interior, mirrored, on_grid
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (10)-(15)"


def world(draw: Draw, *, N: int, heads: int, d: int, H: int, W: int, k: int, stride: Pair = (1, 1), border: str = "reflect") -> World:
    shape = (N, heads * d, H, W)
    return World(zero=draw.zeros(*shape), q=draw.exponent("q", *shape), k=draw.log("k", *shape), v=draw.real("v", *shape), size=k,
                 r=k // 2, heads=heads, stride=stride,
                 config=dict(heads=heads, kernel_size=k, stride=stride, border=border, scale=1.0))


def windows(w: World, x: Array) -> Array:
    return heads_of(U(x, w.size, w.stride), w.heads)


def box(x: Array, k: int, padding: int = 0, stride: Pair = (1, 1)) -> Array:
    """Sum over the k x k windows of every channel, as a depthwise convolution with ones."""
    return Conv(x, np.ones((x.shape[1], 1, k, k), x.dtype), padding=padding, stride=stride, groups=x.shape[1])


def bound(w: World) -> float:
    """A mean of n values, summed in any order, with weights off by (n + 8)·u: 2u·(n + 8)·max|v| for two such means."""
    return 2 * EPS * (w.size**2 + 8) * float(np.abs(w.v).max())


BOUND = "2u·(k² + 8)·max|v|, u = 2^-52"
ATTENTION = Step("attention(0, k, v)", lambda w: attention(w.zero, w.k, w.v, **w.config))

MEAN = Proof(
    name="zero_queries_average",
    title="Attention with zero queries is the box mean",
    statement="attention(0, k, v) = conv2d(v reflected, ones, groups = C, stride = s) / k²: no longer depends on the keys",
    hypotheses=("all queries are 0", "border \"reflect\": v is continued by reflection"),
    domain="any N, heads, d, odd window with ⌊k/2⌋ < H, W, any stride; window 1 gives v itself",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, k=3), dict(N=1, heads=1, d=2, H=7, W=5, k=7, stride=(2, 3)),
           dict(N=1, heads=2, d=1, H=2, W=3, k=1), dict(N=1, heads=1, d=1, H=3, W=3, k=5)),
    small=(dict(N=1, heads=2, d=1, H=2, W=3, k=3), dict(N=1, heads=1, d=2, H=3, W=2, k=3, stride=(2, 1))),
    steps=(
        ATTENTION,
        Step("Σ_m softmax_m(Σ_e 0·U(k))·U(v)", lambda w: attend(
            (windows(w, w.k) * heads_of(on_grid(w.zero, w.stride), w.heads)[:, :, :, None]).sum(2), windows(w, w.v)),
             "local_attention (F1)-(F6)", bound, BOUND),
        Step("(Σ_m U_m(v)) / k²", lambda w: U(w.v, w.size, w.stride).sum(2) / w.size**2,
             "all k² logits are 0: every weight is exp(0) / Σ exp(0) = 1/k²", bound, BOUND),
        Step("conv2d(v reflected, ones, groups = C, stride = s) / k²",
             lambda w: box(mirrored(w.v, w.r), w.size, stride=w.stride) / w.size**2,
             "a sum over the window is a depthwise convolution with ones", bound, BOUND)),
    counterexamples=(
        Counterexample("a box mean that pads with zeros instead of reflecting", world, dict(N=1, heads=1, d=2, H=4, W=4, k=3), ATTENTION,
                       Step("conv2d(v, ones, padding = r) / k²", lambda w: box(w.v, w.size, w.r) / w.size**2), bound=bound,
                       agrees=(("the interior, where no window leaves the map",
                                lambda w: interior(attention(w.zero, w.k, w.v, **w.config), (1, 1)),
                                lambda w: interior(box(w.v, w.size, w.r) / w.size**2, (1, 1))),)),
        Counterexample("queries that are not 0", world, dict(N=1, heads=1, d=2, H=4, W=4, k=3),
                       Step("attention(q, k, v)", lambda w: attention(w.q, w.k, w.v, **w.config)),
                       Step("conv2d(v reflected, ones) / k²", lambda w: box(mirrored(w.v, w.r), w.size) / w.size**2),
                       bound=bound),
    ),
)

MASKED = Proof(
    name="zero_queries_average.mask",
    title="With border \"mask\", zero queries average over the pixels inside the map",
    statement="attention(0, k, v, border = mask) = conv2d(v, ones, padding = r) / conv2d(1, ones, padding = r)",
    hypotheses=("all queries are 0", "border \"mask\": the softmax runs over the taps inside the map"),
    domain="any N, heads, d, odd window (larger than the map too), any stride",
    source=SOURCE + "; the border is this package's option",
    world=world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, k=3, border="mask"), dict(N=1, heads=1, d=2, H=2, W=3, k=7, stride=(2, 1), border="mask")),
    small=(),
    steps=(
        ATTENTION,
        Step("conv2d(v, ones, padding = r, stride = s) / conv2d(1, ones, padding = r, stride = s)",
             lambda w: box(w.v, w.size, w.r, w.stride) / box(np.ones_like(w.v), w.size, w.r, w.stride),
             "weights exp(0) / Σ exp(0) over the taps inside: one over their number; taps outside add 0", bound, BOUND)),
    counterexamples=(
        Counterexample("dividing by k² also where some taps are outside", world, dict(N=1, heads=1, d=2, H=4, W=4, k=3, border="mask"),
                       ATTENTION, Step("conv2d(v, ones, padding = r) / k²", lambda w: box(w.v, w.size, w.r) / w.size**2),
                       bound=bound,
                       agrees=(("the interior, where all k² taps are inside",
                                lambda w: interior(attention(w.zero, w.k, w.v, **w.config), (1, 1)),
                                lambda w: interior(box(w.v, w.size, w.r) / w.size**2, (1, 1))),)),
    ),
)

PROOFS = (MEAN, MASKED)
