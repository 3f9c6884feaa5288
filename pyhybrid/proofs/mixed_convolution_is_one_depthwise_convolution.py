"""A mixed convolution is one depthwise convolution: every kernel in the centre of one as large as the largest, zeros around it."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import mixed_conv
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Shift, Sum, interior, taps
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "SMT, arXiv 2307.08579, eq. (1)"


def world(draw: Draw, *, N: int, M: int, sizes: tuple[int, ...], H: int, W: int) -> World:
    C = M * len(sizes)
    return World(x=draw("x", N, C, H, W), K=draw("K", M, sum(k * k for k in sizes)), b=draw("b", C), sizes=sizes, M=M, C=C,
                 k=max(sizes), R=max(sizes) // 2)


def mixed(w: World) -> Array:
    return mixed_conv.forward(w.x, w.K, w.b, kernel_sizes=w.sizes)[0]


def heads(w: World) -> list[tuple[int, Array, Array]]:
    """(k_t, x_t, K_t) of every head: its kernel size, its channels, its kernels (M, 1, k, k)."""
    ends = np.cumsum([k * k for k in w.sizes])
    return [(k, w.x[:, t * w.M : (t + 1) * w.M], w.K[:, end - k * k : end].reshape(w.M, 1, k, k))
            for t, (k, end) in enumerate(zip(w.sizes, ends, strict=True))]


def shifted(x: Array, K: Array, r: int) -> Array:
    """Σ_pq K[p, q]·Shift(x, p-r, q-r), every channel with its own kernel (C, 1, k, k)."""
    return Sum(K[:, 0, p, q, None, None] * Shift(x, p - r, q - r) for _, p, q in taps(K.shape[2:]))


def embedded(w: World, *, centre: bool = True) -> Array:
    """(C, 1, k, k), k the largest size: K_t in the centre, or in the upper left corner, and zeros around it."""
    out = np.zeros((w.C, 1, w.k, w.k), w.K.dtype)
    for t, (k, _, K) in enumerate(heads(w)):
        at = w.R - k // 2 if centre else 0
        out[t * w.M : (t + 1) * w.M, :, at : at + k, at : at + k] = K
    return out


def by_shifts(w: World) -> Array:
    return np.concatenate([shifted(x, K, k // 2) for k, x, K in heads(w)], axis=1) + w.b[:, None, None]


def embedded_by_shifts(w: World) -> Array:
    return shifted(w.x, embedded(w), w.R) + w.b[:, None, None]


def depthwise(w: World, *, centre: bool = True) -> Array:
    return Conv(w.x, embedded(w, centre=centre), w.b, padding=w.R, groups=w.C)


def valid(w: World, *, middle: bool) -> Array:
    """Every head without padding, cut to the size of the smallest result: in the middle, or after the first rows and columns."""
    size = w.x.shape[2] - 2 * w.R, w.x.shape[3] - 2 * w.R
    out = []
    for k, x, K in heads(w):
        y = Conv(np.ascontiguousarray(x), K, groups=w.M)
        cut = w.R - k // 2 if middle else 0
        out.append(y[..., cut : cut + size[0], cut : cut + size[1]])
    return np.concatenate(out, axis=1)


def valid_embedded(w: World) -> Array:
    return Conv(w.x, embedded(w), groups=w.C)


def largest_head(y: Array, w: World) -> Array:
    """The channels of the heads with the largest kernel."""
    return np.concatenate([y[:, t * w.M : (t + 1) * w.M] for t, k in enumerate(w.sizes) if k == w.k], axis=1)


OUTSIDE = dict(N=1, M=1, sizes=(1, 3), H=4, W=5)
MIXED = Proof(
    name="mixed_convolution_is_one_depthwise_convolution",
    title="A mixed convolution is one depthwise convolution with the largest kernel",
    statement="mixed_conv(x, K, b) = conv2d(x, K̂, b, groups = C, padding = R), K̂_t = K_t in the centre of k × k zeros, k = max k_t, "
              "R = ⌊k/2⌋: at every pixel, the border included",
    hypotheses=("all kernel sizes are odd", "x continues with zeros, as far as each kernel reaches"),
    domain="any N, heads, M, H, W >= 1, kernels larger than the map too; the official sizes 3, 5, 7, 9 cost 41 taps a channel, K̂ 81",
    source=SOURCE,
    world=world,
    sizes=(dict(N=1, M=1, sizes=(3, 5, 7, 9), H=5, W=6), dict(N=2, M=1, sizes=(5, 1, 3), H=4, W=3),
           dict(N=1, M=2, sizes=(3, 7), H=1, W=2), dict(N=1, M=3, sizes=(3,), H=2, W=2)),
    small=(dict(N=1, M=1, sizes=(1, 3), H=2, W=2), dict(N=1, M=1, sizes=(3, 5), H=1, W=2)),
    degree=2,
    steps=(
        Step("mixed_conv(x, K, b)", mixed),
        Step("[Σ_pq K_t[p, q]·Shift(x_t, p-r_t, q-r_t)]_t + b, r_t = ⌊k_t/2⌋", by_shifts,
             "mixed_conv (F1)-(F3): r_t zeros around head t, so a tap that leaves the map reads 0"),
        Step("Σ_pq K̂[p, q]·Shift(x, p-R, q-R) + b", embedded_by_shifts,
             "K̂_t[p + R-r_t, q + R-r_t] = K_t[p, q] stands at the same displacement; the taps around it are 0"),
        Step("conv2d(x, K̂, b, groups = C, padding = R)", depthwise, "conv2d (F1)-(F3): one kernel for every channel")),
    counterexamples=(
        Counterexample("without padding each head loses r_t rows on each side, and the first pixels that are left are not the same", world,
                       OUTSIDE, Step("[conv2d(x_t, K_t)]_t, the first rows and columns", lambda w: valid(w, middle=False)),
                       Step("conv2d(x, K̂, groups = C)", valid_embedded),
                       agrees=(("all heads cut to the common middle", lambda w: valid(w, middle=True), valid_embedded),)),
        Counterexample("the kernels in the upper left corner of K̂", world, OUTSIDE, Step("mixed_conv(x, K, b)", mixed),
                       Step("conv2d(x, K̂, b), K_t in the corner", lambda w: depthwise(w, centre=False)),
                       agrees=(("the head with the largest kernel, which has no room to move", lambda w: largest_head(mixed(w), w),
                                lambda w: largest_head(depthwise(w, centre=False), w)),)),
        Counterexample("a border that is cut off instead of padded: the same only where no tap leaves the map", world,
                       OUTSIDE | dict(H=5), Step("mixed_conv(x, K, b)", mixed),
                       Step("conv2d(x, K̂) with 0 where a tap leaves the map", lambda w: Sum(
                           [np.pad(valid_embedded(w), [(0, 0), (0, 0), (w.R, w.R), (w.R, w.R)]), w.b[:, None, None]])),
                       agrees=(("the interior", lambda w: interior(mixed(w), (w.R, w.R)),
                                lambda w: valid_embedded(w) + w.b[:, None, None]),)),
    ),
)

PROOFS = (MIXED,)
