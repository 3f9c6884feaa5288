"""What MBConv does to its hidden maps, channel by channel: batch norm, activation, depthwise convolution, batch norm, activation.

Shapes       x (N, C, H, W), in_weight (C,), in_bias (C,), weight (C, 1, kh, kw), out_weight (C,), out_bias (C,)
             -> y (N, C, Ho, Wo), Ho = ⌊(H + 2·ph - kh) / sh⌋ + 1
Training     without statistics: both norms take those of the batch      Evaluation   with in_mean, in_var, out_mean, out_var (C,): these
Forward      (F1) a = act(in_weight·x̂ + in_bias)    (F2) h = a * weight, each channel by itself
             (F3) y = act(out_weight·ĥ + out_bias); x̂ and ĥ as batch_norm makes them, act being `activation`
Backward     (B1) dh, dout_weight, dout_bias, ... = backward of (F3)    (B2) da, dweight = backward of (F2)
             (B3) dx, din_weight, din_bias, ... = backward of (F1); a and h are not kept but made once more from x
Constraints  (C1) x is (N, C, H, W) with C >= 1
             (C2) weight is (C, 1, kh, kw), one kernel per channel of x
             (C3) the four statistics are all given or none; all else is as batch_norm_act and conv2d say
Smooth       everywhere for variances >= 0, but with "relu" where its argument is 0: the slope there is 0
Source       CoAtNet, arXiv 2106.04803, eq. (5), between its outer convolutions; MobileNetV2, arXiv 1801.04381, table 1
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.errors import require
from pyhybrid.ops import batch_norm_act, conv2d

Array = np.ndarray
Pair = tuple[int, int]
STATISTICS = ("in_mean", "in_var", "out_mean", "out_var")


class Cache(NamedTuple):
    x: Array; in_weight: Array; in_bias: Array; weight: Array; out_weight: Array; out_bias: Array
    in_mean: Array | None; in_var: Array | None; out_mean: Array | None; out_var: Array | None
    eps: float; activation: str; stride: int | Pair; padding: int | Pair
    mean_x: Array; var_x: Array; mean_h: Array; var_h: Array          # (C,): what x and h were normalised by
class Grads(NamedTuple):
    x: Array; in_weight: Array; in_bias: Array; weight: Array; out_weight: Array; out_bias: Array
    in_mean: Array | None; in_var: Array | None; out_mean: Array | None; out_var: Array | None


def output_shape(x, in_weight, in_bias, weight, out_weight, out_bias, in_mean=None, in_var=None, out_mean=None, out_var=None, *,
                 eps=1e-5, activation="gelu", stride=1, padding=1):
    require(x.ndim == 4 and x.shape[1] >= 1, "C1", x=x)
    C = x.shape[1]
    require(weight.ndim == 4 and weight.shape[:2] == (C, 1), "C2", weight=weight, x=x)
    given = dict(zip(STATISTICS, (in_mean, in_var, out_mean, out_var), strict=True))
    require(len({value is None for value in given.values()}) == 1, "C3", **given)
    batch_norm_act.output_shape(x, in_weight, in_bias, in_mean, in_var, eps=eps, activation=activation)
    shape = conv2d.output_shape(x, weight, stride=stride, padding=padding, groups=C)
    h = np.broadcast_to(x.dtype.type(0), shape)      # no memory: only its shape is read
    return batch_norm_act.output_shape(h, out_weight, out_bias, out_mean, out_var, eps=eps, activation=activation)


def macs(x, in_weight, in_bias, weight, out_weight, out_bias, *statistics, stride=1, padding=1, **config):
    """Those of the convolution."""
    return conv2d.macs(x, weight, stride=stride, padding=padding, groups=x.shape[1])


@kernel
def forward(x: Array, in_weight: Array, in_bias: Array, weight: Array, out_weight: Array, out_bias: Array,
            in_mean: Array | None = None, in_var: Array | None = None, out_mean: Array | None = None, out_var: Array | None = None, *,
            eps: float = 1e-5, activation: str = "gelu", stride: int | Pair = 1, padding: int | Pair = 1) -> tuple[Array, Cache]:
    a, on_x = batch_norm_act.forward(x, in_weight, in_bias, in_mean, in_var, eps=eps, activation=activation)             # (F1)
    h, _ = conv2d.forward(a, weight, stride=stride, padding=padding, groups=x.shape[1])                                  # (F2)
    y, on_h = batch_norm_act.forward(h, out_weight, out_bias, out_mean, out_var, eps=eps, activation=activation)         # (F3)
    return y, Cache(x, in_weight, in_bias, weight, out_weight, out_bias, in_mean, in_var, out_mean, out_var,
                    eps, activation, stride, padding, on_x.mean, on_x.var, on_h.mean, on_h.var)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    c = cache
    a, _ = batch_norm_act.forward(c.x, c.in_weight, c.in_bias, c.mean_x, c.var_x, eps=c.eps, activation=c.activation)    # (F1) again
    h, on_a = conv2d.forward(a, c.weight, stride=c.stride, padding=c.padding, groups=c.x.shape[1])                       # (F2) again
    on_x = batch_norm_act.Cache(c.x, c.in_weight, c.in_bias, c.in_mean, c.in_var, c.eps, c.activation, c.mean_x, c.var_x)
    on_h = batch_norm_act.Cache(h, c.out_weight, c.out_bias, c.out_mean, c.out_var, c.eps, c.activation, c.mean_h, c.var_h)
    dh, dout_weight, dout_bias, dout_mean, dout_var = batch_norm_act.backward(dy, on_h)                                  # (B1)
    da, dweight, _ = conv2d.backward(dh, on_a)                                                                           # (B2)
    dx, din_weight, din_bias, din_mean, din_var = batch_norm_act.backward(da, on_x)                                      # (B3)
    return Grads(dx, din_weight, din_bias, dweight, dout_weight, dout_bias, din_mean, din_var, dout_mean, dout_var)
