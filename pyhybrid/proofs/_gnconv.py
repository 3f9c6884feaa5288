"""gnConv as the statements about it see it: its arrays, its recursion spelled out, and differences along a line.

Notation. n is the order, C_k = C/2^(n-1-k). φ_in, φ_out are the first and the last projection, g_k the one between two gates, f_k the
depthwise convolution of q_k, s the scale. F is gnConv with all its biases, F_0 the same without a single one. Δ^m F is the m-th difference
Σ_j (-1)^(m-j) binom(m, j) F(x + j·v) along the line through x in the direction v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb, factorial
from typing import Any

import numpy as np

from pyhybrid.ops import gate_chain, gn_conv
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv, Pair, Sum, half, times

SOURCE = "HorNet, arXiv 2207.14284, gnConv: p_(k+1) = s·f_k(q_k)·g_k(p_k)"
ORDERS: tuple[dict[str, Any], ...] = (
    dict(N=2, C=2, order=1, H=2, W=2, scale=1), dict(N=1, C=4, order=2, H=2, W=2, scale=3),
    dict(N=1, C=4, order=3, H=2, W=2, kernel=(3, 1), scale=1),
    dict(N=1, C=8, order=4, H=1, W=2, kernel=(1, 3), scale=2), dict(N=1, C=16, order=5, H=1, W=2, kernel=(1, 3), scale=1))
SMALL: tuple[dict[str, Any], ...] = (dict(N=1, C=1, order=1, H=1, W=2, kernel=(1, 3)),
                                     dict(N=1, C=2, order=2, H=1, W=1, kernel=(1, 1)))
OUTSIDE: dict[str, Any] = dict(N=1, C=4, order=2, H=2, W=3, scale=1)
DEGREE = 22    # of y in all drawn entries, at most: each gate multiplies by x, by three weights and, but for the first, by one of g_k


def world(draw: Draw, *, N: int, C: int, order: int, H: int, W: int, kernel: Pair = (3, 3), scale: Any = Fraction(1, 3)) -> World:
    """x and v, and the weights and biases; what is drawn as float64 gets a scale in float64."""
    C0, k = C // 2 ** (order - 1), (1, 1)
    shapes = gate_chain.projections(C0, order)
    return World(x=draw("x", N, C, H, W), v=draw("v", N, C, H, W), dy=draw("dy", N, C, H, W), t=draw("t", 1)[0],
                 P=draw("P", 2 * C, C, *k), bP=draw("bP", 2 * C), D=draw("D", 2 * C - C0, 1, *kernel), bD=draw("bD", 2 * C - C0),
                 G=tuple(draw(f"G{i}", *shape, *k) for i, shape in enumerate(shapes)),
                 bG=tuple(draw(f"bG{i}", shape[0]) for i, shape in enumerate(shapes)),
                 O=draw("O", C, C, *k), bO=draw("bO", C), order=order, C0=C0, scale=scale if draw.exact else float(scale))


def bare(w: World) -> World:
    """The same without biases: F_0 in the place of F."""
    return changed(w, bP=None, bD=None, bG=None, bO=None)


def arguments(w: World) -> tuple[Array | None, ...]:
    """The arrays of gn_conv, in its order."""
    weight, bias = gate_chain.pack(w.G, w.bG)
    return w.x, w.P, w.D, weight, w.O, w.bP, w.bD, bias, w.bO


def gn(w: World, x: Array | None = None) -> Array:
    """The operator gn_conv, at x or another map."""
    return applied(w if x is None else changed(w, x=x))[0]


def applied(w: World) -> tuple[Array, gn_conv.Cache]:
    """The operator gn_conv, with its cache."""
    return gn_conv.forward(*arguments(w), order=w.order, scale=w.scale)


def gn_bare(w: World, x: Array | None = None) -> Array:
    return gn(bare(w), x)


def slots(w: World, channels: Array, axis: int = 1) -> list[Array]:
    """The channels of f_0, …, f_(n-1), one after the other."""
    edges = [(2**k - 1) * w.C0 for k in range(1, w.order)]
    return list(np.split(channels, edges, axis=axis))


def plus(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias[:, None, None]


def bias_of(biases: Sequence[Array] | None, k: int) -> Array | None:
    return None if biases is None else biases[k]


def start(w: World, x: Array) -> tuple[Array, Array]:
    """p_0 and q of φ_in(x)."""
    projected = plus(times(w.P, x), w.bP)
    return projected[:, : w.C0], projected[:, w.C0 :]


def filtered(w: World, q: Array, bias: Array | None = None) -> list[Array]:
    """f_0(q_0), …, f_(n-1)(q_(n-1)), each by its own part of the depthwise kernel."""
    qs, kernels = slots(w, q), slots(w, w.D, 0)
    biases = [None] * w.order if bias is None else slots(w, bias, 0)
    return [plus(Conv(a, K, padding=half(K.shape[2:]), groups=len(K)), b) for a, K, b in zip(qs, kernels, biases, strict=True)]


def chain(w: World, p: Array, fs: Sequence[Array]) -> Array:
    """p_n: s·f_k times g_k(p_k), n times."""
    for k, f in enumerate(fs):
        p = w.scale * f * (plus(times(w.G[k - 1], p), bias_of(w.bG, k - 1)) if k else p)
    return p


def recursion(w: World, x: Array | None = None) -> Array:
    """φ_out(p_n), equation by equation."""
    p, q = start(w, w.x if x is None else x)
    return plus(times(w.O, chain(w, p, filtered(w, q, w.bD))), w.bO)


def coefficients(w: World) -> list[Array]:
    """a_0, …, a_(n+1) of F(x + t·v) = Σ a_k t^k: every factor is a_0 + a_1·t, and the biases stand in a_0 alone."""
    without = bare(w)
    (p, q), (dp, dq) = start(w, w.x), start(without, w.v)
    terms, pairs = [p, dp], zip(filtered(w, q, w.bD), filtered(without, dq), strict=True)
    for k, (f, df) in enumerate(pairs):
        u = [times(w.G[k - 1], a) for a in terms] if k else terms
        if k:
            u[0] = plus(u[0], bias_of(w.bG, k - 1))
        low, high = [w.scale * f * a for a in u], [w.scale * df * a for a in u]
        terms = [low[0], *(a + b for a, b in zip(low[1:], high[:-1], strict=True)), high[-1]]
    out = [times(w.O, a) for a in terms]
    return [plus(out[0], w.bO), *out[1:]]


def line(w: World, last: int, F: Callable[[World, Array], Array] = gn) -> list[Array]:
    """F(x), F(x + v), …, F(x + last·v)."""
    return [F(w, w.x + j * w.v) for j in range(last + 1)]


def difference(values: Sequence[Any], m: int) -> Any:
    """The m-th difference Σ_j (-1)^(m-j) binom(m, j) values[j]."""
    return Sum((-1) ** (m - j) * comb(m, j) * values[j] for j in range(m + 1))


def along(w: World, m: int, F: Callable[[World, Array], Array] = gn) -> Array:
    """Δ^m F along v."""
    return difference(line(w, m, F), m)


def top(w: World) -> Array:
    """(n+1)!·F_0(v)."""
    return factorial(w.order + 1) * gn_bare(w, w.v)


def inner(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum())


def floats(w: World) -> World:
    """The same numbers in float64, for what has a root or a quotient."""
    convert: Callable[[Any], Any] = lambda a: np.array(a, float) if isinstance(a, np.ndarray) and a.dtype == object else a
    made = {name: tuple(map(convert, a)) if isinstance(a, tuple) else convert(a) for name, a in vars(w).items()}
    return World(**made | {"scale": float(w.scale), "t": float(w.t)})
