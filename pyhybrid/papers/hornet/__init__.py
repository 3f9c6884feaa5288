"""HorNet: products of the pixels with their surroundings, gate after gate, where a Transformer has attention.

gnConv multiplies a narrow vector at every pixel by a filtered map, widens it, multiplies again: n gates make a polynomial of degree
n + 1 of the input, at the price of little more than one gate. The filter is a 7x7 depthwise convolution, or one that multiplies in
frequency. `CARD` says which function computes which equation, and where paper and official code differ.
"""

from functools import partial

from pyhybrid.papers._card import Card, Equation, ops, within
from pyhybrid.papers.hornet._differences import DIFFERENCES
from pyhybrid.papers.hornet.attention_form import attention_form
from pyhybrid.papers.hornet.block import Block
from pyhybrid.papers.hornet.filters import GFNetFilter, GlobalFilter, GlobalLocalFilter
from pyhybrid.papers.hornet.gnconv import GnConv
from pyhybrid.papers.hornet.horfpn import GNFPN, GNConvModule, SegmentationFusion
from pyhybrid.papers.hornet.model import HorNet, HorNetFeatures, downsampling, stem

__all__ = [
    "CARD", "GNFPN", "Block", "GFNetFilter", "GNConvModule", "GlobalFilter", "GlobalLocalFilter", "GnConv", "HorNet", "HorNetFeatures",
    "SegmentationFusion", "attention_form", "downsampling", "stem",
]

_hornet = partial(within, "pyhybrid.papers.hornet")

CARD = Card(
    title="HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions",
    identifier="arXiv 2207.14284",
    venue="NeurIPS 2022",
    code="github.com/raoyongming/HorNet",
    layer="pyhybrid.papers.hornet.HorNet",
    # The numbers are those of our reading, in the order of the paper; quote operators by name.
    equations=(
        Equation("(1)-(2)", "gConv: p_0 times the depthwise convolution of q_0", ops("gated_conv", "pointwise_conv", "conv2d")),
        Equation("(3)-(6)", "gnConv: n gates, p_(k+1) = f_k(q_k)·g_k(p_k)/alpha, widths C/2^(n-1-k)",
                 (*ops("gn_conv", "gate_chain"), *_hornet("GnConv"))),
        Equation("(7)", "cost of gnConv, bounded for every n", _hornet("costs.closed_form", "costs.bound", "costs.terms")),
        Equation("(8)-(9)", "the last gate as attention: a learnt kernel times one number per pixel and channel",
                 _hornet("attention_form")),
        Equation("global filter", "a product in frequency (GFNet), at any size", (*ops("global_filter", "spectrum_resize"),
                 *_hornet("GlobalFilter", "GFNetFilter"))),
        Equation("code", "the filter of the GF models: half local, half global", (*ops("interleave", "layer_norm"),
                 *_hornet("GlobalLocalFilter"))),
        Equation("block", "x + gnConv(LN(x)), then x + MLP(LN(x)), as a Transformer's", (*ops("layer_norm", "linear", "gelu"),
                 *_hornet("Block"))),
        Equation("models", "four stages of widths C, 2C, 4C, 8C and orders 2, 3, 4, 5", (*ops("global_avg_pool"),
                 *_hornet("HorNet", "HorNetFeatures", "stem", "downsampling"), "pyhybrid.papers.build")),
        Equation("HorFPN", "gnConv in the pyramid for detection",
                 (*ops("resize_nearest", "max_pool2d"), *_hornet("GNFPN", "GNConvModule"))),
        Equation("HorFPN", "gnConv in UPerNet's fusion for segmentation", (*ops("resize_bilinear", "batch_norm", "relu"),
                 *_hornet("SegmentationFusion"), *_hornet("costs.fusions"))),
    ),
    names=(
        ("proj_in.weight", "proj_in_weight", "gnConv: rows of p_0, then q_0, q_1, …, (2C, C, 1, 1)"),
        ("dwconv.weight", "dwconv_weight", "gnConv 7x7: one kernel per channel of q, (2C - C_0, 1, 7, 7)"),
        ("dwconv.complex_weight", "weight of global_filter", "GF: real and imaginary parts, (D/2, h, w, 2), D = 2C - C_0"),
        ("dwconv.dw.weight", "weight of conv2d", "GF: the local half, (D/2, 1, 3, 3), no bias"),
        ("dwconv.pre_norm.weight", "weight of layer_norm", "GF: before the halves, (D,); post_norm alike"),
        ("pws.k.weight", "part k of pws_weight", "the projection g_(k+1), (C_(k+1), C_k, 1, 1)"),
        ("proj_out.weight", "proj_out_weight", "(C, C, 1, 1)"),
        ("gamma1", "-", "layer scale of the gnConv branch, (C,); gamma2 of the other"),
        ("pwconv1.weight", "weight of linear", "(4C, C); pwconv2 (C, 4C)"),
        ("downsample_layers.i.0.weight", "weight of layer_norm", "i = 1, 2, 3: before the 2x2 convolution; in the stem after its own"),
        ("fpn_convs.i", "-", "GNFPN: a gnConv without a norm; lateral_convs.i.conv the 1x1 convolution before it"),
    ),
    differences=DIFFERENCES,
)
