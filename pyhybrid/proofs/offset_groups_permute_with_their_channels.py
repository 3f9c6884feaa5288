"""Offset groups may be put in another order if their channels go along; groups with the same offsets are one group."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _deformable
from pyhybrid.proofs._deformable import SOURCE, Deform, deformed
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Sum
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, *, order: tuple[int, ...], **sizes: Any) -> World:
    w = _deformable.world(draw, offset_groups=len(order), **sizes)
    w.order = list(order)
    w.Go = len(order)
    return w


def part(a: Array, w: World, g: int) -> Array:
    """Block g of axis 1, cut into one block per offset group."""
    return np.ascontiguousarray(np.split(a, w.Go, axis=1)[g])


def permuted(a: Array, w: World) -> Array:
    """The blocks of axis 1 in the order π."""
    return np.concatenate([part(a, w, g) for g in w.order], axis=1)


def one_group(w: World, g: int) -> Array:
    """The deformable convolution of the channels of group g alone."""
    config = w.config | dict(offset_groups=1)
    return Deform(part(w.x, w, g), part(w.D, w, g), part(w.K, w, g), part(w.m, w, g), **config)


def outputs_permuted(y: Array, w: World) -> Array:
    return np.concatenate([np.split(y, w.Go, axis=1)[g] for g in w.order], axis=1)


def both_grouped(w: World, x: Array, D: Array, K: Array, m: Array) -> Array:
    """groups = Go: every offset group is a group of the weight too; K keeps its order along the outputs."""
    rows = K.reshape(w.Go, -1, *K.shape[1:])[:, :, : K.shape[1] // w.Go].reshape(-1, K.shape[1] // w.Go, *K.shape[2:])
    return Deform(x, D, np.ascontiguousarray(rows), m, **w.config | dict(groups=w.Go))


SIZES = (dict(N=2, C=4, O=3, H=4, W=4, kernel=(3, 3), padding=(1, 1), order=(1, 0)),
         dict(N=1, C=3, O=2, H=3, W=5, kernel=(1, 2), stride=(2, 1), padding=(0, 1), order=(2, 0, 1)),
         dict(N=1, C=6, O=2, H=2, W=2, kernel=(2, 2), padding=(1, 1), order=(1, 2, 0)))
SMALL = (dict(N=1, C=2, O=2, H=2, W=2, kernel=(1, 2), padding=(0, 1), order=(1, 0)),)
OUTSIDE = dict(N=1, C=4, O=4, H=4, W=4, kernel=(3, 3), padding=(1, 1), order=(1, 0))
WHOLE = Step("deform_conv2d(x, D, K, m), Go offset groups", deformed)

PERMUTED = Proof(
    name="offset_groups_permute_with_their_channels",
    title="Offset groups may be permuted if the channels are permuted with them",
    statement="deform_conv2d(π x, π D, π K, π m) = deform_conv2d(x, D, K, m), π permutes the Go blocks of channels, of offsets, "
              "of the weight's input channels and of masks alike",
    hypotheses=("one group of the weight: every output reads all channels", "whole blocks of C/Go channels are permuted"),
    domain="any sizes and settings, any Go that divides C, any offsets (checked at quarters of a pixel)",
    source=SOURCE,
    world=world,
    sizes=SIZES,
    small=SMALL,
    degree=3,
    steps=(
        Step("deform_conv2d(π x, π D, π K, π m)", lambda w: Deform(
            permuted(w.x, w), permuted(w.D, w), permuted(w.K, w), permuted(w.m, w), **w.config)),
        Step("Σ_g deform_conv2d(x_π(g), D_π(g), K_π(g), m_π(g)), one group each", lambda w: Sum(one_group(w, g) for g in w.order),
             "deform_conv2d (F4) is a sum over channels, and channel c reads only the offsets of its group ⌊c/(C/Go)⌋"),
        Step("Σ_g deform_conv2d(x_g, D_g, K_g, m_g)", lambda w: Sum(one_group(w, g) for g in range(w.Go)),
             "re-index π(g) -> g: a sum over all groups"),
        Step("deform_conv2d(x, D, K, m), Go offset groups", deformed, "the same splitting, read backwards")),
    counterexamples=(
        Counterexample("the offsets permuted, the channels not", world, OUTSIDE,
                       Step("deform_conv2d(x, π D, K, π m)", lambda w: Deform(w.x, permuted(w.D, w), w.K, permuted(w.m, w), **w.config)),
                       WHOLE),
        Counterexample("the masks left behind", world, OUTSIDE,
                       Step("deform_conv2d(π x, π D, π K, m)", lambda w: Deform(
                           permuted(w.x, w), permuted(w.D, w), permuted(w.K, w), w.m, **w.config)), WHOLE,
                       agrees=(("version 1 has no masks", lambda w: Deform(
                           permuted(w.x, w), permuted(w.D, w), permuted(w.K, w), **w.config),
                                lambda w: Deform(w.x, w.D, w.K, **w.config)),)),
        Counterexample("as many groups of the weight as offset groups: then an output belongs to a block and moves with it", world, OUTSIDE,
                       Step("deform_conv2d(π x, π D, π K, π m), groups = Go", lambda w: both_grouped(
                           w, permuted(w.x, w), permuted(w.D, w), np.concatenate(np.split(w.K, w.Go)[::-1]), permuted(w.m, w))),
                       Step("deform_conv2d(x, D, K, m), groups = Go", lambda w: both_grouped(w, w.x, w.D, w.K, w.m)),
                       agrees=(("with the outputs permuted too", lambda w: both_grouped(
                           w, permuted(w.x, w), permuted(w.D, w), np.concatenate(np.split(w.K, w.Go)[::-1]), permuted(w.m, w)),
                                lambda w: outputs_permuted(both_grouped(w, w.x, w.D, w.K, w.m), w)),)),
    ),
)


def alike(draw: Draw, **sizes: Any) -> World:
    """All offset groups have the offsets and masks of the first."""
    w = world(draw, **sizes)
    w.first = World(D=part(w.D, w, 0), m=part(w.m, w, 0))
    w.D, w.m = (np.concatenate([a] * w.Go, axis=1) for a in (w.first.D, w.first.m))
    w.mixed = np.concatenate([w.first.D] + [-w.first.D] * (w.Go - 1), axis=1)
    return w


def with_one_group(w: World) -> Array:
    return Deform(w.x, w.first.D, w.K, w.first.m, **w.config | dict(offset_groups=1))


ALIKE = Proof(
    name="offset_groups_permute_with_their_channels.alike",
    title="Offset groups with the same offsets and masks are one offset group",
    statement="deform_conv2d(x, [D … D], K, [m … m]), Go offset groups = deform_conv2d(x, D, K, m), one offset group",
    hypotheses=("all groups have the same offsets and the same masks",),
    domain="any sizes and settings, any Go that divides C, any offsets (checked at quarters of a pixel)",
    source=SOURCE,
    world=alike,
    sizes=SIZES,
    small=SMALL,
    degree=3,
    steps=(
        Step("deform_conv2d(x, [D … D], K, [m … m]), Go offset groups", deformed),
        Step("Σ_g deform_conv2d(x_g, D, K_g, m)", lambda w: Sum(one_group(w, g) for g in range(w.Go)),
             "a sum over channels; channel c reads the offsets of its group, which are D"),
        Step("deform_conv2d(x, D, K, m), one offset group", with_one_group, "deform_conv2d (F4): a sum over all channels, all with D")),
    counterexamples=(
        Counterexample("a second group that looks the other way", alike, OUTSIDE,
                       Step("deform_conv2d(x, [D, -D], K, [m, m])", lambda w: Deform(w.x, w.mixed, w.K, w.m, **w.config)),
                       Step("deform_conv2d(x, D, K, m), one offset group", with_one_group)),
    ),
)

PROOFS = (PERMUTED, ALIKE)
