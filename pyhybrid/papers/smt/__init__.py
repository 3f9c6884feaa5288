"""SMT, the Scale-Aware Modulation Transformer: convolutions of several sizes make a modulator, and the value is multiplied by it.

Shallow stages modulate, which costs the same for every pixel; deep stages attend, which costs as much as there are pixels; between them
the two alternate. `CARD` says which function computes which equation, and where paper, official code and a common listing differ.
"""

from functools import partial

from pyhybrid.papers._card import Card, Equation, ops, within
from pyhybrid.papers.smt._differences import DIFFERENCES
from pyhybrid.papers.smt.attention import MultiHeadAttention
from pyhybrid.papers.smt.block import DWMLP, SMTBlock
from pyhybrid.papers.smt.embed import PatchEmbed, Stem
from pyhybrid.papers.smt.equations import ComposedAggregation
from pyhybrid.papers.smt.model import SMT, Stage
from pyhybrid.papers.smt.modulation import Aggregation, MixedConv, ScaleAwareModulation
from pyhybrid.papers.smt.parts import official_names
from pyhybrid.papers.smt.schedule import STRATEGIES, block_kinds

__all__ = [
    "CARD",
    "DWMLP",
    "SMT",
    "STRATEGIES",
    "Aggregation",
    "ComposedAggregation",
    "MixedConv",
    "MultiHeadAttention",
    "PatchEmbed",
    "SMTBlock",
    "ScaleAwareModulation",
    "Stage",
    "Stem",
    "block_kinds",
    "official_names",
]

_smt = partial(within, "pyhybrid.papers.smt")

CARD = Card(
    title="Scale-Aware Modulation Meet Transformer",
    identifier="arXiv 2307.08579",
    venue="ICCV 2023",
    code="github.com/AFeng-x/SMT",
    layer="pyhybrid.papers.smt.ScaleAwareModulation",
    equations=(
        Equation("(1)", "MHMC: the channels are cut into heads, head t filtered depthwise by a kernel of size 2t + 3",
                 (*ops("mixed_conv"), *_smt("MixedConv"))),
        Equation("(2)", "SAA: the groups are mixed, Mod = W_inter([G_1, ..., G_M])",
                 (*ops("scale_aware_aggregation"), *_smt("Aggregation", "ComposedAggregation"))),
        Equation("(3)", "within group i the heads are mixed, G_i = W_intra([H_1^i, ..., H_N^i])",
                 ops("scale_aware_aggregation", "scale_aware_aggregation.expanded")),
        Equation("(4)", "group i holds map i of every head", ops("regroup")),
        Equation("(5)", "Z = Mod * V", ops("modulation")),
        Equation("(6)", "V = W_v X, Mod = SAA(MHMC(W_s X))", _smt("ScaleAwareModulation")),
        Equation("EHN", "the Evolutionary Hybrid Network: which blocks modulate and which attend", _smt("block_kinds", "Stage")),
        Equation("table of models", "T, S, B and L", (*_smt("SMT"), "pyhybrid.papers.build")),
        Equation("code", "attention over all tokens, and a convolution of the values",
                 (*ops("attention", "conv2d"), *_smt("MultiHeadAttention"))),
        Equation("code", "the perceptron with a depthwise convolution", (*ops("gelu"), *_smt("DWMLP"))),
        Equation("code", "the block: layer norm, layer scale, stochastic depth",
                 (*ops("layer_norm", "layer_scale", "drop_path"), *_smt("SMTBlock"))),
        Equation("code", "stem and overlapping patch embedding",
                 (*ops("batch_norm", "relu", "linear"), *_smt("Stem", "PatchEmbed"))),
        Equation("not in the paper", "what the parts cost, in closed form",
                 ("pyhybrid.papers.smt.costs.network", "pyhybrid.papers.smt.costs.crossover")),
    ),
    names=(
        ("patch_embed1.conv.0.weight", "weight of conv2d", "stem: (C, 3, k, k), k = head_conv, no bias; conv.1 is its batch norm"),
        ("patch_embed1.conv.3.weight", "weight of conv2d", "stem: (C, C, 2, 2)"),
        ("patch_embed2.proj.weight", "weight of conv2d", "and 3, 4: overlapping patches, (C, C of the stage before, 3, 3)"),
        ("patch_embed1.norm.weight", "weight of layer_norm", "and 2, 3, 4: of the tokens, (C,)"),
        ("norm1.weight", "weight of layer_norm", "after stage 1, and 2, 3, 4, (C,); in a block, before attn, and norm2 before mlp"),
        ("head.weight", "weight of linear", "(classes, C of the last stage)"),
        ("v.weight", "weight of linear", "W_v, (C, C)"),
        ("s.weight", "weight of linear", "W_s, (C, C)"),
        ("local_conv_1.weight", "weight of mixed_conv", "kernels of head 1, (C/N, 1, 3, 3); local_conv_2 5x5, ...; see mixed_conv.pack"),
        ("proj0.weight", "proj0_weight", "W_intra of all groups, (eC, N, 1, 1)"),
        ("bn.weight", "bn_weight", "(eC,); with running_mean and running_var"),
        ("proj1.weight", "proj1_weight", "W_inter, (C, eC, 1, 1)"),
        ("proj.weight", "weight of linear", "after the product, (C, C)"),
        ("q.weight", "weight of linear", "attention: (C, C)"),
        ("kv.weight", "weight of linear", "attention: (2C, C), the keys of all heads first"),
        ("local_conv.weight", "weight of conv2d", "attention: the kernel on the values, (C, 1, 3, 3)"),
        ("mlp.fc1.weight", "weight of linear", "block: (rC, C); fc2 (C, rC)"),
        ("mlp.dwconv.dwconv.weight", "weight of conv2d", "block: (rC, 1, 3, 3)"),
        ("gamma_1", "gamma of layer_scale", "block with layer scale: (C,); gamma_2 that of mlp"),
    ),
    differences=DIFFERENCES,
    note="Only the number (1) is certain; the later ones follow the order of the text, so quote operators by name. Letters: C channels, "
         "N heads of M = C/N channels, head t from 0 to N - 1, group i from 0 to M - 1, e the expansion within a group (eC maps in all), "
         "r the ratio of the perceptron.",
)
