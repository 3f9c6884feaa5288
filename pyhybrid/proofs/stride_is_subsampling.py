"""A stride is subsampling: with stride s, an operator computes every s-th row and column of what it computes with stride 1."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import acmix, conv_path
from pyhybrid.proofs import _attention as spelled
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, Sum, U, attend, attention, heads_of, on_grid, taps
from pyhybrid.proofs._proof import EPS, Counterexample, Function, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556; official code"
ONE = (1, 1)


def world(draw: Draw, *, N: int, C: int, O: int, H: int, W: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = ONE) -> World:
    return World(x=draw("x", N, C, H, W), K=draw("K", O, C, *kernel), b=draw("b", O), kernel=kernel, stride=stride,
                 config=dict(padding=padding, dilation=dilation))


def read_on_grid(w: World, stride: Pair) -> Array:
    """Σ_pq K_pq xp[s·i + p·dh, s·j + q·dw] + b with the outputs i, j for which every tap is inside the padded map xp."""
    (ph, pw), (dh, dw), (kh, kw), (sh, sw) = w.config["padding"], w.config["dilation"], w.kernel, stride
    xp = np.pad(w.x, [(0, 0), (0, 0), (ph, ph), (pw, pw)])
    rows, columns = (np.arange(0, length - d * (k - 1), s)
                     for length, d, k, s in zip(xp.shape[2:], (dh, dw), (kh, kw), (sh, sw), strict=True))
    windows = [xp[:, :, rows[:, None] + p * dh, columns + q * dw] for _, p, q in taps(w.kernel)]
    terms = (np.einsum("oc,nchw->nohw", w.K[:, :, p, q], windows[m]) for m, p, q in taps(w.kernel))
    return Sum(terms) + w.b[:, None, None]


def last_on_grid(w: World) -> Array:
    """Stride 1 read on the grid that ends at the last pixel: the start then depends on the size."""
    y = Conv(w.x, w.K, w.b, **w.config)
    start = [(length - 1) % s for length, s in zip(y.shape[2:], w.stride, strict=True)]
    return on_grid(y[..., start[0] :, start[1] :], w.stride)


STRIDED = Step("conv2d(x, K, b, stride = s)", lambda w: Conv(w.x, w.K, w.b, stride=w.stride, **w.config))
CONV = Proof(
    name="stride_is_subsampling.conv2d",
    title="A strided convolution is a subsampled convolution",
    statement="conv2d(x, K, b, stride = s) = conv2d(x, K, b)[::s, ::s], of size ⌊(L-1)/s⌋ + 1 = ⌈L/s⌉, L the size at stride 1",
    hypotheses=("the grid starts at pixel 0", "the subsampling is of the output, not of the input"),
    domain="any kernel, padding, dilation and stride, also a stride that does not divide the size",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=2, O=3, H=6, W=5, kernel=(3, 3), stride=(2, 3), padding=(1, 1)),
           dict(N=1, C=2, O=2, H=7, W=6, kernel=(2, 3), stride=(3, 2), padding=(0, 2), dilation=(2, 1)),
           dict(N=1, C=1, O=2, H=2, W=2, kernel=(1, 1), stride=(5, 1), padding=(0, 0))),
    small=(dict(N=1, C=1, O=2, H=3, W=4, kernel=(2, 3), stride=(2, 2), padding=(1, 1)),),
    degree=2,
    steps=(
        STRIDED,
        Step("Σ_pq K_pq xp[s·i + p, s·j + q] + b", lambda w: read_on_grid(w, w.stride), "conv2d (F1)-(F4)"),
        Step("(Σ_pq K_pq xp[i' + p, j' + q] + b) at i' = s·i, j' = s·j", lambda w: on_grid(read_on_grid(w, ONE), w.stride),
             "i' runs over all outputs of stride 1; those with i' = s·i are ⌈L/s⌉ many"),
        Step("conv2d(x, K, b)[::s, ::s]", lambda w: on_grid(Conv(w.x, w.K, w.b, **w.config), w.stride), "conv2d (F1)-(F4), stride 1")),
    counterexamples=(
        Counterexample("a grid that ends at the last pixel, so that its start depends on the size", world,
                       dict(N=1, C=1, O=1, H=6, W=6, kernel=(3, 3), stride=(2, 2), padding=(1, 1)), STRIDED,
                       Step("conv2d(x, K, b)[(L-1) mod s :: s]", last_on_grid)),
        Counterexample("subsampling the input", world, dict(N=1, C=1, O=1, H=6, W=6, kernel=(3, 3), stride=(2, 2), padding=(1, 1)), STRIDED,
                       Step("conv2d(x[::s, ::s], K, b)", lambda w: Conv(on_grid(w.x, w.stride), w.K, w.b, **w.config))),
    ),
)


def path_world(draw: Draw, *, N: int, heads: int, d: int, H: int, W: int, k: int, stride: Pair) -> World:
    C = heads * d
    q, key, v = (draw(name, N, C, H, W) for name in "qkv")
    return World(P=(q, key, v), fc=draw("fc", k * k, 3 * heads, 1, 1), D=draw("D", C, k * k, k, k), heads=heads, d=d, k=k, stride=stride)


def path(w: World, stride: Pair, subsampled: bool = False) -> Array:
    P = [on_grid(x, w.stride) if subsampled else x for x in w.P]
    return conv_path.forward(*P, w.fc, w.D, heads=w.heads, stride=stride)[0]


def dep_conv(w: World, stride: Pair) -> Array:
    """The grouped convolution of F[e, m] = Σ_t fc[m, t]·P[t, e]."""
    P = np.concatenate([heads_of(x, w.heads) for x in w.P], axis=1)
    F = np.einsum("mt,ntehw->nemhw", w.fc[:, :, 0, 0], P)
    return Conv(F.reshape(len(P), -1, *P.shape[3:]), w.D, stride=stride, padding=w.k // 2, groups=w.d)


PATH = Proof(
    name="stride_is_subsampling.conv_path",
    title="The strided convolution path of ACmix is the subsampled one",
    statement="conv_path(q, k, v, stride = s) = conv_path(q, k, v)[::s, ::s]",
    hypotheses=("q, k, v are given at full resolution",),
    domain="any heads, d, odd k, stride",
    source=SOURCE,
    world=path_world,
    sizes=(dict(N=2, heads=2, d=2, H=5, W=4, k=3, stride=(2, 2)), dict(N=1, heads=1, d=3, H=4, W=7, k=3, stride=(3, 2))),
    small=(dict(N=1, heads=1, d=1, H=3, W=2, k=3, stride=(2, 2)),),
    degree=3,
    steps=(
        Step("conv_path(q, k, v, stride = s)", lambda w: path(w, w.stride)),
        Step("conv2d(F, D, groups = d, stride = s)", lambda w: dep_conv(w, w.stride),
             "conv_path (F1)-(F3): fc acts on pixels alone, at full resolution"),
        Step("conv2d(F, D, groups = d)[::s, ::s]", lambda w: on_grid(dep_conv(w, ONE), w.stride), "stride_is_subsampling.conv2d"),
        Step("conv_path(q, k, v)[::s, ::s]", lambda w: on_grid(path(w, ONE), w.stride), "conv_path (F1)-(F3), stride 1")),
    counterexamples=(
        Counterexample("projections at the resolution of the output", path_world, dict(N=1, heads=1, d=2, H=4, W=4, k=3, stride=(2, 2)),
                       Step("conv_path(q, k, v, stride = s)", lambda w: path(w, w.stride)),
                       Step("conv_path(q[::s, ::s], k[::s, ::s], v[::s, ::s])", lambda w: path(w, ONE, subsampled=True))),
    ),
)


def attention_at(w: World, stride: Pair, subsampled: bool = False) -> Array:
    q, k, v = (on_grid(x, w.stride) if subsampled else x for x in (w.q, w.k, w.v))
    return attention(q, k, v, **(w.config | dict(stride=stride)))


def attention_spelled(w: World, stride: Pair) -> Array:
    """Σ_m softmax_m(τ Σ_e q·U(k))·U(v) with queries and windows at the pixels of the stride grid."""
    q = heads_of(on_grid(w.q, stride), w.heads)[:, :, :, None]
    Uk, Uv = (heads_of(U(x, w.size, stride), w.heads) for x in (w.k, w.v))
    return attend(w.tau * (q * Uk).sum(2), Uv)


ATTENTION_SIZES = (dict(N=2, heads=2, d=3, H=5, W=4, k=3, stride=(2, 2)), dict(N=1, heads=1, d=2, H=8, W=7, k=7, stride=(3, 2)))
ATTENTION = Proof(
    name="stride_is_subsampling.attention",
    title="Strided attention is subsampled attention",
    statement="attention(q, k, v, stride = s) = attention(q, k, v)[::s, ::s]",
    hypotheses=("only the queries are subsampled; keys and values are read at full resolution",),
    domain="any heads, d, odd window, stride",
    source=SOURCE,
    world=spelled.world,
    sizes=ATTENTION_SIZES,
    small=(dict(N=1, heads=1, d=2, H=3, W=2, k=3, stride=(2, 2), scale=1.0),),
    steps=(
        Step("attention(q, k, v, stride = s)", lambda w: attention_at(w, w.stride)),
        spelled.exact_step("Σ_m softmax_m(τ Σ_e q[s·i, s·j]·k[s·i+u-r, s·j+v-r])·v[s·i+u-r, s·j+v-r]",
                           lambda w: attention_spelled(w, w.stride), "local_attention (F1)-(F6)"),
        spelled.exact_step("the same for stride 1, at pixels (s·i, s·j)", lambda w: on_grid(attention_spelled(w, ONE), w.stride),
                           "an output needs its own query and its own window, nothing of the other outputs"),
        spelled.exact_step("attention(q, k, v)[::s, ::s]", lambda w: on_grid(attention_at(w, ONE), w.stride),
                           "local_attention (F1)-(F6), stride 1")),
    counterexamples=(
        Counterexample("keys and values subsampled too: the window then reaches s times as far", spelled.world,
                       dict(N=1, heads=1, d=2, H=4, W=4, k=3, stride=(2, 2)),
                       Step("attention(q, k, v, stride = s)", lambda w: attention_at(w, w.stride)),
                       Step("attention(q[::s, ::s], k[::s, ::s], v[::s, ::s])", lambda w: attention_at(w, ONE, subsampled=True)),
                       bound=spelled.bound),
    ),
)


def block_world(draw: Draw, *, N: int, inputs: int, heads: int, d: int, H: int, W: int, k: int, stride: Pair) -> World:
    C = heads * d
    projections = [draw.real(name, *shape) for t in "qkv" for name, shape in ((f"W{t}", (C, inputs, 1, 1)), (f"b{t}", (C,)))]
    rest = [draw.real("fc", 9, 3 * heads, 1, 1), draw.real("D", C, 9, 3, 3), draw.real("W_p", d, 2, 1, 1), draw.real("b_p", d)]
    return World(x=draw.real("x", N, inputs, H, W), rates=[draw.real("rate1", 1), draw.real("rate2", 1)],
                 weights=[*projections, *rest], stride=stride, config=dict(heads=heads, kernel_size=k), d=d, size=k)


def block(w: World, stride: Pair) -> tuple[Array, acmix.Cache]:
    return acmix.forward(w.x, *w.rates, *w.weights, stride=stride, **w.config)


def mixed(w: World, stride: Pair, grid: Pair) -> Array:
    """rate1·(attention path) + rate2·(convolution path), each run with `stride` and read on `grid`."""
    cache = block(w, stride)[1]
    att = attention(cache.q, cache.k, cache.v, cache.pe, stride=stride, **w.config)
    conv = conv_path.forward(cache.q, cache.k, cache.v, cache.fc_weight, cache.dep_conv_weight, heads=w.config["heads"],
                             stride=stride)[0]
    return w.rates[0] * on_grid(att, grid) + w.rates[1] * on_grid(conv, grid)


def block_bound(w: World) -> float:
    """Attention as in _attention; the convolution path sums n products, so it is off by n·u·Σ |products|, on either side."""
    c = block(w, ONE)[1]
    key = np.abs(c.k).max() + 2 * np.abs(np.asarray(c.pe)).max()
    L = w.d**0.5 * np.abs(c.q).max() * key
    att = 2 * np.abs(c.v).max() * (w.size**2 + 8 + 2 * (w.d + 4) * L)
    terms = 3 * w.config["heads"] * 81
    positive = map(np.abs, (c.q, c.k, c.v, c.fc_weight, c.dep_conv_weight))
    conv = 2 * terms * conv_path.forward(*positive, heads=w.config["heads"])[0].max()
    rate1, rate2 = (np.abs(rate).max() for rate in w.rates)
    return float(EPS * (rate1 * att + rate2 * conv + 4 * np.abs(block(w, ONE)[0]).max()))


def block_step(text: str, value: Function, reason: str) -> Step:
    return Step(text, value, reason, block_bound, "|rate1|·(bound of attention) + |rate2|·2u·n·Σ|products| + 4u·max|y|, n = 243·heads")


BLOCK = Proof(
    name="stride_is_subsampling.acmix",
    title="The strided ACmix block is the subsampled block",
    statement="acmix(x, stride = s) = acmix(x)[::s, ::s]",
    hypotheses=("projections and positional term are computed at the resolution of x",),
    domain="any heads, d, odd window, stride; the official code admits only strides that divide the size",
    source=SOURCE + ", eq. (16)",
    world=block_world,
    sizes=(dict(N=2, inputs=3, heads=2, d=2, H=5, W=6, k=3, stride=(2, 2)),
           dict(N=1, inputs=2, heads=1, d=3, H=8, W=7, k=7, stride=(3, 2))),
    small=(),
    steps=(
        Step("acmix(x, stride = s)", lambda w: block(w, w.stride)[0]),
        block_step("rate1·attention(q, k, v, pe, stride = s) + rate2·conv_path(q, k, v, stride = s)",
                   lambda w: mixed(w, w.stride, ONE), "acmix (F1)-(F5)"),
        block_step("rate1·attention(q, k, v, pe)[::s, ::s] + rate2·conv_path(q, k, v)[::s, ::s]",
                   lambda w: mixed(w, ONE, w.stride), "stride_is_subsampling.attention (also with pe) and .conv_path"),
        block_step("acmix(x)[::s, ::s]", lambda w: on_grid(block(w, ONE)[0], w.stride), "acmix (F1)-(F5), stride 1")),
    counterexamples=(
        Counterexample("subsampling x", block_world, dict(N=1, inputs=2, heads=1, d=2, H=6, W=6, k=3, stride=(2, 2)),
                       Step("acmix(x, stride = s)", lambda w: block(w, w.stride)[0]),
                       Step("acmix(x[::s, ::s])", lambda w: acmix.forward(on_grid(w.x, w.stride), *w.rates, *w.weights, **w.config)[0]),
                       bound=block_bound),
    ),
)

PROOFS = (CONV, PATH, ATTENTION, BLOCK)
