"""The small layers that CoAtNet's blocks share: pooling, padding, gates and linear maps of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import numpy as np

from pyhybrid.errors import choose
from pyhybrid.nn import Conv2d, Joined, Module, Operator, Seed, Sequential, init
from pyhybrid.ops import avg_pool2d, gelu, layer_scale, linear, max_pool2d, relu, silu, squeeze_excite, squeeze_excite_conv

__all__ = ["Dense", "LayerScale", "SamePad", "SqueezeExcite", "activation", "down", "pool"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
ACTIVATIONS: dict[str, tuple[Any, dict[str, str]]] = {
    "gelu": (gelu, {}), "gelu_tanh": (gelu, {"approximate": "tanh"}), "silu": (silu, {}), "relu": (relu, {})}
POOLS = ("max2", "max3", "avg2", "avg3")


def activation(owner: str, name: str) -> Module:
    """"gelu" (exact), "gelu_tanh", "silu" or "relu"."""
    choose(owner, "act", name, ACTIVATIONS)
    operator, config = ACTIVATIONS[name]
    return Operator(operator, **config)


def pool(owner: str, kind: str, padding: str = "symmetric", ceil: bool = True) -> Module:
    """Pooling with stride 2: the largest or the mean of 2x2 or 3x3 pixels. It rounds up, 2x2 windows down with ceil=False.

    3x3 windows reach one pixel beyond the map, which the mean does not count. With padding="same" windows reach as far beyond it as is
    needed, the smaller half first, and the mean counts that as zeros.
    """
    choose(owner, "pool", kind, POOLS)
    operator, k = (max_pool2d if kind.startswith("max") else avg_pool2d), int(kind[-1])
    if padding == "same":
        fill = -np.inf if operator is max_pool2d else 0.0
        return Sequential({"pad": SamePad(k, 2, fill), "pool": Operator(operator, kernel_size=k, stride=2)})
    config: dict[str, Any] = {"ceil_mode": ceil} if k == 2 else {"padding": 1}
    if operator is avg_pool2d and k == 3:
        config["count_include_pad"] = False
    return Operator(operator, kernel_size=k, stride=2, **config)


def down(size: Pair, times: int = 1) -> Pair:
    """The map of `size` after halving it, rounded up."""
    return -(-size[0] // 2**times), -(-size[1] // 2**times)


@dataclass(eq=False)
class SamePad(Module):
    """x (N, C, H, W) -> x padded with `fill` as TensorFlow's "SAME": as much as ⌈H/stride⌉ windows need, the smaller half first."""

    kernel_size: int
    stride: int
    fill: float | int = 0.0         # -inf too, below every number

    def forward(self, x: Array) -> tuple[Array, Any]:
        missing = [max((-(-n // self.stride) - 1) * self.stride + self.kernel_size - n, 0) for n in x.shape[2:]]
        (top, bottom), (left, right) = ((m // 2, m - m // 2) for m in missing)
        y = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=self.fill)
        return y, (top, left, x.shape[2:])

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        top, left, (H, W) = cache
        return np.ascontiguousarray(dy[:, :, top : top + H, left : left + W]), {}


@dataclass(eq=False)
class Dense(Module):
    """x (..., in_features) -> (..., out_features), a linear map; as_conv=True keeps its weight as that of a 1x1 convolution."""

    in_features: int
    out_features: int
    bias: bool = True
    as_conv: bool = False
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype = init.generator(self.seed), init.float_type("Dense", self.dtype)
        ones = (1, 1) if self.as_conv else ()
        self.params["weight"] = init.fan_in_uniform(self.in_features, (self.out_features, self.in_features, *ones), dtype, rng)
        if self.bias:
            self.params["bias"] = init.fan_in_uniform(self.in_features, (self.out_features,), dtype, rng)

    def forward(self, x: Array) -> tuple[Array, linear.Cache]:
        weight = self.params["weight"].reshape(self.out_features, self.in_features)
        return linear.forward(x, weight, self.params.get("bias"))

    def backward(self, dy: Array, cache: linear.Cache) -> tuple[Array, Grads]:
        grads = linear.backward(dy, cache)
        own = {"weight": grads.weight.reshape(self.params["weight"].shape)}
        return grads.x, own | ({"bias": grads.bias} if self.bias else {})


@dataclass(eq=False)
class LayerScale(Module):
    """x (..., features) -> same shape, times one learnt factor per channel, `gamma`, which begins at `start`."""

    features: int
    start: float
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        dtype, rng = init.float_type("LayerScale", self.dtype), init.generator(self.seed)
        self.params["gamma"] = init.constant(self.start, (self.features,), dtype, rng)

    def forward(self, x: Array) -> tuple[Array, layer_scale.Cache]:
        return layer_scale.forward(x, self.params["gamma"])

    def backward(self, dy: Array, cache: layer_scale.Cache) -> tuple[Array, Grads]:
        dx, dgamma = layer_scale.backward(dy, cache)
        return dx, {"gamma": dgamma}


@dataclass(eq=False)
class SqueezeExcite(Module):
    """x (N, channels, H, W) -> same shape, times a gate per channel, read off the means of all channels through `reduced` hidden units."""

    channels: int
    reduced: int
    act: str = "silu"
    bias: bool = True
    _: KW_ONLY
    names: tuple[str, str] = ("reduce", "expand")
    as_conv: bool = True
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        choose("SqueezeExcite", "act", self.act, squeeze_excite.ACTIVATIONS)
        dtype, rng = init.float_type("SqueezeExcite", self.dtype), init.generator(self.seed)
        ones = (1, 1) if self.as_conv else ()
        for name, inputs, outputs in zip(self.names, (self.channels, self.reduced), (self.reduced, self.channels), strict=True):
            self.params[f"{name}.weight"] = init.fan_in_uniform(inputs, (outputs, inputs, *ones), dtype, rng)
            if self.bias:
                self.params[f"{name}.bias"] = init.fan_in_uniform(inputs, (outputs,), dtype, rng)

    def forward(self, x: Array) -> tuple[Array, squeeze_excite.Cache]:
        weights, biases = self._network()
        return squeeze_excite.forward(x, *weights, *biases, activation=self.act)

    def backward(self, dy: Array, cache: squeeze_excite.Cache) -> tuple[Array, Grads]:
        grads = squeeze_excite.backward(dy, cache)
        return grads.x, self._named(grads)

    def joined(self, following: Sequence[Module]) -> Joined | None:
        """With the 1x1 convolution behind it."""
        conv = following[0] if following else None
        return Joined(2, partial(self._with, conv), self._with_backward) if isinstance(conv, Conv2d) and conv.is_pointwise else None

    def _with(self, conv: Conv2d, x: Array) -> tuple[Array, squeeze_excite_conv.Cache]:
        weights, biases = self._network()
        kernel, bias = conv.params["weight"], conv.params.get("bias")
        return squeeze_excite_conv.forward(x, *weights, kernel, *biases, bias, activation=self.act)

    def _with_backward(self, dy: Array, cache: squeeze_excite_conv.Cache) -> tuple[Array, tuple[Grads, Grads]]:
        grads = squeeze_excite_conv.backward(dy, cache)
        of_conv = {"weight": grads.weight} | ({} if grads.bias is None else {"bias": grads.bias})
        return grads.x, (self._named(grads), of_conv)

    def _network(self) -> tuple[tuple[Array, Array], tuple[Array | None, Array | None]]:
        """Weights and biases as the operator takes them."""
        p, (reduce, expand) = self.params, self.names
        weights = p[f"{reduce}.weight"].reshape(self.reduced, self.channels), p[f"{expand}.weight"].reshape(self.channels, self.reduced)
        return weights, (p.get(f"{reduce}.bias"), p.get(f"{expand}.bias"))

    def _named(self, g: Any) -> Grads:
        """The gradients of the small network by the names of its parameters."""
        reduce, expand = self.names
        grads = {f"{reduce}.weight": g.reduce_weight, f"{expand}.weight": g.expand_weight,
                 f"{reduce}.bias": g.reduce_bias, f"{expand}.bias": g.expand_bias}
        return {name: grads[name].reshape(value.shape) for name, value in self.params.items()}
