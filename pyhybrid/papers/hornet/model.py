"""HorNet: four stages of blocks at 4, 8, 16 and 32 pixels a step, and a classifier; or the stages alone, for detection and segmentation.

Source: HorNet, arXiv 2207.14284, and the official code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import (
    Conv2d,
    LayerNorm,
    Linear,
    Module,
    Operator,
    Seed,
    Sequential,
    add,
    chain_backward,
    chain_forward,
    drop_path_rates,
    init,
    prefixed,
)
from pyhybrid.ops import global_avg_pool
from pyhybrid.papers.hornet.block import Block

__all__ = ["HorNet", "HorNetFeatures", "downsampling", "stem"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
STAGES = 4


def stem(in_chans: int, dim: int, kernel: int = 4, stride: int = 4, **common: Any) -> Sequential:
    """x (N, in_chans, H, W) -> (N, dim, ⌊H/4⌋, ⌊W/4⌋) unless told otherwise: a 4x4 convolution of stride 4 (`0`), then layer norm (`1`)."""
    return Sequential({"0": Conv2d(in_chans, dim, kernel, stride, **common), "1": LayerNorm(dim, 1e-6, axis=1, **common)})


def downsampling(dim_in: int, dim_out: int, kernel: int = 2, stride: int = 2, **common: Any) -> Sequential:
    """x (N, dim_in, H, W) -> (N, dim_out, ⌊H/2⌋, ⌊W/2⌋) unless told otherwise: layer norm (`0`), a 2x2 convolution of stride 2 (`1`)."""
    return Sequential({"0": LayerNorm(dim_in, 1e-6, axis=1, **common), "1": Conv2d(dim_in, dim_out, kernel, stride, **common)})


@dataclass(eq=False)
class _Stages(Module):
    """What classifier and feature extractor share. Stage i has `depths[i]` blocks of width 2^i·base_dim and order `orders[i]`.

    `filters[i]` is None for a 7x7 depthwise convolution or the (h, w) of a global-local filter. The drop path rate grows from 0 at the
    first block to `drop_path_rate` at the last. Weights start as N(0, init_std²). `gnconv` holds further options of every `GnConv`.
    """

    depths: tuple[int, ...] = (2, 3, 18, 2)
    base_dim: int = 64
    orders: tuple[int, ...] = (2, 3, 4, 5)
    s: float = 1 / 3
    filters: tuple[Pair | None, ...] = (None, None, None, None)
    _: KW_ONLY
    in_chans: int = 3
    drop_path_rate: float = 0.0
    layer_scale_init_value: float = 1e-6
    init_std: float = 0.02
    gnconv: dict[str, Any] = field(default_factory=dict)
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("depths", "orders", "filters"):
            if len(getattr(self, name)) != STAGES:
                raise ConstraintError(f"{owner}: {name} must have an entry for each of the {STAGES} stages; got {getattr(self, name)}")
        self.need(1, "base_dim", "in_chans")
        self.need(0, "depths")
        for entry in self.filters:
            if entry is not None and not (isinstance(entry, tuple | list) and len(entry) == 2):
                raise ConstraintError(f"{owner}: filters must hold None or a pair (h, w) for each stage; got {entry!r}")
        if "filter" in self.gnconv:
            raise ConstraintError(f"{owner}: gnconv must leave the filter to the stages; give filters, one entry for each of them")
        rng = init.generator(self.seed)
        self._common: dict[str, Any] = {"dtype": init.float_type(owner, self.dtype), "seed": rng}
        self.dims = tuple(self.base_dim * 2**i for i in range(STAGES))
        rates = iter(drop_path_rates(owner, self.drop_path_rate, sum(self.depths)))
        for i, dim in enumerate(self.dims):
            shrink = downsampling(self.dims[i - 1], dim, **self._common) if i else stem(self.in_chans, dim, **self._common)
            options = {**self.gnconv, "filter": self.filters[i]}
            blocks: dict[str, Module] = {
                str(j): Block(dim, self.orders[i], self.s, next(rates), self.layer_scale_init_value, gnconv=options, **self._common)
                for j in range(self.depths[i])}
            self.children |= {f"downsample_layers.{i}": shrink, f"stages.{i}": Sequential(blocks)}
        self._finish()
        _draw(self, self.init_std, rng)

    def _finish(self) -> None:
        """The layers after the stages."""
        raise NotImplementedError

    def _forward(self, x: Array, keep: Sequence[Any] | None) -> tuple[list[Array], list[Any]]:
        """The map of every stage, and the caches."""
        owner, count = type(self).__name__, sum(self.depths)
        if x.ndim != 4 or x.shape[1] != self.in_chans or min(x.shape[2:]) < 32:
            raise ConstraintError(f"{owner}: x must be (N, {self.in_chans}, H, W) with H and W at least 32, the step of the last stage; "
                                  f"got shape {x.shape}")
        if keep is not None and len(keep) != count:
            raise ConstraintError(f"{owner}: keep must have an entry (two lists of 0 or 1) for each of {count} blocks; got {len(keep)}")
        draws = iter([None] * count if keep is None else keep)
        maps, caches = [], []
        for i in range(STAGES):
            x, on_shrink = self.children[f"downsample_layers.{i}"].forward(x)
            on_blocks = []
            block: Any
            for block in self.children[f"stages.{i}"].children.values():
                x, on_block = block.forward(x, next(draws))
                on_blocks.append(on_block)
            maps.append(x)
            caches.append((on_shrink, on_blocks))
        return maps, caches

    def _backward(self, dmaps: Sequence[Array | None], caches: list[Any]) -> tuple[Array, Grads]:
        """From the gradients of the stages' maps (None: zero) to that of x; the last one is given."""
        grads: Grads = {}
        dx: Any = None
        for i in reversed(range(STAGES)):
            own = dmaps[i]
            dx = own if dx is None else dx if own is None else add(dx, own)
            on_shrink, on_blocks = caches[i]
            dx, of_blocks = self.children[f"stages.{i}"].backward(dx, on_blocks)
            dx, of_shrink = self.children[f"downsample_layers.{i}"].backward(dx, on_shrink)
            grads |= prefixed(f"stages.{i}", of_blocks) | prefixed(f"downsample_layers.{i}", of_shrink)
        return dx, grads


