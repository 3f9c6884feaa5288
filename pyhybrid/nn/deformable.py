"""Deformable convolution as a layer: the kernel is learnt here, offsets and mask come from the caller."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from math import prod
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import init
from pyhybrid.nn.init import Seed
from pyhybrid.nn.module import Module
from pyhybrid.ops import deform_conv2d
from pyhybrid.ops._sizes import pair

__all__ = ["DeformConv2d"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class DeformConv2d(Module):
    """x (N, C, H, W), offset (N, 2·Go·K, Ho, Wo) and mask (N, Go·K, Ho, Wo) or None -> y (N, O, Ho, Wo); K taps, Go offset_groups.

    `weight` is (O, C/groups, kh, kw), `bias` (O,) unless bias=False. The mask multiplies as it is: a sigmoid belongs to the caller.
    """

    in_channels: int
    out_channels: int
    kernel_size: int | Pair
    stride: int | Pair = 1
    padding: int | Pair = 0
    dilation: int | Pair = 1
    groups: int = 1
    offset_groups: int = 1
    bias: bool = True
    _: KW_ONLY
    kink: str = "right"     # the derivative at whole coordinates, see `ops.deform_conv2d`
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype = init.generator(self.seed), init.float_type("DeformConv2d", self.dtype)
        for name, divided in (("groups", (self.in_channels, self.out_channels)), ("offset_groups", (self.in_channels,))):
            value = getattr(self, name)
            if value < 1 or any(channels % value for channels in divided):
                raise ConstraintError(f"DeformConv2d: {name} must divide {' and '.join(map(str, divided))} channels; got {value}")
        choose("DeformConv2d", "kink", self.kink, deform_conv2d.KINKS)
        shape = (self.out_channels, self.in_channels // self.groups, *pair("DeformConv2d: kernel_size", self.kernel_size))
        self.params["weight"] = init.fan_in_uniform(prod(shape[1:]), shape, dtype, rng)
        if self.bias:
            self.params["bias"] = init.constant(0, shape[:1], dtype, rng)

    def forward(self, x: Array, offset: Array, mask: Array | None = None) -> tuple[Array, deform_conv2d.Cache]:  # type: ignore[override]
        return deform_conv2d.forward(
            x, offset, self.params["weight"], mask, self.params.get("bias"), stride=self.stride, padding=self.padding,
            dilation=self.dilation, groups=self.groups, offset_groups=self.offset_groups, kink=self.kink)

    def backward(self, dy: Array, cache: deform_conv2d.Cache) -> tuple[tuple[Array, Array, Array | None], Grads]:
        """(dx, doffset, dmask) and the gradients of weight and bias; dmask is None if there was no mask."""
        grads = deform_conv2d.backward(dy, cache)
        return (grads.x, grads.offset, grads.mask), {name: getattr(grads, name) for name in self.params}
