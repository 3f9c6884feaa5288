"""The adjoint of a shift is the opposite shift; shifts in the same direction compose."""

from __future__ import annotations

import numpy as np

from pyhybrid.ops import shift
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Pair, Shift, mirrored
from pyhybrid.proofs._proof import Counterexample, Proof, Step

SOURCE = "ACmix, arXiv 2111.14556, eqs. (4)-(5)"


def world(draw: Draw, *, shape: tuple[int, ...], offset: Pair, then: Pair = (0, 0)) -> World:
    return World(f=draw("f", *shape), h=draw("h", *shape), offset=offset, then=then)


def inner(a: Array, b: Array) -> Array:
    """<a, b> = Σ a·b."""
    return np.asarray((a * b).sum())


def sum_over_outputs(w: World) -> Array:
    """Σ f[i+s, j+t]·h[i, j] over the outputs (i, j) whose source is inside."""
    (*_, H, W), (s, t) = w.f.shape, w.offset
    pixels = [(i, j) for i, j in np.ndindex(H, W) if 0 <= i + s < H and 0 <= j + t < W]
    return np.asarray(sum((w.f[..., i + s, j + t] * w.h[..., i, j]).sum() for i, j in pixels))


def sum_over_sources(w: World) -> Array:
    """Σ f[a, b]·h[a-s, b-t] over the sources (a, b) whose output is inside."""
    (*_, H, W), (s, t) = w.f.shape, w.offset
    pixels = [(a, b) for a, b in np.ndindex(H, W) if 0 <= a - s < H and 0 <= b - t < W]
    return np.asarray(sum((w.f[..., a, b] * w.h[..., a - s, b - t]).sum() for a, b in pixels))


def mirror_shift(x: Array, s: int, t: int) -> Array:
    """The shift whose missing pixels come from a mirror at the border instead of zeros."""
    r, (H, W) = max(abs(s), abs(t)), x.shape[-2:]
    return mirrored(x, r)[..., r + s : r + s + H, r + t : r + t + W]


ADJOINT = Proof(
    name="shift_adjoint_and_composition.adjoint",
    title="The adjoint of a shift is the opposite shift",
    statement="<Shift(f, s, t), h> = <f, Shift(h, -s, -t)>: so the gradient of a shift is the shift back",
    hypotheses=("zeros move in",),
    domain="any shape, any whole offsets, also beyond the map",
    source=SOURCE,
    world=world,
    sizes=(dict(shape=(2, 3, 4, 5), offset=(1, -2)), dict(shape=(1, 2, 3, 3), offset=(0, 2)), dict(shape=(3, 2), offset=(-3, 1)),
           dict(shape=(2, 1, 4), offset=(0, -3))),
    small=(dict(shape=(2, 3, 3), offset=(1, -2)),),
    degree=2,
    steps=(
        Step("<Shift(f, s, t), h>", lambda w: inner(Shift(w.f, *w.offset), w.h)),
        Step("Σ_ij f[i+s, j+t]·h[i, j], (i+s, j+t) inside", sum_over_outputs, "Shift (F1): the other terms are 0·h"),
        Step("Σ_ab f[a, b]·h[a-s, b-t], (a-s, b-t) inside", sum_over_sources,
             "re-index a = i+s, b = j+t: the same pairs of pixels, each once"),
        Step("<f, Shift(h, -s, -t)>", lambda w: inner(w.f, Shift(w.h, -w.offset[0], -w.offset[1])),
             "Shift (F1) with the offset (-s, -t)"),
        Step("<f, shift.backward(h)>",
             lambda w: inner(w.f, shift.backward(w.h, shift.Cache(w.f, w.offset)).x), "shift (B1)")),
    counterexamples=(
        Counterexample("reflection instead of zeros: a border pixel is read twice, but the opposite shift returns it once", world,
                       dict(shape=(4, 4), offset=(1, 0)),
                       Step("<mirror shift(f, s, t), h>", lambda w: inner(mirror_shift(w.f, *w.offset), w.h)),
                       Step("<f, mirror shift(h, -s, -t)>",
                            lambda w: inner(w.f, mirror_shift(w.h, -w.offset[0], -w.offset[1])))),
    ),
)


def kept_twice(w: World) -> Array:
    """f[i+s+s', j+t+t'] where both the first and the second reading are inside, 0 elsewhere."""
    (*_, H, W), (s, t), (s2, t2) = w.f.shape, w.offset, w.then
    y = np.zeros_like(w.f)
    for i, j in np.ndindex(H, W):
        middle, source = (i + s2, j + t2), (i + s2 + s, j + t2 + t)
        if all(0 <= a < n for pixel in (middle, source) for a, n in zip(pixel, (H, W), strict=True)):
            y[..., i, j] = w.f[..., *source]
    return y


def kept_once(w: World) -> Array:
    """f[i+s+s', j+t+t'] where this pixel is inside, 0 elsewhere."""
    (*_, H, W), (s, t), (s2, t2) = w.f.shape, w.offset, w.then
    y = np.zeros_like(w.f)
    for i, j in np.ndindex(H, W):
        a, b = i + s + s2, j + t + t2
        if 0 <= a < H and 0 <= b < W:
            y[..., i, j] = w.f[..., a, b]
    return y


def one_after_the_other(w: World) -> Array:
    return Shift(Shift(w.f, *w.offset), *w.then)


def both_at_once(w: World) -> Array:
    return Shift(w.f, w.offset[0] + w.then[0], w.offset[1] + w.then[1])


COMPOSITION = Proof(
    name="shift_adjoint_and_composition.composition",
    title="Shifts in the same direction compose",
    statement="Shift(Shift(f, s, t), s', t') = Shift(f, s+s', t+t')",
    hypotheses=("s·s' >= 0 and t·t' >= 0: both shifts push the same way",),
    domain="any shape, offsets of equal sign in each direction, also beyond the map",
    source=SOURCE,
    world=world,
    sizes=(dict(shape=(2, 3, 4, 5), offset=(1, -2), then=(2, -1)), dict(shape=(2, 4, 4), offset=(0, 1), then=(-3, 0)),
           dict(shape=(1, 3, 3), offset=(2, 2), then=(2, 0))),
    small=(dict(shape=(2, 3, 4), offset=(1, -1), then=(1, -2)),),
    degree=1,
    steps=(
        Step("Shift(Shift(f, s, t), s', t')", one_after_the_other),
        Step("f[i+s+s', j+t+t'] if this pixel and (i+s', j+t') are inside, else 0", kept_twice, "Shift (F1), twice"),
        Step("f[i+s+s', j+t+t'] if this pixel is inside, else 0", kept_once,
             "i+s' lies between i and i+s+s', as s and s' have one sign: if both ends are inside, so is it"),
        Step("Shift(f, s+s', t+t')", both_at_once, "Shift (F1)")),
    counterexamples=(
        Counterexample("opposite shifts: the row that the first one pushes out does not come back", world,
                       dict(shape=(4, 4), offset=(1, 0), then=(-1, 0)),
                       Step("Shift(Shift(f, 1, 0), -1, 0)", one_after_the_other),
                       Step("Shift(f, 0, 0) = f", both_at_once),
                       agrees=(("the rows that never left", lambda w: one_after_the_other(w)[1:], lambda w: w.f[1:]),)),
    ),
)

PROOFS = (ADJOINT, COMPOSITION)
