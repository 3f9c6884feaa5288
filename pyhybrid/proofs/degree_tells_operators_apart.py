"""Which differences along a line vanish: a convolution has degree 1, a gate 2, attention without its softmax 3, with it none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyhybrid.ops import attention, gated_conv
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._gnconv import difference
from pyhybrid.proofs._notation import Array, Conv, half, times
from pyhybrid.proofs._proof import EPS, Counterexample, Proof, Step


def world(draw: Draw, *, N: int, C: int, H: int, W: int, kernel: tuple[int, int] = (3, 3)) -> World:
    return World(x=draw("x", N, C, H, W), v=draw("v", N, C, H, W), D=draw("D", C, 1, *kernel), b=draw("b", C),
                 P=draw("P", 3 * C, C, 1, 1))


def along(w: World, m: int, F: Callable[[World, Array], Array]) -> Array:
    """Δ^m F along v."""
    return np.asarray(difference([F(w, w.x + j * w.v) for j in range(m + 1)], m))


def conv(w: World, x: Array) -> Array:
    """Depthwise, with a bias."""
    return Conv(x, w.D, w.b, padding=half(w.D.shape[2:]), groups=len(w.D))


def conv_bare(w: World, x: Array) -> Array:
    return Conv(x, w.D, padding=half(w.D.shape[2:]), groups=len(w.D))


def gate(w: World, x: Array) -> Array:
    """The operator gated_conv, gated by its own input: x·(f(x) + b)."""
    return gated_conv.forward(x, x, w.D, w.b)[0]


def spelled_gate(w: World, x: Array) -> Array:
    """x·f(x) + b·x, the bias apart."""
    return x * conv_bare(w, x) + w.b[:, None, None] * x


def zero(w: World) -> Array:
    return 0 * w.x


SOURCE = "HorNet, arXiv 2207.14284, orders of interaction"
SIZES: tuple[dict[str, Any], ...] = (dict(N=2, C=3, H=4, W=3), dict(N=1, C=2, H=1, W=5, kernel=(1, 3)),
                                     dict(N=1, C=1, H=2, W=2, kernel=(5, 5)))
SMALL: tuple[dict[str, Any], ...] = (dict(N=1, C=1, H=1, W=2, kernel=(1, 3)), dict(N=1, C=1, H=2, W=2))
OUTSIDE: dict[str, Any] = dict(N=1, C=2, H=3, W=4)

CONVOLUTION = Proof(
    name="degree_tells_operators_apart.convolution",
    title="A convolution has degree 1",
    statement="Δ conv(x) = conv_0(v), whatever x: so Δ² conv = 0",
    hypotheses=("the weights do not depend on x",),
    domain="any sizes, any odd kernel, with a bias; conv_0 is without it",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=2,
    steps=(
        Step("Δ conv", lambda w: along(w, 1, conv)),
        Step("conv_0(x + v) - conv_0(x)", lambda w: conv_bare(w, w.x + w.v) - conv_bare(w, w.x), "the bias cancels"),
        Step("conv_0(v)", lambda w: conv_bare(w, w.v), "conv2d is linear in x"),
        Step("conv_0(v) + Δ² conv", lambda w: conv_bare(w, w.v) + along(w, 2, conv), "no x in conv_0(v), so its difference is 0")),
    counterexamples=(
        Counterexample("degree 0: what does not depend on x", world, OUTSIDE, Step("Δ conv", lambda w: along(w, 1, conv)), Step("0", zero)),
        Counterexample("a gate", world, OUTSIDE, Step("Δ² gated_conv(x, x)", lambda w: along(w, 2, gate)), Step("0", zero)),
    ),
)

GATE = Proof(
    name="degree_tells_operators_apart.gate",
    title="A modulation gate has degree 2",
    statement="Δ² gated_conv(x, x) = 2·v·f(v), whatever x and the bias: so Δ³ = 0",
    hypotheses=("a map times a filtered map, both linear in x",),
    domain="any sizes, any odd kernel, f with a bias",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=3,
    steps=(
        Step("Δ² gated_conv(x, x)", lambda w: along(w, 2, gate)),
        Step("Δ² of x·f(x) + b·x", lambda w: along(w, 2, spelled_gate), "gated_conv (F1), (F2)"),
        Step("2·v·f(v)", lambda w: 2 * w.v * conv_bare(w, w.v),
             "(x + t·v)·f(x + t·v) has v·f(v) with t², and Δ² t² = 2; b·x is of degree 1"),
        Step("2·v·f(v) + Δ³ gated_conv(x, x)", lambda w: 2 * w.v * conv_bare(w, w.v) + along(w, 3, gate),
             "no x in it, so the next difference is 0")),
    counterexamples=(
        Counterexample("degree 1", world, OUTSIDE, Step("Δ² gated_conv(x, x)", lambda w: along(w, 2, gate)), Step("0", zero)),
        Counterexample("a gate on a gate, as in gnConv of order 2", world, OUTSIDE,
                       Step("Δ³ of gated_conv(gated_conv(x, x), x)", lambda w: along(w, 3, gate_twice)), Step("0", zero),
                       agrees=(("the next difference", lambda w: along(w, 4, gate_twice), zero),)),
    ),
)


def gate_twice(w: World, x: Array) -> Array:
    return gated_conv.forward(gate(w, x), x, w.D, w.b)[0]


def qkv(w: World, x: Array) -> tuple[Array, Array, Array]:
    """q, k, v as tokens (N, C, H·W)."""
    N, C, H, W = x.shape
    q, k, v = np.split(times(w.P, x).reshape(N, 3 * C, H * W), 3, axis=1)
    return q, k, v


def without_softmax(w: World, x: Array) -> Array:
    """Σ_u (q_t·k_u)·v_u."""
    q, k, v = qkv(w, x)
    return (v @ (k.swapaxes(1, 2) @ q)).reshape(x.shape)


ATTENTION = Proof(
    name="degree_tells_operators_apart.attention_without_softmax",
    title="Attention without its softmax has degree 3, as gnConv of order 2",
    statement="Δ³ Σ_u (q_t·k_u)·v_u = 6·(the same at v), whatever x: so Δ⁴ = 0",
    hypotheses=("q, k and v are linear in x, and nothing normalises the weights",),
    domain="any sizes, one head",
    source=SOURCE,
    world=world,
    sizes=SIZES[:2],
    small=SMALL[:1],
    degree=6,
    steps=(
        Step("Δ³ Σ_u (q_t·k_u)·v_u", lambda w: along(w, 3, without_softmax)),
        Step("6·Σ_u (q_t·k_u)·v_u at v", lambda w: 6 * without_softmax(w, w.v), "q, k and v give one factor t each, and Δ³ t³ = 3!"),
        Step("6·Σ_u (q_t·k_u)·v_u at v, plus Δ⁴", lambda w: 6 * without_softmax(w, w.v) + along(w, 4, without_softmax),
             "no x in it, so the next difference is 0")),
    counterexamples=(
        Counterexample("degree 2", world, OUTSIDE, Step("Δ³ Σ_u (q_t·k_u)·v_u", lambda w: along(w, 3, without_softmax)), Step("0", zero)),
    ),
)


def real_world(draw: Draw, *, N: int, C: int, H: int, W: int) -> World:
    return World(x=draw.real("x", N, C, H, W), v=draw.real("v", N, C, H, W), P=draw.real("P", 3 * C, C, 1, 1))


def attended(w: World, x: Array) -> Array:
    """The operator attention, one head."""
    q, k, v = (np.ascontiguousarray(a.swapaxes(1, 2))[:, None] for a in qkv(w, x))
    return attention.forward(q, k, v)[0][:, 0].swapaxes(1, 2).reshape(x.shape)


def frozen(w: World, x: Array) -> Array:
    """Attention with the weights that x itself had, and the values of another map."""
    q, k, _ = qkv(w, w.x)
    v = qkv(w, x)[2]
    q, k, v = (np.ascontiguousarray(a.swapaxes(1, 2))[:, None] for a in (q, k, v))
    return attention.forward(q, k, v)[0][:, 0].swapaxes(1, 2).reshape(x.shape)


def largest_value(w: World) -> Array:
    """The largest |v_u| of each channel."""
    return np.asarray(np.abs(qkv(w, w.x)[2]).max(2))


def no_smaller(w: World) -> Array:
    """The larger of max_t |y_t| and max_u |v_u|, channel by channel."""
    y = np.abs(attended(w, w.x))
    return np.asarray(np.maximum(y.reshape(*y.shape[:2], -1).max(2), largest_value(w)))


def attention_bound(w: World) -> float:
    """n weights that sum to 1 up to (n + 8)·u, times the largest value."""
    return 2 * EPS * (w.x.shape[2] * w.x.shape[3] + 8) * float(largest_value(w).max())


def line_bound(w: World) -> float:
    """Far above rounding, and below what the differences of a softmax are."""
    return 1e-9 * float(np.abs(qkv(w, w.x + 3 * w.v)[2]).max())


SOFTMAX = Proof(
    name="degree_tells_operators_apart.softmax_attention",
    title="Softmax attention has no degree: it grows no faster than its values, but is not linear",
    statement="max |attention(q, k, v)| <= max |v|: along a line at most linear growth, so a polynomial would have Δ² = 0, and it has not",
    hypotheses=("the weights are a softmax",),
    domain="any sizes, one head; q, k and v linear in x",
    source=SOURCE,
    world=real_world,
    sizes=(dict(N=2, C=3, H=3, W=2), dict(N=1, C=1, H=1, W=6), dict(N=1, C=2, H=4, W=4)),
    small=(),
    steps=(
        Step("the larger of max_t |y_t| and max_u |v_u|", no_smaller),
        Step("max_u |v_u|", largest_value, "y_t = Σ_u a_tu·v_u with a_tu >= 0 and Σ_u a_tu = 1: a mean is no larger than its terms",
             attention_bound, "2u·(n + 8)·max|v|, n keys")),
    counterexamples=(
        Counterexample("a polynomial that grows at most linearly: degree 1", real_world, dict(N=1, C=2, H=3, W=4),
                       Step("Δ² attention", lambda w: along(w, 2, attended)), Step("0", zero), bound=line_bound,
                       agrees=(("with frozen weights", lambda w: along(w, 2, frozen), zero),)),
        Counterexample("a higher degree: the difference of order 8 does not vanish either", real_world, dict(N=1, C=2, H=3, W=4),
                       Step("Δ⁸ attention", lambda w: along(w, 8, attended)), Step("0", zero), bound=line_bound),
        Counterexample("without the softmax nothing holds the result down", real_world, dict(N=1, C=2, H=3, W=4),
                       Step("the larger of max |y| and max |v|", lambda w: np.maximum(
                           np.abs(without_softmax(w, w.x)).max(), largest_value(w).max())),
                       Step("max |v|", lambda w: largest_value(w).max()), bound=attention_bound),
    ),
)

PROOFS = (CONVOLUTION, GATE, ATTENTION, SOFTMAX)
