"""The bias of the keys has no effect on attention, so its gradient is zero."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import local_attention, softmax
from pyhybrid.proofs._attention import (
    OUTSIDE,
    SIZES,
    SMALL,
    SOURCE,
    bound,
    by_definition,
    exact_step,
    q_ij,
    scores,
    windows,
    world,
)
from pyhybrid.proofs._draw import World, changed
from pyhybrid.proofs._notation import Array, attention, heads_of, interior
from pyhybrid.proofs._proof import EPS, Counterexample, Function, Proof, Step

KEY_BIAS = Proof(
    name="key_bias_has_no_effect",
    title="The bias of the keys has no effect on attention",
    statement="attention(q, k + b, v) = attention(q, k, v) for every bias b, one number per channel",
    hypotheses=("every key in a window gets the bias: border \"reflect\"", "b is the same at every pixel"),
    domain="any N, heads, d, odd window, stride; queries of any size",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    steps=(
        Step("attention(q, k + b, v)", lambda w: attention(w.q, w.k + w.b, w.v, **w.config)),
        exact_step("Σ_m softmax_m(τ Σ_e q·U(k + b))·U(v)", lambda w: by_definition(w, scores(w, windows(w, w.k + w.b))),
                   "local_attention (F1)-(F6)"),
        exact_step("Σ_m softmax_m(τ Σ_e q·U(k) + τ Σ_e q·b)·U(v)",
                   lambda w: by_definition(w, scores(w, windows(w, w.k)) + scores(w, w.b.reshape(1, w.heads, -1, 1, 1, 1))),
                   "U(k + b) = U(k) + b, as reflection finds a real pixel for every tap; the sum over e is linear"),
        exact_step("Σ_m softmax_m(τ Σ_e q·U(k))·U(v)", lambda w: by_definition(w, scores(w, windows(w, w.k))),
                   "τ Σ_e q·b does not depend on the tap m: softmax ignores a constant (softmax_ignores_a_constant)"),
        exact_step("attention(q, k, v)", lambda w: attention(w.q, w.k, w.v, **w.config), "local_attention (F1)-(F6)")),
    counterexamples=(
        Counterexample("border \"zero\": the keys outside are 0 and get no bias", world, dict(OUTSIDE, border="zero"),
                       Step("attention(q, k + b, v)", lambda w: attention(w.q, w.k + w.b, w.v, **w.config)),
                       Step("attention(q, k, v)", lambda w: attention(w.q, w.k, w.v, **w.config)), bound=bound,
                       agrees=(("the interior, where every key is a real pixel",
                                lambda w: interior(attention(w.q, w.k + w.b, w.v, **w.config), (1, 1)),
                                lambda w: interior(attention(w.q, w.k, w.v, **w.config), (1, 1))),)),
        Counterexample("a bias of the values: the output moves by it", world, OUTSIDE,
                       Step("attention(q, k, v + b)", lambda w: attention(w.q, w.k, w.v + w.b, **w.config)),
                       Step("attention(q, k, v)", lambda w: attention(w.q, w.k, w.v, **w.config)), bound=bound,
                       agrees=(("attention(q, k, v + b) = attention(q, k, v) + b",
                                lambda w: attention(w.q, w.k, w.v + w.b, **w.config),
                                lambda w: attention(w.q, w.k, w.v, **w.config) + w.b),)),
        Counterexample("a bias of the queries: it meets every key differently", world, OUTSIDE,
                       Step("attention(q + b, k, v)", lambda w: attention(w.q + w.b, w.k, w.v, **w.config)),
                       Step("attention(q, k, v)", lambda w: attention(w.q, w.k, w.v, **w.config)), bound=bound),
    ),
)


def gradients(w: World) -> local_attention.Grads:
    _, cache = local_attention.forward(w.q, w.k, w.v, **w.config)
    return local_attention.backward(w.dy, cache)


def dS(w: World) -> tuple[Array, Array, Array]:
    """a, da and dS = a·(da - Σ a·da) of (B2), (B3), each (N, heads, k·k, Ho, Wo)."""
    a = softmax.forward(scores(w, windows(w, w.k)), axis=2)[0]
    da = (heads_of(w.dy, w.heads)[:, :, :, None] * windows(w, w.v)).sum(2)
    return a, da, a * (da - (a * da).sum(2, keepdims=True))


def over_pixels(x: Array) -> Array:
    """Σ over images and pixels of x (N, heads, d, Ho, Wo), per channel."""
    return x.sum((0, 3, 4)).reshape(-1)


def gradient_bound(w: World) -> float:
    """Terms τ·q·a·(da - Σ a·da), each off by (n + d + 16)·u + 2δ of its parts' sizes, n = k², δ = (d + 4)·L·u; P·n of them are added."""
    d, n, pixels = w.q.shape[1] // w.heads, w.size**2, w.dy.shape[0] * w.dy.shape[2] * w.dy.shape[3]
    L = w.tau * d * np.abs(w.q).max() * np.abs(w.k).max()
    a, da, _ = dS(changed(w, dy=np.abs(w.dy), v=np.abs(w.v)))
    largest = over_pixels(w.tau * np.abs(q_ij(w))[:, :, :, 0] * 2 * (a * da).sum(2)[:, :, None]).max()
    return float(2 * EPS * (pixels * n + n + d + 16 + 2 * (d + 4) * L) * largest)


