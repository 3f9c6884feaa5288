"""Swin-ACmix: the Swin Transformer whose window attention is joined by the convolution path, under the official parameter names."""

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
    prefixed,
    to_map,
    to_tokens,
)
from pyhybrid.ops import gelu, roll, window_partition
from pyhybrid.ops._sizes import integer, pair
from pyhybrid.papers.acmix.window_attention import WindowAttention

__all__ = ["PatchEmbed", "PatchMerging", "SwinBlock", "SwinTransformer"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class SwinBlock(Module):
    """x (B, H·W, dim) -> y, same shape: h = x + unroll(attn(roll(norm1(x)))), y = h + mlp(norm2(h)).

    The map is rolled by -shift_size before the windows are cut and back afterwards; the mask keeps tokens apart that only the roll
    brought together. On a map not larger than the window there is one window and no shift. In training, `drop_path` leaves out each of
    the two residual paths of a sample with that probability.
    """

    dim: int
    input_resolution: int | Pair
    num_heads: int
    window_size: int = 7
    shift_size: int = 0
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    drop_path: float = 0.0
    _: KW_ONLY
    ln_eps: float = 1e-5
    acmix: dict[str, Any] | None = None     # further options of WindowAttention: kernel_conv, conv_channel_order, dep_conv_bias
    dtype: Any = np.float64
    seed: Seed = 0

    FIXED = ("attn_mask",)

    def __post_init__(self) -> None:
        self.size = H, W = pair("SwinBlock: input_resolution", self.input_resolution)
        self.need(1, "dim", "window_size")
        if not 0 <= self.shift_size < self.window_size:
            raise ConstraintError(f"SwinBlock: shift_size must be at least 0 and less than window_size = {self.window_size}; "
                                  f"got {self.shift_size}")
        if min(H, W) <= self.window_size:
            self.window_size, self.shift_size = min(H, W), 0
        if H % self.window_size or W % self.window_size:
            raise ConstraintError(f"SwinBlock: input_resolution must be a multiple of window_size = {self.window_size}; got {self.size}")
        rng, hidden = init.generator(self.seed), integer("SwinBlock: dim * mlp_ratio", int(self.dim * self.mlp_ratio))
        common: dict[str, Any] = {"dtype": self.dtype, "seed": rng}
        attn = WindowAttention(self.dim, self.window_size, self.num_heads, self.qkv_bias, self.qk_scale, **(self.acmix or {}), **common)
        mlp = {"fc1": Linear(self.dim, hidden, **common), "act": Operator(gelu), "fc2": Linear(hidden, self.dim, **common)}
        self.children |= {
            "norm1": LayerNorm(self.dim, self.ln_eps, **common), "attn": attn,
            "norm2": LayerNorm(self.dim, self.ln_eps, **common), "mlp": Sequential(mlp), "drop_path": DropPath(self.drop_path, seed=rng),
        }
        if self.shift_size:
            mask = window_partition.shift_mask(self.size, self.window_size, self.shift_size)
            self.buffers["attn_mask"] = mask.astype(init.float_type("SwinBlock", self.dtype))

    def forward(self, x: Array) -> tuple[Array, Any]:
        parts, (H, W), s = self.children, self.size, self.shift_size
        if x.ndim != 3 or x.shape[1:] != (H * W, self.dim):
            raise ConstraintError(f"SwinBlock: x must be (B, {H}*{W}, {self.dim}); got shape {x.shape}")
        normed, c_norm1 = parts["norm1"].forward(x)
        rolled, c_roll = roll.forward(normed.reshape(-1, H, W, self.dim), offset=-s)
        mixed, c_attn = parts["attn"].forward(rolled, self.buffers.get("attn_mask"))     # type: ignore[call-arg]
        back, c_back = roll.forward(mixed, offset=s)
        kept, c_path1 = parts["drop_path"].forward(back.reshape(x.shape))
        h = add(x, kept)
        z, on_mlp = chain_forward(parts, ("norm2", "mlp", "drop_path"), h)
        return add(h, z), (c_norm1, c_roll, c_attn, c_back, c_path1, on_mlp)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts, (H, W) = self.children, self.size
        c_norm1, c_roll, c_attn, c_back, c_path1, on_mlp = cache
        dz, grads = chain_backward(parts, ("norm2", "mlp", "drop_path"), dy, on_mlp)
        dh = add(dy, dz)
        dkept, _ = parts["drop_path"].backward(dh, c_path1)
        dmixed = roll.backward(dkept.reshape(-1, H, W, self.dim), c_back).x
        drolled, of_attn = parts["attn"].backward(dmixed, c_attn)
        dnormed = roll.backward(drolled, c_roll).x
        dx, of_norm1 = parts["norm1"].backward(dnormed.reshape(dy.shape), c_norm1)
        return add(dh, dx), grads | prefixed("attn", of_attn) | prefixed("norm1", of_norm1)


@dataclass(eq=False)
class PatchMerging(Module):
    """x (B, H·W, dim) -> y (B, H/2·W/2, 2·dim): the four pixels of each 2x2 patch in a row, layer norm, linear map without bias."""

    input_resolution: int | Pair
    dim: int
    _: KW_ONLY
    ln_eps: float = 1e-5
    dtype: Any = np.float64
    seed: Seed = 0

    ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))        # (row, column) within the patch: down first

    def __post_init__(self) -> None:
        self.size = H, W = pair("PatchMerging: input_resolution", self.input_resolution)
        self.need(1, "dim")
        if H % 2 or W % 2:
            raise ConstraintError(f"PatchMerging: input_resolution must be even in both directions; got {self.size}")
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        self.children |= {"norm": LayerNorm(4 * self.dim, self.ln_eps, **common),
                          "reduction": Linear(4 * self.dim, 2 * self.dim, bias=False, **common)}

    def forward(self, x: Array) -> tuple[Array, Any]:
        H, W = self.size
        if x.ndim != 3 or x.shape[1:] != (H * W, self.dim):
            raise ConstraintError(f"PatchMerging: x must be (B, {H}*{W}, {self.dim}); got shape {x.shape}")
        pixels = x.reshape(-1, H, W, self.dim)
        patches = np.concatenate([pixels[:, r::2, c::2] for r, c in self.ORDER], axis=-1).reshape(len(x), -1, 4 * self.dim)
        return chain_forward(self.children, ("norm", "reduction"), patches)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        dpatches, grads = chain_backward(self.children, ("norm", "reduction"), dy, cache)
        H, W = self.size
        dpixels = np.empty((len(dy), H, W, self.dim), dy.dtype)
        quarters = np.split(dpatches.reshape(-1, H // 2, W // 2, 4 * self.dim), 4, axis=-1)
        for (r, c), quarter in zip(self.ORDER, quarters, strict=True):
            dpixels[:, r::2, c::2] = quarter
        return dpixels.reshape(len(dy), H * W, self.dim), grads


@dataclass(eq=False)
class PatchEmbed(Module):
    """x (B, in_chans, H, W) -> tokens (B, H/p·W/p, embed_dim): one convolution of kernel and stride p, then layer norm if asked for."""

    patch_size: int
    in_chans: int
    embed_dim: int
    norm: bool = True
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        self.children["proj"] = Conv2d(self.in_chans, self.embed_dim, self.patch_size, self.patch_size, **common)
        if self.norm:
            self.children["norm"] = LayerNorm(self.embed_dim, **common)

    def forward(self, x: Array) -> tuple[Array, Any]:
        maps, c_proj = self.children["proj"].forward(x)
        tokens = to_tokens(maps)
        y, c_norm = self.children["norm"].forward(tokens) if self.norm else (tokens, None)
        return y, (maps.shape[2:], c_proj, c_norm)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        size, c_proj, c_norm = cache
        dtokens, of_norm = self.children["norm"].backward(dy, c_norm) if self.norm else (dy, {})
        dx, of_proj = self.children["proj"].backward(to_map(dtokens, size), c_proj)
        return dx, prefixed("proj", of_proj) | prefixed("norm", of_norm)


@dataclass(eq=False)
class SwinTransformer(Module):
    """x (B, in_chans, H, W) of side `img_size` -> logits (B, num_classes); windows are shifted in every other block.

    `ape` adds a learnt position to every token. Weights start as in the official code: linear maps and tables from a truncated normal of
    0.02, the learnt shifts at the shift kernels. `drop_path_rate` grows linearly from 0 in the first block to this value in the last.
    """

    img_size: int | Pair = 224
    patch_size: int = 4
    in_chans: int = 3
    num_classes: int = 1000
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    drop_path_rate: float = 0.0
    ape: bool = False
    patch_norm: bool = True
    _: KW_ONLY
    acmix: dict[str, Any] | None = None
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.size = H, W = pair("SwinTransformer: img_size", self.img_size)
        self.need(1, "patch_size", "in_chans", "embed_dim", "num_heads", "window_size")
        self.need(0, "depths", "num_classes")
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ConstraintError(f"SwinTransformer: depths and num_heads must name as many stages, at least one; got {self.depths}, "
                                  f"{self.num_heads}")
        last = self.patch_size * 2 ** (len(self.depths) - 1)
        if H % last or W % last:
            raise ConstraintError(f"SwinTransformer: img_size must be a multiple of {last}; got {self.size}")
        dtype, rng = init.float_type("SwinTransformer", self.dtype), init.generator(self.seed)
        common: dict[str, Any] = {"dtype": dtype, "seed": rng}
        self.children["patch_embed"] = PatchEmbed(self.patch_size, self.in_chans, self.embed_dim, self.patch_norm, **common)
        drops = iter(drop_path_rates("SwinTransformer", self.drop_path_rate, sum(self.depths)))
        stages: dict[str, Module] = {}
        for s, (depth, heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            dim, size = self.embed_dim * 2**s, (H // self.patch_size // 2**s, W // self.patch_size // 2**s)
            blocks: dict[str, Module] = {
                str(n): SwinBlock(dim, size, heads, self.window_size, n % 2 * (self.window_size // 2), self.mlp_ratio, self.qkv_bias,
                                  self.qk_scale, next(drops), acmix=self.acmix, **common) for n in range(depth)}
            merging = {"downsample": PatchMerging(size, dim, **common)} if s < len(self.depths) - 1 else {}
            stages[str(s)] = Sequential({"blocks": Sequential(blocks), **merging})
        features = self.embed_dim * 2 ** (len(self.depths) - 1)
        self.children |= {"layers": Sequential(stages), "norm": LayerNorm(features, **common),
                          "head": Linear(features, self.num_classes, **common)}
        self._draw(dtype, rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        if x.ndim != 4 or x.shape[1:] != (self.in_chans, *self.size):
            raise ConstraintError(f"SwinTransformer: x must be (B, {self.in_chans}, {self.size[0]}, {self.size[1]}), as in_chans and "
                                  f"img_size say; got shape {x.shape}")
        tokens, c_embed = self.children["patch_embed"].forward(x)
        if self.ape:
            tokens = tokens + self.params["absolute_pos_embed"]
        features, on_layers = chain_forward(self.children, ("layers", "norm"), tokens)
        y, c_head = self.children["head"].forward(features.mean(1))
        return y, (c_embed, on_layers, features.shape, c_head)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        c_embed, on_layers, shape, c_head = cache
        dmean, of_head = self.children["head"].backward(dy, c_head)
        dfeatures = np.broadcast_to(dmean[:, None] / dmean.dtype.type(shape[1]), shape)
        dtokens, grads = chain_backward(self.children, ("layers", "norm"), dfeatures, on_layers)
        if self.ape:
            grads["absolute_pos_embed"] = dtokens.sum(0, keepdims=True)
        dx, of_embed = self.children["patch_embed"].backward(dtokens, c_embed)
        return dx, grads | prefixed("head", of_head) | prefixed("patch_embed", of_embed)

    def _draw(self, dtype: np.dtype, rng: np.random.Generator | None) -> None:
        """The official start: every linear map from a truncated normal, its bias at 0."""
        if self.ape:
            tokens = (self.size[0] // self.patch_size) * (self.size[1] // self.patch_size)
            self.params["absolute_pos_embed"] = init.truncated_normal(0.02, (1, tokens, self.embed_dim), dtype, rng)
        for _, module in self.named_modules():
            for name, value in module.params.items():
                if isinstance(module, Linear) or name.startswith(("qkv.", "proj.")):
                    draw = init.truncated_normal if name.endswith("weight") else init.constant
                    module.params[name] = draw(0.02 if name.endswith("weight") else 0.0, value.shape, dtype, rng)
