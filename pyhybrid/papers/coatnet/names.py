"""The three sets of parameter names, and the options with which each code base builds its blocks.

The authors of CoAtNet released no code. "paper" follows the names of Google's MaxViT code, which says that it builds on CoAtNet, with
arrays laid out as elsewhere here; "cw" is chinhsuanwu/coatnet-pytorch; "timm" is the maxxvit module of the timm library.
A block keeps its layers under these names, so that `state_dict()` is the official one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pyhybrid.errors import choose

__all__ = ["PROFILES", "Profile", "profile"]


class Profile(NamedTuple):
    """Names by the part that a layer plays, and arguments of the blocks that differ from their defaults."""

    mbconv: dict[str, str]
    transformer: dict[str, str]
    se: tuple[str, str]                 # the two linear maps of squeeze and excitation
    se_is_conv: bool                    # their weights are (O, C, 1, 1)
    stem: tuple[str, str, str]          # convolution, norm, second convolution
    blocks: str                         # prefix of a block
    head: tuple[str, str, str]          # norm, hidden layer, classifier
    mbconv_options: dict[str, Any]
    transformer_options: dict[str, Any]
    stem_bias: bool
    first_stage: int                    # number of the first stage after the stem


PAPER = Profile(
    mbconv={"shortcut": "shortcut_conv", "pre_norm": "pre_norm", "expand": "expand_conv", "expand_norm": "expand_norm",
            "depthwise": "depthwise_conv", "depthwise_norm": "depthwise_norm", "se": "se", "se_early": "se", "shrink": "shrink_conv",
            "shrink_norm": "shrink_norm"},
    transformer={"shortcut": "shortcut_proj", "norm1": "attn_layer_norm", "norm1_down": "attn_layer_norm", "attn": "attention",
                 "scale1": "attn_layer_scale", "norm2": "ffn_layer_norm", "ffn1": "ffn.expand_dense", "ffn2": "ffn.shrink_dense",
                 "scale2": "ffn_layer_scale"},
    se=("reduce", "expand"), se_is_conv=True, stem=("stem.conv_0", "stem.norm_0", "stem.conv_1"), blocks="blocks.{stage}.{block}",
    head=("head.final_layer_norm", "head.inner_dense", "head.logit_dense"),
    mbconv_options={}, transformer_options={}, stem_bias=True, first_stage=0)

CW = Profile(
    mbconv={"shortcut": "proj", "pre_norm": "conv.norm", "expand": "conv.fn.0", "expand_norm": "conv.fn.1", "depthwise": "conv.fn.3",
            "depthwise_norm": "conv.fn.4", "se": "conv.fn.6", "se_early": "conv.fn.6", "shrink": "conv.fn.7", "shrink_norm": "conv.fn.8"},
    transformer={"shortcut": "proj", "norm1": "attn.1.norm", "norm1_down": "attn.1.norm", "attn": "attn.1.fn", "scale1": "attn.1.scale",
                 "norm2": "ff.1.norm", "ffn1": "ff.1.fn.net.0", "ffn2": "ff.1.fn.net.3", "scale2": "ff.1.scale"},
    se=("fc.0", "fc.2"), se_is_conv=False, stem=("s0.{n}.0", "s0.{n}.1", ""), blocks="s{stage}.{block}", head=("norm", "pre_logits", "fc"),
    mbconv_options={"pool": "max3", "expand_from": "input", "se_from": "input", "se_act": "gelu", "se_bias": False, "bias": False,
                    "shrink_norm": True, "shortcut_always": True, "bn_eps": 1e-5, "bn_momentum": 0.1},
    transformer_options={"order": "pool_norm", "pool": "max3", "heads": 8, "qkv_bias": False, "ffn_from": "input", "shortcut_always": True,
                         "shortcut_bias": False},
    stem_bias=False, first_stage=1)

# Without expansion CW leaves out the first convolution and squeeze and excitation, and the numbers of the others move up.
CW_UNEXPANDED = CW._replace(mbconv={
    "shortcut": "proj", "pre_norm": "conv.norm", "depthwise": "conv.fn.0", "depthwise_norm": "conv.fn.1", "shrink": "conv.fn.3",
    "shrink_norm": "conv.fn.4"})

TIMM = Profile(
    mbconv={"shortcut": "shortcut.expand", "pre_norm": "pre_norm", "expand": "conv1_1x1", "expand_norm": "norm1", "depthwise": "conv2_kxk",
            "depthwise_norm": "norm2", "se": "se", "se_early": "se_early", "shrink": "conv3_1x1", "shrink_norm": "norm3"},
    transformer={"shortcut": "shortcut.expand", "norm1": "norm1", "norm1_down": "norm1.norm", "attn": "attn", "scale1": "ls1",
                 "norm2": "norm2", "ffn1": "mlp.fc1", "ffn2": "mlp.fc2", "scale2": "ls2"},
    se=("fc1", "fc2"), se_is_conv=True, stem=("stem.conv1", "stem.norm1", "stem.conv2"), blocks="stages.{stage}.blocks.{block}",
    head=("head.norm", "head.pre_logits.fc", "head.fc"),
    mbconv_options={"stride_mode": "dw", "pool": "avg2", "width_divisor": 8, "bn_eps": 1e-5, "bn_momentum": 0.1},
    transformer_options={"pool": "avg2", "ln_eps": 1e-6}, stem_bias=False, first_stage=0)

PROFILES = {"paper": PAPER, "cw": CW, "timm": TIMM}


def profile(owner: str, name: str) -> Profile:
    """The profile called `name`."""
    choose(owner, "names", name, PROFILES)
    return PROFILES[name]
