"""HorNet's block: gnConv mixes the pixels, a feed-forward network the channels, each on a residual branch of its own.

Source: HorNet, arXiv 2207.14284, and the official code, which has the layer scale and what drop path does.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import DropPath, LayerNorm, Linear, Module, Operator, Seed, add, chain_backward, chain_forward, init, to_map, to_tokens
from pyhybrid.ops import gelu, layer_scale
from pyhybrid.papers.hornet.gnconv import GnConv

__all__ = ["Block"]

Array = np.ndarray
Grads = dict[str, Array]
Keep = tuple[Any, Any]      # per branch, one number per sample: 1 keeps the branch, 0 drops it


@dataclass(eq=False)
class Block(Module):
    """x (N, dim, H, W) -> y of the same shape: x1 = x + D1(gamma1·gnConv(norm1(x))), y = x1 + D2(gamma2·W2 gelu(W1 norm2(x1))).

    W1 and W2 are linear maps to 4·dim channels and back. gamma1 and gamma2, one factor per channel, start at
    `layer_scale_init_value`; if that is 0 or less there are none. D1 and D2 drop a branch of a sample with probability `drop_path` in
    training mode and divide by 1 - drop_path what they keep; the two branches draw apart. `forward(x, keep)` takes both draws from the
    caller, in either mode: keep = (N numbers, N numbers) of 0 or 1, and `ConstraintError` otherwise. `gnconv` holds further options of
    `GnConv`.
    """

    dim: int
    order: int = 5
    s: float = 1.0
    drop_path: float = 0.0
    layer_scale_init_value: float = 1e-6
    _: KW_ONLY
    gnconv: dict[str, Any] = field(default_factory=dict)
    dtype: Any = np.float64
    seed: Seed = 0

    MIX = ("norm1", "gnconv")                           # maps (N, C, H, W)
    FEED = ("norm2", "pwconv1", "act", "pwconv2")       # pixels (N, H, W, C)

    def __post_init__(self) -> None:
        rng = init.generator(self.seed)
        common: dict[str, Any] = {"dtype": init.float_type("Block", self.dtype), "seed": rng}
        if self.layer_scale_init_value > 0:
            for name in ("gamma1", "gamma2"):
                self.params[name] = init.constant(self.layer_scale_init_value, (self.dim,), common["dtype"], rng)
        self.children |= {
            "norm1": LayerNorm(self.dim, 1e-6, axis=1, **common),
            "gnconv": GnConv(self.dim, self.order, self.s, **self.gnconv, **common),
            "norm2": LayerNorm(self.dim, 1e-6, **common),
            "pwconv1": Linear(self.dim, 4 * self.dim, **common), "act": Operator(gelu), "pwconv2": Linear(4 * self.dim, self.dim, **common),
        }
        self.drop = DropPath(self.drop_path, seed=rng)
        self.children["drop_path"] = self.drop

    def forward(self, x: Array, keep: Keep | None = None) -> tuple[Array, Any]:
        scale1, scale2 = self._scales(keep, x)
        mixed, on_mix = chain_forward(self.children, self.MIX, x)                               # (N, C, H, W)
        branch1, on_gamma1 = self._scaled("gamma1", mixed, 1)
        kept1, on_drop1 = self.drop.forward(branch1, scale1)
        x1 = add(x, kept1)
        fed, on_feed = chain_forward(self.children, self.FEED, _channels_last(x1))              # (N, H, W, C)
        branch2, on_gamma2 = self._scaled("gamma2", fed, 3)
        kept2, on_drop2 = self.drop.forward(branch2, scale2)
        return add(x1, _channels_first(kept2)), (on_mix, on_gamma1, on_drop1, on_feed, on_gamma2, on_drop2)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        on_mix, on_gamma1, on_drop1, on_feed, on_gamma2, on_drop2 = cache
        dbranch2, _ = self.drop.backward(_channels_last(dy), on_drop2)
        dfed, of_gamma2 = self._scaled_backward("gamma2", dbranch2, on_gamma2)
        dpixels, of_feed = chain_backward(self.children, self.FEED, dfed, on_feed)
        dx1 = add(dy, _channels_first(dpixels))
        dbranch1, _ = self.drop.backward(dx1, on_drop1)
        dmixed, of_gamma1 = self._scaled_backward("gamma1", dbranch1, on_gamma1)
        dx, of_mix = chain_backward(self.children, self.MIX, dmixed, on_mix)
        return add(dx1, dx), of_gamma1 | of_gamma2 | of_mix | of_feed

    def _scaled(self, name: str, x: Array, axis: int) -> tuple[Array, layer_scale.Cache | None]:
        """x times the factor of its channel, which lies along `axis`; x itself without layer scale."""
        return layer_scale.forward(x, self.params[name], axis=axis) if name in self.params else (x, None)

    @staticmethod
    def _scaled_backward(name: str, dy: Array, cache: layer_scale.Cache | None) -> tuple[Array, Grads]:
        if cache is None:
            return dy, {}
        dx, dgamma = layer_scale.backward(dy, cache)
        return dx, {name: dgamma}

    def _scales(self, keep: Keep | None, x: Array) -> tuple[Array | None, Array | None]:
        """The factors of both branches per sample; None where they are to be drawn."""
        if keep is None:
            return None, None
        drawn = [np.asarray(mask) for mask in keep]
        if len(drawn) != 2 or any(m.shape != x.shape[:1] or m.dtype.kind not in "biuf" or not np.isin(m, (0, 1)).all() for m in drawn):
            raise ConstraintError(f"Block: keep must be two lists of {len(x)} numbers 0 or 1, one per sample; got {keep!r}")
        first, second = (mask / (1 - self.drop_path) for mask in drawn)
        return first, second


def _channels_last(x: Array) -> Array:
    """Maps (N, C, H, W) as pixels (N, H, W, C). `_channels_first` undoes it; each is the other's adjoint."""
    N, C, H, W = x.shape
    return to_tokens(x).reshape(N, H, W, C)


def _channels_first(pixels: Array) -> Array:
    """(N, H, W, C) as maps (N, C, H, W)."""
    N, H, W, C = pixels.shape
    return to_map(pixels.reshape(N, H * W, C), (H, W))
