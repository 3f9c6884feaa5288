"""What DAS costs, counted, and what its published figures count.

The parameters are reproduced by everything except the deformable kernels themselves: profilers that hook into layers add 0 for a layer type
that they do not know. The FLOPs are those of such a profiler that counts norms and pool as well. `count` gives the true cost and both.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from pyhybrid.nn import BatchNorm2d, DeformConv2d, Module, summarize
from pyhybrid.papers._model import Variant
from pyhybrid.papers.das.gate import DASGate
from pyhybrid.papers.das.variants import VARIANTS

__all__ = ["Cost", "Counts", "GateCost", "count", "gates", "table_text"]


class Cost(NamedTuple):
    """Learnt values and multiply-adds."""

    params: int
    macs: int


class Counts(NamedTuple):
    """One network in three conventions."""

    everything: Cost        # all parameters, the multiply-adds of all convolutions and linear maps; blends and norms are not counted
    published: Cost         # the same without the weights of the deformable kernels and their multiply-adds: the published parameters
    profiler: Cost          # that without the parameters of the gate's layer norm, and with norms and pool: the published FLOPs


class GateCost(NamedTuple):
    """One gate: where it stands, its widths, its cost and the part of its deformable kernel in that."""

    name: str
    channels: int
    size: tuple[int, int]
    mid: int
    all: Cost
    deform: Cost


def count(model: Module, size: int = 224, channels: int = 3) -> Counts:
    """Costs for one image of `size` pixels on a side. Build the model with seed=None: nothing is computed."""
    found, modules = summarize(model, (1, channels, size, size)), dict(model.named_modules())
    everything = Cost(found.params, found.macs.total)
    kernels = [row for row in found.rows if isinstance(modules[row.name], DeformConv2d)]
    weights = sum(modules[row.name].params["weight"].size for row in kernels)
    published = Cost(everything.params - weights, everything.macs - sum(row.macs.total for row in kernels))
    # A profiler counts 2 operations per value of a norm, twice that if the norm has parameters, and the additions and the division of a
    # mean. The layer norm over channels is no layer of its framework, so it is as unknown to it as the deformable kernel.
    norms = sum(4 * prod(row.shape) for row in found.rows if isinstance(modules[row.name], BatchNorm2d))
    norms += sum(2 * prod(row.shape) for row in found.rows if row.name.endswith(".pointwise"))      # the instance norm after it
    pooled = [row for row in found.rows if len(row.shape) == 4][-1].shape
    pool = pooled[1] * (prod(pooled[2:]) + 1)
    unknown = sum(row.params for row in found.rows if row.name.endswith("layer_norm")) + sum(row.params for row in kernels) - weights
    return Counts(everything, published, Cost(published.params - unknown, published.macs + norms + pool))


def gates(model: Module, size: int = 224, channels: int = 3) -> list[GateCost]:
    """The cost of every gate of a network, for one image of `size` pixels on a side."""
    rows = summarize(model, (1, channels, size, size)).rows
    found = []
    for name, gate in model.named_modules():
        if isinstance(gate, DASGate):
            own = [row for row in rows if row.name.startswith(f"{name}.")]
            kernel = [row for row in own if row.name == f"{name}.deform"]
            all_, deform = (Cost(sum(row.params for row in part), sum(row.macs.total for row in part)) for part in (own, kernel))
            H, W = own[0].shape[2:]
            found.append(GateCost(name, gate.channels, (H, W), gate.mid, all_, deform))
    return found


def table_text(size: int = 224) -> str:
    """Published against counted for every model of the paper, one line each; parameters in millions, multiply-adds in billions."""
    lines = [f"{'model':<18} {'published':>14} {'everything':>16} {'no deform.weight':>17} {'profiler':>16}"]
    for name, variant in VARIANTS.items():
        counts = count(_bare(variant), size)
        cells = "".join(f"  {cost.params / 1e6:7.3f} {cost.macs / 1e9:7.3f}" for cost in counts)
        paper = variant.published
        lines.append(f"{name:<18} {f'{paper.params:.2f} {paper.macs:.2f}' if paper else '':>14}{cells}")
    return "\n".join(lines)


def _bare(variant: Variant) -> Module:
    """The model without memory for its weights."""
    return variant.build(image_size=None, num_classes=1000, dtype="float32", seed=None)
