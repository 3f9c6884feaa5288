"""How SMT makes tokens of maps: a stem that divides the image by four, and overlapping patches that halve a map between stages."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from pyhybrid.nn import BatchNorm2d, LayerNorm, Module, Operator, Seed, chain_backward, chain_forward, init, prefixed, to_map, to_tokens
from pyhybrid.ops import relu
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.papers.smt.parts import check_sizes, convolution

__all__ = ["Embedding", "PatchEmbed", "Stem", "official_padding"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class Embedding(Module):
    """x (B, C, H, W) -> tokens (B, h·w, dim): maps through the layers named in `CONVS`, tokens through `norm`; `grid` gives (h, w)."""

    CONVS: ClassVar[tuple[str, ...]] = ()

    def forward(self, x: Array) -> tuple[Array, Any]:
        maps, c_convs = chain_forward(self.children, self.CONVS, x)
        y, c_norm = self.children["norm"].forward(to_tokens(maps))
        return y, (c_convs, maps.shape[2:], c_norm)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        c_convs, size, c_norm = cache
        dtokens, of_norm = self.children["norm"].backward(dy, c_norm)
        dx, grads = chain_backward(self.children, self.CONVS, to_map(dtokens, size), c_convs)
        return dx, grads | prefixed("norm", of_norm)

    def grid(self, size: Pair) -> Pair:
        """The map of the tokens, for maps of `size`."""
        raise NotImplementedError


@dataclass(eq=False)
class Stem(Embedding):
    """x (B, in_channels, H, W) -> tokens (B, h·w, dim): convolution, batch norm, ReLU, 2x2 convolution, layer norm.

    The first convolution has kernel `head_conv`, stride 2 and no bias, the second stride 2 and no padding: of an odd map it drops the last
    row and column, so that h = ⌊⌈H/2⌉/2⌋ as things stand. padding=None means head_conv // 2, which agrees with `official_padding` for the
    kernels in use, 3 and 7.
    """

    dim: int
    head_conv: int = 3
    in_channels: int = 3
    _: KW_ONLY
    padding: int | None = None
    norm_eps: float = 1e-5
    dtype: Any = np.float64
    seed: Seed = 0

    CONVS: ClassVar[tuple[str, ...]] = ("conv.0", "conv.1", "relu", "conv.3")

    def __post_init__(self) -> None:
        C = self.dim
        check_sizes("Stem", dim=C, head_conv=self.head_conv, in_channels=self.in_channels)
        common: dict[str, Any] = {"dtype": init.float_type("Stem", self.dtype), "seed": init.generator(self.seed)}
        self.pad = self.head_conv // 2 if self.padding is None else integer("Stem: padding", self.padding, 0)
        self.children |= {
            "conv.0": convolution(self.in_channels, C, self.head_conv, 2, self.pad, bias=False, **common),
            "conv.1": BatchNorm2d(C, **common), "relu": Operator(relu), "conv.3": convolution(C, C, 2, 2, **common),
            "norm": LayerNorm(C, self.norm_eps, **common)}

    def grid(self, size: Pair) -> Pair:
        h, w = (((n + 2 * self.pad - self.head_conv) // 2 + 1) // 2 for n in pair("Stem: size", size))
        return h, w


@dataclass(eq=False)
class PatchEmbed(Embedding):
    """x (B, in_chans, H, W) -> tokens (B, h·w, embed_dim): a convolution, and layer norm. Patches wider than the stride overlap.

    As it stands the kernel is 3x3 and the stride 2, so that h = ⌈H/2⌉. padding=None means patch_size // 2.
    """

    in_chans: int
    embed_dim: int
    patch_size: int = 3
    stride: int = 2
    _: KW_ONLY
    padding: int | None = None
    norm_eps: float = 1e-5
    dtype: Any = np.float64
    seed: Seed = 0

    CONVS: ClassVar[tuple[str, ...]] = ("proj",)

    def __post_init__(self) -> None:
        check_sizes("PatchEmbed", in_chans=self.in_chans, embed_dim=self.embed_dim, patch_size=self.patch_size, stride=self.stride)
        common: dict[str, Any] = {"dtype": init.float_type("PatchEmbed", self.dtype), "seed": init.generator(self.seed)}
        self.pad = self.patch_size // 2 if self.padding is None else integer("PatchEmbed: padding", self.padding, 0)
        self.children |= {"proj": convolution(self.in_chans, self.embed_dim, self.patch_size, self.stride, self.pad, **common),
                          "norm": LayerNorm(self.embed_dim, self.norm_eps, **common)}

    def grid(self, size: Pair) -> Pair:
        h, w = ((n + 2 * self.pad - self.patch_size) // self.stride + 1 for n in pair("PatchEmbed: size", size))
        return h, w


def official_padding(head_conv: int) -> int:
    """The official stem's padding: 3 for kernel 7 and 1 for every other, so that kernel 5 loses a row and a column."""
    return 3 if head_conv == 7 else 1
