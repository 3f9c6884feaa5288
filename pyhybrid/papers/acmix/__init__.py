"""ACmix: self-attention and convolution computed from the same three projections.

Both are pointwise convolutions (stage I) followed by a cheap aggregation (stage II): a convolution shifts and sums,
attention weighs and sums. ACmix computes the pointwise convolutions once, feeds both aggregations, and mixes the
results with two learnt scalars.
`CARD` says which function computes which equation, and where paper and official code differ.
"""

from functools import partial

from pyhybrid.papers._card import Card, Equation, ops, within
from pyhybrid.papers.acmix._differences import DIFFERENCES
from pyhybrid.papers.acmix.block import ACmix
from pyhybrid.papers.acmix.pvt import PVT, PVTAttention, PVTBlock
from pyhybrid.papers.acmix.resnet import Bottleneck, ResNet
from pyhybrid.papers.acmix.san import SAM, SAN, SANBottleneck
from pyhybrid.papers.acmix.swin import PatchEmbed, PatchMerging, SwinBlock, SwinTransformer
from pyhybrid.papers.acmix.window_attention import WindowAttention

__all__ = [
    "CARD", "PVT", "SAM", "SAN", "ACmix", "Bottleneck", "PVTAttention", "PVTBlock", "PatchEmbed", "PatchMerging", "ResNet", "SANBottleneck",
    "SwinBlock", "SwinTransformer", "WindowAttention",
]

_acmix = partial(within, "pyhybrid.papers.acmix")

CARD = Card(
    title="On the Integration of Self-Attention and Convolution",
    identifier="arXiv 2111.14556",
    venue="CVPR 2022",
    code="github.com/LeapLabTHU/ACmix",
    layer="pyhybrid.papers.acmix.ACmix",
    equations=(
        Equation("(1)-(3)", "a k x k convolution is a sum over its taps", ops("conv2d", "conv_decomposition")),
        Equation("(4)-(5)", "Shift(f, s, t)[i, j] = f[i+s, j+t], zero outside", ops("shift")),
        Equation("(6)", "stage I: one pointwise convolution per tap", ops("tap_projection", "pointwise_conv")),
        Equation("(7)-(9)", "stage II of a convolution: shift and sum", ops("shift_sum")),
        Equation("(10)-(15)", "local multi-head self-attention in two stages", ops("local_attention", "softmax")),
        Equation("(16)", "y = alpha * attention + beta * convolution", ops("acmix")),
        Equation("(17)-(18)", "the shifts as convolution kernels, fixed or learnt", ops("shift_conv", "shift_conv.shift_weight")),
        Equation("figures 2c, 3c", "the convolution path: q, k, v become k*k maps, shifted and summed by one grouped convolution",
                 ops("conv_path")),
        Equation("(19)-(20)", "attention over all pixels, with keys and values from a reduced map (PVT)",
                 (*ops("attention"), *_acmix("PVTAttention"))),
        Equation("(19)-(20)", "attention within windows (Swin), joined by the convolution path on the whole map",
                 (*ops("window_partition", "window_reverse", "relative_bias", "roll", "window_partition.shift_mask"),
                  *_acmix("WindowAttention"))),
        Equation("(19)-(20)", "pairwise and patchwise attention (SAN): weights per channel group, aggregated over the window",
                 (*ops("aggregation"), *_acmix("SAM"))),
        Equation("table 1", "cost of the two stages, counted", _acmix("costs.table")),
        Equation("code", "windows of a reflected map", ops("reflection_pad", "unfold")),
        Equation("code", "positional term: a linear map of the pixel's location", ops("positional_term", "positional_term.location_grid")),
    ),
    names=(
        ("rate1", "rate1", "alpha, the factor of the attention path, (1,)"),
        ("rate2", "rate2", "beta, the factor of the convolution path, (1,)"),
        ("conv1.weight", "conv1_weight", "query projection, (C, C', 1, 1)"),
        ("conv1.bias", "conv1_bias", "query projection, (C,)"),
        ("conv2.weight", "conv2_weight", "key projection, (C, C', 1, 1)"),
        ("conv2.bias", "conv2_bias", "key projection, (C,)"),
        ("conv3.weight", "conv3_weight", "value projection, (C, C', 1, 1)"),
        ("conv3.bias", "conv3_bias", "value projection, (C,)"),
        ("conv_p.weight", "conv_p_weight", "positional term, (d, 2, 1, 1), horizontal first"),
        ("conv_p.bias", "conv_p_bias", "positional term, (d,); its gradient is exactly zero"),
        ("fc.weight", "fc_weight", "3*heads projections to k*k maps, (k*k, 3*heads, 1, 1)"),
        ("dep_conv.weight", "dep_conv_weight", "the learnt shifts, (C, k*k, k, k)"),
        ("dep_conv.bias", "dep_conv_bias", "only with dep_conv_bias=True, which the official code has not; (C,)"),
    ),
    differences=DIFFERENCES,
    note="Only the numbers (1)-(3) are certain; the later ones follow the order of the text, so quote operators by name.",
)
