"""Scale-aware modulation (SAM): a value times what parallel convolutions of several sizes made of the same input.

Z = Mod ⊙ V with V = W_v X and Mod = SAA(MHMC(W_s X)). MHMC filters each head by a kernel of its own size, eq. (1); SAA
mixes the heads within groups that hold one channel of each, and then the groups.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import Module, Seed, add, chain_backward, chain_forward, init, prefixed, to_tokens
from pyhybrid.ops import batch_norm, gelu, mixed_conv, modulation, regroup, scale_aware_aggregation
from pyhybrid.papers.smt.equations import ComposedAggregation
from pyhybrid.papers.smt.parts import check_sizes, check_tokens, heads_of, linear_map

__all__ = ["Aggregation", "MixedConv", "ScaleAwareModulation"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]


@dataclass(eq=False)
class MixedConv(Module):
    """MHMC: x (B, channels, H, W) -> y, same shape. Head t, contiguous channels, is filtered depthwise by `local_conv_{t+1}`.

    kernel_sizes=None means the paper's 3, 5, 7, …, one per head.
    """

    channels: int
    num_heads: int
    kernel_sizes: tuple[int, ...] | None = None
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_sizes("MixedConv", channels=self.channels)
        rng, dtype = init.generator(self.seed), init.float_type("MixedConv", self.dtype)
        M = self.channels // heads_of("MixedConv", "num_heads", self.num_heads, self.channels)
        self.sizes = mixed_conv.official_sizes(self.num_heads) if self.kernel_sizes is None else tuple(self.kernel_sizes)
        if len(mixed_conv.checked(self.sizes)) != self.num_heads:
            raise ConstraintError(f"MixedConv: kernel_sizes must be one for each of {self.num_heads} heads; got {self.sizes}")
        for h, k in enumerate(self.sizes, 1):
            self.params[f"local_conv_{h}.weight"] = init.kaiming_normal((M, 1, k, k), dtype, rng, M)
            self.params[f"local_conv_{h}.bias"] = init.constant(0, (M,), dtype, rng)

    def forward(self, x: Array) -> tuple[Array, mixed_conv.Cache]:
        heads = range(1, len(self.sizes) + 1)
        weight = mixed_conv.pack([self.params[f"local_conv_{h}.weight"] for h in heads], self.sizes)
        bias = np.concatenate([self.params[f"local_conv_{h}.bias"] for h in heads])
        return mixed_conv.forward(x, weight, bias, kernel_sizes=self.sizes)

    def backward(self, dy: Array, cache: mixed_conv.Cache) -> tuple[Array, Grads]:
        dx, dweight, dbias = mixed_conv.backward(dy, cache)
        assert dbias is not None        # the layer always has one
        by_head = zip(mixed_conv.unpack(dweight, self.sizes), np.split(dbias, len(self.sizes)), strict=True)
        grads: Grads = {}
        for h, (dK, db) in enumerate(by_head, 1):
            grads |= {f"local_conv_{h}.weight": dK, f"local_conv_{h}.bias": db}
        return dx, grads


@dataclass(eq=False)
class Aggregation(Module):
    """SAA as in the official code: x (B, channels, H, W), head by head -> modulator, same shape.

    `proj0` makes expand_ratio·heads maps of every group, `bn` and GELU follow, and `proj1` mixes all maps.
    """

    channels: int
    num_heads: int
    expand_ratio: int = 2
    _: KW_ONLY
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_sizes("Aggregation", channels=self.channels, expand_ratio=self.expand_ratio)
        rng, dtype = init.generator(self.seed), init.float_type("Aggregation", self.dtype)
        C, N, E = self.channels, heads_of("Aggregation", "num_heads", self.num_heads, self.channels), self.channels * self.expand_ratio
        self.params |= {
            "proj0.weight": init.kaiming_normal((E, N, 1, 1), dtype, rng, C // N), "proj0.bias": init.constant(0, (E,), dtype, rng),
            "bn.weight": init.constant(1, (E,), dtype, rng), "bn.bias": init.constant(0, (E,), dtype, rng),
            "proj1.weight": init.kaiming_normal((C, E, 1, 1), dtype, rng), "proj1.bias": init.constant(0, (C,), dtype, rng)}
        self.buffers |= {"bn.running_mean": np.zeros(E, dtype), "bn.running_var": np.ones(E, dtype),
                         "bn.num_batches_tracked": np.zeros((), np.int64)}

    def forward(self, x: Array) -> tuple[Array, scale_aware_aggregation.Cache]:
        given, kept = tuple(self.params.values()), self.buffers        # the operator takes them in this order
        running = kept["bn.running_mean"], kept["bn.running_var"]
        if not self.training:
            return scale_aware_aggregation.forward(x, *given, *running, eps=self.bn_eps)
        y, cache = scale_aware_aggregation.forward(x, *given, eps=self.bn_eps)
        mean, var = scale_aware_aggregation.running_statistics(cache, *running, momentum=self.bn_momentum)
        kept |= {"bn.running_mean": mean, "bn.running_var": var,
                 "bn.num_batches_tracked": np.asarray(kept["bn.num_batches_tracked"] + 1)}
        return y, cache

    def backward(self, dy: Array, cache: scale_aware_aggregation.Cache) -> tuple[Array, Grads]:
        grads = scale_aware_aggregation.backward(dy, cache)
        return grads.x, {name: getattr(grads, name.replace(".", "_")) for name in self.params}

    def intermediates(self, cache: scale_aware_aggregation.Cache) -> dict[str, Array]:
        """The maps after proj0, bn and the activation `act`, (B, expand_ratio·channels, H, W), made again from the cache."""
        p, _ = regroup.forward(cache.x, heads=self.num_heads)
        e = scale_aware_aggregation.expanded(p, cache.proj0_weight, cache.proj0_bias)
        u, _ = batch_norm.forward(e, cache.bn_weight, cache.bn_bias, cache.mean, cache.var, eps=cache.eps)
        return {"proj0": e, "bn": u, "act": gelu.forward(u)[0]}


@dataclass(eq=False)
class ScaleAwareModulation(Module):
    """x (B, H·W, dim), tokens of a map of `size` -> (B, H·W, dim): proj(SAA(MHMC(s(x))) ⊙ v(x)).

    The first four arguments bear the names of the official constructor, which also takes those of attention. The others choose readings
    of the equations that the official code does not follow: project_out=False ends with the product, as the equations and a widely copied
    listing do; `kernel_sizes` replaces 3, 5, 7, …; `fusion`, `norm_act` and `shared` are those of `ComposedAggregation`. A network hands
    them on: SMT(sam={"fusion": "grouped"}).
    """

    dim: int
    ca_num_heads: int = 4
    qkv_bias: bool = True
    expand_ratio: int = 2
    _: KW_ONLY
    project_out: bool = True
    kernel_sizes: tuple[int, ...] | None = None
    fusion: str = "dense"
    norm_act: bool = True
    shared: bool = False
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_sizes("ScaleAwareModulation", dim=self.dim, expand_ratio=self.expand_ratio)
        C, N = self.dim, heads_of("ScaleAwareModulation", "ca_num_heads", self.ca_num_heads, self.dim)
        choose("ScaleAwareModulation", "fusion", self.fusion, ComposedAggregation.FUSIONS)
        common: dict[str, Any] = {"dtype": init.float_type("ScaleAwareModulation", self.dtype), "seed": init.generator(self.seed)}
        norm: dict[str, Any] = {"bn_eps": self.bn_eps, "bn_momentum": self.bn_momentum}
        official = (self.fusion, self.norm_act, self.shared) == ("dense", True, False)
        self.aggregation = Aggregation(C, N, self.expand_ratio, **norm, **common) if official else ComposedAggregation(
            C, N, self.expand_ratio, self.fusion, self.norm_act, self.shared, **norm, **common)
        self.children |= {"v": linear_map(C, C, self.qkv_bias, **common),
                          "s": linear_map(C, C, self.qkv_bias, channels_first=True, **common),       # of tokens, but its result is a map
                          "mhmc": MixedConv(C, N, self.kernel_sizes, **common), "saa": self.aggregation}
        self.inline |= {"mhmc", "saa"}          # official names without a prefix
        if self.project_out:
            self.children["proj"] = linear_map(C, C, **common)
        self.output = ("proj",) if self.project_out else ()

    def forward(self, x: Array, size: Pair) -> tuple[Array, Any]:           # type: ignore[override]
        parts, size = self.children, check_tokens("ScaleAwareModulation", x, size, self.dim)
        v, c_v = parts["v"].forward(x)
        s, c_s = parts["s"].forward(x)
        modulator, c_branch = chain_forward(parts, ("mhmc", "saa"), s.reshape(*s.shape[:2], *size))
        z, c_product = modulation.forward(v, modulator)
        y, c_output = chain_forward(parts, self.output, z)
        return y, (c_v, c_s, c_branch, c_product, c_output)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        parts, (c_v, c_s, c_branch, c_product, c_output) = self.children, cache
        c_mhmc, c_saa = c_branch
        dz, grads = chain_backward(parts, self.output, dy, c_output)
        dv, dmodulator = modulation.backward(dz, c_product)
        dmixed, of_saa = parts["saa"].backward(dmodulator, c_saa)
        ds, of_mhmc = parts["mhmc"].backward(dmixed, c_mhmc)
        from_s, of_s = parts["s"].backward(ds.reshape(*ds.shape[:2], dy.shape[1]), c_s)
        from_v, of_v = parts["v"].backward(dv, c_v)
        return add(from_v, from_s), grads | of_saa | of_mhmc | prefixed("s", of_s) | prefixed("v", of_v)

    def intermediates(self, cache: Any) -> dict[str, Array]:
        """By name: v, s, z (tokens); local_conv_1 … (a map per head), what the aggregation names, and modulator (maps).

        They are read off the cache of a forward, or made again from it; the layer keeps none of them.
        """
        _, _, (c_mhmc, c_saa), c_product, _ = cache
        mixed, _ = mixed_conv.forward(c_mhmc.x, c_mhmc.weight, c_mhmc.bias, kernel_sizes=c_mhmc.kernel_sizes)
        by_head = np.split(mixed, len(c_mhmc.kernel_sizes), axis=1)
        return {"v": c_product.v, "s": to_tokens(c_mhmc.x), **{f"local_conv_{h}": y for h, y in enumerate(by_head, 1)},
                **self.aggregation.intermediates(c_saa), "modulator": c_product.modulator,
                "z": modulation.forward(c_product.v, c_product.modulator)[0]}
