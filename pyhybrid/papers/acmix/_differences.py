"""Where ACmix's paper and the official code differ, or the code fails, and what we do."""

from __future__ import annotations

from pyhybrid.papers._card import Difference

__all__ = ["DIFFERENCES"]

DIFFERENCES = (
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
)
