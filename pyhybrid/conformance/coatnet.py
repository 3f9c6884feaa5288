"""Replay of CoAtNet's recorded blocks and networks, in the parameter names of the paper's profile, of chinhsuanwu's code and of timm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pyhybrid.conformance import coatnet_operators
from pyhybrid.conformance.case import Case, Config, NotUnderstood, Replayed
from pyhybrid.conformance.coatnet_operators import ACTS, FORMS, SIGNS
from pyhybrid.conformance.layers import replay_layer
from pyhybrid.papers.coatnet.attention import CWAttention, RelativeAttention, TimmAttention
from pyhybrid.papers.coatnet.mbconv import MBConv
from pyhybrid.papers.coatnet.model import CoAtNet, Stem
from pyhybrid.papers.coatnet.names import CW, PAPER, TIMM
from pyhybrid.papers.coatnet.transformer import FeedForward, TransformerBlock

__all__ = ["OPERATORS"]

Options = dict[str, Any]
TIMM_POOLS = {"max": "max3", "max2": "max2", "avg": "avg3", "avg2": "avg2"}
POOLS, STRIDES = ("max2", "max3", "avg2", "avg3"), ("1x1", "dw", "pool")
ORDERS = {"LayerNorm AFTER pooling": "pool_norm", "LayerNorm BEFORE pooling": "norm_pool",
          "norm_pool": "norm_pool", "pool_norm": "pool_norm"}
CW_STRIDE = "first conv (1x1) if expansion>1 else depthwise"


def replay_mha(case: Case) -> Replayed:
    """Attention with its projections; the kind of configuration says whose."""
    config = case.config
    B, d = config.whole("B"), config.whole("dim_head")
    for key in ("layout", "table"):
        config.text(key)
    if "inp" in config.values:
        (H, W), C, O = config.sizes("image_size"), config.whole("inp"), config.whole("oup")
        _no_dropout(case)
        layer: RelativeAttention = CWAttention(C, O, (H, W), d, heads=config.whole("heads"), qkv_bias=False,
                                               project_out=config.flag("project_out"), dtype=case.dtype)
        return replay_layer(case, layer, case.input("x", (B, H * W, C)))
    H, W = config.whole("H"), config.whole("W")
    if "C_in" in config.values:
        C = config.whole("C_in")
        layer = RelativeAttention(C, config.whole("C_out"), (H, W), d, form=config.choice("form", *FORMS),
                                  sign=config.choice("sign", *SIGNS), dtype=case.dtype)
        return replay_layer(case, layer, case.input("x", (B, H * W, C)))
    config.choice("head_first", True)
    C, bias = config.whole("dim"), config.flag("bias")
    layer = TimmAttention(C, config.whole("dim_out"), (H, W), d, expand_first=config.flag("expand_first"), qkv_bias=bias, out_bias=bias,
                          table=config.choice("rel_pos", "bias", "bias_tf"), dtype=case.dtype)
    x = case.input("x", (B, C, H, W))       # maps, where the layer takes tokens
    replayed = replay_layer(case, layer, x.reshape(B, C, H * W).swapaxes(1, 2))

    def backward(d: dict[str, Any]) -> dict[str, Any]:
        grads = replayed.backward({"y": d["y"].reshape(*d["y"].shape[:2], -1).swapaxes(1, 2)})      # type: ignore[misc]
        return grads | {"input.x": grads["input.x"].swapaxes(1, 2).reshape(x.shape)}

    return replayed._replace(outputs={"y": replayed.outputs["y"].swapaxes(1, 2).reshape(B, -1, H, W)}, backward=backward)


def replay_feed_forward(case: Case) -> Replayed:
    config = case.config
    _no_dropout(case)
    layer = FeedForward(config.whole("dim"), config.whole("hidden_dim"), ACTS[config.choice("act", *ACTS)], dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), config.whole("N"), layer.dim)))


def replay_stem(case: Case) -> Replayed:
    """timm's stem of two convolutions, or the paper's; names tell them apart."""
    config = case.config
    C, O, act = config.whole("in_chs"), config.whole("out_chs"), ACTS[config.choice("act", *ACTS)]
    named = TIMM if "param.conv1.weight" in case.arrays else PAPER
    momentum = 0.1 if named is TIMM else 0.01
    first, norm, second = (name.removeprefix("stem.") for name in named.stem)
    layer = Stem(C, (O, O), layers=(first, norm, second), bias=config.flag("bias"), act=act, bn_eps=config.number("bn_eps"),
                 bn_momentum=momentum, dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), C, config.whole("H"), config.whole("W"))))


def replay_stem_cw(case: Case) -> Replayed:
    """One convolution of chinhsuanwu's stem with its norm: the first, which halves the map."""
    config = case.config
    config.choice("downsample", True)
    C = config.whole("inp")
    layer = Stem(C, (config.whole("oup"),), layers=("0", "1", ""), norm_all=True, bias=False, bn_eps=config.number("bn_eps"),
                 bn_momentum=config.number("bn_momentum"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), C, config.whole("H"), config.whole("W"))))


