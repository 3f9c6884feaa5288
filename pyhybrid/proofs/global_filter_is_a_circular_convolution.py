"""A global filter is a convolution around the border with a kernel as large as the map; zeros at the border are another operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _circular
from pyhybrid.proofs._circular import bound, by_sums, circular, filtered, kernel, placed, spectrum, step, weights
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv, Pair, interior
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def of_one(w: World) -> Array:
    """The filter of a map that is 1 in its first pixel and 0 elsewhere."""
    one = np.zeros((1, *w.x.shape[1:]))
    one[:, :, 0, 0] = 1
    return filtered(one, w.w)[0]


def zero_padded(w: World) -> Array:
    """Σ_ab k[a, b]·x[i-a, j-b] with zeros outside the map, displacements between -H/2 and H/2."""
    H, W = w.size
    k, y = kernel(w.w, w.size), np.zeros_like(w.x)
    for i, j, a, b in np.ndindex(H, W, H, W):
        source = (i - (a - H if 2 * a > H else a), j - (b - W if 2 * b > W else b))
        if 0 <= source[0] < H and 0 <= source[1] < W:
            y[:, :, i, j] += k[:, a, b] * w.x[:, :, source[0], source[1]]
    return y


FILTER = Step("global_filter(x, w)", lambda w: filtered(w.x, w.w))
KERNEL = Step("Σ_ab k[a, b]·x[i-a, j-b]", lambda w: circular(w.x, kernel(w.w, w.size)))
MAIN = Proof(
    name="global_filter_is_a_circular_convolution",
    title="A global filter is a circular convolution with a kernel as large as the map",
    statement="global_filter(x, w)[i, j] = Σ_ab k[a, b]·x[i-a, j-b], indices modulo H and W, k = global_filter(1 in the first pixel, w)",
    hypotheses=("the map has the size of the weights, H x W with ⌊W/2⌋ + 1 columns",),
    domain="any N, C, H, W >= 1, W even or odd, any weights",
    source=_circular.SOURCE,
    world=_circular.world,
    sizes=_circular.SIZES,
    small=(),
    steps=(
        FILTER,
        step("1/(HW)·Σ_uv w'[u, v]·X[u, v]·e^(2πi(ui/H + vj/W)), X[u, v] = Σ_ij x[i, j]·e^(-2πi(ui/H + vj/W))",
             lambda w: by_sums(w.x, spectrum(w.w, w.size[1])),
             "global_filter (F1)-(F3): a term and its mirror image are conjugate, so together they are twice the real part"),
        step("Σ_ab k[a, b]·x[i-a, j-b], k[a, b] = 1/(HW)·Σ_uv w'[u, v]·e^(2πi(ua/H + vb/W))", KERNEL.value,
             "exchange the sums: e^(2πiu(i-i')/H) depends on i - i' modulo H"),
        step("the same with k = global_filter(1 in the first pixel, w)", lambda w: circular(w.x, of_one(w)),
             "there X = 1 for every (u, v)")),
    counterexamples=(
        Counterexample("zeros outside the map", _circular.world, _circular.OUTSIDE, FILTER,
                       Step("Σ_ab k[a, b]·x[i-a, j-b], 0 outside", zero_padded), bound=bound),
        Counterexample("correlation, as conv2d does it: the kernel is read the other way", _circular.world, _circular.OUTSIDE, FILTER,
                       Step("Σ_ab k[a, b]·x[i+a, j+b]", lambda w: circular(w.x, kernel(w.w, w.size), sign=-1)), bound=bound,
                       agrees=(("with conjugated weights, whose kernel is the flipped one", lambda w: filtered(w.x, w.w * [1, -1]),
                                lambda w: circular(w.x, kernel(w.w, w.size), sign=-1)),)),
        Counterexample("the same weights on a map with one column more, which has as many frequencies", _circular.world,
                       _circular.OUTSIDE, Step("k for W = 6", lambda w: kernel(w.w, w.size)),
                       Step("k for W = 7, without the last column", lambda w: kernel(w.w, (w.size[0], w.size[1] + 1))[..., :-1]),
                       bound=bound),
    ),
)


def small_world(draw: Draw, *, K: Pair, **sizes: Any) -> World:
    """With a depthwise kernel instead of weights."""
    w = _circular.world(draw, **sizes)
    return changed(w, small=draw.real("K", w.x.shape[1], 1, *K), r=(K[0] // 2, K[1] // 2))


def convolved(w: World) -> Array:
    return Conv(w.x, w.small, padding=w.r, groups=len(w.small))


def wrapped(w: World) -> Array:
    """conv2d on the map continued around its border."""
    (r, s), whole = w.r, ((0, 0), (0, 0))
    return Conv(np.pad(w.x, (*whole, (r, r), (s, s)), mode="wrap"), w.small, groups=len(w.small))


def as_filter(w: World) -> Array:
    return filtered(w.x, weights(placed(w.small, w.size)))


SMALL_SIZES: tuple[dict[str, Any], ...] = (dict(N=2, C=2, H=4, W=5, K=(3, 3)), dict(N=1, C=1, H=7, W=8, K=(7, 7)),
                                           dict(N=1, C=2, H=3, W=6, K=(1, 5)))
INSIDE = ("the pixels whose window is inside the map", lambda w: interior(as_filter(w), w.r), lambda w: interior(convolved(w), w.r))
DEPTHWISE = Proof(
    name="global_filter_is_a_circular_convolution.depthwise",
    title="Every depthwise convolution with circular padding is a global filter",
    statement="conv2d(x continued around the border, K, groups = C) = global_filter(x, transform of k), tap (p, q) of K at k[r-p, r-q]",
    hypotheses=("K is odd and not larger than the map", "the map is continued around its border"),
    domain="any N, C, any odd kernel that fits, any K",
    source=_circular.SOURCE,
    world=small_world,
    sizes=SMALL_SIZES,
    small=(),
    steps=(
        Step("conv2d(x continued around the border, K, groups = C)", wrapped),
        step("Σ_ab k[a, b]·x[i-a, j-b], k[r-p, r-q] = K[p, q]", lambda w: circular(w.x, placed(w.small, w.size)),
             "conv2d (F1)-(F3): tap (p, q) reads x[i+p-r, j+q-r]"),
        step("global_filter(x, Σ_ab k[a, b]·e^(-2πi(ua/H + vb/W)))", as_filter,
             "global_filter_is_a_circular_convolution: the kernel of the transform of k is k")),
    counterexamples=(
        Counterexample("zeros outside: the ordinary depthwise convolution", small_world, SMALL_SIZES[0],
                       Step("conv2d(x, K, padding = r, groups = C)", convolved), Step("global_filter(x, transform of k)", as_filter),
                       bound=bound, agrees=(INSIDE,)),
        Counterexample("K not turned: tap (p, q) at k[p-r, q-r]", small_world, SMALL_SIZES[0],
                       Step("conv2d(x continued around the border, K)", wrapped),
                       Step("global_filter(x, transform of K)",
                            lambda w: filtered(w.x, weights(placed(w.small[:, :, ::-1, ::-1], w.size)))), bound=bound),
    ),
)


def on_a_larger_map(w: World) -> Array:
    """The filter on (H+r) x (W+s) with zeros below and to the right; the first H x W values."""
    (r, s), (H, W) = w.r, w.size
    x = np.pad(w.x, ((0, 0), (0, 0), (0, r), (0, s)))
    return filtered(x, weights(placed(w.small, (H + r, W + s))))[..., :H, :W]


def around_a_larger_map(w: World) -> Array:
    (r, s), (H, W) = w.r, w.size
    x = np.pad(w.x, ((0, 0), (0, 0), (0, r), (0, s)))
    return circular(x, placed(w.small, (H + r, W + s)))[..., :H, :W]


ZERO_PADDED = Proof(
    name="global_filter_is_a_circular_convolution.zero_padded",
    title="The zero-padded depthwise convolution is a global filter on a map enlarged by r, cropped",
    statement="conv2d(x, K, padding = r, groups = C) = global_filter(x with r rows, columns of zeros at the end, transform of k)[:H, :W]",
    hypotheses=("at least r zeros: what leaves on one side comes in on the other",),
    domain="any N, C, H, W >= 1, any odd kernel that fits the enlarged map",
    source=_circular.SOURCE,
    world=small_world,
    sizes=SMALL_SIZES,
    small=(),
    steps=(
        Step("conv2d(x, K, padding = r, groups = C)", convolved),
        step("Σ_ab k[a, b]·x[i-a, j-b] around the enlarged map, i < H, j < W", around_a_larger_map,
             "reading past either end of the enlarged map meets its r zeros"),
        step("global_filter(enlarged x, transform of k)[:H, :W]", on_a_larger_map, "global_filter_is_a_circular_convolution.depthwise")),
    counterexamples=(
        Counterexample("no zeros between the end and the beginning", small_world, SMALL_SIZES[0],
                       Step("conv2d(x, K, padding = r, groups = C)", convolved), Step("global_filter(x, transform of k)", as_filter),
                       bound=bound, agrees=(INSIDE,)),
    ),
)

PROOFS = (MAIN, DEPTHWISE, ZERO_PADDED)
