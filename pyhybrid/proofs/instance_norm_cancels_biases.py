"""An instance norm cancels whatever is the same at all pixels of a map: the biases of the convolutions before it have no effect.

Bound. Let u = 2^-52. With |v| + |k| <= V every value and mean is off by 4·V·u at most; both are multiplied by r, and x̂ is off by as much
again through r: (8·V·r + 8)·u·(1 + max|x̂|) on each side of a step.
"""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import depthwise_separable_conv, group_norm, instance_norm, relu
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step

SOURCE = "DAS, arXiv 2311.12091, eq. (1)"
BOUND = "2u·(8·V·r + 8)·(1 + max|x̂|), V = max|v| + max|k|, r = 1/√(var + eps)"


def world(draw: Draw, *, N: int, C: int, M: int, H: int, W: int) -> World:
    return World(x=draw.real("x", N, C, H, W), w=draw.real("w", C, 1, 3, 3), p=draw.real("p", M, C, 1, 1), b=draw.real("b", C),
                 c=draw.real("c", M))


def narrowed(w: World, x: Array | None = None, b: Array | None = None, c: Array | None = None, **config: int) -> Array:
    """v = W1 x: depthwise, then pointwise, with the biases b and c if they are given."""
    return depthwise_separable_conv.forward(w.x if x is None else x, w.w, w.p, b, c, **config)[0]


def norm(v: Array) -> Array:
    return instance_norm.forward(v)[0]


def k(w: World) -> Array:
    """k_o = Σ_c p_oc·b_c + c_o, (M, 1, 1)."""
    return (w.p[:, :, 0, 0] @ w.b + w.c)[:, None, None]


def biased(w: World) -> Array:
    return narrowed(w, b=w.b, c=w.c)


def centred(w: World) -> Array:
    """(v + k - mean(v) - k)·r, r = 1/√(mean (v - mean(v))² + eps)."""
    v = narrowed(w)
    apart = v - v.mean((2, 3), keepdims=True)
    return ((v + k(w)) - (v.mean((2, 3), keepdims=True) + k(w))) / np.sqrt((apart * apart).mean((2, 3), keepdims=True) + 1e-5)


def bound(w: World) -> float:
    v = narrowed(w)
    r = 1 / np.sqrt(v.var((2, 3)) + 1e-5)
    return float(2 * EPS * (8 * (np.abs(v).max() + np.abs(k(w)).max()) * r.max() + 8) * (1 + np.abs(norm(v)).max()))


WITH = Step("instance_norm(depthwise_separable_conv(x, w, p, b, c))", lambda w: norm(biased(w)))
WITHOUT = Step("instance_norm(depthwise_separable_conv(x, w, p))", lambda w: norm(narrowed(w)))
OUTSIDE = dict(N=1, C=2, M=2, H=4, W=4)
PROOF = Proof(
    name="instance_norm_cancels_biases",
    title="An instance norm cancels the biases of the convolutions before it",
    statement="instance_norm(depthwise_separable_conv(x, w, p, b, c)) = instance_norm(depthwise_separable_conv(x, w, p)): "
              "b and c have no effect, and no gradient",
    hypotheses=("nothing between the convolutions and the norm", "the depthwise bias is added after the padding",
                "the norm is over the pixels of one map"),
    domain="any N, C, H, W >= 1, any biases; a map of one pixel becomes 0 with or without them",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=3, M=2, H=4, W=5), dict(N=1, C=2, M=3, H=1, W=1), dict(N=1, C=4, M=1, H=6, W=2)),
    small=(),
    steps=(
        WITH,
        Step("instance_norm(v + k), v = depthwise_separable_conv(x, w, p), k = p·b + c", lambda w: norm(narrowed(w) + k(w)),
             "depthwise_separable_conv (F1), (F2): b passes the pointwise map as the constant p·b, at the border too", bound, BOUND),
        Step("((v + k) - (mean(v) + k))·r, r = 1/√(var(v) + eps)", centred,
             "instance_norm (F1)-(F3): the mean of v + k is mean(v) + k, its variance is that of v", bound, BOUND),
        Step("instance_norm(depthwise_separable_conv(x, w, p))", WITHOUT.value, "k - k = 0; instance_norm (F1)-(F3)", bound, BOUND)),
    counterexamples=(
        Counterexample("a ReLU between: what it cuts off depends on the bias", world, OUTSIDE,
                       Step("instance_norm(relu(v + k))", lambda w: norm(relu.forward(biased(w))[0])),
                       Step("instance_norm(relu(v))", lambda w: norm(relu.forward(narrowed(w))[0])), bound=bound),
        Counterexample("a bias added to x, before the padding: the zeros of the padding do not get it", world, OUTSIDE,
                       Step("instance_norm(depthwise_separable_conv(x + b, w, p))",
                            lambda w: norm(narrowed(w, w.x + w.b[:, None, None]))), WITHOUT, bound=bound,
                       agrees=(("without padding", lambda w: norm(narrowed(w, w.x + w.b[:, None, None], padding=0)),
                                lambda w: norm(narrowed(w, padding=0))),)),
        Counterexample("one norm over all channels: a constant of one channel is no constant of all", world, OUTSIDE,
                       Step("group_norm(v + k), one group", lambda w: group_norm.forward(biased(w))[0]),
                       Step("group_norm(v), one group", lambda w: group_norm.forward(narrowed(w))[0]), bound=bound,
                       agrees=(("the same constant for all channels", lambda w: group_norm.forward(narrowed(w) + w.c[0])[0],
                                lambda w: group_norm.forward(narrowed(w))[0]),)),
    ),
)

PROOFS = (PROOF,)