def replay_mbconv(case: Case) -> Replayed:
    config = case.config
    if "inp" in config.values:
        config.choice("pool", "max 3/2/1")
        config.choice("stride", CW_STRIDE)
        C, O, down = config.whole("inp"), config.whole("oup"), config.flag("downsample")
        options: Options = {"names": "cw", **CW.mbconv_options, **_norm(config), "expansion": config.whole("expansion")}
    elif "in_chs" in config.values:
        C, O, down = config.whole("in_chs"), config.whole("out_chs"), config.choice("stride", 1, 2) == 2
        options = {"names": "timm", **TIMM.mbconv_options, **_timm_mbconv(config.group("cfg"))}
    else:
        C, O, down = config.whole("C_in"), config.whole("C_out"), config.flag("down")
        options = {**_norm(config), "stride_mode": config.choice("stride_mode", *STRIDES, default="1x1"),
                   "expansion": config.whole("expansion"), "pool": config.choice("pool_type", *POOLS, default="max2"),
                   "se_act": ACTS[config.choice("se_act", *ACTS)], "act": ACTS[config.choice("act", *ACTS, default="gelu_exact")]}
    layer = MBConv(C, O, down, **options, dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), C, config.whole("H"), config.whole("W"))))


def replay_transformer(case: Case) -> Replayed:
    config = case.config
    order = ORDERS[config.choice("order", *ORDERS, default="norm_pool")]
    d = config.whole("dim_head")
    options: Options = {"order": order, "ln_eps": config.number("ln_eps")}
    if "inp" in config.values:
        config.choice("pool", "max 3/2/1")
        C, O, down, grid = config.whole("inp"), config.whole("oup"), config.flag("downsample"), config.sizes("image_size")
        options = {"names": "cw", **CW.transformer_options, **options, "heads": config.whole("heads")}
        if config.whole("ffn_hidden") != 4 * C:
            raise NotUnderstood(f"config ffn_hidden = {config.values['ffn_hidden']} is not four times inp")
    elif "dim" in config.values:
        C, O, down, grid = config.whole("dim"), config.whole("dim_out"), config.choice("stride", 1, 2) == 2, config.sizes("grid")
        options = {"names": "timm", **TIMM.transformer_options, **options, **_timm_transformer(config.group("cfg"))}
    else:
        C, O, down, grid = config.whole("C_in"), config.whole("C_out"), config.flag("down"), config.sizes("grid")
        options |= {"form": config.choice("mode", *FORMS, default="pre"), "pool": config.choice("pool_type", *POOLS, default="max2"),
                    "act": ACTS[config.choice("act", *ACTS, default="gelu_exact")]}
    x = case.input("x")
    ceil = options.get("ceil_pool", True)
    layer = TransformerBlock(C, O, (grid[0], grid[1]), down, d, **options, dtype=case.dtype)
    near = all(n in ((2 * m, 2 * m + 1 - 2 * ceil) if down else (m,)) for n, m in zip(x.shape[2:], grid, strict=True))
    if x.ndim != 4 or x.shape[:2] != (config.whole("B"), C) or not near:
        raise NotUnderstood(f"array input.x has shape {x.shape}, the configuration says B, C_in and grid {grid}")
    return replay_layer(case, layer, x)


def replay_net(case: Case) -> Replayed:
    """A whole network: `num_blocks` marks chinhsuanwu's configuration, `cfg` timm's, `stages` the paper's."""
    config = case.config
    (H, W), classes = config.sizes("image_size"), config.whole("num_classes")
    channels = config.whole("in_channels") if "in_channels" in config.values else 3
    if "num_blocks" in config.values:
        options = _cw_net(config)
    else:
        options = _timm_net(config.group("cfg")) if "cfg" in config.values else _paper_net(config)
    layer = CoAtNet((H, W), num_classes=classes, in_channels=channels, **options, dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), channels, H, W)))


def _cw_net(config: Config) -> Options:
    blocks, widths, kinds = config.sizes("num_blocks"), config.sizes("channels"), config.items("block_types")
    if not len(blocks) == len(widths) == len(kinds) + 1:
        raise NotUnderstood(f"config num_blocks, channels and block_types name {len(blocks)}, {len(widths)} and {len(kinds)} stages")
    stages = tuple(((_kind(kind), n, width),) for kind, n, width in zip(kinds, blocks[1:], widths[1:], strict=True))
    return {"names": "cw", "head": "plain", "stages": stages, "stem": (widths[0],) * blocks[0], "dim_head": config.whole("dim_head"),
            "transformer": {"heads": config.whole("heads")}}


def _paper_net(config: Config) -> Options:
    stages = []
    for runs in config.items("stages"):
        if not isinstance(runs, list) or not all(isinstance(run, list) and len(run) == 3 for run in runs):
            raise NotUnderstood(f"config stages holds {json.dumps(runs)}")
        stages.append(tuple((_kind(kind), n, width) for kind, n, width in runs))
    width, pool = config.whole("stem_width"), config.choice("pool_type", *POOLS, default="max2")
    return {"stages": tuple(stages), "stem": (width, width), "dim_head": config.whole("dim_head"),
            "patch": config.whole("patch") if "patch" in config.values else None,
            "head": config.choice("head", "hidden", "ln", "plain", default="hidden"),
            "mbconv": {"stride_mode": config.choice("stride_mode", *STRIDES, default="1x1"), "pool": pool},
            "transformer": {"form": config.choice("mode", *FORMS, default="pre"), "pool": pool,
                            "order": config.choice("order", "norm_pool", "pool_norm", default="norm_pool")}}


