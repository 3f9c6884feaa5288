"""CoAtNet's Transformer block: relative attention over the whole map, then a feed-forward network, each with a residual."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import DropPath, LayerNorm, Module, Seed, add, chain_backward, chain_forward, init, to_map, to_tokens
from pyhybrid.ops._sizes import pair
from pyhybrid.papers.coatnet.attention import ATTENTION
from pyhybrid.papers.coatnet.names import profile
from pyhybrid.papers.coatnet.parts import Dense, LayerScale, activation, pool

__all__ = ["FeedForward", "TransformerBlock"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
ORDERS = ("norm_pool", "pool_norm")


@dataclass(eq=False)
class TransformerBlock(Module):
    """x (B, in_channels, h, w) -> (B, out_channels, *grid): z = shortcut(x) + attn(norm1(x)), y = z + ffn(norm2(z)).

    With downsample=True both branches are pooled, so h and w are twice `grid`, or one less (one more with 2x2 pools and ceil_pool=False);
    order="norm_pool" is the paper's Pool(Norm(x)), "pool_norm" the norm after the pool. The shortcut is widened by a linear map if the
    widths differ. The defaults are those of the paper; `names` chooses the parameter names, and with them the layout of the attention's
    parameters.
    """

    in_channels: int
    out_channels: int
    grid: int | Pair
    downsample: bool = False
    dim_head: int = 32
    _: KW_ONLY
    names: str = "paper"
    order: str = "norm_pool"
    pool: str = "max2"                  # max2, max3, avg2, avg3
    ceil_pool: bool = True              # False: 2x2 pools leave out the last row and column of an odd map
    heads: int | None = None            # None: as many as dim_head makes
    form: str = "pre"
    sign: str = "query - key"
    table: str = "bias"
    qkv_bias: bool = True
    expand_first: bool = True
    ffn_ratio: float = 4.0
    ffn_from: str = "output"            # hidden units are ffn_ratio times these channels
    act: str = "gelu"
    layer_scale: float | None = None    # start of a factor per channel on each branch
    shortcut_bias: bool = True
    shortcut_always: bool = False       # a downsampled shortcut has its linear map also where the widths agree
    ln_eps: float = 1e-5
    drop_path: float = 0.0
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        role = profile("TransformerBlock", self.names).transformer
        for name, allowed in (("order", ORDERS), ("ffn_from", ("output", "input"))):
            choose("TransformerBlock", name, getattr(self, name), allowed)
        self.size = pair("TransformerBlock: grid", self.grid)
        C, O, rng = self.in_channels, self.out_channels, init.generator(self.seed)
        hidden, timm = int(self.ffn_ratio * (O if self.ffn_from == "output" else C)), self.names == "timm"
        self.need(1, "in_channels", "out_channels", "dim_head")
        if hidden < 1:
            raise ConstraintError(f"TransformerBlock: ffn_ratio must leave a hidden unit; got {self.ffn_ratio!r} of {C} or {O} channels")
        common: dict[str, Any] = {"dtype": self.dtype, "seed": rng}
        projects = self.names != "cw" or (self.heads, self.dim_head, C) != (1, C, O)      # cw has none for one head as wide as x and y
        norm1 = role["norm1_down" if self.downsample else "norm1"]
        layers: dict[str, Module] = {
            norm1: LayerNorm(C, self.ln_eps, axis=1, **common),
            role["attn"]: ATTENTION[self.names](C, O, self.size, self.dim_head, heads=self.heads, form=self.form, sign=self.sign,
                                                table=self.table, qkv_bias=self.qkv_bias, expand_first=self.expand_first,
                                                project_out=projects, **common),
            role["norm2"]: LayerNorm(O, self.ln_eps, **common), role["ffn1"]: Dense(O, hidden, True, timm, **common),
            role["ffn2"]: Dense(hidden, O, True, timm, **common), "act": activation("TransformerBlock", self.act),
            "drop_path": DropPath(self.drop_path, seed=rng)}
        if self.layer_scale is not None:
            layers |= {role[scale]: LayerScale(O, self.layer_scale, **common) for scale in ("scale1", "scale2")}
        if self.downsample:
            layers["pool"] = pool("TransformerBlock", self.pool, ceil=self.ceil_pool)
        widens = C != O or (self.downsample and self.shortcut_always)
        if widens:
            layers[role["shortcut"]] = Dense(C, O, self.shortcut_bias, self.names != "paper", **common)
        self.children |= layers

        pooled = ("pool",) if self.downsample else ()
        scales = [(role[scale],) if self.layer_scale is not None else () for scale in ("scale1", "scale2")]
        first = self.order == "pool_norm"
        self.shared = pooled if first else ()                                       # maps, for both branches
        self.normed, self.skipped = ((norm1,), ()) if first else ((norm1, *pooled), pooled)     # maps
        self.attend = (role["attn"], *scales[0], "drop_path")                       # tokens
        self.widen = (role["shortcut"],) if widens else ()
        self.feed = (role["norm2"], role["ffn1"], "act", role["ffn2"], *scales[1], "drop_path")

    def forward(self, x: Array) -> tuple[Array, Any]:
        parts = self.children
        shared, c_shared = chain_forward(parts, self.shared, x)
        normed, c_normed = chain_forward(parts, self.normed, shared)
        skipped, c_skipped = chain_forward(parts, self.skipped, shared)
        if normed.shape[2:] != self.size:
            raise ConstraintError(f"TransformerBlock: its grid is {self.size}, but the map to attend over is {normed.shape[2:]}; the bias "
                                  f"tables fix the image size, so build for the new one and resize them (resize_bias_tables)")
        attended, c_attend = chain_forward(parts, self.attend, to_tokens(normed))
        widened, c_widen = chain_forward(parts, self.widen, to_tokens(skipped))
        z = add(widened, attended)
        fed, c_feed = chain_forward(parts, self.feed, z)
        return to_map(add(z, fed), self.size), (c_shared, c_normed, c_skipped, c_attend, c_widen, c_feed)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts = self.children
        c_shared, c_normed, c_skipped, c_attend, c_widen, c_feed = cache
        dfed = to_tokens(dy)
        through, of_feed = chain_backward(parts, self.feed, dfed, c_feed)
        dz = add(dfed, through)
        dskipped, of_widen = chain_backward(parts, self.widen, dz, c_widen)
        dnormed, of_attend = chain_backward(parts, self.attend, dz, c_attend)
        dx_skip, _ = chain_backward(parts, self.skipped, to_map(dskipped, self.size), c_skipped)
        dx_norm, of_norm = chain_backward(parts, self.normed, to_map(dnormed, self.size), c_normed)
        dx, _ = chain_backward(parts, self.shared, add(dx_skip, dx_norm), c_shared)
        return dx, of_feed | of_widen | of_attend | of_norm


@dataclass(eq=False)
class FeedForward(Module):
    """Tokens (..., dim) -> W2 act(W1 x + b1) + b2 with `hidden` units, alone under chinhsuanwu's names `net.0` and `net.3`."""

    dim: int
    hidden: int
    act: str = "gelu"
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    ORDER = ("net.0", "act", "net.3")

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        self.children |= {"net.0": Dense(self.dim, self.hidden, **common), "net.3": Dense(self.hidden, self.dim, **common),
                          "act": activation("FeedForward", self.act)}

    def forward(self, x: Array) -> tuple[Array, Any]:
        return chain_forward(self.children, self.ORDER, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.ORDER, dy, cache)
