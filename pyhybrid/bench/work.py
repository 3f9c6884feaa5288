"""What a row of the benchmark is: an operator or a block, its arguments at one size, and the least that it must do."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from pyhybrid.nn import Module

Array = np.ndarray
STAGES = {"64@56": (64, 56), "128@28": (128, 28), "256@14": (256, 14), "512@7": (512, 7)}
HEADS, WINDOW = 4, 7


@dataclass(frozen=True)
class Work:
    """One operator at one size: its arguments, and the least that any implementation must do for it."""

    name: str
    operator: str
    size: str
    arrays: dict[str, Array]
    config: dict[str, Any]
    macs_forward: int
    macs_backward: int

    @property
    def module(self) -> ModuleType:
        """The operator."""
        return importlib.import_module(f"pyhybrid.ops.{self.operator}")

    def forward(self) -> Any:
        """Output and cache, on the backend in use."""
        return self.module.forward(**self.arrays, **self.config)

    def backward(self, dy: Array, cache: Any) -> Any:
        """All gradients, on the backend in use."""
        return self.module.backward(dy, cache)

    def cotangent(self) -> Array:
        """A gradient of the output, float32."""
        return np.random.default_rng(1).standard_normal(self.output_shape, np.float32)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output, and of its gradient."""
        return self.module.output_shape(**self.arrays, **self.config)

    def floor(self, flops: float, bandwidth: float, backward: bool) -> float:
        """Seconds that the arithmetic at `flops` per second, or one pass over inputs and outputs at `bandwidth`, takes at the least."""
        values = sum(a.size for a in self.arrays.values()) + int(np.prod(self.output_shape))
        macs = self.macs_forward + (self.macs_backward if backward else 0)
        return max(2 * macs / flops, 4 * values * (2 if backward else 1) / bandwidth)


@dataclass(frozen=True)
class BlockWork(Work):
    """A block of a network in training mode; `arrays` holds x and its parameters, under their names in the state dict.

    `further` are the arguments of its forward behind x.
    """

    network: Module
    further: tuple[Any, ...] = ()

    def forward(self) -> Any:
        return self.network.forward(self.arrays["x"], *self.further)

    def backward(self, dy: Array, cache: Any) -> Any:
        return self.network.backward(dy, cache)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.arrays["x"].shape


def draw(**shapes: tuple[int, ...]) -> dict[str, Array]:
    """Normal numbers in arrays of these shapes, float32."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