@dataclass(eq=False)
class HorNet(_Stages):
    """x (N, in_chans, H, W), H and W at least 32 -> logits (N, num_classes): four stages, mean over the pixels, layer norm, linear map.

    Stage i has `depths[i]` blocks of width 2^i·base_dim and order `orders[i]`; `filters[i]` is None for a 7x7 depthwise convolution or the
    (h, w) of a global-local filter, whose spectrum is resized to maps of another size. The classifier's start is multiplied by
    `head_init_scale`. `forward(x, keep)` takes what drop path keeps from the caller: for each block two lists of 0 or 1, one entry per
    sample. `ConstraintError`: a list without an entry per stage, an image smaller than 32, a width that an order does not divide.
    """

    num_classes: int = 1000
    head_init_scale: float = 1.0

    HEAD = ("pool", "norm", "head")

    def _finish(self) -> None:
        width = self.dims[-1]
        self.children |= {"pool": Operator(global_avg_pool), "norm": LayerNorm(width, 1e-6, **self._common),
                          "head": Linear(width, self.num_classes, **self._common)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head_init_scale != 1:
            head = self.children["head"]
            head.params |= {name: value.dtype.type(self.head_init_scale) * value for name, value in head.params.items()}

    def forward(self, x: Array, keep: Sequence[Any] | None = None) -> tuple[Array, Any]:
        maps, on_stages = self._forward(x, keep)
        y, on_head = chain_forward(self.children, self.HEAD, maps[-1])
        return y, (on_stages, on_head)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        on_stages, on_head = cache
        dmap, of_head = chain_backward(self.children, self.HEAD, dy, on_head)
        dx, grads = self._backward([None] * (STAGES - 1) + [dmap], on_stages)
        return dx, grads | of_head


@dataclass(eq=False)
class HorNetFeatures(_Stages):
    """x (N, in_chans, H, W) -> a tuple of four maps (N, 2^i·base_dim, …), finest first, each layer-normed over its channels (`norm0`…).

    HorNet as detection and segmentation use it. `forward(x, keep)` is that of `HorNet`; `backward` takes one gradient for each map.
    """

    def _finish(self) -> None:
        self.children |= {f"norm{i}": LayerNorm(dim, 1e-6, axis=1, **self._common) for i, dim in enumerate(self.dims)}

    def forward(self, x: Array, keep: Sequence[Any] | None = None) -> tuple[tuple[Array, ...], Any]:
        maps, on_stages = self._forward(x, keep)
        normed, on_norms = zip(*(self.children[f"norm{i}"].forward(m) for i, m in enumerate(maps)), strict=True)
        return normed, (on_stages, on_norms)

    def backward(self, dy: Sequence[Array], cache: Any) -> tuple[Array, Grads]:
        on_stages, on_norms = cache
        dmaps = []
        of_norms: Grads = {}
        for i, (dnormed, on_norm) in enumerate(zip(dy, on_norms, strict=True)):
            dmap, of_norm = self.children[f"norm{i}"].backward(dnormed, on_norm)
            dmaps.append(dmap)
            of_norms |= prefixed(f"norm{i}", of_norm)
        dx, grads = self._backward(dmaps, on_stages)
        return dx, grads | of_norms


def _draw(model: Module, std: float, rng: np.random.Generator | None) -> None:
    """HorNet's start: weights of convolutions, linear maps and filters from N(0, std²), biases 0; norms and layer scales keep theirs."""
    for _, module in model.named_modules():
        for name, value in module.params.items():
            if value.ndim > 1:
                module.params[name] = init.truncated_normal(std, value.shape, value.dtype, rng)
            elif name.endswith("bias"):
                module.params[name] = init.constant(0, value.shape, value.dtype, rng)
