"""Global attention with spatial reduction (PVT), a mode of ACmix that its official code does not contain.

The attention is that of PVT's own code. Keys and values live on a smaller map than the query, and how ACmix feeds its convolution path
from them was never published. These models are the attention alone.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import (
    Conv2d,
    DropPath,
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
    join_heads,
    prefixed,
    split_heads,
    to_map,
    to_tokens,
)
from pyhybrid.ops import attention, gelu
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.papers.acmix.swin import PatchEmbed

__all__ = ["PVT", "PVTAttention", "PVTBlock"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class PVTAttention(Module):
    """x (B, T, dim), tokens of an H x W map -> y, same shape; with sr_ratio R > 1 keys and values come from the map reduced R times.

    The reduction is a convolution of kernel and stride R (`sr`) and a layer norm; then T must be H·W.
    """

    dim: int
    num_heads: int
    size: Pair
    qkv_bias: bool = True
    qk_scale: float | None = None
    sr_ratio: int = 1
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.size = pair("PVTAttention: size", self.size)
        self.need(1, "dim", "sr_ratio")
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise ConstraintError(f"PVTAttention: num_heads must divide dim = {self.dim}; got {self.num_heads!r}")
        common: dict[str, Any] = {"dtype": init.float_type("PVTAttention", self.dtype), "seed": init.generator(self.seed)}
        C, R = self.dim, self.sr_ratio
        self.children |= {"q": Linear(C, C, self.qkv_bias, **common), "kv": Linear(C, 2 * C, self.qkv_bias, **common),
                          "proj": Linear(C, C, **common)}
        if R > 1:
            self.children |= {"sr": Conv2d(C, C, R, R, **common), "norm": LayerNorm(C, **common)}

    def forward(self, x: Array) -> tuple[Array, Any]:
        parts = self.children
        q, c_q = parts["q"].forward(x)
        reduced, c_reduce = self._reduce(x)
        kv, c_kv = parts["kv"].forward(reduced)                                             # [keys of all heads | values of all heads]
        k, v = np.split(kv, 2, axis=2)
        heads, c_heads = attention.forward(*(split_heads(part, self.num_heads) for part in (q, k, v)), scale=self.qk_scale or None)
        y, c_proj = parts["proj"].forward(join_heads(heads))
        return y, (c_q, c_reduce, c_kv, c_heads, c_proj)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts = self.children
        c_q, c_reduce, c_kv, c_heads, c_proj = cache
        dtokens, of_proj = parts["proj"].backward(dy, c_proj)
        heads = attention.backward(split_heads(dtokens, self.num_heads), c_heads)
        dkv = np.concatenate([join_heads(heads.k), join_heads(heads.v)], axis=2)
        dreduced, of_kv = parts["kv"].backward(dkv, c_kv)
        dx, grads = self._reduce_backward(dreduced, c_reduce)
        from_q, of_q = parts["q"].backward(join_heads(heads.q), c_q)
        return add(dx, from_q), grads | prefixed("q", of_q) | prefixed("kv", of_kv) | prefixed("proj", of_proj)

    def _reduce(self, x: Array) -> tuple[Array, Any]:
        if self.sr_ratio == 1:
            return x, None
        if x.shape[1] != self.size[0] * self.size[1]:
            raise ConstraintError(f"PVTAttention: x must hold the {self.size[0]}*{self.size[1]} tokens of its map; got shape {x.shape}")
        maps, c_sr = self.children["sr"].forward(to_map(x, self.size))
        y, c_norm = self.children["norm"].forward(to_tokens(maps))
        return y, (maps.shape[2:], c_sr, c_norm)

    def _reduce_backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        if cache is None:
            return dy, {}
        size, c_sr, c_norm = cache
        dtokens, of_norm = self.children["norm"].backward(dy, c_norm)
        dmaps, of_sr = self.children["sr"].backward(to_map(dtokens, size), c_sr)
        return to_tokens(dmaps), prefixed("sr", of_sr) | prefixed("norm", of_norm)


@dataclass(eq=False)
class PVTBlock(Module):
    """x (B, T, dim) -> h + mlp(norm2(h)), h = x + attn(norm1(x))."""

    dim: int
    num_heads: int
    size: Pair
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    sr_ratio: int = 1
    drop_path: float = 0.0
    ln_eps: float = 1e-6
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    HALVES = (("norm1", "attn", "drop_path"), ("norm2", "mlp", "drop_path"))

    def __post_init__(self) -> None:
        self.need(1, "dim")
        rng, hidden = init.generator(self.seed), integer("PVTBlock: dim * mlp_ratio", int(self.dim * self.mlp_ratio))
        common: dict[str, Any] = {"dtype": self.dtype, "seed": rng}
        mlp = {"fc1": Linear(self.dim, hidden, **common), "act": Operator(gelu), "fc2": Linear(hidden, self.dim, **common)}
        self.children |= {
            "norm1": LayerNorm(self.dim, self.ln_eps, **common),
            "attn": PVTAttention(self.dim, self.num_heads, self.size, self.qkv_bias, None, self.sr_ratio, **common),
            "norm2": LayerNorm(self.dim, self.ln_eps, **common), "mlp": Sequential(mlp), "drop_path": DropPath(self.drop_path, seed=rng),
        }

    def forward(self, x: Array) -> tuple[Array, Any]:
        caches = []
        for half in self.HALVES:
            z, cache = chain_forward(self.children, half, x)
            x = add(x, z)
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        grads: Grads = {}
        for half, on_half in zip(reversed(self.HALVES), reversed(cache), strict=True):
            dz, own = chain_backward(self.children, half, dy, on_half)
            dy, grads = add(dy, dz), grads | own
        return dy, grads


@dataclass(eq=False)
class PVT(Module):
    """x (B, 3, H, W) of side `img_size` -> logits: four stages of patch embedding, learnt positions and `PVTBlock`s.

    The last stage has one more token in front, for the class; the classifier reads that one.
    """

    img_size: int | Pair = 224
    depths: tuple[int, ...] = (2, 2, 2, 2)
    num_classes: int = 1000
    _: KW_ONLY
    patch_sizes: tuple[int, ...] = (4, 2, 2, 2)
    embed_dims: tuple[int, ...] = (64, 128, 320, 512)
    num_heads: tuple[int, ...] = (1, 2, 5, 8)
    mlp_ratios: tuple[float, ...] = (8, 8, 4, 4)
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    drop_path_rate: float = 0.0
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.size = H, W = pair("PVT: img_size", self.img_size)
        self.need(1, "patch_sizes", "embed_dims", "num_heads", "sr_ratios")
        self.need(0, "depths", "num_classes")
        rng, dtype = init.generator(self.seed), init.float_type("PVT", self.dtype)
        common: dict[str, Any] = {"dtype": dtype, "seed": rng}
        drops = iter(drop_path_rates("PVT", self.drop_path_rate, sum(self.depths)))
        channels, self.stages = 3, range(1, len(self.depths) + 1)
        for s, dim in zip(self.stages, self.embed_dims, strict=True):
            patch, depth, heads = self.patch_sizes[s - 1], self.depths[s - 1], self.num_heads[s - 1]
            if H % (patch * self.sr_ratios[s - 1]) or W % (patch * self.sr_ratios[s - 1]):
                raise ConstraintError(f"PVT: img_size must divide evenly into patches and reductions of stage {s}; got {self.size}")
            H, W = H // patch, W // patch
            tokens = H * W + (s == len(self.depths))
            self.params[f"pos_embed{s}"] = init.truncated_normal(0.02, (1, tokens, dim), dtype, rng)
            blocks = {str(n): PVTBlock(dim, heads, (H, W), self.mlp_ratios[s - 1], True, self.sr_ratios[s - 1], next(drops), **common)
                      for n in range(depth)}
            self.children |= {f"patch_embed{s}": PatchEmbed(patch, channels, dim, **common), f"block{s}": Sequential(blocks)}
            channels = dim
        self.params["cls_token"] = init.truncated_normal(0.02, (1, 1, channels), dtype, rng)
        self.children |= {"norm": LayerNorm(channels, 1e-6, **common), "head": Linear(channels, self.num_classes, **common)}
        for _, module in self.named_modules():
            if isinstance(module, Linear):
                module.params["weight"] = init.truncated_normal(0.02, module.params["weight"].shape, dtype, rng)
                if module.bias:
                    module.params["bias"] = init.constant(0, module.params["bias"].shape, dtype, rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        if x.ndim != 4 or x.shape[1:] != (3, *self.size):
            raise ConstraintError(f"PVT: x must be (B, 3, {self.size[0]}, {self.size[1]}), as img_size says; got shape {x.shape}")
        caches, H, W = [], *self.size
        for s in self.stages:
            H, W = H // self.patch_sizes[s - 1], W // self.patch_sizes[s - 1]
            tokens, c_embed = self.children[f"patch_embed{s}"].forward(x)
            if s == len(self.depths):
                tokens = np.concatenate([np.broadcast_to(self.params["cls_token"], (len(x), 1, tokens.shape[2])), tokens], axis=1)
            tokens, c_block = self.children[f"block{s}"].forward(tokens + self.params[f"pos_embed{s}"])
            x = to_map(tokens, (H, W)) if s < len(self.depths) else tokens
            caches.append((c_embed, c_block))
        features, c_norm = self.children["norm"].forward(tokens)
        y, c_head = self.children["head"].forward(features[:, 0])
        return y, (caches, features.shape, c_norm, c_head)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        caches, shape, c_norm, c_head = cache
        dclass, of_head = self.children["head"].backward(dy, c_head)
        dfeatures = np.zeros(shape, dclass.dtype)
        dfeatures[:, 0] = dclass
        dtokens, of_norm = self.children["norm"].backward(dfeatures, c_norm)
        grads = prefixed("head", of_head) | prefixed("norm", of_norm)
        for s, (c_embed, c_block) in zip(reversed(self.stages), reversed(caches), strict=True):
            dtokens, of_block = self.children[f"block{s}"].backward(dtokens, c_block)
            grads |= prefixed(f"block{s}", of_block) | {f"pos_embed{s}": dtokens.sum(0, keepdims=True)}
            if s == len(self.depths):
                grads["cls_token"] = dtokens[:, :1].sum(0, keepdims=True)
                dtokens = dtokens[:, 1:]
            dx, of_embed = self.children[f"patch_embed{s}"].backward(dtokens, c_embed)
            grads |= prefixed(f"patch_embed{s}", of_embed)
            dtokens = to_tokens(dx)     # the map that the stage was given, as tokens again
        return dx, grads
