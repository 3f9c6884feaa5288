"""The ACmix block as a layer, with the parameter names and shapes of the official code."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose, describe
from pyhybrid.nn import Module, Seed, init
from pyhybrid.ops import acmix, shift_conv
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.ops.conv_path import ORDERS
from pyhybrid.ops.local_attention import BORDERS

__all__ = ["ACmix"]

Array = np.ndarray


@dataclass(eq=False)
class ACmix(Module):
    """x (N, in_planes, H, W) -> y (N, out_planes, ⌈H/stride⌉, ⌈W/stride⌉), y = rate1·attention + rate2·convolution.

    The positional arguments are the official constructor's. `positional`, `border`, `conv_channel_order` and
    `dep_conv_bias` choose between the behaviours that the paper card lists; the defaults are the official code's.
    Weights are drawn from `seed`, an int or a `numpy.random.Generator`: the same int gives the same weights, so pass
    one generator to several layers to make them differ.
    """

    in_planes: int
    out_planes: int
    kernel_att: int = 7
    head: int = 4
    kernel_conv: int = 3
    stride: int = 1
    dilation: int = 1
    _: KW_ONLY
    positional: bool = True
    border: str = "reflect"
    conv_channel_order: str = "official"
    dep_conv_bias: bool = False
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self._check()
        C, C_in, k, d = self.out_planes, self.in_planes, self.kernel_conv, self.out_planes // self.head
        rng = init.generator(self.seed)

        def uniform(*shape: int, fan_in: int) -> Array:
            return init.fan_in_uniform(fan_in, shape, self.dtype, rng)

        self.params |= {"rate1": np.full(1, 0.5, self.dtype), "rate2": np.full(1, 0.5, self.dtype)}
        for name in ("conv1", "conv2", "conv3"):      # query, key, value
            self.params[f"{name}.weight"] = uniform(C, C_in, 1, 1, fan_in=C_in)
            self.params[f"{name}.bias"] = uniform(C, fan_in=C_in)
        if self.positional:
            self.params["conv_p.weight"] = uniform(d, 2, 1, 1, fan_in=2)
            self.params["conv_p.bias"] = uniform(d, fan_in=2)
        self.params["fc.weight"] = uniform(k * k, 3 * self.head, 1, 1, fan_in=3 * self.head)
        self.params["dep_conv.weight"] = shift_conv.shift_weight(k, C, self.dtype)
        if self.dep_conv_bias:
            self.params["dep_conv.bias"] = np.zeros(C, self.dtype)

    def forward(self, x: Array) -> tuple[Array, acmix.Cache]:
        arrays = {_argument(name): value for name, value in self.params.items()}
        return acmix.forward(x, **arrays, heads=self.head, kernel_size=self.kernel_att, stride=self.stride,
                             border=self.border, channel_order=self.conv_channel_order)

    def backward(self, dy: Array, cache: acmix.Cache) -> tuple[Array, dict[str, Array]]:
        grads = acmix.backward(dy, cache)
        return grads.x, {name: getattr(grads, _argument(name)) for name in self.params}

    def _check(self) -> None:
        """Refuse what the block cannot mean; the sizes of x are checked by the operator."""
        for name in ("in_planes", "out_planes", "kernel_att", "head", "kernel_conv", "dilation"):
            setattr(self, name, integer(f"ACmix: {name}", getattr(self, name)))
        pair("ACmix: stride", self.stride)
        rules = (
            ("out_planes", self.out_planes % self.head == 0, f"must be divisible by head = {self.head}"),
            ("kernel_att", self.kernel_att % 2 == 1, "must be odd, so that a window has a centre"),
            ("kernel_conv", self.kernel_conv % 2 == 1, "must be odd, so that the shifts have a centre"),
            ("dilation", self.dilation == 1, "must be 1: the windows of the attention path are not defined for others"),
        )
        for name, holds, rule in rules:
            if not holds:
                raise ConstraintError(f"ACmix: {name} {rule}; got {describe(getattr(self, name))}")
        choose("ACmix", "border", self.border, BORDERS)
        choose("ACmix", "conv_channel_order", self.conv_channel_order, ORDERS)
        self.dtype = init.float_type("ACmix", self.dtype)


def _argument(name: str) -> str:
    """Official parameter name -> argument of the operator."""
    return name.replace(".", "_")
