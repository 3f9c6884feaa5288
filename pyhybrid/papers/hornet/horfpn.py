"""HorFPN: gnConv in place of the 3x3 convolutions that fuse the maps of a pyramid, for detection and for segmentation.

Source: HorNet, arXiv 2207.14284, and the official code. The names of further levels made by convolution are ours: there the code fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import BatchNorm2d, Conv2d, Module, Operator, Seed, Sequential, chain_backward, chain_forward, init, prefixed
from pyhybrid.ops import max_pool2d, relu, resize_bilinear, resize_nearest
from pyhybrid.papers.hornet.gnconv import GnConv, Pair

__all__ = ["GNFPN", "GNConvModule", "SegmentationFusion"]

Array = np.ndarray
Grads = dict[str, Array]
EXTRA = ("pool", "on_input", "on_lateral", "on_output")


@dataclass(eq=False)
class GNConvModule(Module):
    """x (N, in_channels, H, W) -> (N, out_channels, H, W): gnConv of width dim_ratio·out_channels, then batch norm and ReLU if asked for.

    Parameters under the names of `GnConv`, and `bn.*` with norm=True. Steps are not scaled (s = 1). project_out=False leaves out the last
    projection; `ConstraintError` unless dim_ratio is 1 then, since nothing else gives out_channels.
    """

    in_channels: int
    out_channels: int
    order: int = 2
    kernel_size: int = 7
    _: KW_ONLY
    filter: Pair | None = None          # (h, w): a global-local filter in place of the depthwise convolution
    dim_ratio: int = 1
    project_out: bool = True
    s: float = 1.0
    norm: bool = False
    act: bool = False
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        self.mixer = GnConv(self.out_channels * self.dim_ratio, self.order, self.s, kernel_size=self.kernel_size, filter=self.filter,
                            in_channels=self.in_channels, out_channels=self.out_channels, project_out=self.project_out, **common)
        after: dict[str, Module] = {"bn": BatchNorm2d(self.out_channels, **common)} if self.norm else {}
        after |= {"relu": Operator(relu)} if self.act else {}
        self.after = tuple(after)
        self.params = self.mixer.params             # one store, since the official names have no prefix
        self.children |= self.mixer.children | after

    def forward(self, x: Array) -> tuple[Array, Any]:
        mixed, on_mixer = self.mixer.forward(x)
        y, on_after = chain_forward(self.children, self.after, mixed)
        return y, (on_mixer, on_after)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        on_mixer, on_after = cache
        dmixed, of_after = chain_backward(self.children, self.after, dy, on_after)
        dx, grads = self.mixer.backward(dmixed, on_mixer)
        return dx, grads | of_after


@dataclass(eq=False)
class GNFPN(Module):
    """Maps x_i (N, in_channels[i], H_i, W_i), finest first -> a tuple of `num_outs` maps of out_channels: the pyramid for detection.

    l_i = a 1x1 convolution of x_i; from coarse to fine l_(i-1) gains l_i, enlarged to its size by repeating pixels; y_i = gnConv(l_i).
    Further levels, if num_outs asks for them: extra="pool" takes every second pixel of the level before; the others a 3x3 convolution of
    stride 2 and a gnConv, of the last x ("on_input"), the last l ("on_lateral") or the last y ("on_output") first and then of the level
    before, through ReLU with relu_before_extra=True. `gnconv` holds options of `GNConvModule`.
    `forward` takes and returns tuples of maps, `backward` a gradient for each output; it returns a tuple for the inputs.
    `ConstraintError`: fewer outputs than inputs, an unknown `extra`, another number of maps.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    num_outs: int
    _: KW_ONLY
    extra: str = "pool"
    relu_before_extra: bool = False
    gnconv: dict[str, Any] | None = None
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.levels = len(self.in_channels)
        if not 1 <= self.levels <= self.num_outs:
            raise ConstraintError(f"GNFPN: num_outs must be at least the number of inputs, {self.levels}; got {self.num_outs}")
        choose("GNFPN", "extra", self.extra, EXTRA)
        C = self.out_channels
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        for i, channels in enumerate(self.in_channels):
            self.children[f"lateral_convs.{i}"] = Sequential({"conv": Conv2d(channels, C, 1, **common)})
            self.children[f"fpn_convs.{i}"] = GNConvModule(C, C, **(self.gnconv or {}), **common)
        if self.extra == "pool":
            self.children["pool"] = Operator(max_pool2d, kernel_size=1, stride=2)
            return
        self.children["relu"] = Operator(relu)
        for i in range(self.levels, self.num_outs):
            channels = self.in_channels[-1] if i == self.levels and self.extra == "on_input" else C
            shrink = Sequential({"conv": Conv2d(channels, C, 3, 2, 1, **common)})
            self.children[f"fpn_convs.{i}"] = Sequential({"0": shrink, "1": GNConvModule(C, C, **(self.gnconv or {}), **common)})

    def forward(self, x: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        if len(x) != self.levels:
            raise ConstraintError(f"GNFPN: x must hold {self.levels} maps, as in_channels says; got {len(x)}")
        _check_maps("GNFPN", x, self.in_channels)
        parts, levels = self.children, range(self.levels)
        lateral, on_lateral = _unzip(parts[f"lateral_convs.{i}"].forward(x[i]) for i in levels)
        on_enlarge: list[Any] = [None] * self.levels
        for i in reversed(levels[1:]):                                                  # coarse to fine
            enlarged, on_enlarge[i] = resize_nearest.forward(lateral[i], size=lateral[i - 1].shape[2:])
            lateral[i - 1] = lateral[i - 1] + enlarged
        y, on_fuse = _unzip(parts[f"fpn_convs.{i}"].forward(lateral[i]) for i in levels)
        on_extra = []
        for i in range(self.levels, self.num_outs):
            source = {"on_input": x, "on_lateral": lateral}.get(self.extra, y)[-1] if i == self.levels else y[-1]
            further, cache = chain_forward(parts, self._steps(i), source)
            y.append(further)
            on_extra.append(cache)
        return tuple(y), (on_lateral, on_enlarge, on_fuse, on_extra)

    def backward(self, dy: Sequence[Array], cache: Any) -> tuple[tuple[Array, ...], Grads]:
        on_lateral, on_enlarge, on_fuse, on_extra = cache
        if len(dy) != self.num_outs:
            raise ConstraintError(f"GNFPN: dy must hold {self.num_outs} maps, as num_outs says; got {len(dy)}")
        parts, levels, dy = self.children, range(self.levels), list(dy)
        grads: Grads = {}
        at_source = {}                                                                  # what the first extra level returns, and where
        for i in reversed(range(self.levels, self.num_outs)):
            dsource, own = chain_backward(parts, self._steps(i), dy[i], on_extra[i - self.levels])
            grads |= own
            if i > self.levels or self.extra in ("pool", "on_output"):
                dy[i - 1] = dy[i - 1] + dsource
            else:
                at_source[self.extra] = dsource
        dlateral, of_fuse = _unzip(parts[f"fpn_convs.{i}"].backward(dy[i], on_fuse[i]) for i in levels)
        dlateral[-1] = dlateral[-1] + at_source.get("on_lateral", 0)
        for i in levels[1:]:                                                            # fine to coarse
            dlateral[i] = dlateral[i] + resize_nearest.backward(dlateral[i - 1], on_enlarge[i]).x
        dx, of_lateral = _unzip(parts[f"lateral_convs.{i}"].backward(dlateral[i], on_lateral[i]) for i in levels)
        dx[-1] = dx[-1] + at_source.get("on_input", 0)
        for i in levels:
            grads |= prefixed(f"lateral_convs.{i}", of_lateral[i]) | prefixed(f"fpn_convs.{i}", of_fuse[i])
        return tuple(dx), grads

    def _steps(self, level: int) -> tuple[str, ...]:
        """The layers of an extra level."""
        if self.extra == "pool":
            return ("pool",)
        return ("relu",) * (self.relu_before_extra and level > self.levels) + (f"fpn_convs.{level}",)


@dataclass(eq=False)
class SegmentationFusion(Module):
    """Maps x_i (N, in_channels[i], H_i, W_i), finest first -> (N, out_channels, H_0, W_0): the last step of UPerNet with gnConv.

    All maps are resized bilinearly to the finest, joined along the channels, and fused by a `GNConvModule` with batch norm and ReLU.
    What stands before it in UPerNet (1x1 convolutions, pyramid pooling, top-down sums, 3x3 convolutions) is as everywhere else, and not
    here. Parameters under the names of `GNConvModule`, which in the official head stand behind "fpn_bottleneck.".
    """

    in_channels: tuple[int, ...]
    out_channels: int
    _: KW_ONLY
    gnconv: dict[str, Any] | None = None
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.fuse = GNConvModule(sum(self.in_channels), self.out_channels, norm=True, act=True, **(self.gnconv or {}), dtype=self.dtype,
                                 seed=self.seed)
        self.params = self.fuse.params
        self.children |= self.fuse.children

    def forward(self, x: Sequence[Array]) -> tuple[Array, Any]:
        if len(x) != len(self.in_channels):
            raise ConstraintError(f"SegmentationFusion: x must hold {len(self.in_channels)} maps, as in_channels says; got {len(x)}")
        _check_maps("SegmentationFusion", x, self.in_channels)
        resized, on_resize = _unzip(resize_bilinear.forward(m, size=x[0].shape[2:]) for m in x)
        y, on_fuse = self.fuse.forward(np.concatenate(resized, axis=1))
        return y, (on_resize, on_fuse)

    def backward(self, dy: Array, cache: Any) -> tuple[tuple[Array, ...], Grads]:
        on_resize, on_fuse = cache
        djoined, grads = self.fuse.backward(dy, on_fuse)
        ends = np.cumsum(self.in_channels)[:-1]
        parts = zip(np.split(djoined, ends, axis=1), on_resize, strict=True)
        return tuple(resize_bilinear.backward(np.ascontiguousarray(part), c).x for part, c in parts), grads


def _check_maps(owner: str, x: Sequence[Array], channels: Sequence[int]) -> None:
    """`ConstraintError` unless the maps have as many images each, and their own channels."""
    for i, (m, C) in enumerate(zip(x, channels, strict=True)):
        if m.ndim != 4 or m.shape[:2] != (len(x[0]), C):
            raise ConstraintError(f"{owner}: x[{i}] must be ({len(x[0])}, {C}, H, W), as many images as x[0]; got shape {m.shape}")


def _unzip(pairs: Any) -> tuple[list[Any], list[Any]]:
    """(a, b), (c, d), … as [a, c, …] and [b, d, …]."""
    first, second = zip(*pairs, strict=True)
    return list(first), list(second)
