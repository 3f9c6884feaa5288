"""MobileNetV2 with DAS gates, and without: torchvision's network and parameter names, with gates `das.{feature}`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import (
    BatchNorm2d,
    Conv2d,
    Linear,
    Module,
    Operator,
    ReLU6,
    Seed,
    Sequential,
    add,
    chain_backward,
    chain_forward,
    init,
    prefixed,
)
from pyhybrid.ops import global_avg_pool
from pyhybrid.papers.das.gate import DASGate
from pyhybrid.papers.das.resnet import check_gate, kaiming

__all__ = ["SETTING", "InvertedResidual", "MobileNetV2"]

Array = np.ndarray
Grads = dict[str, Array]
# Expansion, channels, blocks, stride of the first block.
SETTING = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def conv_norm_act(inputs: int, outputs: int, kernel: int, stride: int, groups: int, common: dict[str, Any]) -> Sequential:
    """A convolution without bias, batch norm, ReLU6."""
    return Sequential({"0": Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups, False, **common),
                       "1": BatchNorm2d(outputs, **common), "2": ReLU6()})


@dataclass(eq=False)
class InvertedResidual(Module):
    """x (N, inputs, H, W) -> (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉): 1x1 to expansion·inputs, depthwise 3x3 with the stride, 1x1 down again.

    x is added if the shape stays the same. Nothing is activated at the end; expansion 1 leaves out the first convolution.
    """

    inputs: int
    outputs: int
    stride: int
    expansion: int
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        hidden = self.expansion * self.inputs
        layers: list[Module] = [conv_norm_act(self.inputs, hidden, 1, 1, 1, common)] if self.expansion != 1 else []
        layers += [conv_norm_act(hidden, hidden, 3, self.stride, hidden, common), Conv2d(hidden, self.outputs, 1, bias=False, **common),
                   BatchNorm2d(self.outputs, **common)]
        self.children["conv"] = Sequential({str(n): layer for n, layer in enumerate(layers)})
        self.adds = self.stride == 1 and self.inputs == self.outputs

    def forward(self, x: Array) -> tuple[Array, Any]:
        y, cache = self.children["conv"].forward(x)
        return (add(x, y) if self.adds else y), cache

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        dx, grads = self.children["conv"].backward(dy, cache)
        return (add(dx, dy) if self.adds else dx), prefixed("conv", grads)


@dataclass(eq=False)
class MobileNetV2(Module):
    """x (N, in_channels, H, W) -> logits (N, num_classes).

    A `DASGate` with the options in `gate` stands after each of the feature layers that `after` names: 0 is the stem, 1 to n the blocks,
    n + 1 the last convolution. after=() is the plain network. `setting` has a row per run of blocks: expansion, channels, blocks, stride.
    torchvision's dropout before the classifier, which has no part in evaluation, is left out.
    """

    setting: Sequence[Sequence[int]] = SETTING
    stem: int = 32
    last: int = 1280
    num_classes: int = 1000
    _: KW_ONLY
    after: tuple[int, ...] = (3, 6, 13, 17)
    gate: dict[str, Any] = field(default_factory=dict)
    in_channels: int = 3
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self._check()
        rng = init.generator(self.seed)
        common: dict[str, Any] = {"dtype": init.float_type("MobileNetV2", self.dtype), "seed": rng}
        features: list[tuple[Module, int]] = [(conv_norm_act(self.in_channels, self.stem, 3, 2, 1, common), self.stem)]
        for expansion, channels, blocks, stride in self.setting:
            for n in range(blocks):
                block = InvertedResidual(features[-1][1], channels, stride if n == 0 else 1, expansion, **common)
                features.append((block, channels))
        features.append((conv_norm_act(features[-1][1], self.last, 1, 1, 1, common), self.last))
        for n, (layer, channels) in enumerate(features):
            self.children[f"features.{n}"] = layer
            if n in self.after:
                self.children[f"das.{n}"] = DASGate(channels, **{**self.gate, **common})
        self.children |= {"avgpool": Operator(global_avg_pool), "classifier.1": Linear(self.last, self.num_classes, **common)}
        kaiming(self, rng)
        dtype, classes = common["dtype"], self.num_classes
        self.children["classifier.1"].params |= {"weight": init.normal(0.01, (classes, self.last), dtype, rng),
                                                 "bias": init.constant(0, (classes,), dtype, rng)}

    def forward(self, x: Array) -> tuple[Array, Any]:
        return chain_forward(self.children, self.children, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.children, dy, cache)

    def _check(self) -> None:
        self.setting, self.after = tuple(tuple(row) for row in self.setting), tuple(self.after)
        self.need(1, "stem", "last", "in_channels")
        self.need(0, "num_classes")
        check_gate("MobileNetV2", self.gate)
        if not self.setting or any(len(row) != 4 or min(row) < 1 for row in self.setting):
            raise ConstraintError("MobileNetV2: setting must hold rows (expansion, channels, blocks, stride) of whole numbers of at least "
                                  f"1; got {self.setting}")
        end = sum(row[2] for row in self.setting) + 1
        if len(set(self.after)) != len(self.after) or any(n not in range(end + 1) for n in self.after):
            raise ConstraintError(f"MobileNetV2: after must name different feature layers from 0 to {end}; got {self.after}")
        if self.gate and not self.after:
            raise ConstraintError(f"MobileNetV2: without gates there is no place for gate = {self.gate!r}")
