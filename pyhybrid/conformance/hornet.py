"""Replay of HorNet's recorded operators, blocks and networks, under the official parameter names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyhybrid.conformance.case import Case, Config, NotUnderstood, Replayed
from pyhybrid.conformance.layers import COUNTER, replay_layer
from pyhybrid.nn import LayerNorm, Module
from pyhybrid.ops import spectrum_resize
from pyhybrid.papers.hornet.block import Block
from pyhybrid.papers.hornet.filters import GFNetFilter, GlobalFilter, GlobalLocalFilter, spectrum_width
from pyhybrid.papers.hornet.gnconv import GnConv
from pyhybrid.papers.hornet.horfpn import GNFPN, SegmentationFusion
from pyhybrid.papers.hornet.model import HorNet, downsampling, stem

__all__ = ["OPERATORS"]

Array = np.ndarray
Pair = tuple[int, int]


def replay_layernorm(case: Case) -> Replayed:
    config = case.config
    axis = {"channels_first": 1, "channels_last": -1}[config.choice("data_format", "channels_first", "channels_last")]
    return _replay(case, LayerNorm(config.whole("dim"), config.number("eps"), axis, dtype=case.dtype))


def replay_spectrum_resize(case: Case) -> Replayed:
    """A spectrum on another grid. There is no input: the weight is what is resized."""
    config = case.config
    config.choice("mode", "bilinear")
    config.choice("align_corners", True)
    weight = case.param("complex_weight", (config.whole("dim"), config.whole("h"), config.whole("w"), 2))
    y, cache = spectrum_resize.forward(weight, size=_two(config.sizes("out"), "out"))
    return Replayed({"y": y}, lambda d: {"param.complex_weight": spectrum_resize.backward(d["y"], cache)[0]})


def replay_global_filter(case: Case) -> Replayed:
    config = case.config
    config.choice("layout", "channels_first")
    size = config.whole("filter_h"), config.whole("filter_w")
    _check_interpolated(config, size)
    return _replay(case, GlobalFilter(config.whole("dim"), *size, dtype=case.dtype))


def replay_gfnet_filter(case: Case) -> Replayed:
    """GFNet's own layer: tokens of a map whose size is given beside them, and never another one."""
    config = case.config
    config.text("layout")
    layer = GFNetFilter(config.whole("dim"), config.whole("h"), config.whole("w"), dtype=case.dtype)
    size = _two(config.sizes("spatial_size"), "spatial_size")
    return _replay(case, layer, lambda x: layer.forward(x, size))


def replay_global_local_filter(case: Case) -> Replayed:
    config = case.config
    size = config.whole("h"), config.whole("w")
    _check_interpolated(config, size)
    return _replay(case, GlobalLocalFilter(config.whole("dim"), *size, dtype=case.dtype))


def replay_gnconv(case: Case) -> Replayed:
    return _replay_gnconv(case, {"kernel_size": case.config.whole("kernel_size")})


def replay_gnconv_gf(case: Case) -> Replayed:
    return _replay_gnconv(case, {"filter": (case.config.whole("h"), case.config.whole("w"))})


def _replay_gnconv(case: Case, options: dict[str, Any]) -> Replayed:
    config = case.config
    layer = GnConv(config.whole("dim"), config.whole("order"), config.number("s"), **options, dtype=case.dtype)
    if (dims := config.sizes("dims")) != layer.dims:
        raise NotUnderstood(f"config dims = {list(dims)}; of this width and order they are {list(layer.dims)}")
    return _replay(case, layer)


def replay_block(case: Case) -> Replayed:
    """The block; what drop path keeps is recorded as one number per sample and branch."""
    config = case.config
    config.text("note")
    rate = config.number("drop_path")
    layer = Block(config.whole("dim"), config.whole("order"), config.number("s"), rate, 1e-6 if config.flag("layer_scale") else 0.0,
                  gnconv={"filter": _filter(config.values.get("gf"), config, "gf")}, dtype=case.dtype)
    named = [name for name in ("keep_mask_gnconv", "keep_mask_ffn") if name in config.values]
    if not named:
        if case.training and rate:
            raise NotUnderstood(f"config drop_path = {rate} in training mode without the branches that were dropped")
        return _replay(case, layer)
    if len(named) != 2 or not case.training:
        raise NotUnderstood(f"config {named[0]}: both masks belong together, and to training mode")
    keep = config.items("keep_mask_gnconv"), config.items("keep_mask_ffn")
    return _replay(case, layer, lambda x: layer.forward(x, keep))


def replay_stem(case: Case) -> Replayed:
    config = case.config
    sizes = config.whole("kernel"), config.whole("stride")
    return _replay(case, stem(config.whole("in_chans"), config.whole("dim"), *sizes, dtype=case.dtype))


def replay_downsample(case: Case) -> Replayed:
    config = case.config
    sizes = config.whole("kernel"), config.whole("stride")
    return _replay(case, downsampling(config.whole("dim_in"), config.whole("dim_out"), *sizes, dtype=case.dtype))


