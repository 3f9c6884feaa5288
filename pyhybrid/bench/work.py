"""What is measured: each operator at the feature-map sizes of a ResNet's four stages, batch 8, float32."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError

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
        return importlib.import_module(f"pyhybrid.ops.{self.operator}")

    def forward(self) -> Any:
        return self.module.forward(**self.arrays, **self.config)

    def cotangent(self) -> Array:
        return np.random.default_rng(1).standard_normal(self.output_shape, np.float32)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.module.output_shape(**self.arrays, **self.config)

    def floor(self, flops: float, bandwidth: float, backward: bool) -> float:
        """Seconds that the arithmetic at `flops` per second, or one pass over inputs and outputs at `bandwidth`, takes at the least."""
        values = sum(a.size for a in self.arrays.values()) + int(np.prod(self.output_shape))
        macs = self.macs_forward + (self.macs_backward if backward else 0)
        return max(2 * macs / flops, 4 * values * (2 if backward else 1) / bandwidth)


def draw(**shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def works(names: list[str], sizes: list[str], batch: int = 8) -> list[Work]:
    """The works of these names (all if empty) at these sizes; UsageError lists the names there are."""
    unknown = [name for name in names if name not in WORKS]
    if unknown:
        raise UsageError(f"no benchmark named {', '.join(unknown)}; there are {', '.join(WORKS)}")
    return [WORKS[name](name, size, batch, *STAGES[size]) for name in names or WORKS for size in sizes]


def _conv(kernel: int, depthwise: bool = False) -> Callable[..., Work]:
    def build(name: str, size: str, N: int, C: int, H: int) -> Work:
        groups = C if depthwise else 1
        macs = N * C * (C // groups) * kernel**2 * H * H
        arrays = draw(x=(N, C, H, H), weight=(C, C // groups, kernel, kernel))
        return Work(name, "conv2d", size, arrays, {"padding": kernel // 2, "groups": groups}, macs, 2 * macs)

    return build


def _pointwise(name: str, size: str, N: int, C: int, H: int) -> Work:
    macs = N * C * C * H * H
    return Work(name, "pointwise_conv", size, draw(x=(N, C, H, H), weight=(C, C, 1, 1), bias=(C,)), {}, macs, 2 * macs)


def _shift_sum(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "shift_sum", size, draw(maps=(N, 9, C, H, H)), {"kernel_size": 3}, 0, 0)


def _softmax(name: str, size: str, N: int, C: int, H: int) -> Work:
    return Work(name, "softmax", size, draw(x=(N, HEADS, WINDOW**2, H * H)), {"axis": 2}, 0, 0)


def _local_attention(name: str, size: str, N: int, C: int, H: int) -> Work:
    pixels = N * C * H * H * WINDOW**2
    arrays = draw(q=(N, C, H, H), k=(N, C, H, H), v=(N, C, H, H), pe=(C // HEADS, H, H))
    return Work(name, "local_attention", size, arrays, {"heads": HEADS, "kernel_size": WINDOW}, 2 * pixels, 5 * pixels)


def _conv_path_macs(N: int, C: int, H: int) -> int:
    return N * C * H * H * (3 * 9 + 81)


def _conv_path(name: str, size: str, N: int, C: int, H: int) -> Work:
    arrays = draw(q=(N, C, H, H), k=(N, C, H, H), v=(N, C, H, H), fc_weight=(9, 3 * HEADS, 1, 1), dep_conv_weight=(C, 9, 3, 3))
    macs = _conv_path_macs(N, C, H)
    return Work(name, "conv_path", size, arrays, {"heads": HEADS}, macs, 2 * macs)


def _acmix(name: str, size: str, N: int, C: int, H: int) -> Work:
    d, matrix = C // HEADS, (C, C, 1, 1)
    arrays = draw(x=(N, C, H, H), rate1=(1,), rate2=(1,), conv1_weight=matrix, conv1_bias=(C,), conv2_weight=matrix, conv2_bias=(C,),
                  conv3_weight=matrix, conv3_bias=(C,), fc_weight=(9, 3 * HEADS, 1, 1), dep_conv_weight=(C, 9, 3, 3),
                  conv_p_weight=(d, 2, 1, 1), conv_p_bias=(d,))
    for weight in ("conv1_weight", "conv2_weight", "conv3_weight"):
        arrays[weight] /= np.float32(np.sqrt(C))
    projections, window = 3 * N * C * C * H * H, N * C * H * H * WINDOW**2
    path = _conv_path_macs(N, C, H)
    config = {"heads": HEADS, "kernel_size": WINDOW}
    return Work(name, "acmix", size, arrays, config, projections + 2 * window + path, 2 * projections + 5 * window + 2 * path)


WORKS: dict[str, Callable[..., Work]] = {
    "conv2d_3x3": _conv(3),
    "depthwise_3x3": _conv(3, depthwise=True),
    "depthwise_7x7": _conv(7, depthwise=True),
    "pointwise_conv": _pointwise,
    "shift_sum": _shift_sum,
    "softmax": _softmax,
    "local_attention": _local_attention,
    "conv_path": _conv_path,
    "acmix": _acmix,
}
