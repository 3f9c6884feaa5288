"""Batch normalisation: every channel is brought to mean 0 and variance 1, over the batch or by statistics kept from training.

Shapes       x (N, C, ...), weight (C,), bias (C,), running_mean (C,), running_var (C,) -> y, the shape of x
Training     without running statistics: mean and variance of the n values that a channel has in this batch
Evaluation   with running statistics: those, and then no value depends on another
Forward      (F1) m = Σ x / n    (F2) v = Σ (x - m)²/n    (F3) x̂ = (x - m)/√(v + eps)    (F4) y = weight·x̂ + bias; Σ over a channel
Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂    (B3) dx̂ = weight·dy
             (B4) training: dx = (dx̂ - Σ dx̂/n - x̂·Σ x̂·dx̂/n)/√(v + eps)    (B5) evaluation: dx = dx̂/√(v + eps)
             (B6) evaluation: drunning_mean = -Σ dx    (B7) evaluation: drunning_var = -½ Σ dx̂·x̂/(v + eps)
Constraints  (C1) x is (N, C, ...) with at least two axes
             (C2) weight and bias are (C,), one value per channel of x
             (C3) running_mean and running_var are given both or neither, each (C,)
             (C4) a channel has at least one value to take the mean of, unless running statistics are given
             (C5) eps is a finite number greater than 0
             (C6) new running statistics come from the cache of training with at least two values per channel: the unbiased
                  variance of a single value does not exist
             (C7) momentum is a number from 0 to 1
Smooth       everywhere for v >= 0                                      Source: Batch Normalization, arXiv 1502.03167, algorithms 1, 2
"""

from __future__ import annotations

from math import inf, prod
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.arrays import check_array
from pyhybrid.backend import kernel
from pyhybrid.errors import require

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; weight: Array; bias: Array; running_mean: Array | None; running_var: Array | None; eps: float
    mean: Array; var: Array          # (C,): what x was normalised by
class Grads(NamedTuple): x: Array; weight: Array; bias: Array; running_mean: Array | None; running_var: Array | None


def output_shape(x, weight, bias, running_mean=None, running_var=None, *, eps=1e-5):
    require(x.ndim >= 2, "C1", x=x)
    C = x.shape[1:2]
    require(weight.shape == bias.shape == C, "C2", weight=weight, bias=bias, x=x)
    training = running_mean is None and running_var is None
    given = training or getattr(running_mean, "shape", None) == getattr(running_var, "shape", None) == C
    require(given, "C3", running_mean=running_mean, running_var=running_var, x=x)
    require(not training or count(x) > 0, "C4", x=x)
    require(isinstance(eps, Real) and 0 < float(eps) < inf, "C5", eps=eps)
    return x.shape


@kernel
def forward(x: Array, weight: Array, bias: Array, running_mean: Array | None = None, running_var: Array | None = None, *,
            eps: float = 1e-5) -> tuple[Array, Cache]:
    if running_mean is None or running_var is None:
        mean = x.mean(per_channel(x))                                      # (F1)
        xc = x - maps(mean, x)
        var = (xc * xc).mean(per_channel(x))                               # (F2)
    else:
        mean, var = running_mean.copy(), running_var.copy()
    x_hat = (x - maps(mean, x)) * maps(1 / np.sqrt(var + float(eps)), x)   # (F3)
    y = maps(weight, x) * x_hat + maps(bias, x)                            # (F4)
    return y, Cache(x, weight, bias, running_mean, running_var, eps, mean, var)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, weight, _, running_mean, _, eps, mean, var = cache
    axes, n = per_channel(x), count(x)
    inv = 1 / np.sqrt(var + float(eps))
    x_hat = (x - maps(mean, x)) * maps(inv, x)                             # (F3) again
    dbias = dy.sum(axes)                                                   # (B1)
    dweight = (dy * x_hat).sum(axes)                                       # (B2)
    dx_hat = maps(weight, x) * dy                                          # (B3)
    if running_mean is None:
        slopes = maps(weight * dbias / n, x) + x_hat * maps(weight * dweight / n, x)
        return Grads(maps(inv, x) * (dx_hat - slopes), dweight, dbias, None, None)          # (B4)
    dx = maps(inv, x) * dx_hat                                             # (B5)
    dmean = -(inv * weight * dbias)                                        # (B6)
    dvar = -0.5 * (inv * inv * weight * dweight)                           # (B7)
    return Grads(dx, dweight, dbias, dmean, dvar)


def running_statistics(cache: Cache, running_mean: Array, running_var: Array, *, momentum: float = 0.1) -> tuple[Array, Array]:
    """New running mean and variance: the old ones moved by `momentum` towards those of a training batch, variance unbiased."""
    n = count(cache.x)
    for name, old in (("running_mean", running_mean), ("running_var", running_var)):
        check_array("batch_norm", name, old)
    require(running_mean.shape == running_var.shape == cache.mean.shape, "C3", running_mean=running_mean, running_var=running_var)
    require(cache.running_mean is None and n > 1, "C6", x=cache.x, running_mean=cache.running_mean)
    require(isinstance(momentum, Real) and 0 <= float(momentum) <= 1, "C7", momentum=momentum)
    step = float(momentum)
    mean = (1 - step) * running_mean + step * cache.mean
    return mean, (1 - step) * running_var + step * (cache.var * (n / (n - 1)))


def count(x: Array) -> int:
    """Values that a channel of x has."""
    return x.shape[0] * prod(x.shape[2:])


def per_channel(x: Array) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return (0, *range(2, x.ndim))


def maps(vector: Array, x: Array) -> Array:
    """A value per channel, with as many axes as x."""
    return vector.reshape((-1,) + (1,) * (x.ndim - 2))