def _timm_net(cfg: Config) -> Options:
    widths, depths, kinds = cfg.sizes("embed_dim"), cfg.sizes("depths"), cfg.items("block_type")
    if not len(widths) == len(depths) == len(kinds):
        raise NotUnderstood(f"config embed_dim, depths and block_type name {len(widths)}, {len(depths)} and {len(kinds)} stages")
    stages = []
    for width, depth, named in zip(widths, depths, kinds, strict=True):
        row = list(named) if isinstance(named, list) else [named]
        row += row[-1:] * (depth - len(row))            # a list names the first blocks, its last entry all that follow
        stages.append(tuple((_kind(kind), 1, width) for kind in row[:depth]))
    transformer = cfg.group("transformer_cfg")
    stem = cfg.sizes("stem_width") if isinstance(cfg.values.get("stem_width"), list) else (cfg.whole("stem_width"),) * 2
    hidden = cfg.whole("head_hidden_size") if "head_hidden_size" in cfg.values else None
    return {"names": "timm", "stages": tuple(stages), "stem": stem, "head_hidden": hidden,
            "head": "ln_first" if hidden is None else "hidden",
            "dim_head": transformer.whole("dim_head") if "dim_head" in transformer.values else 32,
            "mbconv": _timm_mbconv(cfg.group("conv_cfg")), "transformer": _timm_transformer(transformer)}


def _no_dropout(case: Case) -> None:
    """In training only a rate of zero can be replayed: what was dropped is not recorded."""
    if case.config.number("dropout") and case.training:
        raise NotUnderstood(f"config dropout = {case.config.values['dropout']} in training")


def _norm(config: Config) -> Options:
    return {"bn_eps": config.number("bn_eps"), "bn_momentum": config.number("bn_momentum")}


def _timm_mbconv(cfg: Config) -> Options:
    given = _given(cfg, {
        "stride_mode": ("stride_mode", lambda key: cfg.choice(key, *STRIDES)), "pool_type": ("pool", _timm_pool(cfg)),
        "pre_norm_act": ("pre_norm_act", cfg.flag), "output_bias": ("bias", cfg.flag), "attn_early": ("se_early", cfg.flag),
        "attn_act_layer": ("se_act", _timm_act(cfg)), "act_layer": ("act", _timm_act(cfg)), "attn_ratio": ("se_ratio", cfg.number),
        "norm_eps": ("bn_eps", cfg.number), "padding": ("padding", lambda key: cfg.choice(key, "same"))})
    if given.get("stride_mode") == "pool" and given.get("pool", "avg2") in ("max2", "avg2"):
        given["ceil_pool"] = False      # timm's 2x2 windows round down; next to any that rounds up it fails on odd maps
    if "expand_output" in cfg.values and not cfg.flag("expand_output"):
        given |= {"expand_from": "input", "se_from": "hidden"}
    return given


def _timm_transformer(cfg: Config) -> Options:
    given = _given(cfg, {
        "expand_first": ("expand_first", cfg.flag), "shortcut_bias": ("shortcut_bias", cfg.flag), "pool_type": ("pool", _timm_pool(cfg)),
        "expand_ratio": ("ffn_ratio", cfg.number), "init_values": ("layer_scale", lambda key: cfg.number(key) or None),
        "rel_pos_type": ("table", lambda key: cfg.choice(key, "bias", "bias_tf"))})
    return given | {"ceil_pool": given.get("pool", "avg2") not in ("max2", "avg2")}      # timm's 2x2 windows round down


def _given(cfg: Config, readers: dict[str, tuple[str, Callable[[str], Any]]]) -> Options:
    """The keys that are there, under our names: key -> (our name, how to read it)."""
    return {name: read(key) for key, (name, read) in readers.items() if key in cfg.values}


def _timm_pool(cfg: Config) -> Callable[[str], str]:
    return lambda key: TIMM_POOLS[cfg.choice(key, *TIMM_POOLS)]


def _timm_act(cfg: Config) -> Callable[[str], str]:
    return lambda key: cfg.choice(key, "gelu", "gelu_tanh", "silu", "relu")


def _kind(kind: Any) -> str:
    if kind not in ("C", "T"):
        raise NotUnderstood(f'block type {json.dumps(kind)}; understood is "C" or "T"')
    return kind


OPERATORS = coatnet_operators.OPERATORS | {
    "coatnet": replay_net,
    "feed_forward": replay_feed_forward,
    "mbconv": replay_mbconv,
    "relative_mha": replay_mha,
    "stem": replay_stem,
    "stem_conv_bn_gelu": replay_stem_cw,
    "transformer_block": replay_transformer,
}
