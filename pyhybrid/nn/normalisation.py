"""Norms of maps within one sample: over the pixels of a channel, or over a group of channels and all their pixels."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import init
from pyhybrid.nn.init import Seed
from pyhybrid.nn.module import Module
from pyhybrid.ops import group_norm, instance_norm

__all__ = ["GroupNorm", "InstanceNorm2d"]

Array = np.ndarray
Grads = dict[str, Array]


@dataclass(eq=False)
class InstanceNorm2d(Module):
    """x (N, C, H, W) -> same shape, every map brought to mean 0 and variance 1; with affine=True `weight` and `bias` (C,) follow.

    There are no running statistics, so training and evaluation agree. A map of one pixel becomes 0, or `bias`.
    """

    channels: int
    eps: float = 1e-5
    affine: bool = False
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype, shape = init.generator(self.seed), init.float_type("InstanceNorm2d", self.dtype), (self.channels,)
        if self.affine:
            self.params |= {"weight": init.constant(1, shape, dtype, rng), "bias": init.constant(0, shape, dtype, rng)}

    def forward(self, x: Array) -> tuple[Array, instance_norm.Cache]:
        return instance_norm.forward(x, self.params.get("weight"), self.params.get("bias"), eps=self.eps)

    def backward(self, dy: Array, cache: instance_norm.Cache) -> tuple[Array, Grads]:
        grads = instance_norm.backward(dy, cache)
        return grads.x, {name: getattr(grads, name) for name in self.params}


@dataclass(eq=False)
class GroupNorm(Module):
    """x (N, C, ...) -> same shape, each group of channels of a sample brought to mean 0 and variance 1 over its channels and pixels.

    `weight` and `bias` are (C,). One group normalises the whole sample.
    """

    groups: int
    channels: int
    eps: float = 1e-5
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype, shape = init.generator(self.seed), init.float_type("GroupNorm", self.dtype), (self.channels,)
        if self.groups < 1 or self.channels % self.groups:
            raise ConstraintError(f"GroupNorm: groups must divide channels = {self.channels}; got {self.groups}")
        self.params |= {"weight": init.constant(1, shape, dtype, rng), "bias": init.constant(0, shape, dtype, rng)}

    def forward(self, x: Array) -> tuple[Array, group_norm.Cache]:
        return group_norm.forward(x, self.params["weight"], self.params["bias"], groups=self.groups, eps=self.eps)

    def backward(self, dy: Array, cache: group_norm.Cache) -> tuple[Array, Grads]:
        grads = group_norm.backward(dy, cache)
        return grads.x, {"weight": grads.weight, "bias": grads.bias}
