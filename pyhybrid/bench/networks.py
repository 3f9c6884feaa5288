"""The networks that are written for PyTorch too: the formula of each family, and the names under which it is a contender."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from pyhybrid.bench import torch_coatnet, torch_hornet, torch_resnet, torch_smt
from pyhybrid.nn import Module
from pyhybrid.papers.acmix import ResNet
from pyhybrid.papers.coatnet import CoAtNet
from pyhybrid.papers.hornet import HorNet
from pyhybrid.papers.smt import SMT

__all__ = ["FAMILIES", "Peer", "peers"]


class Peer(NamedTuple):
    """A contender: `forward(state, x, net)` gives the logits of `net`, whose parameters are the tensors in `state`."""

    forward: Callable[..., Any]
    channels_last: bool         # images and kernels lie in memory pixel by pixel


# By class: a module with `supports(net)` and `forward`, and the contenders, each with its `channels_last`.
FAMILIES: dict[type[Module], tuple[ModuleType, dict[str, bool]]] = {
    ResNet: (torch_resnet, {"torch unfold": False}),
    CoAtNet: (torch_coatnet, {"torch": False, "torch channels last": True}),
    SMT: (torch_smt, {"torch": False, "torch channels last": True}),
    HorNet: (torch_hornet, {"torch": False, "torch channels last": True}),
}


def peers(net: Module) -> dict[str, Peer]:
    """Contenders by name; empty if no formula computes this network."""
    formula, layouts = FAMILIES.get(type(net), (None, {}))
    if formula is None or not formula.supports(net):
        return {}
    return {name: Peer(formula.forward, channels_last) for name, channels_last in layouts.items()}
