"""A shift is a depthwise convolution with a one-hot kernel, and stage II is one grouped convolution."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import shift_conv, shift_sum
from pyhybrid.ops.shift_conv import shift_kernels, shift_weight
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, Shift, Sum, on_grid, taps
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (17)-(18), figure 3"


def world(draw: Draw, *, N: int, C: int, H: int, W: int, k: int) -> World:
    x = draw("x", N, C, H, W)
    return World(x=x, E=shift_kernels(k, x.dtype.type), k=k, r=k // 2)


def depthwise(w: World, kernel: Array) -> Array:
    """conv2d of every channel with the same kernel (k, k)."""
    C = w.x.shape[1]
    weight = np.broadcast_to(kernel, (C, 1, w.k, w.k)).copy()
    return Conv(w.x, weight, padding=w.r, groups=C)


def by_taps(w: World, E: Array) -> Array:
    """Σ_uv E[u, v]·xp[i+u, j+v], xp the map padded with r zeros on every side."""
    H, W = w.x.shape[2:]
    xp = np.pad(w.x, [(0, 0), (0, 0), (w.r, w.r), (w.r, w.r)])
    return Sum(E[u, v] * xp[:, :, u : u + H, v : v + W] for _, u, v in taps((w.k, w.k)))


def every_tap(w: World, body) -> Array:
    """body(p, q) for every tap, stacked."""
    return np.stack([body(p, q) for _, p, q in taps((w.k, w.k))])


def shifts(w: World) -> Array:
    return every_tap(w, lambda p, q: Shift(w.x, p - w.r, q - w.r))


ONE = Proof(
    name="shift_is_depthwise_conv",
    title="A shift is a depthwise convolution with a fixed one-hot kernel",
    statement="Shift(x, p-r, q-r) = conv2d(x, E_m on every channel, groups = C, padding = r), E_m[p, q] = 1, 0 elsewhere, for every tap",
    hypotheses=("k is odd, r = ⌊k/2⌋", "zeros move in", "convolution is cross-correlation: the 1 stands at (p, q)"),
    domain="any N, C, H, W >= 1, all k² taps at once; an offset (s, t) needs k > 2·max(|s|, |t|)",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=3, H=4, W=5, k=3), dict(N=1, C=2, H=2, W=3, k=5), dict(N=1, C=1, H=1, W=1, k=3)),
    small=(dict(N=1, C=2, H=2, W=3, k=3),),
    degree=1,
    steps=(
        Step("Shift(x, p-r, q-r)", shifts),
        Step("Σ_uv E_m[u, v]·Shift(x, u-r, v-r)", lambda w: every_tap(w, lambda p, q: Sum(
            w.E[p * w.k + q, u, v] * Shift(w.x, u - w.r, v - w.r) for _, u, v in taps((w.k, w.k)))),
             "E_m is 1 at (u, v) = (p, q) and 0 elsewhere: one term of the sum remains"),
        Step("Σ_uv E_m[u, v]·xp[i+u, j+v]", lambda w: every_tap(w, lambda p, q: by_taps(w, w.E[p * w.k + q])),
             "xp is x with r zeros around it: xp[i+u, j+v] = x[i+u-r, j+v-r], 0 outside"),
        Step("conv2d(x, E_m, groups = C, padding = r)", lambda w: every_tap(w, lambda p, q: depthwise(w, w.E[p * w.k + q])),
             "conv2d (F1)-(F3) with one channel per group")),
    counterexamples=(
        Counterexample("the 1 in the opposite corner, as a true (flipped) convolution would have it", world,
                       dict(N=1, C=1, H=3, W=3, k=3),
                       Step("Shift(x, p-r, q-r)", shifts),
                       Step("conv2d(x, E_m flipped)",
                            lambda w: every_tap(w, lambda p, q: depthwise(w, w.E[p * w.k + q][::-1, ::-1]))),
                       agrees=(("the centre tap, which moves nothing", lambda w: Shift(w.x, 0, 0),
                                lambda w: depthwise(w, w.E[w.k**2 // 2][::-1, ::-1])),)),
        Counterexample("a circular shift: what leaves on one side enters on the other", world, dict(N=1, C=1, H=3, W=3, k=3),
                       Step("roll(x, (r-p, r-q))", lambda w: every_tap(w, lambda p, q: np.roll(
                           w.x, (w.r - p, w.r - q), axis=(2, 3)))),
                       Step("conv2d(x, E_m, groups = C, padding = r)",
                            lambda w: every_tap(w, lambda p, q: depthwise(w, w.E[p * w.k + q])))),
    ),
)


def maps_world(draw: Draw, *, N: int, d: int, heads: int, H: int, W: int, k: int, stride: Pair = (1, 1)) -> World:
    maps = draw("maps", N, k * k, d, H, W)
    return World(maps=maps, E=shift_kernels(k, maps.dtype.type), weight=shift_weight(k, heads * d, maps.dtype.type), heads=heads, k=k,
                 r=k // 2, stride=stride)


def stage_two(w: World) -> Array:
    y = shift_sum.forward(w.maps, kernel_size=w.k, stride=w.stride)[0]
    return np.repeat(y, w.heads, axis=1)


def grouped(w: World, maps: Array) -> Array:
    """conv2d with d groups of k² channels, `heads` outputs per group, maps (N, d, k², H, W)."""
    N, d, _, H, W = maps.shape
    return Conv(maps.reshape(N, d * w.k**2, H, W), w.weight, padding=w.r, stride=w.stride, groups=d)


STAGE_TWO = Proof(
    name="shift_is_depthwise_conv.stage_two",
    title="Stage II is one grouped convolution whose kernels are one-hot: dep_conv at its initialisation",
    statement="Σ_m Shift(F[e, m], p-r, q-r) = dep_conv(F)[e·heads + n] for every n: the outputs of one group are identical",
    hypotheses=("k is odd", "weight[o, m] = E_m", "channels are ordered e·k² + m"),
    domain="any N, d, heads, H, W >= 1, any stride",
    source=SOURCE + "; official initialisation",
    world=maps_world,
    sizes=(dict(N=2, d=2, heads=3, H=4, W=5, k=3), dict(N=1, d=3, heads=1, H=5, W=3, k=3, stride=(2, 3)),
           dict(N=1, d=1, heads=2, H=2, W=2, k=5)),
    small=(dict(N=1, d=2, heads=2, H=2, W=2, k=3),),
    degree=1,
    steps=(
        Step("stage II(F), each channel repeated heads times", stage_two),
        Step("Σ_m Shift(F[e, m], p-r, q-r) on the stride grid", lambda w: np.repeat(on_grid(Sum(
            Shift(w.maps[:, m], p - w.r, q - w.r) for m, p, q in taps((w.k, w.k))), w.stride), w.heads, axis=1),
             "stage II (F1), (F2)"),
        Step("Σ_m Σ_uv E_m[u, v]·F[e, m, s·i+u-r, s·j+v-r]", lambda w: np.repeat(on_grid(Sum(
            w.E[m, u, v] * Shift(w.maps[:, m], u - w.r, v - w.r)
            for m in range(w.k**2) for _, u, v in taps((w.k, w.k))), w.stride), w.heads, axis=1),
             "a shift is a convolution with E_m (shift_is_depthwise_conv)"),
        Step("conv2d(F, E, groups = d, padding = r, stride = s)", lambda w: grouped(w, w.maps.swapaxes(1, 2)),
             "conv2d (F3): the sum over m and (u, v) is the sum within group e"),
        Step("shift_conv(F, E)", lambda w: shift_conv.forward(w.maps.swapaxes(1, 2), w.weight, kernel_size=w.k,
                                                             stride=w.stride)[0],
             "shift_conv (F2)")),
    counterexamples=(
        Counterexample("channels ordered m·d + e instead of e·k² + m: a group then gets maps of other channels", maps_world,
                       dict(N=1, d=2, heads=1, H=3, W=3, k=3),
                       Step("stage II(F)", stage_two),
                       Step("conv2d(F read in the wrong order, E, groups = d)", lambda w: grouped(
                           w, w.maps.reshape(w.maps.shape[0], w.maps.shape[2], w.k**2, *w.maps.shape[3:])))),
    ),
)

PROOFS = (ONE, STAGE_TWO)
