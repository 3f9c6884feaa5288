"""SMT's attention over all tokens, with a depthwise convolution of the values added to what attention gathers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.nn import Seed, add, init, join_heads, prefixed, split_heads, to_map, to_tokens
from pyhybrid.ops import attention, conv2d
from pyhybrid.papers.smt.parts import OfficialNames, check_sizes, check_tokens, convolution, heads_of, linear_map

__all__ = ["MultiHeadAttention"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class MultiHeadAttention(OfficialNames):
    """x (B, H·W, dim), tokens of a map of `size` -> (B, H·W, dim): proj(softmax(scale·q kᵀ) v + DW3x3(v)).

    Rows of `kv` are [keys of all heads | values of all heads]. qk_scale=None means d^(-1/2), and so does 0, as in the official code.
    local_conv=False leaves out the convolution of the values: then nothing tells the layer where a token lies.
    """

    dim: int
    sa_num_heads: int = 8
    qkv_bias: bool = True
    qk_scale: float | None = None
    _: KW_ONLY
    local_conv: bool = True
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        C = self.dim
        check_sizes("MultiHeadAttention", dim=C)
        heads_of("MultiHeadAttention", "sa_num_heads", self.sa_num_heads, C)
        common: dict[str, Any] = {"dtype": init.float_type("MultiHeadAttention", self.dtype), "seed": init.generator(self.seed)}
        self.children |= {"q": linear_map(C, C, self.qkv_bias, **common), "kv": linear_map(C, 2 * C, self.qkv_bias, **common)}
        if self.local_conv:
            self.children["local_conv"] = convolution(C, C, 3, padding=1, groups=C, **common)
        self.children["proj"] = linear_map(C, C, **common)

    def forward(self, x: Array, size: Pair) -> tuple[Array, Any]:           # type: ignore[override]
        parts, size = self.children, check_tokens("MultiHeadAttention", x, size, self.dim)
        q, c_q = parts["q"].forward(x)
        kv, c_kv = parts["kv"].forward(x)
        k, v = kv[..., : self.dim], kv[..., self.dim :]
        gathered, c_heads = attention.forward(*(split_heads(part, self.sa_num_heads) for part in (q, k, v)), scale=self.qk_scale or None)
        r, c_local = join_heads(gathered), None
        if self.local_conv:
            near, c_local = parts["local_conv"].forward(to_map(v, size))
            r = add(r, to_tokens(near))
        y, c_proj = parts["proj"].forward(r)
        return y, (c_q, c_kv, c_heads, c_local, c_proj, size)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts, (c_q, c_kv, c_heads, c_local, c_proj, size) = self.children, cache
        dr, of_proj = parts["proj"].backward(dy, c_proj)
        heads = attention.backward(split_heads(dr, self.sa_num_heads), c_heads)
        dv, grads = join_heads(heads.v), prefixed("proj", of_proj)
        if self.local_conv:
            from_near, own = parts["local_conv"].backward(to_map(dr, size), c_local)
            dv, grads = add(dv, to_tokens(from_near)), grads | prefixed("local_conv", own)
        dkv = np.concatenate([join_heads(heads.k), dv], axis=2)
        from_kv, of_kv = parts["kv"].backward(dkv, c_kv)
        from_q, of_q = parts["q"].backward(join_heads(heads.q), c_q)
        return add(from_q, from_kv), grads | prefixed("kv", of_kv) | prefixed("q", of_q)

    def intermediates(self, cache: Any) -> dict[str, Array]:
        """By name: q, kv (tokens), local_conv (a map), and weights (B, heads, T, T); read off the cache or made again from it."""
        _, _, c_heads, c_local, _, _ = cache
        found = {"q": join_heads(c_heads.q), "kv": np.concatenate([join_heads(c_heads.k), join_heads(c_heads.v)], axis=2),
                 "weights": attention.weights(c_heads)}
        if c_local is not None:
            found["local_conv"], _ = conv2d.forward(c_local.x, c_local.weight, c_local.bias, padding=1, groups=self.dim)
        return found
