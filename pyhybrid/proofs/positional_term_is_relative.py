"""The positional term of ACmix is relative: it depends on the displacement alone, in steps that depend on the size of the map."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from pyhybrid.ops import positional_term
from pyhybrid.ops.positional_term import location_grid
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, U, interior
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, *, d: int, H: int, W: int, k: int) -> World:
    weight = draw("W_p", d, 2, 1, 1)
    return World(weight=weight, bias=draw("b_p", d), L=exact_grid(H, W, weight.dtype), H=H, W=W, k=k, r=k // 2)


def exact_grid(H: int, W: int, dtype: np.dtype) -> Array:
    """The locations (2, H, W); as fractions if the weights are objects (H-1 and W-1 are powers of two, so nothing was rounded)."""
    L = location_grid((H, W))[0]
    return L if dtype.kind != "O" else np.array([Fraction(float(a)) for a in L.flat], object).reshape(L.shape)


def pe(w: World) -> Array:
    if w.weight.dtype.kind != "O":
        return positional_term.forward(w.weight, w.bias, size=(w.H, w.W))[0]
    return w.weight[:, 0] * w.L[0] + w.weight[:, 1] * w.L[1] + w.bias[:, None, None]     # (F2), on fractions or symbols


def relative(w: World, x: Array) -> Array:
    """x_ij - U(x): centre minus neighbour, (d, k·k, H, W), where no window leaves the map."""
    return inside(w, x[:, None] - U(x, w.k))


def inside(w: World, x: Array) -> Array:
    return interior(x, (w.r, w.r))


def project(w: World, L: Array) -> Array:
    """W_p applied to (horizontal, vertical) coordinates (2, ...)."""
    return np.einsum("el,l...->e...", w.weight[:, :, 0, 0], L)


def steps_of_grid(w: World) -> Array:
    """W_p (2(r-v)/(W-1), 2(r-u)/(H-1)): a table of k² vectors, the same at every pixel."""
    u, v = np.divmod(np.arange(w.k**2), w.k)
    across, down = ((2 * (w.r - t)) * (unit(w, length)) for t, length in ((v, w.W), (u, w.H)))
    table = project(w, np.stack([across, down]))[:, :, None, None]
    return np.broadcast_to(table, (*table.shape[:2], w.H - 2 * w.r, w.W - 2 * w.r))


def unit(w: World, length: int) -> Any:
    """1/(length - 1) in the numbers of the world."""
    return Fraction(1, length - 1) if w.weight.dtype.kind == "O" else 1 / (length - 1)


SIZE = dict(d=2, H=5, W=9, k=3)
PROOF = Proof(
    name="positional_term_is_relative",
    title="The positional term depends on the displacement alone",
    statement="pe_ij - U(pe)[u, v] = W_p (2(r-v)/(W-1), 2(r-u)/(H-1)): the same table of k² vectors at every interior pixel, without b_p",
    hypotheses=("the window stays inside the map", "the map keeps its size"),
    domain="any d, odd window, H, W > 1; H-1 and W-1 are powers of two in the check, so that locations are exact",
    source="official ACmix code",
    world=world,
    sizes=(SIZE, dict(d=3, H=9, W=9, k=7)),
    small=(dict(d=2, H=5, W=3, k=3),),
    degree=1,
    steps=(
        Step("pe_ij - U(pe)", lambda w: relative(w, pe(w))),
        Step("W_p L_ij + b_p - W_p U(L) - b_p", lambda w: (
            inside(w, project(w, w.L))[:, None] + w.bias[:, None, None, None] - inside(w, project(w, U(w.L, w.k)))
            - w.bias[:, None, None, None]), "positional_term (F2) at the centre and at the neighbour"),
        Step("W_p (L_ij - U(L))", lambda w: project(w, relative(w, w.L)), "b_p cancels; W_p is linear"),
        Step("W_p (2(r-v)/(W-1), 2(r-u)/(H-1))", steps_of_grid,
             "positional_term (F1): L is linear in i and j, and tap (u, v) is u-r rows and v-r columns away")),
    counterexamples=(
        Counterexample("the border: a reflected pixel counts with its own place, not with the place of the tap", world, SIZE,
                       Step("pe_ij - U(pe) at every pixel", lambda w: pe(w)[:, None] - U(pe(w), w.k)),
                       Step("W_p (2(r-v)/(W-1), 2(r-u)/(H-1))", lambda w: np.broadcast_to(
                           steps_of_grid(w)[:, :, :1, :1], (2, 9, 5, 9)))),
        Counterexample("a map of another size: the steps change, so a cropped image gives other scores", world, SIZE,
                       Step("pe_ij - U(pe) on the map", lambda w: relative(w, pe(w))[..., :1, :1]),
                       Step("pe_ij - U(pe) on its left half", lambda w: relative(
                           w, positional_term.forward(w.weight, w.bias, size=(5, 5))[0])[..., :1, :1])),
    ),
)

PROOFS = (PROOF,)
