"""ACmix: attention and convolution on the same three projections, mixed by two learnt scalars.

Shapes       x (N, C', H, W) -> y (N, C, ⌈H/sh⌉, ⌈W/sw⌉); rate1, rate2 (1,);
             conv1 (query), conv2 (key), conv3 (value): weight (C, C', 1, 1), bias (C,); fc and dep_conv as in conv_path;
             conv_p (positional term): weight (d, 2, 1, 1), bias (d,), d = C/heads
Forward      (F1) q, k, v = conv1(x), conv2(x), conv3(x)    (F2) pe = conv_p(location grid of x)
             (F3) att = local_attention(q, k, v, pe)    (F4) conv = conv_path(q, k, v)    (F5) y = rate1·att + rate2·conv
Backward     (B1) drate1 = <dy, att>, drate2 = <dy, conv>    (B2) datt = rate1·dy, dconv = rate2·dy
             (B3) dq, dk, dv, dpe = backward of (F3) at datt    (B4) dq, dk, dv, dfc, ddep_conv = backward of (F4) at dconv;
             the dq, dk, dv of the two paths are added    (B5) dconv_p = backward of (F2)
             (B6) dx = Σ over the three projections of their backward
Constraints  (C1) rate1 and rate2 are (1,)
             (C2) conv1_weight, conv2_weight and conv3_weight have one shape (C, C', 1, 1), C' the channels of x; each bias is (C,)
             (C3) conv_p_weight, if given, is (C/heads, 2, 1, 1); conv_p_bias, if given, is (C/heads,) and needs conv_p_weight
Smooth       everywhere                                                 Source: ACmix, arXiv 2111.14556, eq. (16) and figure 2
Note         The convolution path sees q unscaled; only the attention scores are divided by √d. Without conv_p there is no positional term.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.backend import kernel
from pyhybrid.counting import Macs, placeholder
from pyhybrid.errors import require
from pyhybrid.ops import conv_path, local_attention, pointwise_conv, positional_term
from pyhybrid.ops._sizes import integer

Array = np.ndarray
Pair = tuple[int, int]


class Cache(NamedTuple):
    x: Array; rate1: Array; rate2: Array
    conv1_weight: Array; conv1_bias: Array; conv2_weight: Array; conv2_bias: Array; conv3_weight: Array; conv3_bias: Array
    fc_weight: Array; dep_conv_weight: Array; conv_p_weight: Array | None; conv_p_bias: Array | None
    fc_bias: Array | None; dep_conv_bias: Array | None
    heads: int; kernel_size: int; stride: int | Pair; border: str; channel_order: str
    q: Array; k: Array; v: Array; pe: Array | None; lse: Array          # what the two paths start from, and the attention's log-sum-exp
    att: Array; conv: Array                                             # the two paths' outputs, for the gradients of the rates
class Grads(NamedTuple):
    x: Array; rate1: Array; rate2: Array
    conv1_weight: Array; conv1_bias: Array; conv2_weight: Array; conv2_bias: Array; conv3_weight: Array; conv3_bias: Array
    fc_weight: Array; dep_conv_weight: Array; conv_p_weight: Array | None; conv_p_bias: Array | None
    fc_bias: Array | None; dep_conv_bias: Array | None


def output_shape(x, rate1, rate2, conv1_weight, conv1_bias, conv2_weight, conv2_bias, conv3_weight, conv3_bias, fc_weight,
                 dep_conv_weight, conv_p_weight=None, conv_p_bias=None, fc_bias=None, dep_conv_bias=None, *, heads, kernel_size=7,
                 stride=1, border="reflect", channel_order="official"):
    require(rate1.shape == rate2.shape == (1,), "C1", rate1=rate1, rate2=rate2)
    weights = {"conv1_weight": conv1_weight, "conv2_weight": conv2_weight, "conv3_weight": conv3_weight}
    biases = {"conv1_bias": conv1_bias, "conv2_bias": conv2_bias, "conv3_bias": conv3_bias}
    expected = (conv1_weight.shape[0] if conv1_weight.ndim else 0, x.shape[1] if x.ndim == 4 else 0, 1, 1)
    require(all(weight.shape == expected for weight in weights.values()), "C2", x=x, **weights)
    require(all(bias.shape == expected[:1] for bias in biases.values()), "C2", **biases)
    q = placeholder(pointwise_conv.output_shape(x, conv1_weight, conv1_bias), x.dtype)
    conv_path.output_shape(q, q, q, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, heads=heads, stride=stride,
                           channel_order=channel_order)
    d = q.shape[1] // integer("heads", heads)
    require(conv_p_weight is None or conv_p_weight.shape == (d, 2, 1, 1), "C3", conv_p_weight=conv_p_weight, heads=heads)
    require(conv_p_bias is None or (conv_p_weight is not None and conv_p_bias.shape == (d,)), "C3", conv_p_bias=conv_p_bias,
            conv_p_weight=conv_p_weight)
    return local_attention.output_shape(q, q, q, heads=heads, kernel_size=kernel_size, stride=stride, border=border)


def macs(x, rate1, rate2, conv1_weight, conv1_bias, conv2_weight, conv2_bias, conv3_weight, conv3_bias, fc_weight, dep_conv_weight,
         conv_p_weight=None, conv_p_bias=None, fc_bias=None, dep_conv_bias=None, *, heads, kernel_size=7, stride=1, **config):
    """Three projections, the positional term, attention, and the convolution path."""
    q = placeholder(pointwise_conv.output_shape(x, conv1_weight, conv1_bias), x.dtype)
    term = Macs() if conv_p_weight is None else positional_term.macs(conv_p_weight, size=x.shape[2:])
    return (Macs(3 * pointwise_conv.macs(x, conv1_weight).weights) + term
            + local_attention.macs(q, q, q, heads=heads, kernel_size=kernel_size, stride=stride, border="zero")
            + conv_path.macs(q, q, q, fc_weight, dep_conv_weight, heads=heads, stride=stride))


@kernel
def forward(x: Array, rate1: Array, rate2: Array, conv1_weight: Array, conv1_bias: Array, conv2_weight: Array, conv2_bias: Array,
            conv3_weight: Array, conv3_bias: Array, fc_weight: Array, dep_conv_weight: Array, conv_p_weight: Array | None = None,
            conv_p_bias: Array | None = None, fc_bias: Array | None = None, dep_conv_bias: Array | None = None, *, heads: int,
            kernel_size: int = 7, stride: int | Pair = 1, border: str = "reflect",
            channel_order: str = "official") -> tuple[Array, Cache]:
    q, _ = pointwise_conv.forward(x, conv1_weight, conv1_bias)                                      # (F1)
    k, _ = pointwise_conv.forward(x, conv2_weight, conv2_bias)
    v, _ = pointwise_conv.forward(x, conv3_weight, conv3_bias)
    pe = None
    if conv_p_weight is not None:
        pe, _ = positional_term.forward(conv_p_weight, conv_p_bias, size=x.shape[2:])               # (F2)
    att, attention = local_attention.forward(q, k, v, pe, heads=heads, kernel_size=kernel_size, stride=stride, border=border)     # (F3)
    conv, _ = conv_path.forward(q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, heads=heads, stride=stride,
                                channel_order=channel_order)                                        # (F4)
    y = rate1 * att + rate2 * conv                                                                  # (F5)
    return y, Cache(x, rate1, rate2, conv1_weight, conv1_bias, conv2_weight, conv2_bias, conv3_weight, conv3_bias, fc_weight,
                    dep_conv_weight, conv_p_weight, conv_p_bias, fc_bias, dep_conv_bias, heads, kernel_size, stride, border,
                    channel_order, q, k, v, pe, attention.lse, att, conv)


@kernel
def backward(dy: Array, cache: Cache) -> Grads:
    c = cache
    drate1, drate2 = (dy * c.att).sum().reshape(1), (dy * c.conv).sum().reshape(1)                  # (B1)
    datt, dconv = c.rate1 * dy, c.rate2 * dy                                                        # (B2)
    attention = attention_cache(c)
    path = conv_path.Cache(c.q, c.k, c.v, c.fc_weight, c.dep_conv_weight, c.fc_bias, c.dep_conv_bias, c.heads, c.stride,
                           c.channel_order)
    from_att = local_attention.backward(datt, attention)                                            # (B3)
    from_conv = conv_path.backward(dconv, path)                                                     # (B4)
    dq, dk, dv = from_att.q + from_conv.q, from_att.k + from_conv.k, from_att.v + from_conv.v
    dweight_p, dbias_p = None, None
    if c.conv_p_weight is not None and from_att.pe is not None:
        term = positional_term.Cache(c.conv_p_weight, c.conv_p_bias, c.x.shape[2:])
        dweight_p, dbias_p = positional_term.backward(from_att.pe, term)                            # (B5)
    query = pointwise_conv.backward(dq, pointwise_conv.Cache(c.x, c.conv1_weight, c.conv1_bias))    # (B6)
    key = pointwise_conv.backward(dk, pointwise_conv.Cache(c.x, c.conv2_weight, c.conv2_bias))
    value = pointwise_conv.backward(dv, pointwise_conv.Cache(c.x, c.conv3_weight, c.conv3_bias))
    dx = query.x + key.x + value.x
    return Grads(dx, drate1, drate2, query.weight, query.bias, key.weight, key.bias, value.weight, value.bias, from_conv.fc_weight,
                 from_conv.dep_conv_weight, dweight_p, dbias_p, from_conv.fc_bias, from_conv.dep_conv_bias)


def attention_cache(cache: Cache) -> local_attention.Cache:
    """What (F3) left for its backward."""
    c = cache
    return local_attention.Cache(c.q, c.k, c.v, c.pe, c.heads, c.kernel_size, c.stride, c.border, None, c.lse)
