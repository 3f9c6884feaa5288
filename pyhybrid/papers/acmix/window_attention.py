"""ACmix in a Swin Transformer: window attention and the convolution path on the same query, key and value maps."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np

from pyhybrid.errors import ConstraintError, check_cotangent, choose, describe
from pyhybrid.nn import Module, Seed, init, join_heads, split_heads
from pyhybrid.ops import attention, conv_path, linear, relative_bias, shift_conv, window_partition, window_reverse
from pyhybrid.ops._sizes import pair
from pyhybrid.ops.conv_path import ORDERS

__all__ = ["WindowAttention"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


class Cache(NamedTuple):
    qkv: linear.Cache; path: conv_path.Cache; cut: window_partition.Cache; bias: relative_bias.Cache; scores: attention.Cache
    proj: linear.Cache; joined: window_reverse.Cache
    att: Array; conv: Array          # the two paths' outputs, for the gradients of the rates
    masks: int                       # windows with a mask of their own; 0 without a mask


@dataclass(eq=False)
class WindowAttention(Module):
    """x (B, H, W, dim) -> y, same shape: y = rate1·proj(attention within windows) + rate2·convolution over the whole map.

    H and W must be multiples of `window_size`. The convolution sees the map as it is given, so in a block with shifted windows the
    rolled one, and it bypasses `proj`. `mask` (windows of one image, tokens, tokens) is added to the scores.
    """

    dim: int
    window_size: int | Pair
    num_heads: int
    qkv_bias: bool = True
    qk_scale: float | None = None
    kernel_conv: int = 3
    _: KW_ONLY
    conv_channel_order: str = "official"
    dep_conv_bias: bool = False
    dtype: Any = np.float64
    seed: Seed = 0

    FIXED = ("relative_position_index",)

    def __post_init__(self) -> None:
        self.window = pair("WindowAttention: window_size", self.window_size)
        self.need(1, "dim", "kernel_conv")
        if self.num_heads < 1 or self.dim % self.num_heads:
            raise ConstraintError(f"WindowAttention: num_heads must divide dim = {self.dim}; got {describe(self.num_heads)}")
        if self.kernel_conv % 2 == 0:
            raise ConstraintError(f"WindowAttention: kernel_conv must be odd; got {describe(self.kernel_conv)}")
        choose("WindowAttention", "conv_channel_order", self.conv_channel_order, ORDERS)
        dtype, rng = init.float_type("WindowAttention", self.dtype), init.generator(self.seed)
        (h, w), N, C, k = self.window, self.num_heads, self.dim, self.kernel_conv

        def uniform(*shape: int, fan_in: int) -> Array:
            return init.fan_in_uniform(fan_in, shape, dtype, rng)

        self.params |= {
            "relative_position_bias_table": init.truncated_normal(0.02, ((2 * h - 1) * (2 * w - 1), N), dtype, rng),
            "rate1": init.constant(0.5, (1,), dtype, rng), "rate2": init.constant(0.5, (1,), dtype, rng),
            "qkv.weight": uniform(3 * C, C, fan_in=C),
            **({"qkv.bias": uniform(3 * C, fan_in=C)} if self.qkv_bias else {}),
            "proj.weight": uniform(C, C, fan_in=C), "proj.bias": uniform(C, fan_in=C),
            "fc.weight": uniform(k * k, 3 * N, 1, 1, fan_in=3 * N), "fc.bias": uniform(k * k, fan_in=3 * N),
            "dep_conv.weight": shift_conv.shift_weight(k, C, dtype.type),
        }
        if self.dep_conv_bias:
            self.params["dep_conv.bias"] = np.zeros(C, dtype)
        self.buffers["relative_position_index"] = relative_bias.index(self.window).astype(np.int64)

    def forward(self, x: Array, mask: Array | None = None) -> tuple[Array, Cache]:
        p, N = self.params, self.num_heads
        self._check(x, mask)
        z, c_qkv = linear.forward(x, p["qkv.weight"], p.get("qkv.bias"))                    # (B, H, W, 3C): q, k, v, each head-major

        q, k, v = np.split(z.transpose(0, 3, 1, 2), 3, axis=1)                              # maps (B, C, H, W)
        conv, c_path = conv_path.forward(q, k, v, p["fc.weight"], p["dep_conv.weight"], p["fc.bias"], p.get("dep_conv.bias"), heads=N,
                                         channel_order=self.conv_channel_order)
        conv = conv.transpose(0, 2, 3, 1)

        windows, c_cut = window_partition.forward(z, window=self.window)                    # (B·nW, T, 3C)
        q, k, v = windows.reshape(*windows.shape[:2], 3, N, -1).transpose(2, 0, 3, 1, 4)     # (B·nW, N, T, d)
        bias, c_bias = relative_bias.forward(p["relative_position_bias_table"], size=self.window)
        bias = bias[None] if mask is None else bias + mask.astype(bias.dtype)[:, None]      # (1 or nW, N, T, T)
        heads, c_scores = attention.forward(q, k, v, bias, scale=self.qk_scale or None)
        tokens, c_proj = linear.forward(join_heads(heads), p["proj.weight"], p["proj.bias"])
        att, c_joined = window_reverse.forward(tokens, window=self.window, size=x.shape[1:3])

        y = p["rate1"] * att + p["rate2"] * conv
        return y, Cache(c_qkv, c_path, c_cut, c_bias, c_scores, c_proj, c_joined, att, conv, 0 if mask is None else len(mask))

    def _check(self, x: Array, mask: Array | None) -> None:
        h, w = self.window
        if x.ndim != 4 or x.shape[1] % h or x.shape[2] % w or x.shape[3] != self.dim:
            raise ConstraintError(f"WindowAttention: x must be (B, H, W, {self.dim}), whole windows of {h} x {w}; got shape {x.shape}")
        expected = (x.shape[1] // h * (x.shape[2] // w), h * w, h * w)
        if mask is not None and (mask.shape != expected or mask.dtype.kind != "f"):
            raise ConstraintError("WindowAttention: mask is added to the scores: it must hold floating-point numbers, of shape (windows of "
                                  f"one image, tokens, tokens) = {expected}; got {describe(mask)}")

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        c, p = cache, self.params
        check_cotangent("WindowAttention", dy, c.att.shape)
        grads = {"rate1": (dy * c.att).sum().reshape(1), "rate2": (dy * c.conv).sum().reshape(1)}

        dtokens = window_reverse.backward(p["rate1"] * dy, c.joined).windows
        proj = linear.backward(dtokens, c.proj)
        scores = attention.backward(split_heads(proj.x, self.num_heads), c.scores)
        # The mask is no parameter: the bias that all windows share gets the sum of theirs.
        table = relative_bias.backward(scores.bias.sum(0), c.bias)
        dwindows = np.stack([scores.q, scores.k, scores.v]).transpose(1, 3, 0, 2, 4).reshape(*dtokens.shape[:2], -1)
        dz = window_partition.backward(dwindows, c.cut).x

        path = conv_path.backward((p["rate2"] * dy).transpose(0, 3, 1, 2), c.path)
        dz = dz + np.concatenate([path.q, path.k, path.v], axis=1).transpose(0, 2, 3, 1)

        qkv = linear.backward(dz, c.qkv)
        grads |= {"relative_position_bias_table": table.table, "qkv.weight": qkv.weight, "qkv.bias": qkv.bias, "proj.weight": proj.weight,
                  "proj.bias": proj.bias, "fc.weight": path.fc_weight, "fc.bias": path.fc_bias, "dep_conv.weight": path.dep_conv_weight,
                  "dep_conv.bias": path.dep_conv_bias}
        return qkv.x, {name: grads[name] for name in p}
