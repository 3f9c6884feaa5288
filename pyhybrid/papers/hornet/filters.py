"""The filters of HorNet's GF models: a product in frequency, which reaches every pixel, alone or beside a 3x3 convolution.

A spectrum (h, w) is that of a map of h rows and of 2·(w-1) or 2·(w-1) + 1 columns. On a map of another size it is resized, as if its
real and imaginary parts were images; then the filter is another one, not the same at another size.
Source: GFNet, arXiv 2107.00645, and HorNet, arXiv 2207.14284, with the official code of both.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from math import isqrt
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import Conv2d, LayerNorm, Module, Seed, init, prefixed, to_map, to_tokens
from pyhybrid.ops import global_filter, interleave, spectrum_resize

__all__ = ["GFNetFilter", "GlobalFilter", "GlobalLocalFilter", "spectrum_width"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


def spectrum_width(width: int) -> int:
    """Columns of the half spectrum of a map with this many columns: ⌊W/2⌋ + 1."""
    return width // 2 + 1


@dataclass(eq=False)
class GlobalFilter(Module):
    """x (N, dim, H, W) -> y of the same shape: x times `complex_weight` (dim, h, w, 2) in frequency, resized where the map is not h x W."""

    dim: int
    h: int = 14
    w: int = 8
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.need(1, "dim", "h", "w")
        rng, dtype = init.generator(self.seed), init.float_type("GlobalFilter", self.dtype)
        self.params["complex_weight"] = init.truncated_normal(0.02, (self.dim, self.h, self.w, 2), dtype, rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        if x.ndim != 4 or x.shape[1] != self.dim:
            raise ConstraintError(f"GlobalFilter: x must be (N, {self.dim}, H, W); got shape {x.shape}")
        return _filter(x, self.params["complex_weight"])

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        dx, dweight = _filter_backward(dy, cache)
        return dx, {"complex_weight": dweight}


@dataclass(eq=False)
class GFNetFilter(Module):
    """Tokens x (N, H·W, dim) of a map, row by row -> y of the same shape: GFNet's own layer, `complex_weight` (h, w, dim, 2).

    `forward(x, size)` is told the map (H, W); without it the map is square. Nothing is resized: `ConstraintError` unless (h, w) is the
    spectrum of that map, (H, ⌊W/2⌋ + 1), and unless H·W is the number of tokens.
    """

    dim: int
    h: int = 14
    w: int = 8
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.need(1, "dim", "h", "w")
        rng, dtype = init.generator(self.seed), init.float_type("GFNetFilter", self.dtype)
        self.params["complex_weight"] = init.truncated_normal(0.02, (self.h, self.w, self.dim, 2), dtype, rng)

    def forward(self, x: Array, size: Pair | None = None) -> tuple[Array, Any]:
        if x.ndim != 3 or x.shape[2] != self.dim:
            raise ConstraintError(f"GFNetFilter: x must be tokens (N, H·W, {self.dim}); got shape {x.shape}")
        H, W = size or (isqrt(x.shape[1]),) * 2
        if H * W != x.shape[1] or (H, spectrum_width(W)) != (self.h, self.w):
            raise ConstraintError(f"GFNetFilter: the spectrum {self.h} x {self.w} belongs to maps of {self.h} rows and {2 * self.w - 2} or "
                                  f"{2 * self.w - 1} columns; got {x.shape[1]} tokens and the size ({H}, {W})")
        weight = np.ascontiguousarray(self.params["complex_weight"].transpose(2, 0, 1, 3))      # (dim, h, w, 2)
        y, cache = _filter(to_map(x, (H, W)), weight)
        return to_tokens(y), cache

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        dmaps, dweight = _filter_backward(to_map(dy, cache[0].x.shape[2:]), cache)
        return to_tokens(dmaps), {"complex_weight": np.ascontiguousarray(dweight.transpose(1, 2, 0, 3))}


@dataclass(eq=False)
class GlobalLocalFilter(Module):
    """x (N, dim, H, W) -> y of the same shape: half the channels through a 3x3 depthwise convolution `dw`, half through a global filter.

    With norms=True the channels of every pixel are layer-normed before and after (`pre_norm`, `post_norm`). With interleaved=True the
    halves end up in turn, local 0, global 0, local 1, …; otherwise one after the other. Spectrum and resize as in `GlobalFilter`.
    `ConstraintError` if dim is odd.
    """

    dim: int
    h: int = 14
    w: int = 8
    _: KW_ONLY
    norms: bool = True
    interleaved: bool = True
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.dim % 2:
            raise ConstraintError(f"GlobalLocalFilter: dim must be even, one half for each filter; got {self.dim}")
        half, rng = self.dim // 2, init.generator(self.seed)
        common: dict[str, Any] = {"dtype": init.float_type("GlobalLocalFilter", self.dtype), "seed": rng}
        self.params["complex_weight"] = init.truncated_normal(0.02, (half, self.h, self.w, 2), common["dtype"], rng)
        self.children["dw"] = Conv2d(half, half, 3, 1, 1, half, False, **common)
        if self.norms:
            self.children |= {name: LayerNorm(self.dim, 1e-6, axis=1, **common) for name in ("pre_norm", "post_norm")}

    def forward(self, x: Array) -> tuple[Array, Any]:
        parts, half = self.children, self.dim // 2
        n, on_pre = parts["pre_norm"].forward(x) if self.norms else (x, None)
        a, on_local = parts["dw"].forward(np.ascontiguousarray(n[:, :half]))
        b, on_global = _filter(np.ascontiguousarray(n[:, half:]), self.params["complex_weight"])
        z, on_join = interleave.forward(a, b) if self.interleaved else (np.concatenate([a, b], axis=1), None)
        y, on_post = parts["post_norm"].forward(z) if self.norms else (z, None)
        return y, (on_pre, on_local, on_global, on_join, on_post)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts, half = self.children, self.dim // 2
        on_pre, on_local, on_global, on_join, on_post = cache
        dz, of_post = parts["post_norm"].backward(dy, on_post) if self.norms else (dy, {})
        da, db = interleave.backward(dz, on_join) if self.interleaved else (dz[:, :half].copy(), dz[:, half:].copy())
        dlocal, of_local = parts["dw"].backward(da, on_local)
        dglobal, dweight = _filter_backward(db, on_global)
        dn = np.concatenate([dlocal, dglobal], axis=1)
        dx, of_pre = parts["pre_norm"].backward(dn, on_pre) if self.norms else (dn, {})
        return dx, {"complex_weight": dweight} | prefixed("dw", of_local) | prefixed("pre_norm", of_pre) | prefixed("post_norm", of_post)


def _filter(x: Array, weight: Array) -> tuple[Array, Any]:
    """The global filter on x (N, C, H, W), after a resize of weight (C, h, w, 2) if it is the spectrum of another size."""
    size, on_resize = (x.shape[2], spectrum_width(x.shape[3])), None
    if weight.shape[1:3] != size:
        weight, on_resize = spectrum_resize.forward(weight, size=size)
    y, on_filter = global_filter.forward(x, weight)
    return y, (on_filter, on_resize)


def _filter_backward(dy: Array, cache: Any) -> tuple[Array, Array]:
    """dx and dweight."""
    on_filter, on_resize = cache
    dx, dweight = global_filter.backward(dy, on_filter)
    return dx, dweight if on_resize is None else spectrum_resize.backward(dweight, on_resize).weight
