"""gnConv with its parameters under the official names, and with the filters that take the place of its depthwise convolution.

Source: HorNet, arXiv 2207.14284, and the official code; equations (3)-(6) of the card.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import Module, Seed, init, prefixed
from pyhybrid.ops import gate_chain, gn_conv, pointwise_conv
from pyhybrid.papers.hornet.filters import GlobalFilter, GlobalLocalFilter

__all__ = ["GnConv"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
KINDS = ("global_local", "half", "global")


@dataclass(eq=False)
class GnConv(Module):
    """x (N, in_channels, H, W) -> y (N, out_channels, H, W); both are `dim` unless given.

    [p_0, q_0, …, q_(n-1)] = proj_in of x, with n = order and dim/2^(n-1-k) channels in q_k, and in p_0 as in q_0. One filter `dwconv`
    reads all q together and gives f_0, …, f_(n-1). Then p_(k+1) = s·f_k·u_k, with u_0 = p_0 and u_k a 1x1 convolution `pws.(k-1)` of p_k
    to the channels of f_k; y = proj_out of p_n, or p_n itself with project_out=False.
    The filter is a depthwise convolution of odd `kernel_size`, or with filter=(h, w) one with a spectrum of that size. `kind` says which:
    "global_local" as in the code (3x3 convolution and global filter on half of the channels each, between layer norms, interleaved),
    "half" as in the paper (no norms, one half after the other), "global" a global filter on all channels.
    `ConstraintError`: dim is not a multiple of 2^(order-1); an odd number of filtered channels with "global_local" or "half"; an even
    kernel_size; project_out=False where out_channels is not dim.
    """

    dim: int
    order: int = 5
    s: float = 1.0
    _: KW_ONLY
    kernel_size: int = 7
    filter: Pair | None = None
    kind: str = "global_local"
    in_channels: int | None = None
    out_channels: int | None = None
    project_out: bool = True
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        n, C = self.order, self.dim
        if n < 1 or C < 1 or C % 2 ** (n - 1):
            raise ConstraintError(f"GnConv: dim must be a multiple of 2^(order-1), since every step doubles the width up to dim; "
                                  f"got dim = {C}, order = {n}")
        self.dims = tuple(C // 2 ** (n - 1 - k) for k in range(n))
        inputs, outputs = (C if value is None else value for value in (self.in_channels, self.out_channels))
        self.need(1, *(name for name in ("in_channels", "out_channels") if getattr(self, name) is not None))
        choose("GnConv", "kind", self.kind, KINDS)
        if not self.project_out and outputs != C:
            raise ConstraintError(f"GnConv: without the last projection out_channels must be dim = {C}; got {outputs}")
        rng, dtype = init.generator(self.seed), init.float_type("GnConv", self.dtype)
        shapes: dict[str, tuple[int, ...]] = {"proj_in": (2 * C, inputs, 1, 1)}
        if self.filter is not None:
            self.children["dwconv"] = self._global(self.filter, {"dtype": dtype, "seed": rng})
        elif self.kernel_size % 2:
            shapes["dwconv"] = (sum(self.dims), 1, self.kernel_size, self.kernel_size)
        else:
            raise ConstraintError(f"GnConv: kernel_size must be odd; got {self.kernel_size}")
        self.pws = tuple(f"pws.{k}" for k in range(n - 1))
        shapes |= {name: (wide, narrow, 1, 1) for name, (narrow, wide) in zip(self.pws, pairwise(self.dims), strict=True)}
        if self.project_out:
            shapes["proj_out"] = (outputs, C, 1, 1)
        for name, shape in shapes.items():
            self.params[f"{name}.weight"] = init.fan_in_uniform(prod(shape[1:]), shape, dtype, rng)
            self.params[f"{name}.bias"] = init.fan_in_uniform(prod(shape[1:]), shape[:1], dtype, rng)

    def _global(self, spectrum: Pair, common: dict[str, Any]) -> Module:
        """The filter of kind `kind`."""
        channels, whole = sum(self.dims), self.kind == "global_local"
        if self.kind == "global":
            return GlobalFilter(channels, *spectrum, **common)
        if channels % 2:
            raise ConstraintError(f"GnConv: half of the filtered channels go through the global filter, so their number "
                                  f"2·dim - dim/2^(order-1) must be even; got {channels} with dim = {self.dim}, order = {self.order}")
        return GlobalLocalFilter(channels, *spectrum, norms=whole, interleaved=whole, **common)

    def forward(self, x: Array) -> tuple[Array, Any]:
        p, gates = self.params, self._gates()
        if self.filter is None:
            return gn_conv.forward(x, p["proj_in.weight"], p["dwconv.weight"], gates[0], p.get("proj_out.weight"), p["proj_in.bias"],
                                   p["dwconv.bias"], gates[1], p.get("proj_out.bias"), order=self.order, scale=self.s)
        projected, on_in = pointwise_conv.forward(x, p["proj_in.weight"], p["proj_in.bias"])        # (N, 2·dim, H, W)
        p0, q = _cut(projected, self.dims[0])
        f, on_filter = self.children["dwconv"].forward(q)
        pn, on_chain = gate_chain.forward(p0, f, *gates, order=self.order, scale=self.s)
        y, on_out = pn, None
        if self.project_out:
            y, on_out = pointwise_conv.forward(pn, p["proj_out.weight"], p["proj_out.bias"])
        return y, (on_in, on_filter, on_chain, on_out)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        if self.filter is None:
            g = gn_conv.backward(dy, cache)
            grads = {"proj_in.weight": g.proj_in_weight, "proj_in.bias": g.proj_in_bias, "dwconv.weight": g.dwconv_weight,
                     "dwconv.bias": g.dwconv_bias, "proj_out.weight": g.proj_out_weight, "proj_out.bias": g.proj_out_bias}
            grads |= self._of_gates(g.pws_weight, g.pws_bias)
            return g.x, {name: grads[name] for name in self.params}
        on_in, on_filter, on_chain, on_out = cache
        dpn, of_out = dy, {}
        if self.project_out:
            dpn, dweight, dbias = pointwise_conv.backward(dy, on_out)
            of_out = {"proj_out.weight": dweight, "proj_out.bias": dbias}
        chain = gate_chain.backward(dpn, on_chain)
        dq, of_filter = self.children["dwconv"].backward(chain.filtered, on_filter)
        dx, dweight, dbias = pointwise_conv.backward(np.concatenate([chain.p0, dq], axis=1), on_in)
        of_in = {"proj_in.weight": dweight, "proj_in.bias": dbias}
        return dx, of_in | prefixed("dwconv", of_filter) | self._of_gates(chain.weight, chain.bias) | of_out

    def _gates(self) -> tuple[Array | None, Array | None]:
        """Weights and biases of all pws as the flat arrays that the operators take."""
        return gate_chain.pack(*([self.params[f"{name}.{kind}"] for name in self.pws] for kind in ("weight", "bias")))

    def _of_gates(self, weight: Array | None, bias: Array | None) -> Grads:
        """The gradients of the flat arrays under the names of their parts."""
        weights, biases = gate_chain.unpack(weight, bias, self.dims[0], self.order)
        grads = {f"{name}.weight": part for name, part in zip(self.pws, weights, strict=True)}
        return grads | {f"{name}.bias": part for name, part in zip(self.pws, biases, strict=False) if part is not None}


def _cut(x: Array, channels: int) -> tuple[Array, Array]:
    """The first `channels` channels, and the others."""
    return np.ascontiguousarray(x[:, :channels]), np.ascontiguousarray(x[:, channels:])