def replay_hornet(case: Case) -> Replayed:
    """The whole network. With a drop path rate, what a training run drops is not recorded, so only rate 0 is understood there."""
    config = case.config
    rate = config.number("drop_path_rate")
    if case.training and rate:
        raise NotUnderstood(f"config drop_path_rate = {rate} in training mode without the branches that were dropped")
    filters = tuple(_filter(value, config, "gf") for value in config.items("gf"))
    layer = HorNet(config.sizes("depths"), config.whole("base_dim"), config.sizes("orders"), config.number("s"), filters,
                   in_chans=config.whole("in_chans"), num_classes=config.whole("num_classes"), drop_path_rate=rate,
                   layer_scale_init_value=1e-6 if config.flag("layer_scale") else 0.0, dtype=case.dtype)
    return _replay(case, layer)


def replay_horfpn_det(case: Case) -> Replayed:
    """Several maps in and out: input.x0, … and output.y0, …, finest first."""
    config = case.config
    for key in ("extra", "upsample"):
        config.text(key)
    layer = GNFPN(config.sizes("in_channels"), config.whole("out_channels"), config.whole("num_outs"),
                  gnconv=_gnconv_options(config), dtype=case.dtype)
    return _replay_maps(case, layer)


def replay_horfpn_seg(case: Case) -> Replayed:
    config = case.config
    for key in ("norm", "resize"):
        config.text(key)
    config.choice("act", "ReLU")
    channels = (config.whole("channels_per_level"),) * len(case.named("input"))
    layer = SegmentationFusion(channels, config.whole("out_channels"), gnconv=_gnconv_options(config), dtype=case.dtype)
    return _replay_maps(case, layer)


def _replay(case: Case, layer: Module, forward: Callable[[Array], Any] | None = None) -> Replayed:
    return replay_layer(case, layer, case.input("x", case.config.sizes("input_shape")), forward)


def _replay_maps(case: Case, layer: Module) -> Replayed:
    """A layer from x0, x1, … to y0, y1, …, or to a single y. Where no count of batches is recorded, it starts at 0 and is not compared."""
    shapes = [_shape(value) for value in case.config.items("input_shapes")]
    x = [case.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    counters = [name for name in layer.state_dict() if name.endswith(COUNTER)]
    uncounted = {name: np.zeros((), np.int64) for name in counters if f"param.{name}" not in case.arrays}
    layer.load_state_dict(case.params() | uncounted)
    layer.train(case.training)
    y, cache = layer.forward(x)
    several = isinstance(y, tuple)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        dx, grads = layer.backward([d[f"y{i}"] for i in range(len(y))] if several else d["y"], cache)
        return {f"input.x{i}": dmap for i, dmap in enumerate(dx)} | {f"param.{name}": grad for name, grad in grads.items()}

    buffers = {name: value for name, value in layer.state_dict().items() if name not in layer.named_params() and name not in uncounted}
    outputs = {f"y{i}": value for i, value in enumerate(y)} if several else {"y": y}
    return Replayed(outputs, backward, buffers=frozenset(buffers), state=buffers if case.training else {})


def _gnconv_options(config: Config) -> dict[str, Any]:
    """gn_conv_cfg and the scale as options of `GNConvModule`; a filter with its height alone belongs to square maps."""
    group = config.group("gn_conv_cfg")
    options: dict[str, Any] = {"order": group.whole("order"), "project_out": group.flag("proj_out"), "s": config.number("scale")}
    spectral = group.choice("type", "gnconv", "gngf") == "gngf"
    if not spectral or "kernel_size" in group.values:       # which means nothing to a global filter
        options["kernel_size"] = group.whole("kernel_size")
    if spectral:
        h = group.whole("h")
        options["filter"] = (h, group.whole("w") if "w" in group.values else spectrum_width(h))
    return options


def _filter(value: Any, config: Config, key: str) -> Pair | None:
    """null, or the (h, w) of a global filter."""
    config.unread.pop(key, None)
    if key not in config.values:
        raise NotUnderstood(f"config key {key!r} is missing")
    return None if value is None else _two(_shape(value), key)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value):
        raise NotUnderstood(f"config value {value!r}; understood is a list of sizes")
    return tuple(value)


def _two(sizes: tuple[int, ...], key: str) -> Pair:
    if len(sizes) != 2:
        raise NotUnderstood(f"config {key} = {list(sizes)}; understood is a pair of sizes")
    return sizes[0], sizes[1]


def _check_interpolated(config: Config, size: Pair) -> None:
    """The flag says whether the filter's grid differs from that of the input."""
    H, W = config.sizes("input_shape")[2:]
    config.choice("interpolated", size != (H, spectrum_width(W)))


OPERATORS = {
    "block": replay_block,
    "downsample": replay_downsample,
    "gfnet_global_filter": replay_gfnet_filter,
    "global_filter": replay_global_filter,
    "global_local_filter": replay_global_local_filter,
    "gnconv": replay_gnconv,
    "gnconv_gf": replay_gnconv_gf,
    "horfpn_det": replay_horfpn_det,
    "horfpn_seg_fusion": replay_horfpn_seg,
    "hornet": replay_hornet,
    "layernorm": replay_layernorm,
    "spectrum_resize": replay_spectrum_resize,
    "stem": replay_stem,
}
