"""Scale-aware aggregation: the scales of a mixed convolution meet, first inside small groups of channels, then all of them.

Shapes       x (N, C, H, W), head by head as `mixed_conv` leaves it; proj0_weight (E, heads, 1, 1) and proj0_bias (E,), where E is a
             multiple of M = C/heads; bn_weight, bn_bias (E,); proj1_weight (O, E, 1, 1), proj1_bias (O,); bn_running_mean, bn_running_var
             (E,) -> y (N, O, H, W). Group i is channel i of every head; it makes R = E/M maps; officially E = 2·C and O = C
Forward      (F1) p = x regrouped    (F2) e = proj0_weight·p + proj0_bias, a pointwise convolution in M groups
             (F3) u = batch norm of e, by its own statistics or, in evaluation, by the running ones    (F4) a = GELU(u), the exact one
             (F5) y = proj1_weight·a + proj1_bias at every pixel
Backward     (B1) da, dproj1_weight, dproj1_bias = backward of (F5)    (B2) du = backward of (F4)
             (B3) de, dbn_weight, dbn_bias, and in evaluation the running statistics' gradients = backward of (F3)
             (B4) dproj0_weight = Σ de·p, dproj0_bias = Σ de, which is 0 in training    (B5) dp = proj0_weightᵀ·de in every group
             (B6) dx = dp in the order of x
Constraints  (C1) x is (N, C, H, W) with C >= 1
             (C2) proj0_weight is (E, heads, 1, 1), where heads >= 1 divides C and C/heads divides E
             (C3) proj0_bias, bn_weight and bn_bias are (E,)
             (C4) proj1_weight is (O, E, 1, 1) and proj1_bias (O,)
             (C5) bn_running_mean and bn_running_var are given both or neither, each (E,)
             (C6) there is at least one pixel to take the mean of, unless running statistics are given
             (C7) eps is a finite number greater than 0
Smooth       everywhere (eps > 0)                                       Source: SMT, arXiv 2307.08579, as the official code
"""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import batch_norm, gelu, pointwise_conv, regroup

Array = np.ndarray


class Cache(NamedTuple):
    x: Array; proj0_weight: Array; proj0_bias: Array; bn_weight: Array; bn_bias: Array; proj1_weight: Array; proj1_bias: Array
    bn_running_mean: Array | None; bn_running_var: Array | None; eps: float
    mean: Array; var: Array          # (E,): what e was normalised by; e, u and a are larger than x and cheap to make again
class Grads(NamedTuple):
    x: Array; proj0_weight: Array; proj0_bias: Array; bn_weight: Array; bn_bias: Array; proj1_weight: Array; proj1_bias: Array
    bn_running_mean: Array | None; bn_running_var: Array | None


