"""gnConv of order 1 is the gated convolution between two projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import gated_conv
from pyhybrid.proofs import _gnconv
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._gnconv import gn, plus, start
from pyhybrid.proofs._notation import Array, half, times
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, **sizes: Any) -> World:
    return _gnconv.world(draw, order=1, scale=1, **sizes)


def gated(w: World) -> Array:
    """φ_out of the operator gated_conv on the two halves of φ_in."""
    p, q = (np.ascontiguousarray(a) for a in start(w, w.x))
    return plus(times(w.O, gated_conv.forward(p, q, w.D, w.bD)[0]), w.bO)


def spelled(w: World) -> Array:
    """φ_out(Σ_j w_(i→j) q[j]·p[i]), pixel by pixel; without the pixels outside the map."""
    p, q = start(w, w.x)
    (H, W), (r, s) = w.x.shape[2:], half(w.D.shape[2:])
    y = np.zeros_like(p)
    for i, j, a, b in np.ndindex(H, W, *w.D.shape[2:]):
        k, l = i + a - r, j + b - s
        if 0 <= k < H and 0 <= l < W:
            y[:, :, i, j] += w.D[:, 0, a, b] * q[:, :, k, l] * p[:, :, i, j]
    return plus(times(w.O, y + w.bD[:, None, None] * p), w.bO)


OUTSIDE: dict[str, Any] = dict(N=1, C=4, H=3, W=3)
OPERATOR = Step("gn_conv(x), order 1, s = 1", gn)
PROOF = Proof(
    name="gnconv_of_order_one_is_a_gated_convolution",
    title="gnConv of order 1 is the gated convolution",
    statement="gn_conv(x), order 1, s = 1 = φ_out(gated_conv(p, q)), [p, q] = φ_in(x)",
    hypotheses=("order 1", "s = 1"),
    domain="any N, C, H, W >= 1, any odd kernel; with biases",
    source="HorNet, arXiv 2207.14284, gConv: [p, q] = φ_in(x), y = φ_out(f(q)·p)",
    world=world,
    sizes=(dict(N=2, C=2, H=3, W=4), dict(N=1, C=3, H=2, W=2, kernel=(5, 3)), dict(N=1, C=1, H=1, W=5, kernel=(1, 7))),
    small=(dict(N=1, C=1, H=1, W=2, kernel=(1, 3)),),
    degree=6,
    steps=(
        OPERATOR,
        Step("φ_out(Σ_(j in the window of i) w_(i→j)·q[j]·p[i] + b·p[i])", spelled,
             "gn_conv (F1)-(F4) with one gate: p_1 = f(q)·p_0, C_0 = C, and no g_k"),
        Step("φ_out(gated_conv(p, q))", gated, "gated_conv (F1), (F2)")),
    counterexamples=(
        Counterexample("a scale: it multiplies the gate", lambda draw, **sizes: changed(world(draw, **sizes), scale=3), OUTSIDE,
                       Step("gn_conv(x), order 1, s = 3", gn), Step("φ_out(gated_conv(p, q))", gated),
                       agrees=(("s times the depthwise weights and bias", gn,
                                lambda w: gated(changed(w, D=w.scale * w.D, bD=w.scale * w.bD))),)),
        Counterexample("p and q exchanged: the second half of φ_in is the one that is filtered", world, OUTSIDE, OPERATOR,
                       Step("φ_out(gated_conv(q, p))", lambda w: gated(exchanged(w))),
                       agrees=(("after exchanging the rows of φ_in", lambda w: gn(exchanged(w)), lambda w: gated(exchanged(w))),)),
    ),
)


def exchanged(w: World) -> World:
    """The rows of p and q in φ_in change places."""
    C = w.x.shape[1]
    return changed(w, P=np.concatenate([w.P[C:], w.P[:C]]), bP=np.concatenate([w.bP[C:], w.bP[:C]]))


PROOFS = (PROOF,)
