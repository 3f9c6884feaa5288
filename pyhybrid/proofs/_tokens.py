"""Attention over all pixels, as tokens: what the statements about global and window attention have in common.

Bound. As in _attention, with n keys: a weight is off by (n + 8)·u + 2δ of its size, δ = (d + 4)·L·u, and an output by as much of max|v|.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.ops import attention as all_to_all
from pyhybrid.ops import softmax
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array
from pyhybrid.proofs._proof import EPS, Function, Step

SOURCE = "ACmix, arXiv 2111.14556, other attention modes (eqs. (19)-(20))"
BOUND = "2u·max|v|·(n + 8 + 2·(d+4)·L), n keys, L >= every |score|"


def world(draw: Draw, *, N: int, heads: int, d: int, H: int, W: int, spread: float = 1.0, scale: float | None = None,
          **config: Any) -> World:
    """q, k, v (N, heads·d, H, W), head-major."""
    shape = (N, heads * d, H, W)
    return World(q=draw.exponent("q", *shape, spread=spread), k=draw.log("k", *shape), v=draw.real("v", *shape), heads=heads, H=H, W=W,
                 scale=scale, tau=d**-0.5 if scale is None else scale, config=config)


def tokens(w: World, x: Array) -> Array:
    """(N, C, H, W) -> (N, heads, H·W, d): pixels row by row."""
    N, C, H, W = x.shape
    return np.ascontiguousarray(x.reshape(N, w.heads, C // w.heads, H * W).swapaxes(2, 3))


def as_map(w: World, o: Array) -> Array:
    """The inverse of `tokens`."""
    N, heads, _, d = o.shape
    return o.swapaxes(2, 3).reshape(N, heads * d, w.H, w.W)


def everywhere(w: World, bias: Array | None = None) -> Array:
    """The operator attention on all tokens; bias (H·W, H·W) is added to the scores."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    return as_map(w, all_to_all.forward(q, k, v, None if bias is None else bias[None, None], scale=w.scale)[0])


def spelled(w: World, bias: Array | float = 0.0) -> Array:
    """Σ_u softmax_u(τ q_t·k_u + bias[t, u])·v_u."""
    q, k, v = (tokens(w, x) for x in (w.q, w.k, w.v))
    z = w.tau * (q[:, :, :, None] * k[:, :, None]).sum(4) + bias                          # (N, heads, t, u)
    a = softmax.forward(z)[0]
    return as_map(w, (a[..., None] * v[:, :, None]).sum(3))


def hidden(visible: Array, score: float = -np.inf) -> Array:
    """A bias: 0 where a token is visible, `score` where it is not."""
    return np.where(visible, 0.0, score)


def places(w: World) -> tuple[Array, Array]:
    """Row and column of every token."""
    row, column = np.divmod(np.arange(w.H * w.W), w.W)
    return row, column


def bound(w: World) -> float:
    """max|v|·2·((n + 8)·u + 2δ), δ = (d + 4)·L·u."""
    d = w.q.shape[1] // w.heads
    L = float(w.tau * d * np.abs(w.q).max() * np.abs(w.k).max())
    return float(np.abs(w.v).max()) * 2 * EPS * (w.H * w.W + 8 + 2 * (d + 4) * L)


def step(text: str, value: Function, reason: str) -> Step:
    return Step(text, value, reason, bound, BOUND)
