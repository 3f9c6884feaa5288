"""Local attention with border "mask" is global attention in which every pixel sees its window only; a large window sees all."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import local_attention
from pyhybrid.proofs import _tokens
from pyhybrid.proofs._draw import World
from pyhybrid.proofs._notation import Array, Shift, Sum, attention, heads_of, interior, taps
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (10)-(15); border and global mode: this package's options"


def local(w: World, **changed: object) -> Array:
    config = dict(heads=w.heads, scale=w.scale, border="mask") | w.config | changed
    return attention(w.q, w.k, w.v, **config)


def in_window(w: World, k: int | None = None) -> Array:
    """Whether token u is in the window around token t, (H·W, H·W)."""
    r = (w.config["kernel_size"] if k is None else k) // 2
    near = [np.abs(x[:, None] - x) <= r for x in _tokens.places(w)]
    return near[0] & near[1]


def by_taps(w: World) -> Array:
    """Σ_m e_m·Shift(v) / Σ_m e_m, e_m = exp(τ q·Shift(k) - lse) at the taps inside the map and 0 at the others."""
    size = w.config["kernel_size"]
    r, one = size // 2, np.ones((1, 1, w.H, w.W))
    lse = local_attention.forward(w.q, w.k, w.v, heads=w.heads, scale=w.scale, border="mask", **w.config)[1].lse
    q, moved = heads_of(w.q, w.heads), [(u - r, v - r) for _, u, v in taps((size, size))]
    e = [Shift(one, *s) * np.exp(w.tau * (q * heads_of(Shift(w.k, *s), w.heads)).sum(2) * Shift(one, *s) - lse) for s in moved]
    o = Sum(e_m[:, :, None] * heads_of(Shift(w.v, *s), w.heads) for e_m, s in zip(e, moved, strict=True)) / Sum(e)[:, :, None]
    return o.reshape(w.v.shape)


MASKED = Step("global attention(q, k, v), bias 0 within the window, -inf elsewhere", lambda w: _tokens.everywhere(
    w, _tokens.hidden(in_window(w))))
PROOF = Proof(
    name="local_attention_is_masked_global",
    title="Local attention is global attention with the window as a mask",
    statement="local_attention(q, k, v, border = mask) = attention(q, k, v over all pixels, bias), bias = 0 if |a-i| <= r and |b-j| <= r, "
              "else -inf",
    hypotheses=("border \"mask\": the softmax runs over the taps inside the map", "the mask is exactly -inf", "stride 1"),
    domain="any N, heads, d, H, W >= 1, any odd window, also larger than the map",
    source=SOURCE,
    world=_tokens.world,
    sizes=(dict(N=2, heads=2, d=3, H=5, W=4, kernel_size=3), dict(N=1, heads=1, d=2, H=3, W=6, kernel_size=7),
           dict(N=1, heads=3, d=1, H=1, W=4, kernel_size=5)),
    small=(),
    steps=(
        Step("local_attention(q, k, v, border = mask)", local),
        _tokens.step("Σ_m softmax_m(τ q_ij·k_(i+u-r, j+v-r))·v_(i+u-r, j+v-r) over the taps inside the map", by_taps,
                     "local_attention (F1)-(F6)"),
        _tokens.step("Σ_ab softmax_ab(τ q_ij·k_ab + M)·v_ab, M = 0 in the window, -inf elsewhere", lambda w: _tokens.spelled(
            w, _tokens.hidden(in_window(w))), "re-index a = i+u-r, b = j+v-r, one tap for every pixel of the window; exp(-inf) = 0"),
        _tokens.step(MASKED.text, MASKED.value, "attention (F1)-(F4)")),
    counterexamples=(
        Counterexample("border \"reflect\": a mirrored pixel counts once for every tap that reads it", _tokens.world,
                       dict(N=1, heads=1, d=2, H=5, W=5, kernel_size=3),
                       Step("local_attention(q, k, v, border = reflect)", lambda w: local(w, border="reflect")), MASKED,
                       bound=_tokens.bound,
                       agrees=(("the interior", lambda w: interior(local(w, border="reflect"), (1, 1)),
                                lambda w: interior(MASKED.value(w), (1, 1))),)),
        Counterexample("border \"zero\": keys of 0 outside the map take part in the softmax", _tokens.world,
                       dict(N=1, heads=1, d=2, H=5, W=5, kernel_size=3),
                       Step("local_attention(q, k, v, border = zero)", lambda w: local(w, border="zero")), MASKED, bound=_tokens.bound,
                       agrees=(("the interior", lambda w: interior(local(w, border="zero"), (1, 1)),
                                lambda w: interior(MASKED.value(w), (1, 1))),)),
    ),
)

GLOBAL = Step("global attention(q, k, v)", lambda w: _tokens.everywhere(w))
LARGE = Proof(
    name="local_attention_is_masked_global.large_window",
    title="Local attention with a window that reaches everything is global attention",
    statement="local_attention(q, k, v, kernel_size >= 2·max(H, W) - 1, border = mask) = attention(q, k, v over all pixels)",
    hypotheses=("kernel_size >= 2·max(H, W) - 1: the window of a corner pixel reaches the opposite corner", "border \"mask\"", "stride 1"),
    domain="any N, heads, d, H, W >= 1",
    source=SOURCE,
    world=_tokens.world,
    sizes=(dict(N=2, heads=2, d=3, H=4, W=3, kernel_size=7), dict(N=1, heads=1, d=2, H=2, W=5, kernel_size=11),
           dict(N=1, heads=2, d=1, H=1, W=1, kernel_size=1)),
    small=(),
    steps=(
        Step("local_attention(q, k, v, border = mask)", local),
        _tokens.step(MASKED.text, MASKED.value, "local_attention_is_masked_global"),
        _tokens.step(GLOBAL.text, GLOBAL.value, "|a-i| <= H-1 <= r and |b-j| <= W-1 <= r: the mask is 0 everywhere")),
    counterexamples=(
        Counterexample("a window of one tap less on every side: opposite corners do not see each other", _tokens.world,
                       dict(N=1, heads=1, d=2, H=4, W=4, kernel_size=5), Step("local_attention(q, k, v, border = mask)", local), GLOBAL,
                       bound=_tokens.bound,
                       agrees=(("the four pixels in the middle, which reach everything", lambda w: interior(local(w), (1, 1)),
                                lambda w: interior(GLOBAL.value(w), (1, 1))),)),
    ),
)

PROOFS = (PROOF, LARGE)
