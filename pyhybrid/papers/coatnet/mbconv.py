"""MBConv, CoAtNet's convolution block: expand, convolve every channel by itself, gate the channels, shrink, add the input."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import BatchNorm2d, Conv2d, DropPath, Module, Seed, add, chain_backward, chain_forward, init
from pyhybrid.papers.coatnet.names import CW_UNEXPANDED, Profile, profile
from pyhybrid.papers.coatnet.parts import POOLS, SamePad, SqueezeExcite, activation, pool

__all__ = ["MBConv"]

Array = np.ndarray
Grads = dict[str, Array]
Step = tuple[str, Module]       # a layer and its name
SIDES = ("output", "input", "hidden")


@dataclass(eq=False)
class MBConv(Module):
    """x (N, in_channels, H, W) -> shortcut(x) + main(x), (N, out_channels, ⌈H/2⌉, ⌈W/2⌉) with downsample=True, else H x W.

    main is pre_norm, expand (1x1), norm, act, depthwise 3x3, norm, act, gate, shrink (1x1). With downsample=True the shortcut is a pooled
    x, widened by a 1x1 convolution if the widths differ, and the stride of main is where `stride_mode` says: "1x1" in expand, "dw" in
    the depthwise convolution, "pool" before expand. The defaults are those of the paper; `names` chooses the parameter names only.
    """

    in_channels: int
    out_channels: int
    downsample: bool = False
    expansion: int | float = 4
    _: KW_ONLY
    names: str = "paper"
    stride_mode: str = "1x1"
    pool: str = "max2"                  # of the shortcut: max2, max3, avg2, avg3
    main_pool: str = "avg2"             # of stride_mode="pool"
    padding: str = "symmetric"          # "same": of strided windows, as in TensorFlow
    ceil_pool: bool = True              # False: 2x2 pools leave out the last row and column of an odd map
    expand_from: str = "output"         # hidden channels are expansion times these
    width_divisor: int = 1              # and rounded to a multiple of this
    se_ratio: float = 0.25
    se_from: str = "output"             # hidden units of the gate are se_ratio times these
    se_act: str = "silu"
    se_bias: bool = True
    se_early: bool = False              # the gate before the second norm
    pre_norm_act: bool = False          # an activation after the first norm
    act: str = "gelu"
    bias: bool = True                   # of shrink and of the shortcut's convolution
    shrink_norm: bool = False           # batch norm after shrink
    shortcut_always: bool = False       # the shortcut's convolution also where the widths agree
    bn_eps: float = 1e-3
    bn_momentum: float = 0.01
    drop_path: float = 0.0
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        named = profile("MBConv", self.names)
        if self.names == "cw" and self.expansion == 1:
            named = CW_UNEXPANDED
        for name, allowed in (("stride_mode", ("1x1", "dw", "pool")), ("expand_from", SIDES[:2]), ("se_from", SIDES),
                              ("padding", ("symmetric", "same"))):
            choose("MBConv", name, getattr(self, name), allowed)
        if not self.ceil_pool and self.stride_mode != "pool":
            raise ConstraintError(f'MBConv: ceil_pool=False needs stride_mode="pool", since a strided convolution rounds up; '
                                  f"got stride_mode={self.stride_mode!r}")
        choose("MBConv", "pool", self.pool, POOLS)
        choose("MBConv", "main_pool", self.main_pool, POOLS)
        if not self.ceil_pool and not {self.pool, self.main_pool} <= {"max2", "avg2"}:
            raise ConstraintError("MBConv: ceil_pool=False needs 2x2 pools on both branches, since 3x3 windows round up; "
                                  f"got pool={self.pool!r} and main_pool={self.main_pool!r}")
        self.need(1, "in_channels", "out_channels", "width_divisor")
        if not (self.expansion > 0 and self.se_ratio >= 0):
            raise ConstraintError(f"MBConv: expansion must be greater than 0 and se_ratio not negative; got {self.expansion!r} and "
                                  f"{self.se_ratio!r}")
        if not self.downsample and self.in_channels != self.out_channels:
            raise ConstraintError(f"MBConv: without downsample the shortcut is x itself, so in_channels must equal out_channels; "
                                  f"got {self.in_channels} and {self.out_channels}")
        rng = init.generator(self.seed)
        common: dict[str, Any] = {"dtype": self.dtype, "seed": rng}
        main, shortcut = self._main(named, common), self._shortcut(named, common)
        self.main, self.shortcut = [name for name, _ in main], [name for name, _ in shortcut]
        self.children |= dict(main) | dict(shortcut)

    def forward(self, x: Array) -> tuple[Array, Any]:
        main, on_main = chain_forward(self.children, self.main, x)
        shortcut, on_shortcut = chain_forward(self.children, self.shortcut, x)
        return add(shortcut, main), (on_main, on_shortcut)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        on_main, on_shortcut = cache
        dx_main, grads = chain_backward(self.children, self.main, dy, on_main)
        dx_shortcut, own = chain_backward(self.children, self.shortcut, dy, on_shortcut)
        return add(dx_shortcut, dx_main), grads | own

    def _main(self, named: Profile, common: dict[str, Any]) -> list[Step]:
        """The layers of the main path in order; the activation is one layer, used several times."""
        C, O, wants = self.in_channels, self.out_channels, named.mbconv
        e = rounded(self.expansion * (O if self.expand_from == "output" else C), self.width_divisor)
        reduced = int(self.se_ratio * {"output": O, "input": C, "hidden": e}[self.se_from])
        if reduced == 0:        # timm then takes a sixteenth of what is gated, in eights
            reduced = max(8, int(e / 16 + 4) // 8 * 8) if self.names == "timm" else 1
        norm = {"eps": self.bn_eps, "momentum": self.bn_momentum, **common}
        mode = self.stride_mode if self.downsample else ""
        strided = mode == "dw" or (mode == "1x1" and "expand" not in wants)         # the depthwise convolution
        same = strided and self.padding == "same"
        act = [("act", activation("MBConv", self.act))]

        steps: list[Step] = [(wants["pre_norm"], BatchNorm2d(C, **norm)), *(act if self.pre_norm_act else [])]
        if mode == "pool":
            steps.append(("main_pool", pool("MBConv", self.main_pool, self.padding, self.ceil_pool)))
        if "expand" in wants:
            steps += [(wants["expand"], Conv2d(C, e, 1, 2 if mode == "1x1" else 1, bias=False, **common)),
                      (wants["expand_norm"], BatchNorm2d(e, **norm)), *act]
        if same:
            steps.append(("same_pad", SamePad(3, 2)))
        steps.append((wants["depthwise"], Conv2d(e, e, 3, 2 if strided else 1, 0 if same else 1, e, False, **common)))
        normed: list[Step] = [(wants["depthwise_norm"], BatchNorm2d(e, **norm)), *act]
        gate: list[Step] = []
        if "se" in wants:
            gate = [(wants["se_early" if self.se_early else "se"], SqueezeExcite(
                e, reduced, self.se_act, self.se_bias, names=named.se, as_conv=named.se_is_conv, **common))]
        steps += [*gate, *normed] if self.se_early else [*normed, *gate]
        steps.append((wants["shrink"], Conv2d(e, O, 1, bias=self.bias, **common)))
        if self.shrink_norm:
            steps.append((wants["shrink_norm"], BatchNorm2d(O, **norm)))
        return [*steps, ("drop_path", DropPath(self.drop_path, seed=common["seed"]))]

    def _shortcut(self, named: Profile, common: dict[str, Any]) -> list[Step]:
        """Nothing, or a pool and perhaps a 1x1 convolution."""
        if not self.downsample:
            return []
        steps: list[Step] = [("pool", pool("MBConv", self.pool, self.padding, self.ceil_pool))]
        if self.in_channels != self.out_channels or self.shortcut_always:
            steps.append((named.mbconv["shortcut"], Conv2d(self.in_channels, self.out_channels, 1, bias=self.bias, **common)))
        return steps


def rounded(width: float, divisor: int) -> int:
    """`width` to the nearest multiple of `divisor`, at least one of them and never more than a tenth below."""
    nearest = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * width else nearest
