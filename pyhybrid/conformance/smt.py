"""Replay of SMT's recorded cases: its operators, layers and networks, under the official parameter names."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pyhybrid.conformance.case import Case, Config, NotUnderstood, Replayed
from pyhybrid.conformance.layers import replay_layer
from pyhybrid.ops import regroup
from pyhybrid.papers.smt.attention import MultiHeadAttention
from pyhybrid.papers.smt.block import DWMLP, SMTBlock
from pyhybrid.papers.smt.embed import Embedding, PatchEmbed, Stem, official_padding
from pyhybrid.papers.smt.model import SMT
from pyhybrid.papers.smt.modulation import Aggregation, MixedConv, ScaleAwareModulation
from pyhybrid.papers.smt.parts import official_names

__all__ = ["OPERATORS"]

Array = np.ndarray
Pair = tuple[int, int]


def replay_mhmc(case: Case) -> Replayed:
    config = case.config
    config.choice("input_layout", "B,C,H,W", default="B,C,H,W")
    C, heads = config.whole("channels"), config.whole("num_heads")
    sizes = config.sizes("kernel_sizes")
    if len(sizes) != heads:
        raise NotUnderstood(f"config kernel_sizes has {len(sizes)} entries, num_heads is {heads}")
    return replay_layer(case, MixedConv(C, heads, sizes, dtype=case.dtype), case.input("x", _map(config, C)), exact=True)


def replay_regroup(case: Case) -> Replayed:
    """The permutation; the index tables of the configuration must be those of the operator and of its inverse."""
    config = case.config
    C, heads = config.whole("channels"), config.whole("num_heads")
    x = case.input("x", _map(config, C))
    y, cache = regroup.forward(x, heads=heads)
    for key, inverse in (("forward_index", False), ("inverse_index", True)):
        if key in config.values:
            order = regroup.forward(np.arange(float(C)), heads=heads, axis=0, inverse=inverse)[0]
            config.choice(key, order.astype(int).tolist())
    return Replayed({"y": y}, lambda d: {"input.x": regroup.backward(d["y"], cache).x}, exact=True)


def replay_saa(case: Case) -> Replayed:
    config = case.config
    config.text("input")        # in words: head by head, as the convolutions give it
    C, heads = config.whole("channels"), config.whole("num_heads")
    if config.whole("groups") * heads != C:
        raise NotUnderstood(f"config groups = {config.values['groups']} times num_heads = {heads} is not channels = {C}")
    layer = Aggregation(C, heads, config.whole("expand_ratio"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("y", _map(config, C)), output="modulator", entry="y")


def replay_sam(case: Case) -> Replayed:
    config = case.config
    config.choice("ca_attention", 1, default=1)
    C, (H, W) = config.whole("dim"), _size(config)
    layer = ScaleAwareModulation(C, config.whole("ca_num_heads"), config.flag("qkv_bias"), config.whole("expand_ratio"), dtype=case.dtype)
    return _layer(case, layer, case.input("x", (config.whole("B"), H * W, C)), (H, W))


def replay_msa(case: Case) -> Replayed:
    config = case.config
    if "ca_attention" in config.values and config.whole("ca_attention", minimum=-1) == 1:
        raise NotUnderstood("config ca_attention = 1 modulates")
    C, (H, W) = config.whole("dim"), _size(config)
    layer = MultiHeadAttention(C, config.whole("sa_num_heads"), config.flag("qkv_bias"), config.number_or_null("qk_scale"),
                               dtype=case.dtype)
    return _layer(case, layer, case.input("x", (config.whole("B"), H * W, C)), (H, W))


def replay_mlp(case: Case) -> Replayed:
    config = case.config
    C, (H, W) = config.whole("in_features"), _size(config)
    layer = DWMLP(C, config.whole("hidden_features"), dtype=case.dtype)
    return _layer(case, layer, case.input("x", (config.whole("B"), H * W, C)), (H, W))


def replay_block(case: Case) -> Replayed:
    """A block; the factors per sample of stochastic depth are inputs, because nothing random can be recorded otherwise."""
    config = case.config
    B, C, (H, W) = config.whole("B"), config.whole("dim"), _size(config)
    kind, rate = config.choice("kind", "sam", "msa"), config.number("drop_path")
    ca, sa = _heads(config, "ca_num_heads", kind == "sam"), _heads(config, "sa_num_heads", kind == "msa")
    layer = SMTBlock(C, kind, ca, sa, mlp_ratio=config.number("mlp_ratio"), qkv_bias=config.flag("qkv_bias"),
                     use_layerscale=config.flag("use_layerscale"), drop_path=rate, expand_ratio=config.whole("expand_ratio"),
                     norm_eps=config.number("norm_eps"), dtype=case.dtype)
    names = [name for name in ("path_scale_attn", "path_scale_mlp") if f"input.{name}" in case.arrays]
    if len(names) == 1 or (case.training and rate > 0 and not names):
        raise NotUnderstood("stochastic depth in training needs the factors path_scale_attn and path_scale_mlp")
    ranks = [case.arrays[f"input.{name}"].ndim for name in names]        # the official masks are (B, 1, 1)
    scales = tuple(case.input(name, (B, *[1] * (rank - 1))).reshape(B) for name, rank in zip(names, ranks, strict=True)) or (None, None)
    return _layer(case, layer, case.input("x", (B, H * W, C)), (H, W), scales)._replace(constants=frozenset(names))


def replay_stem(case: Case) -> Replayed:
    config = case.config
    head_conv = config.whole("head_conv")
    layer = Stem(config.whole("dim"), head_conv, padding=official_padding(head_conv), norm_eps=config.number("norm_eps"), dtype=case.dtype)
    return _embedding(case, layer, 3)


def replay_patch_embed(case: Case) -> Replayed:
    config = case.config
    C = config.whole("in_chans")
    layer = PatchEmbed(C, config.whole("embed_dim"), config.whole("patch_size"), config.whole("stride"), padding=config.whole("padding", 0),
                       norm_eps=config.number("norm_eps"), dtype=case.dtype)
    return _embedding(case, layer, C)


def replay_model(case: Case) -> Replayed:
    """A whole network. `ca_attentions` has 1 for stages that modulate, any other number for those that attend, and every second block of
    stage 3 attends whatever it says."""
    config = case.config
    depths = config.sizes("depths")
    flags = _numbers(config, "ca_attentions", len(depths), (int,))
    attend = [flag != 1 for flag in flags]
    mix = ["".join("M" if attend[s] or (s == 2 and n % 2) else "S" for n in range(depth)) for s, depth in enumerate(depths)]
    ratios, ca, sa = (_numbers(config, key, len(depths), kinds) for key, kinds in (
        ("mlp_ratios", (int, float)), ("ca_num_heads", (int,)), ("sa_num_heads", (int,))))
    head_conv = config.whole("head_conv")
    layer = SMT(config.whole("num_classes"), config.sizes("embed_dims"), depths, ratios, ca, sa, head_conv, mix, config.flag("qkv_bias"),
                use_layerscale=config.flag("use_layerscale"), expand_ratio=config.whole("expand_ratio"),
                stem_padding=official_padding(head_conv), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", _map(config, 3)), output="logits", renamed=official_names)


def _layer(case: Case, layer: Any, x: Array, *arguments: Any) -> Replayed:
    """A layer that takes more than x."""
    return replay_layer(case, layer, x, lambda x: layer.forward(x, *arguments), renamed=official_names)


def _embedding(case: Case, layer: Embedding, channels: int) -> Replayed:
    """From maps to tokens, whose map the configuration states as well."""
    config = case.config
    grid = layer.grid(_size(config))
    for key, length in zip(("H_out", "W_out"), grid, strict=True):
        if key in config.values:
            config.choice(key, length)
    return replay_layer(case, layer, case.input("x", _map(config, channels)))


def _size(config: Config) -> Pair:
    return config.whole("H"), config.whole("W")


def _map(config: Config, channels: int) -> tuple[int, ...]:
    return config.whole("B"), channels, *_size(config)


def _heads(config: Config, key: str, used: bool) -> int:
    """The heads of a kind of block; of the other kind they may be null, 0 or -1."""
    value = config.values.get(key)
    if used or value not in (None, 0, -1):
        return config.whole(key)
    if key in config.values:
        config.choice(key, None, 0, -1)
    return -1


def _numbers(config: Config, key: str, length: int, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """A number of one of these kinds for each stage; -1 or null stands where a stage has no such heads."""
    found = [-1 if n is None else n for n in config.items(key)]
    if len(found) != length or not all(type(n) in kinds and n >= -1 for n in found):
        raise NotUnderstood(f"config {key} = {json.dumps(found)}; understood is a number for each of {length} stages")
    return tuple(found)


OPERATORS = {
    "block": replay_block,
    "mhmc": replay_mhmc,
    "mlp": replay_mlp,
    "msa_attention": replay_msa,
    "patch_embed": replay_patch_embed,
    "regroup": replay_regroup,
    "saa": replay_saa,
    "sam_attention": replay_sam,
    "smt_model": replay_model,
    "stem": replay_stem,
}
