"""SMT's block: modulation or attention, then a multilayer perceptron with a depthwise convolution inside, each with a residual."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import choose
from pyhybrid.nn import DropPath, LayerNorm, Module, Seed, add, init, prefixed, to_map, to_tokens
from pyhybrid.ops import gelu, layer_scale
from pyhybrid.papers.smt.attention import MultiHeadAttention
from pyhybrid.papers.smt.modulation import ScaleAwareModulation
from pyhybrid.papers.smt.parts import OfficialNames, check_scales, check_sizes, check_tokens, convolution, linear_map, pixel_map

__all__ = ["DWMLP", "KINDS", "SMTBlock"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
KINDS = ("sam", "msa")


@dataclass(eq=False)
class DWMLP(Module):
    """x (B, H·W, in_features), tokens of a map of `size` -> same shape: fc2(GELU(h + DW3x3(h))), h = fc1(x).

    The skip around the depthwise convolution lies inside the activation. dwconv=False is the plain perceptron. With the convolution the
    hidden numbers are maps: fc1 makes them of tokens, fc2 is a 1x1 convolution, and only y changes its order.
    """

    in_features: int
    hidden_features: int
    _: KW_ONLY
    dwconv: bool = True
    dtype: Any = np.float64
    seed: Seed = 0

    CONV = "dwconv.dwconv"

    def __post_init__(self) -> None:
        check_sizes("DWMLP", in_features=self.in_features, hidden_features=self.hidden_features)
        common: dict[str, Any] = {"dtype": init.float_type("DWMLP", self.dtype), "seed": init.generator(self.seed)}
        C, hidden = self.in_features, self.hidden_features
        self.children["fc1"] = linear_map(C, hidden, channels_first=self.dwconv, **common)
        if self.dwconv:
            self.children[self.CONV] = convolution(hidden, hidden, 3, padding=1, groups=hidden, **common)
        self.children["fc2"] = (pixel_map if self.dwconv else linear_map)(hidden, C, **common)

    def forward(self, x: Array, size: Pair) -> tuple[Array, Any]:           # type: ignore[override]
        parts, size = self.children, check_tokens("DWMLP", x, size, self.in_features)
        h, c_fc1 = parts["fc1"].forward(x)
        t, c_conv = h, None
        if self.dwconv:
            h = h.reshape(*h.shape[:2], *size)
            near, c_conv = parts[self.CONV].forward(h)
            t = add(h, near)
        a, c_act = gelu.forward(t)
        y, c_fc2 = parts["fc2"].forward(a)
        return to_tokens(y) if self.dwconv else y, (c_fc1, c_conv, c_act, c_fc2, size)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts, (c_fc1, c_conv, c_act, c_fc2, size) = self.children, cache
        da, of_fc2 = parts["fc2"].backward(to_map(dy, size) if self.dwconv else dy, c_fc2)
        dt = gelu.backward(da, c_act).x
        dh, grads = dt, prefixed("fc2", of_fc2)
        if self.dwconv:
            from_near, own = parts[self.CONV].backward(dt, c_conv)
            dh, grads = add(dt, from_near).reshape(*dt.shape[:2], dy.shape[1]), grads | prefixed(self.CONV, own)
        dx, of_fc1 = parts["fc1"].backward(dh, c_fc1)
        return dx, grads | prefixed("fc1", of_fc1)


@dataclass(eq=False)
class SMTBlock(OfficialNames):
    """x (B, H·W, dim), tokens of a map of `size` -> y, same shape: h = x + D1·γ1·attn(norm1(x)), y = h + D2·γ2·mlp(norm2(h)).

    kind="sam" has modulation for attn and needs ca_num_heads, kind="msa" attention and sa_num_heads. γ1 and γ2 are factors per channel,
    only with use_layerscale=True. D1 and D2 are factors per sample, `path_scales` (each (B,), or None): where they are not given, a
    block in training draws the two independently, 0 with probability `drop_path` and 1/(1 - drop_path) otherwise, and in evaluation they
    are 1. `sam` holds further options of `ScaleAwareModulation`.
    """

    dim: int
    kind: str = "sam"
    ca_num_heads: int = 4
    sa_num_heads: int = 8
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_scale: float | None = None
    use_layerscale: bool = False
    layerscale_value: float = 1e-4
    drop_path: float = 0.0
    expand_ratio: int = 2
    _: KW_ONLY
    norm_eps: float = 1e-6
    local_conv: bool = True
    dwconv: bool = True
    sam: dict[str, Any] = field(default_factory=dict)
    dtype: Any = np.float64
    seed: Seed = 0

    HALVES = (("norm1", "attn", "gamma_1"), ("norm2", "mlp", "gamma_2"))

    def __post_init__(self) -> None:
        choose("SMTBlock", "kind", self.kind, KINDS)
        check_sizes("SMTBlock", dim=self.dim)
        C, rng, dtype = self.dim, init.generator(self.seed), init.float_type("SMTBlock", self.dtype)
        common: dict[str, Any] = {"dtype": dtype, "seed": rng}
        attn: Module = (
            ScaleAwareModulation(C, self.ca_num_heads, self.qkv_bias, self.expand_ratio, **self.sam, **common) if self.kind == "sam" else
            MultiHeadAttention(C, self.sa_num_heads, self.qkv_bias, self.qk_scale, local_conv=self.local_conv, **common))
        self.children |= {"norm1": LayerNorm(C, self.norm_eps, **common), "attn": attn, "norm2": LayerNorm(C, self.norm_eps, **common),
                          "mlp": DWMLP(C, int(C * self.mlp_ratio), dwconv=self.dwconv, **common)}
        self.children["drop_path"] = self.path = DropPath(self.drop_path, seed=rng)
        if self.use_layerscale:
            self.params |= {gamma: init.constant(self.layerscale_value, (C,), dtype, rng) for _, _, gamma in self.HALVES}

    def forward(self, x: Array, size: Pair, path_scales: tuple[Array | None, Array | None] = (None, None)) -> tuple[Array, Any]:    # type: ignore[override]
        size = check_tokens("SMTBlock", x, size, self.dim)
        check_scales("SMTBlock", path_scales, 2, "for attn and mlp, each None or a factor per sample")
        caches = []
        for (norm, mixer, gamma), scale in zip(self.HALVES, path_scales, strict=True):
            normed, c_norm = self.children[norm].forward(x)
            f, c_mixer = self.children[mixer].forward(normed, size)        # type: ignore[call-arg]
            scaled, c_gamma = layer_scale.forward(f, self.params[gamma]) if self.use_layerscale else (f, None)
            kept, c_path = self.path.forward(scaled, scale)
            x = add(x, kept)
            caches.append((c_norm, c_mixer, c_gamma, c_path))
        return x, caches

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        grads: Grads = {}
        for (norm, mixer, gamma), (c_norm, c_mixer, c_gamma, c_path) in zip(reversed(self.HALVES), reversed(cache), strict=True):
            df, _ = self.path.backward(dy, c_path)
            if c_gamma is not None:
                df, grads[gamma] = layer_scale.backward(df, c_gamma)
            dnormed, of_mixer = self.children[mixer].backward(df, c_mixer)
            dx, of_norm = self.children[norm].backward(dnormed, c_norm)
            dy, grads = add(dy, dx), grads | prefixed(mixer, of_mixer) | prefixed(norm, of_norm)
        return dy, grads
