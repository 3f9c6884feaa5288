"""CoAtNet: a stem, stages of convolution and Transformer blocks in any layout, and a classifier."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import BatchNorm2d, Conv2d, LayerNorm, Linear, Module, Operator, Seed, chain_backward, chain_forward, drop_path_rates, init
from pyhybrid.ops import global_avg_pool, tanh
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.papers.coatnet.mbconv import MBConv
from pyhybrid.papers.coatnet.names import profile
from pyhybrid.papers.coatnet.parts import activation, down
from pyhybrid.papers.coatnet.start import draw
from pyhybrid.papers.coatnet.transformer import TransformerBlock

__all__ = ["CoAtNet", "Stem"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
Runs = tuple[tuple[str, int, int], ...]     # of one stage: (kind "C" or "T", blocks, width)
TAKEN = ("in_channels", "out_channels", "downsample", "names", "drop_path", "dtype", "seed")    # of a block's options, by the network
HEADS = ("hidden", "plain", "ln", "ln_first")


@dataclass(eq=False)
class Stem(Module):
    """x (N, C, H, W) -> (N, widths[-1], ⌈H/2⌉, ⌈W/2⌉): a strided 3x3 convolution, norm, act, and a 3x3 convolution without a norm.

    norm_all=True puts a norm and act after each convolution, as many as there are widths.
    """

    in_channels: int
    widths: tuple[int, ...]
    _: KW_ONLY
    layers: tuple[str, str, str] = ("conv_0", "norm_0", "conv_1")   # names; with "{n}" in them, one per convolution
    norm_all: bool = False
    bias: bool = True
    act: str = "gelu"
    bn_eps: float = 1e-3
    bn_momentum: float = 0.01
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not self.widths or (not self.norm_all and len(self.widths) != 2):
            raise ConstraintError(f"Stem: widths must name two convolutions; got {self.widths}")
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        self.children["act"] = activation("Stem", self.act)
        self.order: list[str] = []
        channels = self.in_channels
        for n, width in enumerate(self.widths):
            conv = self.layers[0] if n == 0 or self.norm_all else self.layers[2]
            names = [conv.format(n=n), self.layers[1].format(n=n), "act"] if n == 0 or self.norm_all else [conv]
            self.children[names[0]] = Conv2d(channels, width, 3, 2 if n == 0 else 1, 1, bias=self.bias, **common)
            if len(names) > 1:
                self.children[names[1]] = BatchNorm2d(width, self.bn_eps, self.bn_momentum, **common)
            self.order, channels = self.order + names, width

    def forward(self, x: Array) -> tuple[Array, Any]:
        return chain_forward(self.children, self.order, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.order, dy, cache)


@dataclass(eq=False)
class CoAtNet(Module):
    """x (N, in_channels, *image_size) -> logits (N, num_classes).

    `stages` lists for each stage its runs of blocks, such as (("C", 2, 6), ("T", 2, 8)). The first block of a stage halves the map; one
    that only changes the width does not. With `patch` the stem is one convolution of that kernel and stride, and nothing is halved after
    it: a vision transformer with relative attention. `mbconv` and `transformer` are options of the blocks. head="hidden" is pool, norm, a
    linear map, tanh, classifier; "ln" leaves out the linear map, "ln_first" norms before the pool, "plain" is pool and classifier.
    """

    image_size: int | Pair = 224
    stages: tuple[Runs, ...] = ((("C", 2, 96),), (("C", 3, 192),), (("T", 5, 384),), (("T", 2, 768),))
    stem: tuple[int, ...] = (64, 64)
    dim_head: int = 32
    num_classes: int = 1000
    _: KW_ONLY
    names: str = "paper"
    patch: int | None = None
    head: str = "hidden"
    head_hidden: int | None = None      # None: as wide as the last stage
    mbconv: dict[str, Any] = field(default_factory=dict)
    transformer: dict[str, Any] = field(default_factory=dict)
    in_channels: int = 3
    drop_path_rate: float = 0.0
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        named = profile("CoAtNet", self.names)
        choose("CoAtNet", "head", self.head, HEADS)
        self.need(1, "stem", "in_channels", "dim_head", *(name for name in ("patch", "head_hidden") if getattr(self, name) is not None))
        if self.head_hidden is not None and self.head != "hidden":
            raise ConstraintError(f'CoAtNet: head_hidden belongs to head="hidden"; got {self.head_hidden} with head={self.head!r}')
        self.size = pair("CoAtNet: image_size", self.image_size)
        try:
            self.stages = tuple(tuple((kind, blocks, width) for kind, blocks, width in runs) for runs in self.stages)
        except (TypeError, ValueError):
            raise ConstraintError('CoAtNet: stages must hold a row of runs (kind, blocks, width) for each stage, as ((("C", 2, 96),), '
                                  f'(("T", 3, 192),)); got {self.stages!r}') from None
        kinds = "".join(kind for runs in self.stages for kind, _, _ in runs)
        if not kinds or set(kinds) - {"C", "T"} or (self.names == "paper" and "TC" in kinds):
            raise ConstraintError(f'CoAtNet: stages are made of "C" and "T", and in the paper no "C" follows a "T"; got {self.stages}')
        for group, taken in (("mbconv", TAKEN), ("transformer", (*TAKEN, "grid", "dim_head"))):
            if both := [name for name in taken if name in getattr(self, group)]:
                raise ConstraintError(f"CoAtNet: {group} must leave {both[0]} to the network; got {getattr(self, group)[both[0]]!r}")
        rng = init.generator(self.seed)
        common: dict[str, Any] = {"dtype": init.float_type("CoAtNet", self.dtype), "seed": rng}
        self.mbconv_options = {"names": self.names, **named.mbconv_options, **self.mbconv, **common}
        self.transformer_options = {"names": self.names, **named.transformer_options, **self.transformer, **common}
        eps = {"eps": self.transformer_options.get("ln_eps", TransformerBlock.ln_eps)}

        grid = self._add_stem(named, common)
        width = self._add_blocks(named.blocks, named.first_stage, grid)
        norm, hidden, classifier = named.head
        inner = width if self.head_hidden is None else self.head_hidden
        layers: dict[str, Module] = {"norm": LayerNorm(width, axis=1, **eps, **common)} if self.head == "ln_first" else {}
        layers["global_pool"] = Operator(global_avg_pool)
        if self.head in ("hidden", "ln"):
            layers[norm] = LayerNorm(width, **eps, **common)
        if self.head == "hidden":
            layers |= {hidden: Linear(width, inner, **common), "tanh": Operator(tanh)}
        layers[classifier] = Linear(inner if self.head == "hidden" else width, self.num_classes, self.names != "cw", **common)
        self.children |= layers
        draw(self, self.names, rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        if x.ndim != 4 or x.shape[1:] != (self.in_channels, *self.size):
            raise ConstraintError(
                f"CoAtNet: x must be (N, {self.in_channels}, {self.size[0]}, {self.size[1]}), as image_size says; got shape {x.shape}. "
                f"For images of another size build with that image_size and load resize_bias_tables(state, model)")
        return chain_forward(self.children, self.children, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.children, dy, cache)

    def _add_stem(self, named: Any, common: dict[str, Any]) -> Pair:
        """The layers before the first stage; returns the size of their map."""
        if self.patch is not None:
            if self.size[0] % self.patch or self.size[1] % self.patch:
                raise ConstraintError(f"CoAtNet: patch must divide image_size = {self.size}; got {self.patch}")
            self.children["stem"] = Conv2d(self.in_channels, self.stem[-1], self.patch, self.patch, **common)
            return self.size[0] // self.patch, self.size[1] // self.patch
        options = {key: self.mbconv_options[key] for key in ("act", "bn_eps", "bn_momentum") if key in self.mbconv_options}
        prefix, _, _ = named.stem[0].partition(".")
        layers = tuple(name.removeprefix(f"{prefix}.") for name in named.stem)
        self.children[prefix] = Stem(self.in_channels, tuple(self.stem), layers=layers, norm_all=self.names == "cw", bias=named.stem_bias,
                                     **options, **common)
        return down(self.size)

    def _rounds_down(self, kind: str) -> bool:
        """Whether the first block of a stage leaves out the last row and column of an odd map: with ceil_pool=False and 2x2 windows."""
        options, name = (self.mbconv_options, "main_pool") if kind == "C" else (self.transformer_options, "pool")
        default = getattr(MBConv if kind == "C" else TransformerBlock, name)
        return not options.get("ceil_pool", True) and options.get(name, default) in ("max2", "avg2")

    def _add_blocks(self, prefix: str, first: int, grid: Pair) -> int:
        """All blocks of all stages; returns the width of the last one."""
        counts = [integer("CoAtNet: the number of blocks in stages", blocks, 0) for runs in self.stages for _, blocks, _ in runs]
        count = sum(counts)
        rates = iter(drop_path_rates("CoAtNet", self.drop_path_rate, count))
        width = self.stem[-1]
        for s, runs in enumerate(self.stages):
            rows = [(kind, wide) for kind, blocks, wide in runs for _ in range(blocks)]
            for b, (kind, wide) in enumerate(rows):
                halves, rate = b == 0 and self.patch is None, next(rates)
                if halves:
                    grid = (grid[0] // 2, grid[1] // 2) if self._rounds_down(kind) else down(grid)
                if kind == "C":
                    block: Module = MBConv(width, wide, halves, drop_path=rate, **self.mbconv_options)
                else:
                    block = TransformerBlock(width, wide, grid, halves, self.dim_head, drop_path=rate, **self.transformer_options)
                self.children[prefix.format(stage=s + first, block=b)], width = block, wide
        return width
