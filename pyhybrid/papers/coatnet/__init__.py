"""CoAtNet: convolution stages first, Transformer stages after, and attention that adds a kernel over displacements to its scores.

A depthwise convolution weighs neighbours by a fixed kernel, attention weighs all pixels by what they hold. Relative attention adds the
two kinds of weight before the softmax. `CARD` says which function computes which equation, and where the paper and the code that others
wrote differ; the authors released none.
"""

from functools import partial

from pyhybrid.papers._card import Card, Equation, ops, within
from pyhybrid.papers.coatnet._differences import DIFFERENCES
from pyhybrid.papers.coatnet.attention import CWAttention, RelativeAttention, TimmAttention
from pyhybrid.papers.coatnet.mbconv import MBConv
from pyhybrid.papers.coatnet.model import CoAtNet, Stem
from pyhybrid.papers.coatnet.parts import Dense, LayerScale, SqueezeExcite
from pyhybrid.papers.coatnet.resize import resize_bias_tables
from pyhybrid.papers.coatnet.transformer import FeedForward, TransformerBlock

__all__ = [
    "CARD",
    "CWAttention",
    "CoAtNet",
    "Dense",
    "FeedForward",
    "LayerScale",
    "MBConv",
    "RelativeAttention",
    "SqueezeExcite",
    "Stem",
    "TimmAttention",
    "TransformerBlock",
    "resize_bias_tables",
]

_coatnet = partial(within, "pyhybrid.papers.coatnet")

CARD = Card(
    title="CoAtNet: Marrying Convolution and Attention for All Data Sizes",
    identifier="arXiv 2106.04803",
    venue="NeurIPS 2021",
    code="none released; compared with github.com/google-research/maxvit, timm and github.com/chinhsuanwu/coatnet-pytorch",
    layer="pyhybrid.papers.coatnet.CoAtNet",
    equations=(
        Equation("(1)", "depthwise convolution: a fixed weight per displacement and channel", ops("conv2d")),
        Equation(
            "(2)", "self-attention: weights from the pixels themselves, over all positions", ops("attention", "softmax")
        ),
        Equation(
            "(3)",
            "relative attention: the kernel is added to the scores before the softmax (y_pre) or to the weights after it (y_post)",
            ops("relative_attention", "relative_bias"),
        ),
        Equation(
            "(4)",
            "Transformer block that halves the map: Proj(Pool(x)) + Attention(Pool(Norm(x)))",
            _coatnet("TransformerBlock", "RelativeAttention"),
        ),
        Equation(
            "(5)",
            "MBConv that halves the map: Proj(Pool(x)) + Conv(DepthConv(Conv(Norm(x), stride=2)))",
            (*_coatnet("MBConv"), *ops("mbconv_hidden", "squeeze_excite", "squeeze_excite_conv", "batch_norm")),
        ),
        Equation("section 2.2 (B)", "attention within a window of the map", ops("local_relative_attention")),
        Equation(
            "section 2.2 (C)", "attention whose cost is linear in the pixels", ops("linear_attention", "elu_plus_one")
        ),
        Equation("section 2.2", "pooling between the stages", ops("max_pool2d", "avg_pool2d", "global_avg_pool")),
        Equation(
            "appendix A.1",
            "the table of displacements at another resolution, resized bilinearly",
            (*ops("resize_bilinear"), *_coatnet("resize_bias_tables")),
        ),
        Equation("tables 3, 11, 12", "the models", (*_coatnet("CoAtNet"), "pyhybrid.papers.build")),
        Equation(
            "code", "activations and norms", ops("gelu", "silu", "tanh", "layer_norm", "linear")
        ),
    ),
    names=(
        ("expand_conv.weight", "weight of conv2d", "MBConv: (e, C', 1, 1), e = 4C"),
        ("depthwise_conv.weight", "weight of conv2d", "MBConv: (e, 1, 3, 3)"),
        ("se.reduce.weight", "reduce_weight", "MBConv: (C/4, e, 1, 1)"),
        ("se.expand.weight", "expand_weight", "MBConv: (e, C/4, 1, 1)"),
        ("shrink_conv.weight", "weight of pointwise_conv", "MBConv: (C, e, 1, 1)"),
        ("shortcut_conv.weight", "weight of pointwise_conv", "MBConv whose width changes: (C, C', 1, 1)"),
        ("attention.q.weight", "weight of linear", "(C, C'); k and v alike, o (C, C)"),
        ("attention.relative_bias", "table", "(heads, 2H-1, 2W-1), at query - key"),
        ("shortcut_proj.weight", "weight of linear", "Transformer block whose width changes: (C, C')"),
        ("ffn.expand_dense.weight", "weight of linear", "(4C, C)"),
        ("ffn.shrink_dense.weight", "weight of linear", "(C, 4C)"),
        ("head.inner_dense.weight", "weight of linear", "(C, C), before tanh"),
    ),
    differences=DIFFERENCES,
)
