"""ACmix: self-attention and convolution computed from the same three projections.

Both are pointwise convolutions (stage I) followed by a cheap aggregation (stage II): a convolution shifts and sums,
attention weighs and sums. ACmix computes the pointwise convolutions once, feeds both aggregations, and mixes the
results with two learnt scalars.
`CARD` says which function computes which equation, and where paper and official code differ.
"""

from pyhybrid.papers._card import Card, Difference, Equation
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


def _ops(*names: str) -> tuple[str, ...]:
    return tuple(f"pyhybrid.ops.{name}" for name in names)


CARD = Card(
    title="On the Integration of Self-Attention and Convolution",
    identifier="arXiv 2111.14556",
    venue="CVPR 2022",
    code="github.com/LeapLabTHU/ACmix",
    layer="pyhybrid.papers.acmix.ACmix",
    # Only the numbers (1)-(3) are certain; the later ones follow the order of the text, so quote operators by name.
    equations=(
        Equation(
            "(1)-(3)",
            "a k x k convolution is a sum over its taps",
            _ops("conv2d.forward", "conv_decomposition.forward"),
        ),
        Equation("(4)-(5)", "Shift(f, s, t)[i, j] = f[i+s, j+t], zero outside", _ops("shift.forward")),
        Equation(
            "(6)",
            "stage I: one pointwise convolution per tap",
            _ops("tap_projection.forward", "pointwise_conv.forward"),
        ),
        Equation("(7)-(9)", "stage II of a convolution: shift and sum", _ops("shift_sum.forward")),
        Equation(
            "(10)-(15)",
            "local multi-head self-attention in two stages",
            _ops("local_attention.forward", "softmax.forward"),
        ),
        Equation("(16)", "y = alpha * attention + beta * convolution", _ops("acmix.forward")),
        Equation(
            "(17)-(18)",
            "the shifts as convolution kernels, fixed or learnt",
            _ops("shift_conv.forward", "shift_conv.shift_weight"),
        ),
        Equation(
            "figures 2c, 3c",
            "the convolution path: q, k, v become k*k maps, shifted and summed by one grouped convolution",
            _ops("conv_path.forward"),
        ),
        Equation(
            "(19)-(20)",
            "attention over all pixels, with keys and values from a reduced map (PVT)",
            ("pyhybrid.ops.attention.forward", "pyhybrid.papers.acmix.PVTAttention"),
        ),
        Equation(
            "(19)-(20)",
            "attention within windows (Swin), joined by the convolution path on the whole map",
            (*_ops("window_partition.forward", "window_reverse.forward", "relative_bias.forward", "roll.forward"),
             "pyhybrid.ops.window_partition.shift_mask", "pyhybrid.papers.acmix.WindowAttention"),
        ),
        Equation(
            "(19)-(20)",
            "pairwise and patchwise attention (SAN): weights per channel group, aggregated over the window",
            ("pyhybrid.ops.aggregation.forward", "pyhybrid.papers.acmix.SAM"),
        ),
        Equation("table 1", "cost of the two stages, counted", ("pyhybrid.papers.acmix.costs.table",)),
        Equation("code", "windows of a reflected map", _ops("reflection_pad.forward", "unfold.forward")),
        Equation(
            "code",
            "positional term: a linear map of the pixel's location",
            _ops("positional_term.forward", "positional_term.location_grid"),
        ),
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
        ("dep_conv.bias", "dep_conv_bias", "only with dep_conv_bias=True, (C,)"),
    ),
    differences=(
        Difference(
            topic="bias of dep_conv",
            paper="not discussed",
            code="asked for, then overwritten with None by its own initialisation: there is none",
            default="none, as in official checkpoints",
            options=(("dep_conv_bias", True),),
        ),
        Difference(
            topic="channel order of the two paths",
            paper="heads concatenated in both",
            code="attention n*d + e, convolution e*heads + n, added as they are",
            default="as the code",
            options=(("conv_channel_order", "head_major"),),
        ),
        Difference(
            topic="start of dep_conv in a network",
            paper="shift kernels",
            code="the ResNet overwrites them with its own random start; the block alone and the Swin network keep them",
            default="as the code",
            options=(("init", "shift"),),
            layer="pyhybrid.papers.acmix.ResNet",
        ),
        Difference(
            topic="convolution path of the Swin block",
            paper="not discussed",
            code="it sees the rolled map as a whole, cut where the roll glued it, and bypasses the output projection",
            default="as the code",
        ),
        Difference(
            topic="mask of shifted windows",
            paper="not discussed",
            code="-100, not minus infinity: a hidden key keeps exp(-100) of its weight, more if its score is far above the others",
            default="as the code",
        ),
        Difference(
            topic="stride of patchwise attention",
            paper="not discussed",
            code="fails (in the code that the mode was taken from)",
            default="both SAN modes take any stride and round up",
        ),
        Difference(
            topic="SAN and PVT variants",
            paper="in the tables",
            code="never released; how the convolution path is joined there is not known",
            default="the attention modes, without the convolution path and without a claim to be the authors' models",
        ),
        Difference(
            topic="scale of the query",
            paper="in the softmax",
            code="only attention scales it; the convolution path reads the query as projected",
            default="as the code",
        ),
        Difference(
            topic="width of fc",
            paper="3*heads to k*k*heads in the first version of text and figure",
            code="3*heads to k*k, confirmed by an author",
            default="as the code",
        ),
        Difference(
            topic="positional term",
            paper="not in the equations",
            code="a linear map of the pixel's location, in the difference of query and key",
            default="as the code",
            options=(("positional", False),),
        ),
        Difference(
            topic="border of the attention window",
            paper="not defined",
            code="reflection without repeating the edge",
            default="as the code",
            options=(("border", "zero"), ("border", "mask")),
        ),
        Difference(
            topic="dilation",
            paper="not discussed",
            code="the padding uses it, the windows do not: any value but 1 fails",
            default="any value but 1 is an error",
        ),
        Difference(topic="even kernel_att", paper="not discussed", code="fails", default="an error"),
        Difference(
            topic="kernel_conv other than 3",
            paper="a general k",
            code="the padding is fixed at 1: fails, or broadcasts a 1x1 result over a 3x3 map",
            default="any odd kernel_conv, with padding kernel_conv // 2",
        ),
        Difference(
            topic="stride that does not divide the map",
            paper="not discussed",
            code="one path rounds up, the other down: fails",
            default="both round up: the block with stride s is every s-th pixel of the block with stride 1",
        ),
        Difference(
            topic="map smaller than the window",
            paper="not discussed",
            code="reflection fails unless kernel_att // 2 < H and < W",
            default="an error that says so",
            options=(("border", "zero"), ("border", "mask")),
        ),
        Difference(
            topic="precision of the location grid",
            paper="not discussed",
            code="built in the default type, so modules in half or double precision fail",
            default="built in the type of the parameters",
        ),
        Difference(
            topic="squeeze of the shift kernels",
            paper="not discussed",
            code="kernel.squeeze(0) at the start does nothing for kernel_conv > 1",
            default="the same kernels, written directly",
        ),
        Difference(
            topic="scaling of the query",
            paper="only the attention scores are divided by sqrt(d)",
            code="as the paper",
            default="the same: the convolution path sees q unscaled",
        ),
    ),
)
