"""Multi-head relative attention with its projections, in the parameter layouts of the three profiles.

q, k, v = W x (+ bias), `heads` heads of `dim_head` channels each; heads = relative_attention(q, k, v, table); y = W_o [heads] (+ bias).
Each head has a number per displacement between query and key. The layouts differ in how the rows of the projections are ordered and in
how that table is kept; what is computed is the same.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import Module, Seed, add, chain_backward, chain_forward, init, join_heads, prefixed, split_heads
from pyhybrid.ops import relative_attention, relative_bias
from pyhybrid.ops._sizes import pair
from pyhybrid.papers.coatnet.parts import Dense

__all__ = ["ATTENTION", "CWAttention", "RelativeAttention", "TimmAttention"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class RelativeAttention(Module):
    """x (B, H·W, in_features), tokens of a map of `size` -> (B, H·W, out_features): the paper's profile, with q, k, v and o apart.

    The widening happens in q, k and v; with expand_first=False, as in some models of timm, in the output. heads=None means one head for
    every `dim_head` channels. form="post" adds the table after the softmax, eq. (3), second case.
    """

    in_features: int
    out_features: int
    size: int | Pair
    dim_head: int = 32
    _: KW_ONLY
    heads: int | None = None
    form: str = "pre"
    sign: str = "query - key"
    qkv_bias: bool = True
    out_bias: bool = True
    expand_first: bool = True
    project_out: bool = True
    table: str = "bias"                 # "bias_tf": TimmAttention's table as Google lays it out
    dtype: Any = np.float64
    seed: Seed = 0

    TABLE = "relative_bias"
    OUT = "o"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        self.grid = pair(f"{owner}: size", self.size)
        choose(owner, "form", self.form, relative_attention.FORMS)
        choose(owner, "sign", self.sign, relative_attention.SIGNS)
        choose(owner, "table", self.table, ("bias", "bias_tf") if isinstance(self, TimmAttention) else ("bias",))
        width = self.out_features if self.expand_first else self.in_features
        if self.heads is None and (self.dim_head < 1 or width % self.dim_head):
            raise ConstraintError(f"{owner}: dim_head must divide the width of the heads, {width}; got {self.dim_head}")
        self.head_count = width // self.dim_head if self.heads is None else self.heads
        if self.head_count < 1:
            raise ConstraintError(f"{owner}: there must be at least one head; got {self.head_count}")
        self.inner = self.head_count * self.dim_head
        common: dict[str, Any] = {"dtype": init.float_type(owner, self.dtype), "seed": init.generator(self.seed)}
        self._build(common)
        if self.project_out:
            self.children[self.OUT] = Dense(self.inner, self.out_features, self.out_bias, isinstance(self, TimmAttention), **common)

    def forward(self, x: Array) -> tuple[Array, Any]:
        q, k, v, c_qkv = self._project(x)                                                   # (B, heads, H·W, dim_head)
        o, c_heads = relative_attention.forward(q, k, v, self._table(), size=self.grid, form=self.form, sign=self.sign)
        y, c_out = chain_forward(self.children, self._output, join_heads(o))
        return y, (c_qkv, c_heads, c_out)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        c_qkv, c_heads, c_out = cache
        dtokens, grads = chain_backward(self.children, self._output, dy, c_out)
        heads = relative_attention.backward(split_heads(dtokens, self.head_count), c_heads)
        dx, of_qkv = self._project_backward(heads.q, heads.k, heads.v, c_qkv)
        return dx, grads | of_qkv | {self.TABLE: self._table_grad(heads.table)}

    @property
    def _output(self) -> tuple[str, ...]:
        return (self.OUT,) if self.project_out else ()

    # What the layouts differ in.

    def _build(self, common: dict[str, Any]) -> None:
        (H, W), rng, dtype = self.grid, common["seed"], common["dtype"]
        self.params[self.TABLE] = init.normal(0.02, (self.head_count, 2 * H - 1, 2 * W - 1), dtype, rng)
        self.children |= {name: Dense(self.in_features, self.inner, self.qkv_bias, **common) for name in "qkv"}

    def _table(self) -> Array:
        """(heads, 2H-1, 2W-1)."""
        return self.params[self.TABLE]

    def _table_grad(self, dtable: Array) -> Array:
        return dtable

    def _project(self, x: Array) -> tuple[Array, Array, Array, Any]:
        (q, c_q), (k, c_k), (v, c_v) = (self.children[name].forward(x) for name in "qkv")
        q, k, v = (split_heads(tokens, self.head_count) for tokens in (q, k, v))
        return q, k, v, (c_q, c_k, c_v)

    def _project_backward(self, dq: Array, dk: Array, dv: Array, cache: Any) -> tuple[Array, Grads]:
        shares, grads = [], Grads()
        for name, d, own_cache in zip("qkv", (dq, dk, dv), cache, strict=True):
            share, own = self.children[name].backward(join_heads(d), own_cache)
            shares.append(share)
            grads |= prefixed(name, own)
        from_q, from_k, from_v = shares
        return add(add(from_q, from_k), from_v), grads


@dataclass(eq=False)
class CWAttention(RelativeAttention):
    """x (B, H·W, in_features) -> (B, H·W, out_features), the same with chinhsuanwu's names.

    One projection has the rows [q | k | v], each head by head, and the table is ((2H-1)·(2W-1), heads). The output projection is absent
    where project_out=False, as there for one head as wide as the input.
    """

    TABLE = "relative_bias_table"
    OUT = "to_out.0"
    QKV = "to_qkv"
    AXES = (2, 0, 3, 1, 4)              # (B, N, 3, heads, dim_head) -> (3, B, heads, N, dim_head)
    BACK = (1, 3, 0, 2, 4)
    FIXED: ClassVar[tuple[str, ...]] = ("relative_index",)

    def _build(self, common: dict[str, Any]) -> None:
        (H, W), rng, dtype = self.grid, common["seed"], common["dtype"]
        self.params[self.TABLE] = init.constant(0, ((2 * H - 1) * (2 * W - 1), self.head_count), dtype, rng)
        self.children[self.QKV] = Dense(self.in_features, 3 * self.inner, self.qkv_bias, **common)
        self.buffers["relative_index"] = relative_bias.index(self.grid).reshape(-1, 1).astype(np.int64)

    def _table(self) -> Array:
        H, W = self.grid
        return np.ascontiguousarray(self.params[self.TABLE].T).reshape(self.head_count, 2 * H - 1, 2 * W - 1)

    def _table_grad(self, dtable: Array) -> Array:
        return np.ascontiguousarray(dtable.reshape(self.head_count, -1).T)

    def _project(self, x: Array) -> tuple[Array, Array, Array, Any]:
        z, cache = self.children[self.QKV].forward(x)
        q, k, v = z.reshape(*x.shape[:2], *self._rows, self.dim_head).transpose(self.AXES)
        return q, k, v, cache

    def _project_backward(self, dq: Array, dk: Array, dv: Array, cache: Any) -> tuple[Array, Grads]:
        dz = np.stack([dq, dk, dv]).transpose(self.BACK)
        dx, own = self.children[self.QKV].backward(dz.reshape(*dz.shape[:2], 3 * self.inner), cache)
        return dx, prefixed(self.QKV, own)

    @property
    def _rows(self) -> Pair:
        return 3, self.head_count


@dataclass(eq=False)
class TimmAttention(CWAttention):
    """x (B, H·W, in_features) -> (B, H·W, out_features), the same with timm's names: projection by 1x1 kernels, head by head [q | k | v].

    table="bias_tf" keeps the table as (heads, 2H-1, 2W-1) and reads it at key - query, as Google's code does.
    """

    TABLE = "rel_pos.relative_position_bias_table"
    OUT = "proj"
    QKV = "qkv"
    AXES = (3, 0, 2, 1, 4)              # (B, N, heads, 3, dim_head) -> (3, B, heads, N, dim_head)
    BACK = (1, 3, 2, 0, 4)
    FIXED = ()

    def _build(self, common: dict[str, Any]) -> None:
        (H, W), rng, dtype = self.grid, common["seed"], common["dtype"]
        shape: tuple[int, ...] = ((2 * H - 1) * (2 * W - 1), self.head_count)
        if self.table == "bias_tf":
            shape, self.sign = (self.head_count, 2 * H - 1, 2 * W - 1), "key - query"
        self.params[self.TABLE] = init.truncated_normal(0.02, shape, dtype, rng)
        self.children[self.QKV] = Dense(self.in_features, 3 * self.inner, self.qkv_bias, as_conv=True, **common)

    def _table(self) -> Array:
        return self.params[self.TABLE] if self.table == "bias_tf" else super()._table()

    def _table_grad(self, dtable: Array) -> Array:
        return dtable if self.table == "bias_tf" else super()._table_grad(dtable)

    @property
    def _rows(self) -> Pair:
        return self.head_count, 3


ATTENTION = {"paper": RelativeAttention, "cw": CWAttention, "timm": TimmAttention}
