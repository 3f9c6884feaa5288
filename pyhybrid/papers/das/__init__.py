"""DAS: a gate that multiplies a feature map, value by value, by numbers in (0, 1) made from the map by a deformable convolution.

The map is squeezed to a few channels, read there at learnt places around each pixel, brought back to its own channels, normalised, and
sent through a sigmoid; the cost is linear in the pixels. `CARD` says which function computes which equation, and how each question that
the paper leaves open is decided; the authors released no code.
"""

from functools import partial

from pyhybrid.papers._card import Card, Equation, ops, within
from pyhybrid.papers.das._differences import DIFFERENCES
from pyhybrid.papers.das.gate import DASGate
from pyhybrid.papers.das.mobilenet import InvertedResidual, MobileNetV2
from pyhybrid.papers.das.resnet import BasicBlock, Bottleneck, ResNet
from pyhybrid.papers.das.salience import SFD, sfd

__all__ = ["CARD", "SFD", "BasicBlock", "Bottleneck", "DASGate", "InvertedResidual", "MobileNetV2", "ResNet", "sfd"]

_das = partial(within, "pyhybrid.papers.das")

CARD = Card(
    title="DAS: A Deformable Attention to Capture Salient Information in CNNs",
    identifier="arXiv 2311.12091",
    venue="2023",
    code="none released; operators compared with torchvision, equations with a re-implementation of our own",
    layer="pyhybrid.papers.das.DASGate",
    equations=(
        Equation("(1)", "X_c = GELU(InstanceNorm(X W1)), W1 depthwise separable, from c to alpha·c channels",
                 ops("depthwise_separable_conv", "instance_norm", "gelu")),
        Equation("(2)", "deform(p) = sum_k w_k · w_p · X_c(p_ref,k + dp_k), from alpha·c to c channels",
                 (*ops("deform_conv2d", "bilinear_sample"), *_das("mixers.deformable_forward"))),
        Equation("(3)", "A = sigmoid(LayerNorm(deform(X_c)))", ops("layer_norm", "group_norm", "sigmoid")),
        Equation("(4)", "X_out = X · A, value by value", _das("DASGate")),
        Equation("section 3", "four gates, one after each stage of ResNet or MobileNetV2",
                 (*_das("ResNet", "MobileNetV2"), "pyhybrid.papers.build")),
        Equation("figure 2", "the gate with parts left out or replaced",
                 (*_das("DASGate"), *ops("grid_sample", "tanh"))),
        Equation("figure 3", "the cost over alpha, counted", _das("costs.count", "costs.gates")),
        Equation("Grad-CAM", "relu(sum_k w_k F_k), w_k the mean of d logit / d F_k, resized to the image",
                 ("pyhybrid.explain.grad_cam", *ops("resize_bilinear"))),
        Equation("sfd", "how much of what the heat map marks lies on the object", _das("sfd")),
    ),
    names=(
        ("depthwise.weight", "depthwise_weight", "W1: (c, 1, 3, 3)"),
        ("depthwise.bias", "depthwise_bias", "only with dw_bias=True, (c,); its gradient is zero"),
        ("pointwise.weight", "pointwise_weight", "W1: (m, c, 1, 1), m = max(1, int(alpha·c))"),
        ("pointwise.bias", "pointwise_bias", "only with pw_bias=True, (m,); its gradient is zero"),
        ("inst_norm.weight", "weight of instance_norm", "only with inst_affine=True, (m,)"),
        ("inst_norm.bias", "bias of instance_norm", "only with inst_affine=True, (m,)"),
        ("offset.weight", "weight of conv2d", "(27, m, 3, 3): 18 offsets (dy, dx by tap), 9 mask logits; (18, …) with modulated=False"),
        ("offset.bias", "bias of conv2d", "(27,); weight and bias start at 0"),
        ("deform.weight", "weight of deform_conv2d", "(c, m, 3, 3)"),
        ("deform.bias", "bias of deform_conv2d", "only with deform_bias=True, (c,)"),
        ("layer_norm.weight", "weight of layer_norm", "(c,)"),
        ("layer_norm.bias", "bias of layer_norm", "(c,)"),
    ),
    differences=DIFFERENCES,
    names_of="Parameter names, ours (no official code)",
)
