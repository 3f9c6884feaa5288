"""Attention within windows is global attention with a mask between them, exactly if the mask is -inf."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import attention as all_to_all
from pyhybrid.ops import window_partition, window_reverse
from pyhybrid.proofs import _tokens
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, window mode (eqs. (19)-(20)); official Swin-ACmix code"


def partition(w: World, x: Array) -> Array:
    """x (N, C, H, W) cut into windows, as tokens by head: (N·windows, heads, side², d)."""
    rows = window_partition.forward(np.moveaxis(x, 1, 3), window=w.config["window"])[0]
    B, T, C = rows.shape
    return np.ascontiguousarray(rows.reshape(B, T, w.heads, C // w.heads).swapaxes(1, 2))


def in_windows(w: World, k: Array | None = None) -> Array:
    """Window attention: partition, attention within every window, reverse."""
    q, key, v = (partition(w, x) for x in (w.q, w.k if k is None else k, w.v))
    o = all_to_all.forward(q, key, v, scale=w.scale)[0]
    rows = np.ascontiguousarray(o.swapaxes(1, 2)).reshape(len(o), o.shape[2], -1)
    return np.moveaxis(window_reverse.forward(rows, window=w.config["window"], size=(w.H, w.W))[0], 3, 1)


def same_window(w: World) -> Array:
    """Whether tokens t and u are in one window, (H·W, H·W)."""
    (row, column), (h, s) = _tokens.places(w), w.config["window"]
    number = row // h * (w.W // s) + column // s
    return number[:, None] == number


def sum_in_window(w: World) -> Array:
    """Σ over the tokens of the window of exp(z - max)·v / Σ exp(z - max), token by token."""
    q, k, v = (_tokens.tokens(w, x) for x in (w.q, w.k, w.v))
    rows = []
    for t, others in enumerate(same_window(w)):
        z = w.tau * (q[:, :, t, None] * k[:, :, others]).sum(3)
        e = np.exp(z - z.max(2, keepdims=True))
        rows.append((e[..., None] * v[:, :, others]).sum(2) / e.sum(2)[..., None])
    return _tokens.as_map(w, np.stack(rows, axis=2))


def masked(w: World, score: float = -np.inf) -> Array:
    return _tokens.everywhere(w, _tokens.hidden(same_window(w), score))


def loud_world(draw: Draw, **sizes: Any) -> World:
    """Scores of 0, but 90 for the first pixel of the map, where v is 1 and elsewhere 0; `quiet` are ordinary keys."""
    w = _tokens.world(draw, **sizes)
    k, v = np.zeros(w.k.shape), np.zeros(w.v.shape)
    k[..., 0, 0], v[..., 0, 0] = 90, 1
    return changed(w, q=np.ones(w.q.shape), k=k, v=v, quiet=w.k)


def leak(w: World) -> Array:
    """exp(90 - 100) against 4 scores of 0: what a token of another window takes from the first pixel."""
    share = np.exp(-10.0) / (4 + np.exp(-10.0))
    return np.where(same_window(w)[0].reshape(w.H, w.W), in_windows(w), share)


def quiet(w: World) -> World:
    return changed(w, k=w.quiet)


WINDOWS = Step("window_reverse(attention(window_partition(q, k, v)))", in_windows)
GLOBAL = Step("global attention(q, k, v), bias 0 within a window, -inf between windows", masked)
PROOF = Proof(
    name="window_attention_is_masked_global",
    title="Window attention is global attention with a mask of -inf between windows",
    statement="window_reverse(attention(window_partition(q, k, v))) = attention(q, k, v over all pixels, bias), bias = 0 within a window, "
              "else -inf",
    hypotheses=("no bias table", "the mask is exactly -inf", "one scale for both"),
    domain="any N, heads, d, any window that divides the map",
    source=SOURCE,
    world=_tokens.world,
    sizes=(dict(N=2, heads=2, d=3, H=4, W=6, window=(2, 3)), dict(N=1, heads=1, d=2, H=6, W=3, window=(3, 3)),
           dict(N=1, heads=3, d=1, H=2, W=4, window=(1, 2))),
    small=(),
    steps=(
        WINDOWS,
        _tokens.step("Σ_u softmax_u(τ q_t·k_u)·v_u over the tokens u of the window of t", sum_in_window,
                     "window_partition (F1): windows are entries of the batch, which do not see each other; attention (F1)-(F4)"),
        _tokens.step("Σ_u softmax_u(τ q_t·k_u + M_tu)·v_u over all tokens, M = 0 within a window, -inf between windows",
                     lambda w: _tokens.spelled(w, _tokens.hidden(same_window(w))), "exp(-inf) = 0: the others add nothing to either sum"),
        _tokens.step(GLOBAL.text, GLOBAL.value, "attention (F1)-(F4) with a bias")),
    counterexamples=(
        Counterexample("the official mask of -100, where a masked score is 90 above the others: it leaks exp(-10) = 4.5e-5", loud_world,
                       dict(N=1, heads=1, d=1, H=4, W=4, window=(2, 2), scale=1.0), WINDOWS,
                       Step("global attention(q, k, v), bias -100 between windows", lambda w: masked(w, -100.0)), bound=_tokens.bound,
                       agrees=(("the leak is exp(-10)/(4 + exp(-10))", lambda w: masked(w, -100.0), leak),
                               ("with ordinary scores exp(-100) = 3.7e-44 is lost in rounding", lambda w: in_windows(w, w.quiet),
                                lambda w: masked(quiet(w), -100.0)))),
        Counterexample("no mask", _tokens.world, dict(N=1, heads=1, d=2, H=4, W=4, window=(2, 2)), WINDOWS,
                       Step("global attention(q, k, v)", lambda w: _tokens.everywhere(w)), bound=_tokens.bound),
    ),
)

ONE = Proof(
    name="window_attention_is_masked_global.one_window",
    title="With a single window that covers the map, window attention is global attention",
    statement="window_reverse(attention(window_partition(q, k, v))) = attention(q, k, v over all pixels) for window = (H, W)",
    hypotheses=("window = (H, W)", "no bias table"),
    domain="any N, heads, d, H, W >= 1",
    source=SOURCE,
    world=_tokens.world,
    sizes=(dict(N=2, heads=2, d=3, H=3, W=4, window=(3, 4)), dict(N=1, heads=1, d=2, H=1, W=5, window=(1, 5))),
    small=(dict(N=2, heads=1, d=1, H=2, W=1, window=(2, 1), scale=1.0), dict(N=1, heads=2, d=1, H=1, W=3, window=(1, 3), scale=1.0)),
    steps=(
        WINDOWS,
        _tokens.step("Σ_u softmax_u(τ q_t·k_u)·v_u over all tokens", lambda w: _tokens.spelled(w),
                     "window_partition (F1) with one window: all pixels, row by row"),
        _tokens.step("global attention(q, k, v)", lambda w: _tokens.everywhere(w), "attention (F1)-(F4)")),
    counterexamples=(
        Counterexample("two windows", _tokens.world, dict(N=1, heads=1, d=2, H=4, W=4, window=(2, 4)), WINDOWS,
                       Step("global attention(q, k, v)", lambda w: _tokens.everywhere(w)), bound=_tokens.bound),
    ),
)

PROOFS = (PROOF, ONE)
