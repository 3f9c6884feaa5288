"""Local attention spelled out: what the statements about it have in common.

Bound. Let u = 2^-52 and L >= every Σ_e |q_e·E_e|, each of whose d products and sums is rounded: a score is off by δ <= (d + 4)·L·u.
The weights are off by (n + 8)·u + 2δ relative to their size (see softmax_ignores_a_constant), n = k². An output is a mean of values with
these weights, so each side of a step is off by at most max|v|·((n + 8)·u + 2δ).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Pair, U, attend, heads_of, on_grid
from pyhybrid.proofs._proof import EPS, Function, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (10)-(15)"


def world(draw: Draw, *, N: int, heads: int, d: int, H: int, W: int, k: int, stride: Pair = (1, 1), scale: float | None = None,
                    spread: float = 1.0, border: str = "reflect") -> World:
    C = heads * d
    b = draw.log("b", C, 1, 1)
    return World(q=draw.exponent("q", N, C, H, W, spread=spread), k=draw.log("k", N, C, H, W), v=draw.real("v", N, C, H, W), b=b,
                 W_p=draw.log("W_p", d, 2, 1, 1), b_p=draw.log("b_p", d), dy=draw.real("dy", N, C, -(-H // stride[0]), -(-W // stride[1])),
                 size=k, scale=scale, tau=d**-0.5 if scale is None else scale, stride=stride,
                 config=dict(heads=heads, kernel_size=k, stride=stride, border=border, scale=scale), heads=heads)


def q_ij(w: World) -> Array:
    """The queries, (N, heads, d, 1, Ho, Wo)."""
    return heads_of(on_grid(w.q, w.stride), w.heads)[:, :, :, None]


def windows(w: World, x: Array) -> Array:
    """U(x) by heads, (N, heads, d, k·k, Ho, Wo)."""
    return heads_of(U(x, w.size, w.stride), w.heads)


def scores(w: World, E: Array) -> Array:
    """τ Σ_e q_ij·E over the window, (N, heads, k·k, Ho, Wo)."""
    return w.tau * (q_ij(w) * E).sum(2)


def by_definition(w: World, S: Array) -> Array:
    return attend(S, windows(w, w.v))


def bound(w: World) -> float:
    """max|v|·2·((n + 8)·u + 2δ), δ = (d + 4)·L·u."""
    d = w.q.shape[1] // w.heads
    key = np.abs(w.k).max() + np.abs(w.b).max() + 2 * (2 * np.abs(w.W_p).max() + np.abs(w.b_p).max())
    L = float(w.tau * d * np.abs(w.q).max() * key)
    return float(np.abs(w.v).max()) * 2 * EPS * (w.size**2 + 8 + 2 * (d + 4) * L)


BOUND = "2u·max|v|·(k² + 8 + 2·(d+4)·L), L >= every |score|"


def exact_step(text: str, value: Function, reason: str) -> Step:
    """A step that only rounding of `bound` may disturb."""
    return Step(text, value, reason, bound, BOUND)


SIZES = (dict(N=2, heads=2, d=3, H=5, W=4, k=3), dict(N=1, heads=1, d=4, H=7, W=6, k=7, stride=(2, 3)),
                   dict(N=1, heads=3, d=1, H=3, W=3, k=5), dict(N=1, heads=2, d=2, H=4, W=4, k=3, spread=1e4))
SMALL = (dict(N=1, heads=1, d=2, H=2, W=2, k=3, scale=1.0),)
OUTSIDE: dict[str, Any] = dict(N=1, heads=2, d=2, H=4, W=4, k=3)
