"""gnConv multiplies each pixel's vector by a matrix that its window makes: at every order it keeps the support and reads one window."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import gn_conv
from pyhybrid.proofs import _gnconv
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._gnconv import along, arguments, bare, filtered, gn, gn_bare, recursion, start, top
from pyhybrid.proofs._notation import Array, Conv, half
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def bare_world(draw: Draw, **sizes: Any) -> World:
    return bare(_gnconv.world(draw, **sizes))


def factors(w: World, x: Array) -> tuple[Array, Array]:
    """(A, B) with M_i = A_i·B: A_i (C, C_0) is s^n·W_out D_(n-1) W_(n-1) … W_1 D_0, D_k = diag f_k(q_k)[i]; B the rows of p_0."""
    _, q = start(w, x)
    A: Any = None
    for k, f in enumerate(filtered(w, q)):
        D = w.scale * np.moveaxis(f, 1, -1)[..., None]                                    # (N, H, W, C_k, 1)
        identity = np.array([[int(i == j) for j in range(w.C0)] for i in range(w.C0)], w.x.dtype)
        A = D * (w.G[k - 1][:, :, 0, 0] @ A if k else identity)
    return w.O[:, :, 0, 0] @ A, w.P[: w.C0, :, 0, 0]


def times_pixel(M: Array, x: Array) -> Array:
    """M_i x_i at every pixel, M (N, H, W, O, C) or (O, C)."""
    return np.moveaxis((M @ np.moveaxis(x, 1, -1)[..., None])[..., 0], -1, 1)


def by_matrices(w: World, context: Array | None = None) -> Array:
    """M_i x_i, the matrices made from another map if one is given."""
    A, B = factors(w, w.x if context is None else context)
    return times_pixel(A @ B, w.x)


def by_narrow_vectors(w: World) -> Array:
    """A_i applied to the C_0 numbers W_(p_0) x_i."""
    A, B = factors(w, w.x)
    return times_pixel(A, times_pixel(B, w.x))


CLOSED = Proof(
    name="gnconv_is_a_matrix_at_every_pixel",
    title="gnConv multiplies the vector of each pixel by a matrix of rank at most C_0 that its window makes",
    statement="gn_conv_0(x)[i] = M_i x_i, M_i = s^n·W_out D_(n-1)(i) W_(n-1) … W_1 D_0(i) W_(p_0), D_k(i) = diag f_k(q_k)[i]",
    hypotheses=("no biases",),
    domain="any n >= 1, any sizes; M_i depends on x in the window of i, and only through the diagonals",
    source=_gnconv.SOURCE,
    world=bare_world,
    sizes=_gnconv.ORDERS,
    small=_gnconv.SMALL,
    degree=_gnconv.DEGREE,
    steps=(
        Step("gn_conv_0(x)", gn),
        Step("φ_out(p_n), p_(k+1) = s·f_k(q_k)·W_k p_k, p_0 = W_(p_0) x", recursion, "gn_conv (F1)-(F4), gate_chain (F1)-(F3)"),
        Step("A_i (W_(p_0) x_i), A_i = s^n·W_out D_(n-1)(i) W_(n-1) … W_1 D_0(i)", by_narrow_vectors,
             "at one pixel a gate is the diagonal matrix s·D_k, and p_0, W_k, W_out see no neighbours"),
        Step("M_i x_i, M_i = A_i W_(p_0)", by_matrices, "(A B) x = A (B x); W_(p_0) has C_0 = C/2^(n-1) rows, so rank M_i <= C_0")),
    counterexamples=(
        Counterexample("matrices made from another map: they are not weights, the window makes them", bare_world, _gnconv.OUTSIDE,
                       Step("gn_conv_0(x)", gn), Step("M_i(v) x_i", lambda w: by_matrices(w, w.v))),
        Counterexample("biases", _gnconv.world, _gnconv.OUTSIDE, Step("gn_conv(x)", gn), Step("M_i x_i", lambda w: by_matrices(bare(w)))),
    ),
)


def masked_world(draw: Draw, **sizes: Any) -> World:
    """A mask of pixels, each 0 or 1, alternating from a random start."""
    w = _gnconv.world(draw, **sizes)
    H, W = w.x.shape[2:]
    pattern = (np.add.outer(np.arange(H), np.arange(W)) + draw.random.integers(2)) % 2
    return changed(w, m=pattern.astype(w.x.dtype))


SUPPORT = Proof(
    name="gnconv_is_a_matrix_at_every_pixel.support",
    title="Without biases gnConv is 0 wherever its input is 0",
    statement="gn_conv_0(m·x) = m·gn_conv_0(m·x) for every mask m of zeros and ones",
    hypotheses=("no biases",),
    domain="any n >= 1, any sizes, any mask that is the same for all channels",
    source=_gnconv.SOURCE,
    world=lambda draw, **sizes: bare(masked_world(draw, **sizes)),
    sizes=_gnconv.ORDERS,
    small=_gnconv.SMALL,
    degree=_gnconv.DEGREE,
    steps=(
        Step("gn_conv_0(m·x)", lambda w: gn(w, w.m * w.x)),
        Step("M_i (m·x)_i, M_i made from m·x", lambda w: by_matrices(changed(w, x=w.m * w.x)), "gnconv_is_a_matrix_at_every_pixel"),
        Step("m_i·(M_i (m·x)_i)", lambda w: w.m * by_matrices(changed(w, x=w.m * w.x)), "m·m = m, and M_i is linear"),
        Step("m·gn_conv_0(m·x)", lambda w: w.m * gn(w, w.m * w.x), "gnconv_is_a_matrix_at_every_pixel")),
    counterexamples=(
        Counterexample("a convolution alone: it spreads into the zeros", masked_world, _gnconv.OUTSIDE,
                       Step("f(m·q)", lambda w: conv(w, w.m)), Step("m·f(m·q)", lambda w: w.m * conv(w, w.m))),
        Counterexample("biases", masked_world, _gnconv.OUTSIDE, Step("gn_conv(m·x)", lambda w: gn(w, w.m * w.x)),
                       Step("m·gn_conv(m·x)", lambda w: w.m * gn(w, w.m * w.x)),
                       agrees=(("without them", lambda w: gn_bare(w, w.m * w.x), lambda w: w.m * gn_bare(w, w.m * w.x)),)),
    ),
)


def conv(w: World, m: Array) -> Array:
    """The depthwise convolution of the last slot, on its own."""
    C = w.x.shape[1]
    return Conv(m * w.x, w.D[-C:], padding=half(w.D.shape[2:]), groups=C)


def window_world(draw: Draw, *, pixel: tuple[int, int], **sizes: Any) -> World:
    """x' agrees with x in the window of a pixel, and is v outside."""
    w = _gnconv.world(draw, **sizes)
    (H, W), (i, j), (r, s) = w.x.shape[2:], pixel, half(w.D.shape[2:])
    inside = (np.abs(np.arange(H) - i) <= r)[:, None] & (np.abs(np.arange(W) - j) <= s)
    return changed(w, pixel=pixel, other=np.where(inside, w.x, w.v), inside=inside)


