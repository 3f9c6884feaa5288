"""SMT: four stages, each an embedding, blocks and a layer norm, and a classifier of the mean token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import LayerNorm, Module, Seed, drop_path_rates, init, prefixed, to_map, to_tokens
from pyhybrid.ops._sizes import integer
from pyhybrid.papers.smt.block import SMTBlock
from pyhybrid.papers.smt.embed import Embedding, PatchEmbed, Stem
from pyhybrid.papers.smt.parts import OfficialNames, check_scales, check_sizes, linear_map
from pyhybrid.papers.smt.schedule import block_kinds

__all__ = ["SMT", "Stage"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
PathScales = Sequence[tuple[Array | None, Array | None]]       # of every block, D1 and D2


class Stage(OfficialNames):
    """x (B, C, H, W) -> tokens (B, h·w, dim) of the map `grid((H, W))`: an embedding, one block per entry of `kinds`, layer norm.

    A stage of both kinds is the paper's MIX. Parameters are named as in the whole network: patch_embed{number}, block{number}.{n},
    norm{number}. `options` are arguments of `SMTBlock`.
    """

    def __init__(self, number: int, embed: Embedding, dim: int, kinds: Sequence[str], drop_paths: Sequence[float] = (), *,
                 norm_eps: float = 1e-6, dtype: Any = np.float64, seed: Seed = 0, **options: Any) -> None:
        super().__init__()
        common: dict[str, Any] = {"dtype": init.float_type("Stage", dtype), "seed": init.generator(seed)}
        rates = drop_paths or [0.0] * len(kinds)
        self.blocks = {f"block{number}.{n}": SMTBlock(dim, kind, drop_path=rate, norm_eps=norm_eps, **options, **common)
                       for n, (kind, rate) in enumerate(zip(kinds, rates, strict=True))}
        self.embed, self.kinds, self.first, self.last = embed, tuple(kinds), f"patch_embed{number}", f"norm{number}"
        self.children |= {self.first: embed, **self.blocks, self.last: LayerNorm(dim, norm_eps, **common)}

    def forward(self, x: Array, path_scales: PathScales | None = None) -> tuple[Array, Any]:
        given = [(None, None)] * len(self.blocks) if path_scales is None else path_scales
        check_scales("Stage", given, len(self.blocks), "a pair for every block")
        tokens, c_embed = self.embed.forward(x)
        size, caches = self.grid((x.shape[2], x.shape[3])), []
        for block, scales in zip(self.blocks.values(), given, strict=True):
            tokens, cache = block.forward(tokens, size, scales)
            caches.append(cache)
        y, c_norm = self.children[self.last].forward(tokens)
        return y, (c_embed, caches, c_norm)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        c_embed, caches, c_norm = cache
        dtokens, own = self.children[self.last].backward(dy, c_norm)
        grads = prefixed(self.last, own)
        for (name, block), c_block in zip(reversed(self.blocks.items()), reversed(caches), strict=True):
            dtokens, own = block.backward(dtokens, c_block)
            grads |= prefixed(name, own)
        dx, own = self.embed.backward(dtokens, c_embed)
        return dx, grads | prefixed(self.first, own)

    def grid(self, size: Pair) -> Pair:
        """The map of the tokens, for a map of `size` before the stage."""
        return self.embed.grid(size)


@dataclass(eq=False)
class SMT(OfficialNames):
    """x (B, in_channels, H, W), H and W at least 3 -> logits (B, num_classes).

    `mix` says which blocks modulate and which attend: a name in `schedule.STRATEGIES`, or a row of S and M per stage. A stage needs
    ca_num_heads where it modulates and sa_num_heads where it attends; the official code writes -1 where neither is used. Stochastic
    depth grows linearly from 0 in the first block to `drop_path_rate` in the last. `sam` holds options of `ScaleAwareModulation`,
    local_conv and dwconv leave out the convolutions of attention and of the perceptrons. With path_scales, a pair for every block,
    `forward` draws nothing.
    """

    num_classes: int = 1000
    embed_dims: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (2, 2, 8, 1)
    mlp_ratios: tuple[float, ...] = (4, 4, 4, 2)
    ca_num_heads: tuple[int, ...] = (4, 4, 4, 4)
    sa_num_heads: tuple[int, ...] = (2, 4, 8, 16)
    head_conv: int = 3
    mix: str | Sequence[str] = "alternate"
    qkv_bias: bool = True
    qk_scale: float | None = None
    use_layerscale: bool = False
    layerscale_value: float = 1e-4
    expand_ratio: int = 2
    drop_path_rate: float = 0.0
    _: KW_ONLY
    norm_eps: float = 1e-6              # of blocks and stages
    embed_norm_eps: float = 1e-5        # of stem and patch embeddings
    stem_padding: int | None = None
    local_conv: bool = True
    dwconv: bool = True
    sam: dict[str, Any] = field(default_factory=dict)
    in_channels: int = 3
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        per_stage = {name: getattr(self, name) for name in ("embed_dims", "depths", "mlp_ratios", "ca_num_heads", "sa_num_heads")}
        if len({len(value) for value in per_stage.values()}) != 1 or not self.depths:
            raise ConstraintError(f"SMT: {', '.join(per_stage)} must name as many stages, at least one; "
                                  f"got {', '.join(str(value) for value in per_stage.values())}")
        check_sizes("SMT", num_classes=self.num_classes)
        self.depths = tuple(integer("SMT: depths", depth, 0) for depth in self.depths)
        common: dict[str, Any] = {"dtype": init.float_type("SMT", self.dtype), "seed": init.generator(self.seed)}
        options = {name: getattr(self, name) for name in ("qkv_bias", "qk_scale", "use_layerscale", "layerscale_value", "expand_ratio",
                                                          "norm_eps", "local_conv", "dwconv", "sam")}
        rates = drop_path_rates("SMT", self.drop_path_rate, sum(self.depths))
        self.stages: list[Stage] = []
        width = self.in_channels
        for s, kinds in enumerate(block_kinds(self.mix, self.depths)):
            dim, own = self.embed_dims[s], [rates.pop(0) for _ in kinds]
            first = {"norm_eps": self.embed_norm_eps, **common}
            embed = PatchEmbed(width, dim, **first) if s else Stem(dim, self.head_conv, width, padding=self.stem_padding, **first)
            self.stages.append(Stage(s + 1, embed, dim, kinds, own, ca_num_heads=self.ca_num_heads[s], sa_num_heads=self.sa_num_heads[s],
                                     mlp_ratio=self.mlp_ratios[s], **options, **common))
            width = dim
        self.children |= {f"stage{s}": stage for s, stage in enumerate(self.stages, 1)}
        self.inline |= set(self.children)           # official names have no stage in front of them
        self.children["head"] = linear_map(width, self.num_classes, **common)

    def forward(self, x: Array, path_scales: PathScales | None = None) -> tuple[Array, Any]:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ConstraintError(f"SMT: x must be (B, {self.in_channels}, H, W); got shape {x.shape}")
        if 0 in self.stages[0].grid(x.shape[2:]):
            raise ConstraintError(f"SMT: x must be large enough to leave the stem a token; got {x.shape[2]} x {x.shape[3]} pixels")
        scales = [(None, None)] * sum(self.depths) if path_scales is None else list(path_scales)
        check_scales("SMT", scales, sum(self.depths), "a pair for every block")
        size, found = (x.shape[2], x.shape[3]), []
        for stage in self.stages:
            own, scales = scales[: len(stage.kinds)], scales[len(stage.kinds) :]
            tokens, cache = stage.forward(x, own)
            size = stage.grid(size)
            x = to_map(tokens, size)
            found.append((tokens, size, cache))
        y, c_head = self.children["head"].forward(tokens.mean(1))
        return y, (found, c_head)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        found, c_head = cache
        dmean, own = self.children["head"].backward(dy, c_head)
        grads = prefixed("head", own)
        tokens = found[-1][0]
        dtokens = np.broadcast_to(dmean[:, None] / dmean.dtype.type(tokens.shape[1]), tokens.shape)
        for stage, (_, _, c_stage) in zip(reversed(self.stages), reversed(found), strict=True):
            dx, own = stage.backward(dtokens, c_stage)
            grads, dtokens = grads | own, to_tokens(dx)         # the map that the stage was given, as tokens again
        return dx, grads

    def intermediates(self, cache: Any) -> dict[str, Array]:
        """stage1_tokens, …: what every stage hands on, (B, h·w, C), after its norm."""
        return {f"stage{s}_tokens": tokens for s, (tokens, _, _) in enumerate(cache[0], 1)}

    def mixers(self, cache: Any) -> dict[str, tuple[Module, Any]]:
        """By official name, block1.0.attn and so on: the layer that modulates or attends, and its part of the cache.

        With `layer, own = model.mixers(cache)["block1.0.attn"]`, layer.intermediates(own)["modulator"] is the modulator of the first block.
        """
        return {f"{name}.attn": (block.children["attn"], c_block[0][1])
                for stage, (_, _, (_, caches, _)) in zip(self.stages, cache[0], strict=True)
                for (name, block), c_block in zip(stage.blocks.items(), caches, strict=True)}
