"""The aggregation composed layer by layer, with switches for readings of the paper's equations that the official code does not follow."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from pyhybrid.errors import choose
from pyhybrid.nn import BatchNorm2d, Module, Operator, Seed, init, prefixed
from pyhybrid.ops import gelu, regroup
from pyhybrid.papers.smt.parts import check_sizes, convolution, heads_of

__all__ = ["ComposedAggregation"]

Array = np.ndarray
Grads = dict[str, Array]


@dataclass(eq=False)
class ComposedAggregation(Module):
    """x (B, channels, H, W), head by head -> modulator, same shape: W_inter(W_intra(groups of x)).

    fusion    "dense", the official code: `proj0` widens within the groups, `proj1` brings all of them back to `channels` at once;
              "grouped": `proj_down` brings back each group by itself, and `proj1` (channels to channels) mixes them
    norm_act  batch norm and GELU after `proj0`; False leaves the linear maps of the equations
    shared    one W_intra for all groups, as the equations write it without a group index; False: one for each
    With the defaults it computes what `Aggregation` does, whose operator runs it in one call.
    """

    channels: int
    num_heads: int
    expand_ratio: int = 2
    fusion: str = "dense"
    norm_act: bool = True
    shared: bool = False
    _: KW_ONLY
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    dtype: Any = np.float64
    seed: Seed = 0

    FUSIONS: ClassVar[tuple[str, ...]] = ("dense", "grouped")

    def __post_init__(self) -> None:
        owner, C, N, e = "ComposedAggregation", self.channels, self.num_heads, self.expand_ratio
        check_sizes(owner, channels=C, expand_ratio=e)
        choose(owner, "fusion", self.fusion, self.FUSIONS)
        M, E = C // heads_of(owner, "num_heads", N, C), e * C
        common: dict[str, Any] = {"dtype": init.float_type(owner, self.dtype), "seed": init.generator(self.seed)}
        groups, copies = (1, M) if self.shared else (M, 1)          # of one convolution; M of them share their weight
        self.copies = copies
        self.children["proj0"] = convolution(C // copies, E // copies, 1, groups=groups, **common)
        if self.norm_act:
            self.children |= {"bn": BatchNorm2d(E, self.bn_eps, self.bn_momentum, **common), "act": Operator(gelu)}
        if self.fusion == "grouped":
            self.children["proj_down"] = convolution(E // copies, C // copies, 1, groups=groups, **common)
        self.children["proj1"] = convolution(C if self.fusion == "grouped" else E, C, 1, **common)

    def forward(self, x: Array) -> tuple[Array, Any]:
        x, c_regroup = regroup.forward(x, heads=self.num_heads)
        caches = []
        for name, layer in self.children.items():
            split = self._split(name)
            y, cache = layer.forward(self._apart(x, split))
            x = self._together(y, split)
            caches.append(cache)
        return x, (c_regroup, caches)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        c_regroup, caches = cache
        grads: Grads = {}
        for (name, layer), own_cache in zip(reversed(self.children.items()), reversed(caches), strict=True):
            split = self._split(name)
            dx, own = layer.backward(self._apart(dy, split), own_cache)
            dy, grads = self._together(dx, split), grads | prefixed(name, own)
        return regroup.backward(dy, c_regroup).x, grads

    def intermediates(self, cache: Any) -> dict[str, Array]:
        """The maps after every layer but the last, each the input that the next layer's cache holds."""
        names = list(self.children)
        return {name: self._together(c.x, self._split(after)) for name, after, c in zip(names[:-1], names[1:], cache[1][1:], strict=True)}

    def _split(self, name: str) -> int:
        return self.copies if name in ("proj0", "proj_down") else 1

    @staticmethod
    def _apart(x: Array, split: int) -> Array:
        """(B, split·K, H, W) -> (B·split, K, H, W): the groups as images, for a weight that they share."""
        B, C, H, W = x.shape
        return x.reshape(B * split, C // split, H, W)

    @staticmethod
    def _together(x: Array, split: int) -> Array:
        """(B·split, K, H, W) -> (B, split·K, H, W)."""
        B, C, H, W = x.shape
        return x.reshape(B // split, C * split, H, W)