def at(w: World, y: Array) -> Array:
    return y[:, :, w.pixel[0], w.pixel[1]]


def window_only(w: World, x: Array) -> Array:
    """gn_conv on the window of the pixel, cut out, with zeros where it leaves the map; the value in the middle."""
    (i, j), (r, s) = w.pixel, half(w.D.shape[2:])
    q = start(w, x)[1]
    wide = np.zeros_like(q, shape=(*q.shape[:2], q.shape[2] + 2 * r, q.shape[3] + 2 * s))
    wide[:, :, r : r + q.shape[2], s : s + q.shape[3]] = q
    cut = wide[:, :, i : i + 2 * r + 1, j : j + 2 * s + 1]
    f = (cut * w.D[:, 0]).sum((2, 3)) + w.bD
    own = _gnconv.slots(w, f[:, :, None, None])
    pixel = start(w, x[:, :, i : i + 1, j : j + 1])[0]
    return (w.O[:, :, 0, 0] @ _gnconv.chain(w, pixel, own)[:, :, 0].swapaxes(0, 1).reshape(len(w.O), -1)).T + w.bO


def twice(w: World, x: Array) -> Array:
    """gnConv after gnConv."""
    return gn_conv.forward(gn(w, x), *arguments(w)[1:], order=w.order, scale=w.scale)[0]


