"""A layer norm over the channels of a pixel leaves a sum of 0 at every pixel, and forgets what all its channels share.

Bound. Let u = 2^-52. d - m is off by 2·u·max|d|, r by (n + 4)·u of its size and |x̂| <= √C; a sum of C channels adds C times that. Each side
of a step is off by half of 4·u·C·(max|d|·r + (n + 4)·√C), n = C, with max|d| taken after the constant is added.
"""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import group_norm, layer_norm
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step

SOURCE = "DAS, arXiv 2311.12091, eq. (3)"
BOUND = "4u·C·(max|d|·r + (C + 4)·√C), r = 1/√(var + eps)"


def world(draw: Draw, *, N: int, C: int, H: int, W: int, spread: float = 1.0) -> World:
    """Maps d, one number t for each pixel, and weights of a norm that differ from channel to channel."""
    return World(d=draw.real("d", N, C, H, W), t=draw.real("t", N, 1, H, W, spread=spread), weight=1.0 + np.arange(C))


def LN(d: Array, weight: Array | None = None) -> Array:
    """layer_norm over the channels of each pixel."""
    return layer_norm.forward(d, weight, axis=1)[0]


def r(w: World) -> Array:
    apart = w.d - w.d.mean(1, keepdims=True)
    return 1 / np.sqrt((apart * apart).mean(1, keepdims=True) + 1e-5)


def bound(w: World) -> float:
    C = w.d.shape[1]
    return float(4 * EPS * C * ((np.abs(w.d).max() + np.abs(w.t).max()) * r(w).max() + (C + 4) * C**0.5))


def over_channels(y: Array) -> Array:
    return y.sum(1)


SIZES = (dict(N=2, C=4, H=3, W=4), dict(N=1, C=2, H=1, W=1), dict(N=1, C=16, H=2, W=3))
OUTSIDE = dict(N=1, C=3, H=3, W=3)
NOTHING = Step("0", lambda w: np.zeros_like(w.d[:, 0]))
SUM = Proof(
    name="channel_norm_cannot_dim_a_pixel",
    title="A layer norm over channels sums to 0 at every pixel: alone it cannot raise or lower a whole pixel",
    statement="Σ_c layer_norm(d)[c, i, j] = 0 at every pixel, whatever d is",
    hypotheses=("the norm is over the channels of one pixel", "its weights are all alike, its biases sum to 0"),
    domain="any N, C, H, W >= 1; a gate σ(LN(d)) can then only shift weight between the channels of a pixel",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=(),
    steps=(
        Step("Σ_c layer_norm(d)[c]", lambda w: over_channels(LN(w.d))),
        Step("Σ_c (d_c - m)·r, m = mean over c", lambda w: over_channels((w.d - w.d.mean(1, keepdims=True)) * r(w)),
             "layer_norm (F1)-(F3)", bound, BOUND),
        Step("r·(Σ_c d_c - C·m)", lambda w: r(w)[:, 0] * (w.d.sum(1) - w.d.shape[1] * w.d.mean(1)),
             "r is the same for all channels of a pixel", bound, BOUND),
        Step("0", NOTHING.value, "C·m = Σ_c d_c", bound, BOUND)),
    counterexamples=(
        Counterexample("a norm over the whole sample, group_norm with one group", world, OUTSIDE,
                       Step("Σ_c group_norm(d)[c]", lambda w: over_channels(group_norm.forward(w.d)[0])), NOTHING, bound=bound),
        Counterexample("weights that differ from channel to channel", world, OUTSIDE,
                       Step("Σ_c layer_norm(d, weight = 1, 2, 3)[c]", lambda w: over_channels(LN(w.d, w.weight))), NOTHING, bound=bound),
    ),
)

MOVED = Step("layer_norm(d + t)", lambda w: LN(w.d + w.t))
SAME = Step("layer_norm(d)", lambda w: LN(w.d))
SHARED = Proof(
    name="channel_norm_cannot_dim_a_pixel.shared",
    title="A layer norm over channels forgets what all channels of a pixel share",
    statement="layer_norm(d + t) = layer_norm(d) for every map t that is the same in all channels",
    hypotheses=("the norm is over the channels of one pixel",
                "t is the same in all channels of a pixel; from pixel to pixel it may differ"),
    domain="any N, C, H, W >= 1, any d and t; the rounding of d + t is felt: see the bound",
    source=SOURCE,
    world=world,
    sizes=(*SIZES, dict(N=1, C=3, H=2, W=2, spread=100.0)),
    small=(),
    steps=(
        MOVED,
        Step("((d + t) - (m + t))·r", lambda w: ((w.d + w.t) - (w.d.mean(1, keepdims=True) + w.t)) * r(w),
             "layer_norm (F1)-(F3): mean and d move by the same t, and the variance does not", bound, BOUND),
        Step("layer_norm(d)", SAME.value, "t - t = 0; layer_norm (F1)-(F3)", bound, BOUND)),
    counterexamples=(
        Counterexample("the same t after a norm over the whole sample", world, OUTSIDE,
                       Step("group_norm(d + t), one group", lambda w: group_norm.forward(w.d + w.t)[0]),
                       Step("group_norm(d), one group", lambda w: group_norm.forward(w.d)[0]), bound=bound),
        Counterexample("a factor in place of the term: d/1000 is so small that eps is felt", world, OUTSIDE,
                       Step("layer_norm(d/1000)", lambda w: LN(w.d / 1000)), SAME, bound=bound),
    ),
)

PROOFS = (SUM, SHARED)
