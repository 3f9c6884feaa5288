"""For fixed offsets a deformable convolution is linear in its map, and the gradient is the adjoint; in the offsets it is not linear."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import deform_conv2d
from pyhybrid.proofs import _deformable
from pyhybrid.proofs._deformable import SOURCE, by_samples, deformed, places
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, **sizes: Any) -> World:
    w = _deformable.world(draw, **sizes)
    w.d = draw("d", len(w.x), len(w.K), *w.D.shape[2:])
    return w


def inner(a: Array, b: Array) -> Array:
    """<a, b> = Σ a·b."""
    return np.asarray((a * b).sum())


def factors(w: World) -> Array:
    """g(y_k, r)·g(x_k, q), (N, K, Ho, Wo, H, W), g(u, r) = max(0, 1-|u-r|)."""
    (ys, xs), (H, W) = places(w, w.D), w.x.shape[2:]
    down = np.maximum(0, 1 - np.abs(ys[..., None] - np.arange(H)))
    across = np.maximum(0, 1 - np.abs(xs[..., None] - np.arange(W)))
    return down[..., None] * across[..., None, :]


def pulled_back(w: World) -> Array:
    """e[n, c, k, i, j] = m·Σ_o K[o, c, k]·d[o, i, j]."""
    K = w.K.reshape(*w.K.shape[:2], -1)
    return np.einsum("ock,noij->nckij", K, w.d) * w.m[:, None]


def over_points(w: World) -> Array:
    samples = np.einsum("nkijrq,ncrq->nckij", factors(w), w.x)
    return inner(pulled_back(w), samples)


def over_pixels(w: World) -> Array:
    return inner(w.x, np.einsum("nckij,nkijrq->ncrq", pulled_back(w), factors(w)))


def gradients(w: World) -> deform_conv2d.Grads:
    _, cache = deform_conv2d.forward(w.x, w.D, w.K, w.m, **w.config)
    return deform_conv2d.backward(w.d, cache)


PAIRED = Step("<deform_conv2d(x, D, K, m), d>", lambda w: inner(deformed(w), w.d))
OUTSIDE = dict(N=1, C=1, O=2, H=4, W=4, kernel=(3, 3), padding=(1, 1))
PROOF = Proof(
    name="deformable_convolution_is_linear_in_the_map",
    title="The gradient of a deformable convolution with respect to the map is its adjoint",
    statement="<deform_conv2d(x, D, K, m), d> = <x, dx>, dx = deform_conv2d.backward(d).x: what was gathered is scattered, "
              "with the same factors",
    hypotheses=("offset, weight and mask are kept", "no bias"),
    domain="any sizes and settings, any offsets (checked at quarters of a pixel); in K and in m it is linear likewise",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=2, O=2, H=3, W=4, kernel=(2, 3), padding=(1, 1)),
           dict(N=1, C=3, O=2, H=4, W=3, kernel=(2, 2), stride=(2, 1), padding=(0, 1), dilation=(2, 1))),
    small=(dict(N=1, C=1, O=1, H=2, W=2, kernel=(1, 2), padding=(0, 1)),),
    degree=4,
    steps=(
        PAIRED,
        Step("<Σ_ck K·m·S(x[c]; y_k, x_k), d>", lambda w: inner(by_samples(w, w.D, w.m), w.d), "deform_conv2d (F1)-(F4)"),
        Step("Σ_ckij e·Σ_rq g(y_k, r)·g(x_k, q)·x[c, r, q], e = m·Σ_o K·d", over_points,
             "bilinear_sample (F1)-(F3) as a sum over all pixels; the sums over o and over c, k are exchanged"),
        Step("Σ_crq x[c, r, q]·Σ_kij g(y_k, r)·g(x_k, q)·e", over_pixels, "the sums over points and over pixels are exchanged"),
        Step("<x, dx>", lambda w: inner(w.x, gradients(w).x), "deform_conv2d (B3)-(B5), bilinear_sample (B1)")),
    counterexamples=(
        Counterexample("the offset in place of the map: y is not linear in it", world, OUTSIDE, PAIRED,
                       Step("<D, dD>", lambda w: inner(w.D, gradients(w).offset)),
                       agrees=(("the weight", PAIRED.value, lambda w: inner(w.K, gradients(w).weight)),
                               ("the mask", PAIRED.value, lambda w: inner(w.m, np.asarray(gradients(w).mask))))),
    ),
)

PROOFS = (PROOF,)
