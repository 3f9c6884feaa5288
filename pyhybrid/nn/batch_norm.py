"""Batch norm as a layer, and what of the layers behind it runs together with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from pyhybrid.nn import init
from pyhybrid.nn.init import Seed
from pyhybrid.nn.layers import Conv2d, Operator
from pyhybrid.nn.module import Joined, Module
from pyhybrid.ops import batch_norm, batch_norm_act, mbconv_hidden

__all__ = ["BatchNorm2d"]

Array = np.ndarray
Grads = dict[str, Array]


@dataclass(eq=False)
class BatchNorm2d(Module):
    """Batch norm, x (N, C, H, W) -> same shape: by the batch's statistics in training mode, which moves the running ones, else by these."""

    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        rng, dtype, shape = init.generator(self.seed), init.float_type("BatchNorm2d", self.dtype), (self.channels,)
        self.params |= {"weight": init.constant(1, shape, dtype, rng), "bias": init.constant(0, shape, dtype, rng)}
        self.buffers |= {"running_mean": np.zeros(shape, dtype), "running_var": np.ones(shape, dtype),
                         "num_batches_tracked": np.zeros((), np.int64)}

    def forward(self, x: Array) -> tuple[Array, Any]:
        return self._run(batch_norm, x)

    def backward(self, dy: Array, cache: batch_norm.Cache) -> tuple[Array, Grads]:
        grads = batch_norm.backward(dy, cache)
        return grads.x, {"weight": grads.weight, "bias": grads.bias}

    def joined(self, following: Sequence[Module]) -> Joined | None:
        """With the activation behind it; with a depthwise convolution, an equal norm and the same activation behind that as well."""
        activation = self._activation(following[0]) if following else None
        if activation is None:
            return None
        if len(following) > 3:
            _, conv, norm, act = following[:4]
            if (isinstance(conv, Conv2d) and conv.is_depthwise and isinstance(norm, BatchNorm2d) and self._activation(act) == activation
                    and (norm.eps, norm.training) == (self.eps, self.training)):
                return Joined(5, partial(self._hidden, conv, norm, activation), _hidden_backward)
        return Joined(2, partial(self._run, batch_norm_act, activation=activation), _activated_backward)

    @staticmethod
    def _activation(layer: Module) -> str | None:
        """The name that batch_norm_act and mbconv_hidden have for this layer, if it is one of their activations."""
        if not isinstance(layer, Operator) or layer.config:
            return None
        return next((name for name, act in batch_norm_act.ACTIVATIONS.items() if act is layer.operator), None)

    def _run(self, operator: ModuleType, x: Array, **config: Any) -> tuple[Array, Any]:
        weight, bias, kept = self.params["weight"], self.params["bias"], self.buffers
        if not self.training:
            return operator.forward(x, weight, bias, kept["running_mean"], kept["running_var"], eps=self.eps, **config)
        y, cache = operator.forward(x, weight, bias, eps=self.eps, **config)
        self._follow(cache)
        return y, cache

    def _hidden(self, conv: Conv2d, norm: BatchNorm2d, activation: str, x: Array) -> tuple[Array, mbconv_hidden.Cache]:
        """From this norm to the activation behind `norm` in one operator."""
        own, others = self.params, norm.params
        kept = () if self.training else tuple(layer.buffers[name] for layer in (self, norm) for name in ("running_mean", "running_var"))
        y, cache = mbconv_hidden.forward(
            x, own["weight"], own["bias"], conv.params["weight"], others["weight"], others["bias"], *kept,
            eps=self.eps, activation=activation, stride=conv.stride, padding=conv.padding)
        if self.training:
            self._follow(batch_norm.Cache(x, own["weight"], own["bias"], None, None, self.eps, cache.mean_x, cache.var_x))
            # Of what `norm` was applied to nothing is left; y has its shape, and no more is asked of it.
            norm._follow(batch_norm.Cache(y, others["weight"], others["bias"], None, None, self.eps, cache.mean_h, cache.var_h))
        return y, cache

    def _follow(self, cache: Any) -> None:
        """The running statistics move towards those of the batch."""
        kept = self.buffers
        mean, var = batch_norm.running_statistics(cache, kept["running_mean"], kept["running_var"], momentum=self.momentum)
        kept |= {"running_mean": mean, "running_var": var, "num_batches_tracked": np.asarray(kept["num_batches_tracked"] + 1)}


def _activated_backward(dy: Array, cache: batch_norm_act.Cache) -> tuple[Array, tuple[Grads, ...]]:
    grads = batch_norm_act.backward(dy, cache)
    return grads.x, ({"weight": grads.weight, "bias": grads.bias}, {})


def _hidden_backward(dy: Array, cache: mbconv_hidden.Cache) -> tuple[Array, tuple[Grads, ...]]:
    grads = mbconv_hidden.backward(dy, cache)
    return grads.x, ({"weight": grads.in_weight, "bias": grads.in_bias}, {}, {"weight": grads.weight},
                     {"weight": grads.out_weight, "bias": grads.out_bias}, {})
