"""Regrouping transposes a table of channels: exchanging its numbers undoes it, and a grouped map behind it is a scattered block matrix."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import regroup
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Conv, Sum
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "SMT, arXiv 2307.08579, eqs. (3)-(4); ShuffleNet, arXiv 1707.01083"


def world(draw: Draw, *, N: int, heads: int, M: int, H: int = 1, W: int = 1, R: int = 1) -> World:
    """R maps are made of each of the M groups, which hold one channel of each head."""
    return World(x=draw("x", N, heads * M, H, W), K=draw("K", M * R, heads, 1, 1), heads=heads, M=M, R=R)


def regrouped(x: Array, heads: int, *, inverse: bool = False) -> Array:
    return regroup.forward(x, heads=heads, inverse=inverse)[0]


def back_by_index(w: World) -> Array:
    """z[t·M + i] = y[i·heads + t], y = regroup(x)."""
    y = regrouped(w.x, w.heads)
    return np.stack([y[:, i * w.heads + t] for t in range(w.heads) for i in range(w.M)], axis=1)


INVERSE = Proof(
    name="regroup_is_a_permutation",
    title="Regrouping is undone by regrouping with heads and groups exchanged",
    statement="regroup(regroup(x, heads = N), heads = M) = x for N·M channels; regroup(…, inverse) is the second factor",
    hypotheses=("the number of channels is the product of the two numbers",),
    domain="any N, M >= 1; it is the identity if one of them is 1, and its own inverse if they are equal",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, heads=4, M=3, H=2, W=2), dict(N=1, heads=5, M=2), dict(N=1, heads=3, M=3), dict(N=1, heads=1, M=4)),
    small=(dict(N=1, heads=2, M=3), dict(N=1, heads=2, M=2)),
    degree=1,
    steps=(
        Step("regroup(regroup(x, heads = N), heads = M)", lambda w: regrouped(regrouped(w.x, w.heads), w.M)),
        Step("z[t·M + i] = y[i·N + t], y = regroup(x, heads = N)", back_by_index, "regroup (F1) with M heads of N channels"),
        Step("regroup(regroup(x, heads = N), heads = N, inverse)", lambda w: regrouped(regrouped(w.x, w.heads), w.heads, inverse=True),
             "regroup (F2)"),
        Step("x", lambda w: w.x, "y[i·N + t] = x[t·M + i] by (F1), so z[t·M + i] = x[t·M + i]; "
             "every channel is some t·M + i with t < N, i < M, and only one")),
    counterexamples=(
        Counterexample("the same number twice, unequal numbers", world, dict(N=1, heads=2, M=3),
                       Step("regroup(regroup(x, heads = 2), heads = 2), 6 channels", lambda w: regrouped(regrouped(w.x, w.heads), w.heads)),
                       Step("x", lambda w: w.x),
                       agrees=(("four times: 2⁴ = 16 is 1 modulo 5", lambda w: regrouped(regrouped(regrouped(regrouped(
                           w.x, w.heads), w.heads), w.heads), w.heads), lambda w: w.x),)),
        Counterexample("once, neither number 1", world, dict(N=1, heads=2, M=2),
                       Step("regroup(x, heads = 2), 4 channels", lambda w: regrouped(w.x, w.heads)), Step("x", lambda w: w.x),
                       agrees=(("the first and the last channel", lambda w: regrouped(w.x, w.heads)[:, ::3], lambda w: w.x[:, ::3]),)),
    ),
)


def block_diagonal(w: World) -> Array:
    """(M·R, M·heads): block i is W_i, the rows i·R … of K."""
    out = np.zeros((w.M * w.R, w.M * w.heads), w.K.dtype)
    for i in range(w.M):
        out[i * w.R : (i + 1) * w.R, i * w.heads : (i + 1) * w.heads] = w.K[i * w.R : (i + 1) * w.R, :, 0, 0]
    return out


def scattered(w: World) -> Array:
    """(M·R, heads·M): blockdiag(W)·Π, column t·M + i holds what was column i·heads + t."""
    columns = [i * w.heads + t for t in range(w.heads) for i in range(w.M)]
    return np.ascontiguousarray(block_diagonal(w)[:, columns])


def grouped(w: World, x: Array) -> Array:
    return Conv(x, w.K, groups=w.M)


def dense(x: Array, matrix: Array) -> Array:
    return Conv(x, matrix[:, :, None, None])


def spelled(w: World) -> Array:
    """e[i·R + r] = Σ_t W[i·R + r, t]·x[t·M + i]."""
    rows = [Sum(w.K[i * w.R + r, t, 0, 0] * w.x[:, t * w.M + i] for t in range(w.heads)) for i in range(w.M) for r in range(w.R)]
    return np.stack(rows, axis=1)


def one_head(w: World, t: int) -> Array:
    """x with every head but t set to 0."""
    return w.x * (np.arange(w.heads * w.M) // w.M == t)[:, None, None]


TWO_BY_TWO = dict(N=1, heads=2, M=2, R=2, H=2, W=2)
BLOCKS = Proof(
    name="regroup_is_a_permutation.blocks",
    title="A grouped 1x1 convolution behind a regrouping is a dense one whose matrix is a scattered block diagonal",
    statement="conv2d(regroup(x), W, groups = M) = conv2d(x, B), B = blockdiag(W_0, …, W_{M-1})·Π: row i·R + r is W[i·R + r, t] in "
              "column t·M + i, for every head t, and 0 elsewhere",
    hypotheses=("as many groups as a head has channels", "kernels of one tap"),
    domain="any N, heads, M, R, H, W >= 1; B has M·R·heads entries that are not 0, one in M",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, heads=4, M=3, R=2, H=2, W=3), dict(N=1, heads=2, M=4, R=3), dict(N=1, heads=3, M=1, R=2, H=1, W=2)),
    small=(dict(N=1, heads=2, M=2, R=1),),
    degree=2,
    steps=(
        Step("conv2d(regroup(x), W, groups = M)", lambda w: grouped(w, regrouped(w.x, w.heads))),
        Step("conv2d(regroup(x), blockdiag(W_0, …, W_{M-1}))", lambda w: dense(regrouped(w.x, w.heads), block_diagonal(w)),
             "conv2d with groups: the outputs of group i read its channels i·N … i·N + N-1 alone"),
        Step("conv2d(x, blockdiag(W_0, …, W_{M-1})·Π)", lambda w: dense(w.x, scattered(w)),
             "regroup is a permutation Π of the channels, the same at every pixel, and a matrix takes it over in its columns"),
        Step("e[i·R + r] = Σ_t W[i·R + r, t]·x[t·M + i]", spelled, "column i·N + t of the blocks is column t·M + i of B")),
    counterexamples=(
        Counterexample("no regrouping: the shapes fit, and a group then holds channels of one head", world, TWO_BY_TWO,
                       Step("conv2d(x, W, groups = 2)", lambda w: grouped(w, w.x)),
                       Step("e[i·R + r] = Σ_t W[i·R + r, t]·x[t·M + i]", spelled),
                       agrees=(("group 0 sees head 0 alone", lambda w: grouped(w, w.x)[:, :2],
                                lambda w: grouped(w, one_head(w, 0))[:, :2]),
                               ("group 1 sees head 1 alone", lambda w: grouped(w, w.x)[:, 2:],
                                lambda w: grouped(w, one_head(w, 1))[:, 2:]))),
        Counterexample("as many groups as heads, where the two numbers differ", world, dict(N=1, heads=2, M=3),
                       Step("conv2d(regroup(x), B), B in 2 groups of 3 channels", lambda w: Conv(
                           regrouped(w.x, w.heads), np.ascontiguousarray(w.K.reshape(2, 3, 1, 1)), groups=2)[:, :1]),
                       Step("e[0] = Σ_t W[0, t]·x[3t]", lambda w: spelled(w)[:, :1])),
    ),
)

PROOFS = (INVERSE, BLOCKS)