WIDE: tuple[dict[str, Any], ...] = (
    dict(N=1, C=2, order=1, H=5, W=4, pixel=(2, 1), scale=1), dict(N=1, C=4, order=2, H=3, W=5, pixel=(0, 2), scale=3),
    dict(N=1, C=4, order=3, H=1, W=6, pixel=(0, 3), kernel=(1, 3), scale=1),
    dict(N=1, C=16, order=5, H=4, W=1, pixel=(0, 0), kernel=(3, 1), scale=1))
LOCAL = Proof(
    name="gnconv_is_a_matrix_at_every_pixel.window",
    title="Every order of gnConv reads one window: raising n raises the degree, not the reach",
    statement="gn_conv(x)[i] = gn_conv(x')[i] if x and x' agree on the K x K window of i",
    hypotheses=("the f_k are K x K convolutions",),
    domain="any n >= 1, any pixel (the window is cut at the border), any sizes, with and without biases",
    source=_gnconv.SOURCE,
    world=window_world,
    sizes=WIDE,
    small=(dict(N=1, C=1, order=1, H=1, W=3, kernel=(1, 3), pixel=(0, 0)),),
    degree=_gnconv.DEGREE,
    steps=(
        Step("gn_conv(x)[i]", lambda w: at(w, gn(w))),
        Step("the chain of gates at pixel i alone, f_k = Σ_(j in the window) w_(i→j)·q_k[j] + b", lambda w: window_only(w, w.x),
             "p_0, the g_k and φ_out act on each pixel alone; all n gates read the same window"),
        Step("the same with x'", lambda w: window_only(w, w.other), "x' = x in the window, and nothing else was read"),
        Step("gn_conv(x')[i]", lambda w: at(w, gn(w, w.other)), "gn_conv (F1)-(F4)")),
    counterexamples=(
        Counterexample("one gnConv after another: the windows add up, as in any network", window_world, WIDE[0],
                       Step("gn_conv(gn_conv(x))[i]", lambda w: at(w, twice(w, w.x))),
                       Step("gn_conv(gn_conv(x'))[i]", lambda w: at(w, twice(w, w.other)))),
        Counterexample("another pixel, whose window is not inside the one that agrees", window_world, WIDE[0],
                       Step("gn_conv(x)", gn), Step("gn_conv(x')", lambda w: gn(w, w.other)),
                       agrees=(("pixel i", lambda w: at(w, gn(w)), lambda w: at(w, gn(w, w.other))),)),
    ),
)


def still_world(draw: Draw, **sizes: Any) -> World:
    """v is 0 at the pixel: along the line only its neighbours change."""
    w = window_world(draw, **sizes)
    v = np.array(w.v)
    v[:, :, w.pixel[0], w.pixel[1]] = 0
    return changed(w, v=v, moving=w.v)


NEIGHBOURS = Proof(
    name="gnconv_is_a_matrix_at_every_pixel.neighbours",
    title="In its neighbours gnConv has degree n, in the pixel itself n+1",
    statement="(Δ^(n+1) gn_conv)[i] = 0 along every line on which pixel i stands still",
    hypotheses=("v_i = 0",),
    domain="any n >= 1, any pixel, any sizes",
    source=_gnconv.SOURCE,
    world=still_world,
    sizes=WIDE,
    small=(dict(N=1, C=1, order=1, H=1, W=3, kernel=(1, 3), pixel=(0, 0)),),
    degree=_gnconv.DEGREE,
    steps=(
        Step("(Δ^(n+1) gn_conv)[i]", lambda w: at(w, along(w, w.order + 1))),
        Step("(n+1)!·gn_conv_0(v)[i]", lambda w: at(w, top(w)), "gnconv_has_degree_order_plus_one"),
        Step("0", lambda w: 0 * at(w, w.x),
             "v_i = 0 (gnconv_is_a_matrix_at_every_pixel.support): p_0 stands still, so only the n gates move")),
    counterexamples=(
        Counterexample("the pixel moves too", still_world, WIDE[1],
                       Step("(Δ^(n+1) gn_conv)[i]", lambda w: at(w, along(changed(w, v=w.moving), w.order + 1))),
                       Step("0", lambda w: 0 * at(w, w.x))),
        Counterexample("the difference one order lower: the n gates do see the neighbours", still_world, WIDE[1],
                       Step("(Δ^n gn_conv)[i]", lambda w: at(w, along(w, w.order))), Step("0", lambda w: 0 * at(w, w.x))),
    ),
)


PROOFS = (CLOSED, SUPPORT, LOCAL, NEIGHBOURS)
