"""The layers that every network is made of: one operator each, with parameters under their usual names."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, describe
from pyhybrid.nn import init
from pyhybrid.nn.init import Seed
from pyhybrid.nn.module import Module
from pyhybrid.ops import conv2d, drop_path, layer_norm, linear, pointwise_conv
from pyhybrid.ops._sizes import pair

__all__ = ["Conv2d", "DropPath", "LayerNorm", "Linear", "Operator"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


class Operator(Module):
    """An operator without parameters as a layer, x (...) -> y as the operator says: `Operator(max_pool2d, kernel_size=2)`."""

    def __init__(self, operator: ModuleType, **config: Any) -> None:
        super().__init__()
        self.operator, self.config = operator, config

    def forward(self, x: Array) -> tuple[Array, Any]:
        return self.operator.forward(x, **self.config)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return self.operator.backward(dy, cache).x, {}

    def __getstate__(self) -> dict[str, Any]:
        """A module cannot be copied, so that a copy of the layer finds it again by its name."""
        return vars(self) | {"operator": self.operator.__name__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"operator": import_module(state["operator"])})


@dataclass(eq=False)
class Conv2d(Module):
    """x (N, in_channels, H, W) -> y (N, out_channels, Ho, Wo); `weight` (O, C/groups, kh, kw) and, unless bias=False, `bias` (O,)."""

    in_channels: int
    out_channels: int
    kernel_size: int | Pair
    stride: int | Pair = 1
    padding: int | Pair = 0
    groups: int = 1
    bias: bool = True
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype = init.generator(self.seed), init.float_type("Conv2d", self.dtype)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ConstraintError(f"Conv2d: groups must divide in_channels and out_channels; got {self.groups}, {self.in_channels}, "
                                  f"{self.out_channels}")
        shape = (self.out_channels, self.in_channels // self.groups, *pair("Conv2d: kernel_size", self.kernel_size))
        self.params["weight"] = init.fan_in_uniform(prod(shape[1:]), shape, dtype, rng)
        if self.bias:
            self.params["bias"] = init.fan_in_uniform(prod(shape[1:]), shape[:1], dtype, rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        weight, bias = self.params["weight"], self.params.get("bias")
        if self.is_pointwise:
            return pointwise_conv.forward(x, weight, bias)
        return conv2d.forward(x, weight, bias, stride=self.stride, padding=self.padding, groups=self.groups)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        grads = (pointwise_conv if self.is_pointwise else conv2d).backward(dy, cache)
        return grads.x, {name: getattr(grads, name) for name in self.params}

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is convolved by itself into one, without a bias."""
        return self.groups == self.in_channels == self.out_channels and not self.bias

    @property
    def is_pointwise(self) -> bool:
        """Whether y at a pixel needs x at that pixel only, and all of its channels."""
        return self.params["weight"].shape[2:] == (1, 1) and self.groups == 1 and self.stride in (1, (1, 1)) and self.padding in (0, (0, 0))


@dataclass(eq=False)
class Linear(Module):
    """x (..., in_features) -> y (..., out_features); `weight` (O, C) and, unless bias=False, `bias` (O,).

    With channels_first, tokens (..., T, in_features) become maps (..., out_features, T).
    """

    in_features: int
    out_features: int
    bias: bool = True
    _: KW_ONLY
    channels_first: bool = False
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype = init.generator(self.seed), init.float_type("Linear", self.dtype)
        self.params["weight"] = init.fan_in_uniform(self.in_features, (self.out_features, self.in_features), dtype, rng)
        if self.bias:
            self.params["bias"] = init.fan_in_uniform(self.in_features, (self.out_features,), dtype, rng)

    def forward(self, x: Array) -> tuple[Array, linear.Cache]:
        return linear.forward(x, self.params["weight"], self.params.get("bias"), channels_first=self.channels_first)

    def backward(self, dy: Array, cache: linear.Cache) -> tuple[Array, Grads]:
        grads = linear.backward(dy, cache)
        return grads.x, {name: getattr(grads, name) for name in self.params}


@dataclass(eq=False)
class LayerNorm(Module):
    """Layer norm, x (...) -> same shape, over one axis of length `features`: the last one, or axis=1 for maps (N, C, H, W)."""

    features: int
    eps: float = 1e-5
    axis: int = -1
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype = init.generator(self.seed), init.float_type("LayerNorm", self.dtype)
        self.params |= {"weight": init.constant(1, (self.features,), dtype, rng), "bias": init.constant(0, (self.features,), dtype, rng)}

    def forward(self, x: Array) -> tuple[Array, layer_norm.Cache]:
        return layer_norm.forward(x, self.params["weight"], self.params["bias"], axis=self.axis, eps=self.eps)

    def backward(self, dy: Array, cache: layer_norm.Cache) -> tuple[Array, Grads]:
        grads = layer_norm.backward(dy, cache)
        return grads.x, {"weight": grads.weight, "bias": grads.bias}


def drop_path_rates(owner: str, last: float, count: int) -> list[float]:
    """The rates of `count` blocks, growing linearly from 0 to `last`; `ConstraintError` unless 0 <= last < 1."""
    if not 0 <= last < 1:
        raise ConstraintError(f"{owner}: drop_path_rate must be at least 0 and below 1; got {last!r}")
    return np.linspace(0, last, count).tolist()


@dataclass(eq=False)
class DropPath(Module):
    """x (N, ...) -> y, same shape: in training mode scale·x, a factor per sample, 0 with probability `rate` and 1/(1 - rate) otherwise.

    In evaluation it is the identity. `forward(x, scale)` takes the factors (N,) from the caller instead of drawing them.
    """

    rate: float = 0.0
    _: KW_ONLY
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ConstraintError(f"DropPath: rate must be at least 0 and below 1; got {self.rate!r}")
        self._random = init.generator(self.seed) or np.random.default_rng(0)

    def forward(self, x: Array, scale: Array | None = None) -> tuple[Array, drop_path.Cache | None]:
        if scale is None and (not self.training or self.rate == 0):
            return x, None
        if scale is None:
            return drop_path.forward(x, (self._random.random(len(x)) >= self.rate).astype(x.dtype), rate=self.rate)
        if not isinstance(scale, np.ndarray) or scale.shape != x.shape[:1]:
            raise ConstraintError(f"DropPath: scale must be an array of one factor per sample, {x.shape[:1]}; got {describe(scale)}")
        return drop_path.forward(x, scale.astype(x.dtype))

    def backward(self, dy: Array, cache: drop_path.Cache | None) -> tuple[Array, Grads]:
        return (dy if cache is None else drop_path.backward(dy, cache).x), {}
