"""A pointwise map without bias commutes with the shift."""

from __future__ import annotations

import numpy as np

from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Pair, Shift, interior, times
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, *, N: int, C: int, O: int, H: int, W: int, offset: Pair) -> World:
    return World(x=draw("x", N, C, H, W), K=draw("K", O, C, 1, 1), b=draw("b", O), offset=offset)


def each_pixel(w: World) -> Array:
    """(K x)[i+s, j+t], one pixel at a time, 0 outside."""
    (N, _, H, W), (s, t) = w.x.shape, w.offset
    y = np.zeros((N, len(w.K), H, W), w.x.dtype)
    for i, j in np.ndindex(H, W):
        if 0 <= i + s < H and 0 <= j + t < W:
            y[:, :, i, j] = w.x[:, :, i + s, j + t] @ w.K[:, :, 0, 0].T
    return y


PROOF = Proof(
    name="pointwise_commutes_with_shift",
    title="A pointwise convolution without bias commutes with the shift",
    statement="Shift(K x, s, t) = K Shift(x, s, t), at every pixel, the border included",
    hypotheses=("K x has no bias", "zeros move in"),
    domain="any N, C, O, H, W >= 1 and any whole offsets, also beyond the map",
    source="ACmix, arXiv 2111.14556, eqs. (4)-(9)",
    world=world,
    sizes=(dict(N=2, C=3, O=2, H=4, W=5, offset=(1, -2)), dict(N=1, C=2, O=3, H=3, W=1, offset=(-1, 0)),
           dict(N=1, C=2, O=2, H=3, W=3, offset=(3, 1))),
    small=(dict(N=1, C=2, O=2, H=2, W=3, offset=(-1, 1)),),
    degree=2,
    steps=(
        Step("Shift(K x, s, t)", lambda w: Shift(times(w.K, w.x), *w.offset)),
        Step("y[i, j] = K x[i+s, j+t] inside, 0 outside", each_pixel, "Shift (F1), pointwise_conv (F1)"),
        Step("K Shift(x, s, t)", lambda w: times(w.K, Shift(w.x, *w.offset)), "outside, K·0 = 0")),
    counterexamples=(
        Counterexample("a bias: where zeros move in, one side is 0 and the other b", world,
                       dict(N=1, C=2, O=2, H=4, W=4, offset=(-1, -1)),
                       Step("Shift(K x + b, s, t)", lambda w: Shift(Conv(w.x, w.K, w.b), *w.offset)),
                       Step("K Shift(x, s, t) + b", lambda w: Conv(Shift(w.x, *w.offset), w.K, w.b)),
                       agrees=(("the interior, where no zeros moved in",
                                lambda w: interior(Shift(Conv(w.x, w.K, w.b), *w.offset), (1, 1)),
                                lambda w: interior(Conv(Shift(w.x, *w.offset), w.K, w.b), (1, 1))),)),
    ),
)

PROOFS = (PROOF,)
