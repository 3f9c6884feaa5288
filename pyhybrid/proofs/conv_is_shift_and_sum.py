"""A convolution is shift and sum: k² pointwise convolutions (stage I), shifted by their taps' positions and added (stage II)."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import conv_decomposition, shift_sum, tap_projection
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, Shift, Sum, half, interior, on_grid, taps, times, with_ones
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (1)-(9)"


def world(draw: Draw, *, N: int, C: int, O: int, H: int, W: int, kernel: Pair, stride: Pair = (1, 1)) -> World:
    x, K, b = draw("x", N, C, H, W), draw("K", O, C, *kernel), draw("b", kernel[0] * kernel[1], O)
    return World(x=x, K=K, b=b, kernel=kernel, stride=stride, r=half(kernel))


def index_formula(w: World) -> Array:
    """The definition, literally: x is 0 outside the map."""
    (N, _, H, W), (O, _, kh, kw), (sh, sw), (rh, rw) = w.x.shape, w.K.shape, w.stride, w.r
    y = np.zeros((N, O, -(-H // sh), -(-W // sw)), w.x.dtype)
    for i, j, p, q in np.ndindex(*y.shape[2:], kh, kw):
        a, b = sh * i + p - rh, sw * j + q - rw
        if 0 <= a < H and 0 <= b < W:
            y[:, :, i, j] += w.x[:, :, a, b] @ w.K[:, :, p, q].T
    return y


def project_shifted(w: World) -> Array:
    return Sum(times(w.K, Shift(w.x, p - w.r[0], q - w.r[1]), p, q) for _, p, q in taps(w.kernel))


def shift_projected(w: World) -> Array:
    return Sum(Shift(times(w.K, w.x, p, q), p - w.r[0], q - w.r[1]) for _, p, q in taps(w.kernel))


def two_stages(w: World, bias: Array | None = None) -> Array:
    maps = tap_projection.forward(w.x, w.K, bias)[0]
    return shift_sum.forward(maps, kernel_size=w.kernel, stride=w.stride)[0]


DERIVATION = (
    Step("Σ_pq K_pq Shift(x, p-r, q-r)", project_shifted,
         "Shift(x, p-r, q-r)[i, j] = x[i+p-r, j+q-r], 0 outside: the sum over a, b is the matrix K_pq at each pixel"),
    Step("Σ_pq Shift(K_pq x, p-r, q-r)", shift_projected,
         "a pointwise map commutes with the shift: it acts on each pixel alone, and K_pq·0 = 0 where zeros move in"),
    Step("stage II(stage I(x))", two_stages,
         "stage I (F1): map m = p·k + q is K_pq x; stage II (F1): the sum of the maps, shifted"),
    Step("conv_decomposition(x, K)", lambda w: conv_decomposition.forward(w.x, w.K, stride=w.stride)[0],
         "(F1), (F2): both stages in one operator"),
)

ODD = Proof(
    name="conv_is_shift_and_sum.odd",
    title="A convolution with an odd kernel is shift and sum",
    statement="conv2d(x, K, padding = r) = Σ_pq Shift(K_pq x, p-r, q-r), r = ⌊k/2⌋, at every pixel, the border included",
    hypotheses=("kh and kw are odd", "x continues with zeros", "stage I has no bias", "Shift reads at i+s"),
    domain="any N, C, O, H, W >= 1, kernels larger than the map too; stride 1",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=3, O=2, H=5, W=4, kernel=(3, 3)), dict(N=1, C=2, O=3, H=4, W=6, kernel=(3, 5)),
           dict(N=1, C=1, O=2, H=1, W=2, kernel=(5, 5)), dict(N=2, C=4, O=1, H=3, W=3, kernel=(1, 1))),
    small=(dict(N=1, C=2, O=2, H=2, W=3, kernel=(3, 3)), dict(N=1, C=1, O=1, H=1, W=2, kernel=(1, 5))),
    degree=2,
    steps=(
        Step("conv2d(x, K, padding = r)", lambda w: Conv(w.x, w.K, padding=w.r)),
        Step("y[i, j] = Σ_pq K_pq x[i+p-r, j+q-r]", index_formula,
             "conv2d (F1)-(F3): the padded map has xp[i, j] = x[i-r, j-r], 0 outside"),
        *DERIVATION),
    counterexamples=(
        Counterexample("a stage-I bias b: its map is shifted too, and zeros move in where b would be needed", world,
                       dict(N=1, C=2, O=2, H=5, W=5, kernel=(3, 3)),
                       Step("conv2d(x, K, bias = Σ_pq b_pq)", lambda w: Conv(w.x, w.K, w.b.sum(0), padding=w.r)),
                       Step("conv_decomposition(x, K, b)", lambda w: two_stages(w, w.b)),
                       agrees=(("the interior, where no tap leaves the map",
                                lambda w: interior(Conv(w.x, w.K, w.b.sum(0), padding=w.r), w.r),
                                lambda w: interior(two_stages(w, w.b), w.r)),)),
        Counterexample("an even kernel: padding k/2 makes one row and one column too many", world,
                       dict(N=1, C=2, O=2, H=4, W=4, kernel=(2, 2)),
                       Step("conv2d(x, K, padding = k/2)", lambda w: Conv(w.x, w.K, padding=w.r)),
                       Step("conv_decomposition(x, K)", two_stages)),
        Counterexample("shifting the other way, by (r-p, r-q): this flips the kernel, a true convolution", world,
                       dict(N=1, C=2, O=2, H=4, W=4, kernel=(3, 3)),
                       Step("conv2d(x, K, padding = r)", lambda w: Conv(w.x, w.K, padding=w.r)),
                       Step("Σ_pq Shift(K_pq x, r-p, r-q)", lambda w: Sum(
                           Shift(times(w.K, w.x, p, q), w.r[0] - p, w.r[1] - q) for _, p, q in taps(w.kernel))),
                       agrees=(("with the flipped kernel the two are equal again",
                                lambda w: Conv(w.x, w.K[:, :, ::-1, ::-1], padding=w.r),
                                lambda w: Sum(Shift(times(w.K, w.x, p, q), w.r[0] - p, w.r[1] - q)
                                              for _, p, q in taps(w.kernel))),)),
    ),
)

EVEN = Proof(
    name="conv_is_shift_and_sum.even",
    title="A convolution with an even kernel is shift and sum, cropped",
    statement="conv2d(x, K, padding = k/2)[:H, :W] = Σ_pq Shift(K_pq x, p-k/2, q-k/2): the first H x W of (H+1) x (W+1) outputs",
    hypotheses=("the tap (k/2, k/2) is the centre", "x continues with zeros", "the outputs are cropped at the end", "no bias"),
    domain="any N, C, O, H, W >= 1, any kernel with an even side; stride 1",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=3, O=2, H=5, W=4, kernel=(2, 2)), dict(N=1, C=2, O=3, H=3, W=5, kernel=(4, 2)),
           dict(N=1, C=2, O=2, H=1, W=3, kernel=(4, 4)), dict(N=1, C=2, O=2, H=4, W=3, kernel=(2, 3))),
    small=(dict(N=1, C=2, O=1, H=2, W=2, kernel=(2, 2)), dict(N=1, C=1, O=1, H=1, W=2, kernel=(4, 2))),
    degree=2,
    steps=(
        Step("conv2d(x, K, padding = ⌊k/2⌋)[:H, :W]", lambda w: cropped(w)),
        Step("y[i, j] = Σ_pq K_pq x[i+p-k/2, j+q-k/2], i < H, j < W", index_formula,
             "conv2d (F1)-(F3): xp[i, j] = x[i-k/2, j-k/2]; the outputs i = H and j = W belong to no pixel"),
        *DERIVATION),
    counterexamples=(
        Counterexample("without the crop", world, dict(N=1, C=2, O=2, H=4, W=4, kernel=(4, 4)),
                       Step("conv2d(x, K, padding = k/2)", lambda w: Conv(w.x, w.K, padding=w.r)),
                       Step("conv_decomposition(x, K)", two_stages)),
        Counterexample("cropped at the start: the last H x W outputs, where other libraries put 'same' padding", world,
                       dict(N=1, C=2, O=2, H=4, W=4, kernel=(2, 2)),
                       Step("conv2d(x, K, padding = k/2)[1:, 1:]", lambda w: Conv(w.x, w.K, padding=w.r)[..., 1:, 1:]),
                       Step("conv_decomposition(x, K)", two_stages),
                       agrees=(("they are the same pixels, one row and one column apart",
                                lambda w: Conv(w.x, w.K, padding=w.r)[..., 1:-1, 1:-1],
                                lambda w: two_stages(w)[..., 1:, 1:]),)),
    ),
)


def cropped(w: World) -> Array:
    H, W = w.x.shape[2:]
    return Conv(w.x, w.K, padding=w.r)[..., :H, :W]


STRIDED = Proof(
    name="conv_is_shift_and_sum.strided",
    title="A strided convolution is shift and sum, then subsampling",
    statement="conv2d(x, K, padding = r, stride = s)[i, j] = (Σ_pq Shift(K_pq x, p-r, q-r))[s·i, s·j]",
    hypotheses=("kh and kw are odd", "x continues with zeros", "the shift comes before the subsampling", "no bias"),
    domain="any N, C, O, H, W >= 1, any stride, also one that does not divide the size; output ⌈H/s⌉ x ⌈W/s⌉",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=3, O=2, H=5, W=4, kernel=(3, 3), stride=(2, 2)), dict(N=1, C=2, O=2, H=7, W=5, kernel=(5, 3), stride=(3, 2)),
           dict(N=1, C=2, O=2, H=2, W=3, kernel=(3, 3), stride=(4, 1))),
    small=(dict(N=1, C=2, O=1, H=3, W=3, kernel=(3, 3), stride=(2, 2)),),
    degree=2,
    steps=(
        Step("conv2d(x, K, padding = r, stride = s)", lambda w: Conv(w.x, w.K, padding=w.r, stride=w.stride)),
        Step("y[i, j] = Σ_pq K_pq x[s·i+p-r, s·j+q-r]", index_formula,
             "conv2d (F1)-(F3); ⌊(H+2r-k)/s⌋ + 1 = ⌈H/s⌉ as k = 2r+1"),
        Step("(Σ_pq Shift(K_pq x, p-r, q-r))[s·i, s·j]", lambda w: on_grid(shift_projected(w), w.stride),
             "the formula for stride 1, read at pixel (s·i, s·j)"),
        Step("stage II(stage I(x)), stride s", two_stages, "stage II (F2): subsampling after the sum"),
        Step("conv_decomposition(x, K, stride = s)", lambda w: conv_decomposition.forward(w.x, w.K, stride=w.stride)[0],
             "(F1), (F2): both stages in one operator")),
    counterexamples=(
        Counterexample("subsampling before the shift: a neighbour is then s pixels away", world,
                       dict(N=1, C=2, O=2, H=6, W=6, kernel=(3, 3), stride=(2, 2)),
                       Step("conv2d(x, K, padding = r, stride = s)", lambda w: Conv(w.x, w.K, padding=w.r, stride=w.stride)),
                       Step("conv_decomposition(x[::s, ::s], K)",
                            lambda w: conv_decomposition.forward(on_grid(w.x, w.stride), w.K)[0])),
    ),
)


def enlarged(w: World) -> Array:
    """[K b] (O, C+1, kh, kw): the bias of each tap as the weight of a constant channel."""
    b = w.b.T.reshape(len(w.K), 1, *w.kernel)
    return np.concatenate([w.K, b], axis=1)


BIASED = Proof(
    name="conv_is_shift_and_sum.stage_one_bias",
    title="A stage-I bias is a constant channel that ends at the border",
    statement="Σ_pq Shift(K_pq x + b_pq, p-r, q-r) = conv2d([x; 1], [K b], padding = r): the 1 is padded with zeros like x",
    hypotheses=("kh and kw are odd", "the constant channel ends where x ends"),
    domain="any N, C, O, H, W >= 1; stride 1",
    source=SOURCE + "; bias: official Swin-ACmix code",
    world=world,
    sizes=(dict(N=2, C=3, O=2, H=5, W=4, kernel=(3, 3)), dict(N=1, C=2, O=3, H=2, W=3, kernel=(5, 3))),
    small=(dict(N=1, C=1, O=2, H=2, W=3, kernel=(3, 3)),),
    degree=2,
    steps=(
        Step("conv_decomposition(x, K, b)", lambda w: conv_decomposition.forward(w.x, w.K, w.b)[0]),
        Step("Σ_pq Shift(K_pq x + b_pq, p-r, q-r)", lambda w: Sum(
            Shift(times(w.K, w.x, p, q) + w.b[m][:, None, None], p - w.r[0], q - w.r[1]) for m, p, q in taps(w.kernel)),
             "stage I (F1) with its bias, stage II (F1)"),
        Step("Σ_pq Shift([K_pq b_pq] [x; 1], p-r, q-r)", lambda w: Sum(
            Shift(times(enlarged(w), with_ones(w.x), p, q), p - w.r[0], q - w.r[1]) for _, p, q in taps(w.kernel)),
             "K_pq x + b_pq is one matrix applied to [x; 1]"),
        Step("Σ_pq [K_pq b_pq] Shift([x; 1], p-r, q-r)", lambda w: Sum(
            times(enlarged(w), Shift(with_ones(w.x), p - w.r[0], q - w.r[1]), p, q) for _, p, q in taps(w.kernel)),
             "no bias is left, so the pointwise map commutes with the shift"),
        Step("conv2d([x; 1], [K b], padding = r)", lambda w: Conv(with_ones(w.x), enlarged(w), padding=w.r),
             "a convolution is shift and sum (conv_is_shift_and_sum.odd)")),
    counterexamples=(
        Counterexample("a constant that does not end at the border: the ordinary bias Σ_pq b_pq", world,
                       dict(N=1, C=2, O=2, H=4, W=5, kernel=(3, 3)),
                       Step("conv_decomposition(x, K, b)", lambda w: two_stages(w, w.b)),
                       Step("conv2d(x, K, bias = Σ_pq b_pq, padding = r)",
                            lambda w: Conv(w.x, w.K, w.b.sum(0), padding=w.r)),
                       agrees=(("the interior, where no tap leaves the map",
                                lambda w: interior(two_stages(w, w.b), w.r),
                                lambda w: interior(Conv(w.x, w.K, w.b.sum(0), padding=w.r), w.r)),)),
    ),
)

PROOFS = (ODD, EVEN, STRIDED, BIASED)