def output_shape(x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, bn_running_mean=None, bn_running_var=None, *,
                 eps=1e-5):
    require(x.ndim == 4 and x.shape[1] >= 1, "C1", x=x)
    N, C, H, W = x.shape
    E, heads = (*proj0_weight.shape, 0, 0)[:2]
    require(proj0_weight.shape == (E, heads, 1, 1) and heads >= 1 and C % heads == 0 and E % (C // heads) == 0, "C2",
            proj0_weight=proj0_weight, x=x)
    require(proj0_bias.shape == bn_weight.shape == bn_bias.shape == (E,), "C3", proj0_bias=proj0_bias, bn_weight=bn_weight,
            bn_bias=bn_bias, proj0_weight=proj0_weight)
    O = (*proj1_weight.shape, 0)[0]
    require(proj1_weight.shape == (O, E, 1, 1) and proj1_bias.shape == (O,), "C4", proj1_weight=proj1_weight, proj1_bias=proj1_bias,
            proj0_weight=proj0_weight)
    training = bn_running_mean is None and bn_running_var is None
    given = training or getattr(bn_running_mean, "shape", None) == getattr(bn_running_var, "shape", None) == (E,)
    require(given, "C5", bn_running_mean=bn_running_mean, bn_running_var=bn_running_var, proj0_weight=proj0_weight)
    require(not training or N * H * W > 0, "C6", x=x)
    require(isinstance(eps, Real) and 0 < float(eps) < inf, "C7", eps=eps)
    return (N, O, H, W)


def macs(x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, bn_running_mean=None, bn_running_var=None, *, eps=1e-5):
    """At every pixel the weights of both projections."""
    N, _, H, W = x.shape
    return Macs(weights=N * H * W * (proj0_weight.size + proj1_weight.size))


@kernel
def forward(x: Array, proj0_weight: Array, proj0_bias: Array, bn_weight: Array, bn_bias: Array, proj1_weight: Array, proj1_bias: Array,
            bn_running_mean: Array | None = None, bn_running_var: Array | None = None, *, eps: float = 1e-5) -> tuple[Array, Cache]:
    p, _ = regroup.forward(x, heads=proj0_weight.shape[1])                                                       # (F1)
    e = expanded(p, proj0_weight, proj0_bias)                                                                    # (F2)
    u, norm = batch_norm.forward(e, bn_weight, bn_bias, bn_running_mean, bn_running_var, eps=eps)                # (F3)
    a, _ = gelu.forward(u)                                                                                       # (F4)
    y, _ = pointwise_conv.forward(a, proj1_weight, proj1_bias)                                                   # (F5)
    return y, Cache(x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, bn_running_mean, bn_running_var, eps,
                    norm.mean, norm.var)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    c = cache
    heads = c.proj0_weight.shape[1]
    p, _ = regroup.forward(c.x, heads=heads)                                                                     # (F1) again
    e = expanded(p, c.proj0_weight, c.proj0_bias)                                                                # (F2) again
    u, _ = batch_norm.forward(e, c.bn_weight, c.bn_bias, c.mean, c.var, eps=c.eps)                               # (F3) again
    a, gelu_cache = gelu.forward(u)                                                                              # (F4) again
    da, dproj1_weight, dproj1_bias = pointwise_conv.backward(dy, pointwise_conv.Cache(a, c.proj1_weight, c.proj1_bias))     # (B1)
    du = gelu.backward(da, gelu_cache).x                                                                         # (B2)
    norm = batch_norm.Cache(e, c.bn_weight, c.bn_bias, c.bn_running_mean, c.bn_running_var, c.eps, c.mean, c.var)
    of_norm = batch_norm.backward(du, norm)                                                                      # (B3)
    dgroups, groups, weight = in_groups(of_norm.x, c), in_groups(p, c), c.proj0_weight.reshape(p.shape[1] // heads, -1, heads)
    dproj0_weight = (dgroups @ groups.swapaxes(2, 3)).sum(0).reshape(c.proj0_weight.shape)                       # (B4)
    dproj0_bias = of_norm.x.sum((0, 2, 3))                                                                       # (B4)
    dp = (weight.swapaxes(1, 2) @ dgroups).reshape(p.shape)                                                      # (B5)
    dx = regroup.forward(dp, heads=heads, inverse=True)[0]                                                       # (B6)
    return Grads(dx, dproj0_weight, dproj0_bias, of_norm.weight, of_norm.bias, dproj1_weight, dproj1_bias,
                 of_norm.running_mean, of_norm.running_var)


def expanded(p: Array, proj0_weight: Array, proj0_bias: Array) -> Array:
    """e: R maps of every group of p."""
    (N, C, H, W), (E, heads) = p.shape, proj0_weight.shape[:2]
    products = proj0_weight.reshape(C // heads, -1, heads) @ p.reshape(N, C // heads, heads, H * W)
    return products.reshape(N, E, H, W) + proj0_bias[:, None, None]


def in_groups(x: Array, c: Cache) -> Array:
    """(N, M·K, H, W) -> (N, M, K, H·W)."""
    M = c.x.shape[1] // c.proj0_weight.shape[1]
    return x.reshape(x.shape[0], M, x.shape[1] // M, x.shape[2] * x.shape[3])


def running_statistics(cache: Cache, bn_running_mean: Array, bn_running_var: Array, *, momentum: float = 0.1) -> tuple[Array, Array]:
    """New running mean and variance (E,), from the cache of a training batch; the rule and its errors are those of `batch_norm`."""
    c = cache
    norm = batch_norm.Cache(c.x, c.bn_weight, c.bn_bias, c.bn_running_mean, c.bn_running_var, c.eps, c.mean, c.var)   # x for its size
    return batch_norm.running_statistics(norm, bn_running_mean, bn_running_var, momentum=momentum)
