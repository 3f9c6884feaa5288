"""What SMT's modules share: layers with the official start, and the check that tokens belong to a map."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import Conv2d, Linear, Module, Seed, init
from pyhybrid.ops import pointwise_conv
from pyhybrid.ops._sizes import integer, pair

__all__ = ["OfficialNames", "check_scales", "check_sizes", "check_tokens", "convolution", "heads_of", "linear_map", "official_names",
           "pixel_map"]

Array = np.ndarray
Pair = tuple[int, int]


def heads_of(owner: str, name: str, heads: int, channels: int) -> int:
    """`heads` if they divide the channels; `ConstraintError` names the argument otherwise."""
    if isinstance(heads, bool) or not hasattr(heads, "__index__") or heads < 1 or channels % heads:
        raise ConstraintError(f"{owner}: {name} must be at least 1 and divide the {channels} channels; got {heads!r}")
    return operator.index(heads)


def check_sizes(owner: str, **sizes: Any) -> None:
    """TypeError or ValueError, naming owner and argument, unless all are whole numbers of at least 1."""
    for name, value in sizes.items():
        integer(f"{owner}: {name}", value)


def check_scales(owner: str, scales: Any, expected: int, what: str) -> None:
    """`ConstraintError` unless there are as many factors of stochastic depth as there should be."""
    if not isinstance(scales, tuple | list) or len(scales) != expected:
        came = f"{len(scales)} of them" if isinstance(scales, tuple | list) else repr(type(scales).__name__)
        raise ConstraintError(f"{owner}: path_scales must be a tuple or list of {expected}, {what}; got {came}")


def check_tokens(owner: str, x: Array, size: Any, channels: int) -> Pair:
    """`size` as (H, W), if x is (B, H·W, channels)."""
    H, W = pair(f"{owner}: size", size)
    if x.ndim != 3 or x.shape[1:] != (H * W, channels):
        raise ConstraintError(f"{owner}: x must be (B, {H}*{W}, {channels}), the tokens of a map of {H} x {W}; got shape {x.shape}")
    return H, W


class OfficialNames(Module):
    """x (...) -> y (...) as the layer itself has it: what holds, or is, attention, and loads it under either of its names."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As for every layer, all or nothing; `official_names` is applied first."""
        super().load_state_dict(official_names(state))


def official_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """`dw_conv` as `local_conv`: for three days, and in the detection code still, attention's convolution had that name.

    A name is left alone where the state holds the other one too, so that loading reports it.
    """
    renamed = {name: re.sub(r"(^|\.)dw_conv\.", r"\1local_conv.", str(name)) for name in state}
    return {name if new != name and new in state else new: state[name] for name, new in renamed.items()}


def linear_map(inputs: int, outputs: int, bias: bool = True, *, channels_first: bool = False, dtype: Any, seed: Seed) -> Linear:
    """A linear map that starts as in the official code: a truncated normal of 0.02, the bias at 0."""
    layer, rng = Linear(inputs, outputs, bias, channels_first=channels_first, dtype=dtype, seed=None), init.generator(seed)
    layer.params["weight"] = init.truncated_normal(0.02, (outputs, inputs), np.dtype(dtype), rng)
    if bias:
        layer.params["bias"] = init.constant(0, (outputs,), np.dtype(dtype), rng)
    return layer


class PixelMap(Linear):
    """The linear map of a token at every pixel: x (N, C, H, W) -> (N, O, H, W), a 1x1 convolution with the parameters of `Linear`."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        return pointwise_conv.forward(x, self.params["weight"][:, :, None, None], self.params.get("bias"))

    def backward(self, dy: Array, cache: Any) -> tuple[Array, dict[str, Array]]:
        grads = pointwise_conv.backward(dy, cache)
        return grads.x, {name: getattr(grads, name).reshape(given.shape) for name, given in self.params.items()}


def pixel_map(inputs: int, outputs: int, *, dtype: Any, seed: Seed) -> PixelMap:
    """`linear_map` for maps."""
    layer = PixelMap(inputs, outputs, dtype=dtype, seed=None)
    layer.params |= linear_map(inputs, outputs, dtype=dtype, seed=seed).params
    return layer


def convolution(inputs: int, outputs: int, kernel_size: int, stride: int = 1, padding: int = 0, groups: int = 1, bias: bool = True, *,
                dtype: Any, seed: Seed) -> Conv2d:
    """A convolution that starts as in the official code: Kaiming's normal start, the bias at 0."""
    layer, rng = Conv2d(inputs, outputs, kernel_size, stride, padding, groups, bias, dtype=dtype, seed=None), init.generator(seed)
    layer.params["weight"] = init.kaiming_normal(layer.params["weight"].shape, np.dtype(dtype), rng, groups)
    if bias:
        layer.params["bias"] = init.constant(0, (outputs,), np.dtype(dtype), rng)
    return layer
