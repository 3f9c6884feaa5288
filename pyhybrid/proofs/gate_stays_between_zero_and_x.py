"""A gate σ(z)·x keeps every output between 0 and x; with a channel layer norm it never closes; with norm weights of 0 it halves x.

Bound. Let u = 2^-52. A is one number in [0, 1] on both sides of a step: A·x, x - A·x, their sum and (1 - A)·x are each off by u·|x| at
most, so the sides differ by less than 8·u·max|x|. In the second proof σ <= 1 is off by 4·u at most, on either side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import deform_conv2d, depthwise_separable_conv, gelu, group_norm, instance_norm, layer_norm, sigmoid
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step

SOURCE = "DAS, arXiv 2311.12091, eqs. (1)-(4)"
BOUND = "8u·max|x|, u = 2^-52"


def world(draw: Draw, *, N: int, C: int, inner: int, H: int, W: int, spread: float = 1.0) -> World:
    """A gate with C channels, `inner` of them after the bottleneck; the offsets are not zero."""
    return World(x=draw.real("x", N, C, H, W, spread=spread), depthwise=draw.real("w", C, 1, 3, 3),
                 pointwise=draw.real("p", inner, C, 1, 1), branch=draw.real("o", 27, inner, 3, 3, spread=0.2),
                 K=draw.real("K", C, inner, 3, 3), weight=draw.real("g", C), bias=draw.real("b", C))


def Sigmoid(z: Array) -> Array:
    return sigmoid.forward(z)[0]


def before_norm(w: World) -> Array:
    """deform_conv2d of GELU(instance_norm(x W1)), offset and mask from an ordinary convolution of the same."""
    narrow = depthwise_separable_conv.forward(w.x, w.depthwise, w.pointwise)[0]
    X_c = gelu.forward(instance_norm.forward(narrow)[0])[0]
    branch = Conv(X_c, w.branch, padding=1)
    D, m = np.ascontiguousarray(branch[:, :18]), Sigmoid(np.ascontiguousarray(branch[:, 18:]))
    return deform_conv2d.forward(X_c, D, w.K, m, padding=1)[0]


def logits(w: World) -> Array:
    return layer_norm.forward(before_norm(w), w.weight, w.bias, axis=1)[0]


def A(w: World) -> Array:
    return Sigmoid(logits(w))


def reach(x: Array, y: Array) -> Array:
    """|y| + |x - y|: the way from 0 over y to x."""
    return np.abs(y) + np.abs(x - y)


def bound(w: World) -> float:
    return float(8 * EPS * np.abs(w.x).max())


OUTSIDE = dict(N=1, C=4, inner=2, H=4, W=4)
STRAIGHT = Step("|x|", lambda w: np.abs(w.x))
BETWEEN = Proof(
    name="gate_stays_between_zero_and_x",
    title="A gate keeps every output between 0 and x",
    statement="|y| + |x - y| = |x| for y = A·x, A = σ(LN(deform(GELU(IN(x W1))))): y lies between 0 and x, in every channel and pixel",
    hypotheses=("A comes out of a sigmoid", "x itself is multiplied, and nothing is added"),
    domain="any gate: whatever the branch computes, from finite numbers; so y has the sign of x, |y| <= |x|, and 0 stays 0",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=4, inner=2, H=4, W=5), dict(N=1, C=3, inner=1, H=1, W=1), dict(N=1, C=2, inner=1, H=3, W=3, spread=100.0)),
    small=(),
    steps=(
        Step("|y| + |x - y|, y = A·x", lambda w: reach(w.x, A(w) * w.x)),
        Step("A·|x| + (1 - A)·|x|", lambda w: A(w) * np.abs(w.x) + (1 - A(w)) * np.abs(w.x),
             "0 <= A <= 1 as σ(z) = 1/(1 + exp(-z)): |A·x| = A·|x| and |x - A·x| = (1 - A)·|x|", bound, BOUND),
        Step("|x|", STRAIGHT.value, "A + (1 - A) = 1", bound, BOUND)),
    counterexamples=(
        Counterexample("without the sigmoid: the norm's output has both signs and any size", world, OUTSIDE,
                       Step("|y| + |x - y|, y = LN(…)·x", lambda w: reach(w.x, logits(w) * w.x)), STRAIGHT, bound=bound),
        Counterexample("tanh in its place: the output may change sign", world, OUTSIDE,
                       Step("|y| + |x - y|, y = tanh(LN(…))·x", lambda w: reach(w.x, np.tanh(logits(w)) * w.x)), STRAIGHT, bound=bound,
                       agrees=(("(1 + tanh)/2 is a sigmoid, of twice the argument", lambda w: reach(
                           w.x, (1 + np.tanh(logits(w))) / 2 * w.x), STRAIGHT.value),)),
        Counterexample("with a residual, y = x + A·x", world, OUTSIDE,
                       Step("|y| + |x - y|", lambda w: reach(w.x, w.x + A(w) * w.x)), STRAIGHT, bound=bound),
    ),
)


def spiked(draw: Draw, *, N: int, C: int, H: int, W: int, spread: float) -> World:
    """Feature maps whose first pixel has one channel far below all others: the norm brings it close to the smallest value it can take."""
    d = np.array(draw.real("d", N, C, H, W, spread=1e-3))
    d[:, 0, 0, 0] = -spread
    return World(d=d, x=d, weight=np.full(C, 2.0), floor=-np.sqrt(C - 1))


def normed(w: World, weight: Array | None = None) -> Array:
    return layer_norm.forward(w.d, weight, axis=1)[0]


def sigmoid_bound(w: World) -> float:
    return 8 * EPS


NOT_BELOW = Step("σ(-√(C-1))", lambda w: np.broadcast_to(Sigmoid(np.array(w.floor)), w.d.shape))
SPIKED = dict(N=1, C=3, H=3, W=3, spread=1e3)
OPEN = Proof(
    name="gate_stays_between_zero_and_x.never_closed",
    title="With a channel layer norm of weight 1 and bias 0, a gate never closes below σ(-√(C-1))",
    statement="min(σ(LN(d)), σ(-√(C-1))) = σ(-√(C-1)), C channels: 0.20 for 3 channels, 0.00036 for 64",
    hypotheses=("the norm acts over the channels of one pixel", "its weight is 1 and its bias 0"),
    domain="any d (checked on maps that come close: one channel far from all others)",
    source=SOURCE,
    world=spiked,
    sizes=(dict(N=2, C=3, H=2, W=3, spread=1e3), dict(N=1, C=64, H=2, W=2, spread=1e6), dict(N=1, C=2, H=1, W=1, spread=1.0)),
    small=(),
    steps=(
        Step("min(σ(LN(d)), σ(-√(C-1)))", lambda w: np.minimum(Sigmoid(normed(w)), Sigmoid(np.array(w.floor)))),
        Step("σ(min(LN(d), -√(C-1)))", lambda w: Sigmoid(np.minimum(normed(w), w.floor)), "σ is increasing", sigmoid_bound, "8u"),
        Step("σ(-√(C-1))", NOT_BELOW.value,
             "x̂ has mean 0 and mean square <= 1 (layer_norm (F1)-(F3)): the other C-1 sum to -x̂_c, so their squares to at least "
             "x̂_c²/(C-1), and x̂_c²·C/(C-1) <= C", sigmoid_bound, "8u")),
    counterexamples=(
        Counterexample("a norm over the whole map, group_norm with one group: the bound is √(C·H·W - 1)", spiked, SPIKED,
                       Step("min(σ(group_norm(d)), σ(-√(C-1)))", lambda w: np.minimum(
                           Sigmoid(group_norm.forward(w.d)[0]), Sigmoid(np.array(w.floor)))), NOT_BELOW, bound=sigmoid_bound),
        Counterexample("a norm weight of 2", spiked, SPIKED,
                       Step("min(σ(LN(d, weight = 2)), σ(-√(C-1)))", lambda w: np.minimum(
                           Sigmoid(normed(w, w.weight)), Sigmoid(np.array(w.floor)))), NOT_BELOW, bound=sigmoid_bound),
    ),
)


def flat(draw: Draw, **sizes: Any) -> World:
    w = world(draw, **sizes)
    return changed(w, given=w.bias, weight=0 * w.weight, bias=0 * w.bias)


HALF = Proof(
    name="gate_stays_between_zero_and_x.half",
    title="With norm weights and biases of 0 a gate halves its input, exactly",
    statement="LN weight = LN bias = 0 implies A·x = x/2",
    hypotheses=("weight and bias of the layer norm are 0", "the branch is finite"),
    domain="any x and any branch; four such gates one after another leave a sixteenth",
    source=SOURCE,
    world=flat,
    sizes=(dict(N=2, C=4, inner=2, H=4, W=5), dict(N=1, C=3, inner=1, H=1, W=1)),
    small=(),
    steps=(
        Step("A·x, A = σ(0·x̂ + 0)", lambda w: A(w) * w.x),
        Step("σ(0)·x", lambda w: Sigmoid(np.zeros_like(w.x)) * w.x, "layer_norm (F4): 0·x̂ + 0 = 0"),
        Step("x/2", lambda w: w.x / 2, "σ(0) = 1/(1 + 1), and half of a float is a float")),
    counterexamples=(
        Counterexample("a bias that is not 0", flat, OUTSIDE,
                       Step("σ(0·x̂ + b)·x", lambda w: A(changed(w, bias=w.given)) * w.x), Step("x/2", lambda w: w.x / 2)),
        Counterexample("two gates, one after the other", flat, OUTSIDE,
                       Step("A(A(x)·x)·A(x)·x", lambda w: A(changed(w, x=A(w) * w.x)) * A(w) * w.x),
                       Step("x/2", lambda w: w.x / 2),
                       agrees=(("a quarter", lambda w: A(changed(w, x=A(w) * w.x)) * A(w) * w.x, lambda w: w.x / 4),)),
    ),
)

PROOFS = (BETWEEN, OPEN, HALF)
