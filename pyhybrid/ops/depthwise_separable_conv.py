"""Depthwise separable convolution: each channel is filtered by its own kernel, then a pointwise convolution mixes the channels.

Shapes       x (N, C, H, W), depthwise_weight (C, 1, kh, kw), pointwise_weight (M, C, 1, 1), depthwise_bias (C,), pointwise_bias (M,)
             -> y (N, M, Ho, Wo), Ho = H + 2·ph - kh + 1; padding None stands for (⌊kh/2⌋, ⌊kw/2⌋), which keeps the size of odd kernels
Forward      (F1) u[c] = x[c] * depthwise_weight[c] + depthwise_bias[c]    (F2) y = pointwise_weight·u + pointwise_bias at every pixel
Backward     (B1) du, dpointwise_weight, dpointwise_bias = backward of (F2)
             (B2) dx, ddepthwise_weight, ddepthwise_bias = backward of (F1)
Constraints  (C1) x is (N, C, H, W) with C >= 1
             (C2) depthwise_weight is (C, 1, kh, kw) with kh, kw >= 1, one kernel per channel of x
             (C3) pointwise_weight is (M, C, 1, 1)
             (C4) depthwise_bias, if given, is (C,)
             (C5) pointwise_bias, if given, is (M,)
             (C6) the padded input is at least as large as the kernel
Smooth       everywhere (linear in x and in each weight)                Source: DAS, arXiv 2311.12091, eq. (1)
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs
from pyhybrid.errors import require
from pyhybrid.ops import conv2d, pointwise_conv
from pyhybrid.ops._sizes import pair

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple):
    x: Array; depthwise_weight: Array; pointwise_weight: Array; depthwise_bias: Array | None; pointwise_bias: Array | None
    padding: int | Pair | None
    u: Array                    # the pointwise weight's gradient reads it, and it is as costly to make again as the output
class Grads(NamedTuple):
    x: Array; depthwise_weight: Array; pointwise_weight: Array; depthwise_bias: Array | None; pointwise_bias: Array | None


def output_shape(x, depthwise_weight, pointwise_weight, depthwise_bias=None, pointwise_bias=None, *, padding=None):
    require(x.ndim == 4 and x.shape[1] >= 1, "C1", x=x)
    (N, C, H, W), kernel_shape = x.shape, depthwise_weight.shape
    require(depthwise_weight.ndim == 4 and kernel_shape[:2] == (C, 1) and min(kernel_shape[2:]) >= 1, "C2",
            depthwise_weight=depthwise_weight, x=x)
    require(pointwise_weight.ndim == 4 and pointwise_weight.shape[1:] == (C, 1, 1), "C3", pointwise_weight=pointwise_weight, x=x)
    require(depthwise_bias is None or depthwise_bias.shape == (C,), "C4", depthwise_bias=depthwise_bias, x=x)
    M = len(pointwise_weight)
    require(pointwise_bias is None or pointwise_bias.shape == (M,), "C5", pointwise_bias=pointwise_bias, pointwise_weight=pointwise_weight)
    (kh, kw), (ph, pw) = kernel_shape[2:], borders(depthwise_weight, padding)
    require(H + 2 * ph >= kh and W + 2 * pw >= kw, "C6", x=x, depthwise_weight=depthwise_weight, padding=padding)
    return (N, M, H + 2 * ph - kh + 1, W + 2 * pw - kw + 1)


def macs(x, depthwise_weight, pointwise_weight, depthwise_bias=None, pointwise_bias=None, *, padding=None):
    """At every output pixel kh·kw products per channel, then C per output channel."""
    shape = output_shape(x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, padding=padding)
    return Macs(weights=len(x) * prod(shape[2:]) * (depthwise_weight.size + pointwise_weight.size))


@kernel
def forward(x: Array, depthwise_weight: Array, pointwise_weight: Array, depthwise_bias: Array | None = None,
            pointwise_bias: Array | None = None, *, padding: int | Pair | None = None) -> tuple[Array, Cache]:
    border, C = borders(depthwise_weight, padding), x.shape[1]
    u, _ = conv2d.forward(x, depthwise_weight, depthwise_bias, padding=border, groups=C)       # (F1)
    y, _ = pointwise_conv.forward(u, pointwise_weight, pointwise_bias)                                 # (F2)
    return y, Cache(x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, padding, u)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, padding, u = cache
    border, C = borders(depthwise_weight, padding), x.shape[1]
    pointwise = pointwise_conv.Cache(u, pointwise_weight, pointwise_bias)
    du, dpointwise_weight, dpointwise_bias = pointwise_conv.backward(dy, pointwise)                    # (B1)
    depthwise = conv2d.Cache(x, depthwise_weight, depthwise_bias, 1, border, 1, C)
    dx, ddepthwise_weight, ddepthwise_bias = conv2d.backward(du, depthwise)                            # (B2)
    return Grads(dx, ddepthwise_weight, dpointwise_weight, ddepthwise_bias, dpointwise_bias)


def borders(depthwise_weight: Array, padding: int | Pair | None) -> Pair:
    """padding as a pair; None as half of the kernel."""
    kh, kw = depthwise_weight.shape[2:]
    return (kh // 2, kw // 2) if padding is None else pair("padding", padding, 0)