def gradient_step(text: str, value: Function, reason: str) -> Step:
    bound_text = "2u·(P·k² + k² + d + 16 + 2·(d+4)·L)·Σ τ|q|·2·Σ_m a·|da|, P pixels"
    return Step(text, value, reason, gradient_bound, bound_text)


KEY_GRADIENT = Proof(
    name="key_bias_has_no_effect.gradient",
    title="The gradient of the key bias is zero",
    statement="Σ_nij dk[n, c, i, j] = 0 for every channel c, whatever dy is",
    hypotheses=("the attention path alone: in ACmix the convolution path reads the keys too", "border \"reflect\""),
    domain="any N, heads, d, odd window, stride",
    source=SOURCE,
    world=world,
    sizes=SIZES[:3],
    small=(),
    steps=(
        Step("Σ_nij dk", lambda w: gradients(w).k.sum((0, 2, 3))),
        gradient_step("Σ_nij Σ_m τ·q·dS", lambda w: over_pixels((w.tau * q_ij(w) * dS(w)[2][:, :, None]).sum(3)),
                      "(B5), (B6): dk = Uᵀ(τ·q·dS), and Uᵀ returns every tap's share to some pixel: no share is lost"),
        gradient_step("Σ_nij τ·q·(Σ_m a·da)·(1 - Σ_m a)", lambda w: over_pixels(
            w.tau * q_ij(w)[:, :, :, 0] * ((dS(w)[0] * dS(w)[1]).sum(2) * (1 - dS(w)[0].sum(2)))[:, :, None]),
                      "q does not depend on m; (B3): Σ_m dS = Σ_m a·da - (Σ_m a)·(Σ_l a·da)"),
        gradient_step("0", lambda w: np.zeros(w.q.shape[1]), "Σ_m a = 1")),
    counterexamples=(
        Counterexample("the value bias: its gradient is the sum of dy, since the weights sum to 1", world, OUTSIDE,
                       Step("Σ_nij dv", lambda w: gradients(w).v.sum((0, 2, 3))), Step("0", lambda w: np.zeros(w.q.shape[1])),
                       bound=gradient_bound,
                       agrees=(("Σ_nij dv = Σ_nij dy", lambda w: gradients(w).v.sum((0, 2, 3)), lambda w: w.dy.sum((0, 2, 3))),)),
        Counterexample("border \"zero\": the taps outside keep their share", world, dict(OUTSIDE, border="zero"),
                       Step("Σ_nij dk", lambda w: gradients(w).k.sum((0, 2, 3))), Step("0", lambda w: np.zeros(w.q.shape[1])),
                       bound=gradient_bound),
    ),
)

PROOFS = (KEY_BIAS, KEY_GRADIENT)
