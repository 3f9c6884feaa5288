"""ReLU6, the activation of the MobileNets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyhybrid.errors import check_cotangent
from pyhybrid.nn.module import Module

__all__ = ["ReLU6"]

Array = np.ndarray


@dataclass(eq=False)
class ReLU6(Module):
    """x -> min(max(x, 0), 6), any shape. The derivative is 1 between 0 and 6, 0 at both ends and beyond; NaN stays NaN and passes dy."""

    def forward(self, x: Array) -> tuple[Array, Array]:
        return np.clip(x, 0, 6), x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        check_cotangent("ReLU6", dy, cache.shape)
        return np.where((cache <= 0) | (cache >= 6), np.zeros_like(dy), dy), {}
