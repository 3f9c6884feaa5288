"""Replay of CoAtNet's recorded operators: attention in its forms, convolutions, pooling, norms, activations, gates."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from pyhybrid.conformance.case import Case, NotUnderstood, Replayed
from pyhybrid.conformance.layers import replay_layer
from pyhybrid.nn import BatchNorm2d, Conv2d, LayerNorm, Operator
from pyhybrid.ops import (
    avg_pool2d,
    elu_plus_one,
    gelu,
    global_avg_pool,
    linear_attention,
    local_relative_attention,
    max_pool2d,
    relative_attention,
    relative_bias,
    resize_bilinear,
    sigmoid,
    silu,
    softmax,
)
from pyhybrid.papers.coatnet.parts import SamePad, SqueezeExcite

__all__ = ["OPERATORS"]

Array = np.ndarray
SIGNS, FORMS = relative_attention.SIGNS, relative_attention.FORMS
ACTS = {"gelu_exact": "gelu", "gelu_tanh": "gelu_tanh", "silu": "silu", "relu": "relu"}
ACTIVATIONS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "elu_plus_one": (elu_plus_one, {}), "gelu_exact": (gelu, {}), "gelu_tanh": (gelu, {"approximate": "tanh"}), "sigmoid": (sigmoid, {}),
    "silu": (silu, {})}
POOLS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "max_k3s2p1": (max_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1}), "max_k2s2": (max_pool2d, {"kernel_size": 2, "stride": 2}),
    "max_k2s2_ceil": (max_pool2d, {"kernel_size": 2, "stride": 2, "ceil_mode": True}),
    "avg_k2s2": (avg_pool2d, {"kernel_size": 2, "stride": 2}),
    "avg_k3s2p1_exclpad": (avg_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    "global_avg": (global_avg_pool, {})}
SAME = "TF SAME"        # how the text begins that asks for it; a formula with the sizes of the case may follow


def replay_raw(case: Case) -> Replayed:
    """Eq. (3) as the paper writes it: x attends to itself without projections."""
    config = case.config
    H, W, form = config.whole("H"), config.whole("W"), config.choice("form", *FORMS)
    config.text("index")
    x = case.input("x", (config.whole("B"), H * W, config.whole("D")))
    w = case.param("w")
    if w.shape not in ((2 * H - 1, 2 * W - 1), (2 * W - 1,)) or (w.ndim == 1 and H != 1):
        raise NotUnderstood(f"param w has shape {w.shape} for a grid {H} x {W}")
    heads = x[:, None]
    table = w.reshape(1, 2 * H - 1, 2 * W - 1)
    y, cache = relative_attention.forward(heads, heads, heads, table, size=(H, W), form=form, scale=config.number("scale"))

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        grads = relative_attention.backward(d["y"][:, None], cache)
        return {"input.x": (grads.q + grads.k + grads.v)[:, 0], "param.w": grads.table.reshape(w.shape)}

    return Replayed({"y": y[:, 0]}, backward)


def replay_qkv(case: Case) -> Replayed:
    config = case.config
    H, W, heads = config.whole("H"), config.whole("W"), config.whole("heads")
    config.choice("table_layout", "((2H-1)*(2W-1), heads)", default="")
    config.text("note")
    options = {"size": (H, W), "form": config.choice("form", *FORMS), "sign": config.choice("sign", *SIGNS),
               "scale": config.number("scale")}
    shape = (config.whole("B"), heads, H * W, config.whole("dim_head"))
    return _attention(case, relative_attention, options, shape, (2 * H - 1, 2 * W - 1))


def replay_local(case: Case) -> Replayed:
    config = case.config
    H, W, heads, radius = config.whole("H"), config.whole("W"), config.whole("heads"), config.whole("radius", minimum=0)
    config.choice("border", "keys outside the image are excluded from the softmax", default="")
    options = {"size": (H, W), "radius": radius, "form": config.choice("form", *FORMS), "scale": config.number("scale")}
    window = (2 * radius + 1, 2 * radius + 1)
    return _attention(case, local_relative_attention, options, (config.whole("B"), heads, H * W, config.whole("dim_head")), window)


def _attention(case: Case, operator: Any, options: dict[str, Any], shape: tuple[int, ...], window: tuple[int, int]) -> Replayed:
    """An operator on q, k, v and a table that is recorded as (entries, heads)."""
    q, k, v = (case.input(name, shape) for name in "qkv")
    flat = case.param("relative_bias_table", (window[0] * window[1], shape[1]))
    y, cache = operator.forward(q, k, v, np.ascontiguousarray(flat.T).reshape(-1, *window), **options)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        grads = operator.backward(d["y"], cache)
        table = grads.table.reshape(shape[1], -1).T
        return {"input.q": grads.q, "input.k": grads.k, "input.v": grads.v, "param.relative_bias_table": table}

    return Replayed({"y": y}, backward)


def replay_linear_attention(case: Case) -> Replayed:
    config = case.config
    kinds = {"elu+1 feature map": "elu", "softmax(q over features), softmax(k over positions)": "efficient"}
    kind = kinds[config.choice("kind", *kinds)]
    shape = (config.whole("B"), config.whole("heads"), config.whole("N"), config.whole("dim_head"))
    eps = config.number("eps") if "eps" in config.values else 0.0
    if kind == "efficient" and eps:
        raise NotUnderstood("config eps belongs to the kind elu+1")
    y, cache = linear_attention.forward(*(case.input(name, shape) for name in "qkv"), kind=kind, eps=eps)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        return {f"input.{name}": grad for name, grad in linear_attention.backward(d["y"], cache)._asdict().items()}

    return Replayed({"y": y}, backward)


def replay_gather(case: Case) -> Replayed:
    """The bias between all pairs of tokens, and the two index tables, which are whole numbers without a gradient."""
    config = case.config
    size, heads = (config.whole("H"), config.whole("W")), config.whole("heads")
    sign = config.choice("sign", *SIGNS)
    config.text("output")
    table = case.param("relative_bias_table", ((2 * size[0] - 1) * (2 * size[1] - 1), heads))
    rows = np.ascontiguousarray(table[::-1]) if sign == "key - query" else table       # the table of the opposite displacement
    bias, cache = relative_bias.forward(rows, size=size)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        dtable = relative_bias.backward(d["bias"], cache).table
        return {"param.relative_bias_table": dtable[::-1] if sign == "key - query" else dtable}

    indices = {"index": relative_attention.index(size, sign), "index_key_minus_query": relative_attention.index(size, "key - query")}
    return Replayed({"bias": bias, **indices}, backward, exact=True, fixed=frozenset(indices))


def replay_resize(case: Case) -> Replayed:
    config = case.config
    (h, w), (H, W) = config.sizes("from"), config.sizes("to")
    config.choice("mode", "bilinear")
    config.choice("antialias", False)
    table = case.param("table", (config.whole("heads"), 2 * h - 1, 2 * w - 1))
    y, cache = resize_bilinear.forward(table, size=(2 * H - 1, 2 * W - 1), align_corners=config.flag("align_corners"))
    return Replayed({"y": y}, lambda d: {"param.table": resize_bilinear.backward(d["y"], cache).x})


def replay_depthwise(case: Case) -> Replayed:
    config = case.config
    C, k, stride = config.whole("C"), config.whole("kernel"), config.whole("stride")
    bias = config.flag("bias") if "bias" in config.values else "param.bias" in case.arrays
    x = case.input("x", (config.whole("B"), C, config.whole("H"), config.whole("W")))
    if str(config.values.get("padding")).startswith(SAME):
        config.text("padding")
        return _padded(case, SamePad(k, stride), Conv2d(C, C, k, stride, 0, C, bias, dtype=case.dtype), x)
    return replay_layer(case, Conv2d(C, C, k, stride, config.whole("padding", 0), C, bias, dtype=case.dtype), x)


def _padded(case: Case, pad: SamePad, conv: Conv2d, x: Array) -> Replayed:
    """The convolution of a padded map, whose gradient is cropped."""
    padded, c_pad = pad.forward(x)
    replayed = replay_layer(case, conv, padded)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        grads = replayed.backward(d)            # type: ignore[misc]
        return grads | {"input.x": pad.backward(grads["input.x"], c_pad)[0]}

    return replayed._replace(backward=backward)


def replay_conv2d(case: Case) -> Replayed:
    config = case.config
    C = config.whole("C_in")
    layer = Conv2d(C, config.whole("C_out"), config.whole("kernel"), config.whole("stride"), config.whole("padding", 0), 1,
                   config.flag("bias"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), C, config.whole("H"), config.whole("W"))))


def replay_pool(case: Case) -> Replayed:
    """`kind` says all; what else the configuration states must agree with it."""
    config = case.config
    operator, options = POOLS[config.choice("kind", *POOLS)]
    stated = {"kernel": options.get("kernel_size"), "stride": options.get("stride"), "padding": options.get("padding", 0),
              "ceil_mode": options.get("ceil_mode", False), "count_include_pad": options.get("count_include_pad"), "pad_value": "-inf"}
    if operator is not avg_pool2d or not stated["padding"]:         # where no mean has padding this says nothing
        stated["count_include_pad"] = config.values.get("count_include_pad") and config.flag("count_include_pad")
    for key in stated.keys() & config.values.keys():
        config.choice(key, stated[key])
    config.text("note")
    config.text("ties")
    x = case.input("x", tuple(config.whole(key) for key in "BCHW"))
    return replay_layer(case, Operator(operator, **options), x)


def replay_batch_norm(case: Case) -> Replayed:
    config = case.config
    config.text("running_var")
    x = case.input("x", tuple(config.whole(key) for key in "BCHW"))
    return replay_layer(case, BatchNorm2d(x.shape[1], config.number("eps"), config.number("momentum"), dtype=case.dtype), x)


def replay_layer_norm(case: Case) -> Replayed:
    config = case.config
    x = case.input("x", config.sizes() if "shape" in config.values else tuple(config.whole(key) for key in "BCHW"))
    axis = config.choice("normalised_axis", *range(-x.ndim, x.ndim))
    return replay_layer(case, LayerNorm(x.shape[axis], config.number("eps"), axis, dtype=case.dtype), x)


def replay_activation(case: Case) -> Replayed:
    operator, options = ACTIVATIONS[case.config.choice("kind", *ACTIVATIONS)]
    return replay_layer(case, Operator(operator, **options), case.input("x"))


def replay_softmax(case: Case) -> Replayed:
    x = case.input("x")
    return replay_layer(case, Operator(softmax, axis=case.config.choice("axis", *range(-x.ndim, x.ndim))), x)


def replay_squeeze_excite(case: Case) -> Replayed:
    """Two names for the same: channels from `oup` and reduced units from `inp` (CW), or both as they are (timm)."""
    config = case.config
    cw = "oup" in config.values
    channels, reduced = config.whole("oup" if cw else "channels"), config.whole("reduced" if cw else "rd_channels")
    if cw and reduced != int(config.whole("inp") * config.number("expansion")):
        raise NotUnderstood(f"config reduced = {reduced} is not inp times expansion")
    act = ACTS[config.choice("act", "gelu_exact", "relu", "silu")]
    names = ("fc.0", "fc.2") if cw else ("fc1", "fc2")
    layer = SqueezeExcite(channels, reduced, act, config.flag("bias"), names=names, as_conv=not cw, dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), channels, config.whole("H"), config.whole("W"))))


OPERATORS = {
    "activation": replay_activation,
    "batch_norm_2d": replay_batch_norm,
    "conv2d": replay_conv2d,
    "depthwise_conv": replay_depthwise,
    "layer_norm": replay_layer_norm,
    "layer_norm_2d": replay_layer_norm,
    "linear_attention": replay_linear_attention,
    "local_relative_attention": replay_local,
    "pool2d": replay_pool,
    "relative_attention_qkv": replay_qkv,
    "relative_attention_raw": replay_raw,
    "relative_bias_gather": replay_gather,
    "relative_bias_resize": replay_resize,
    "softmax": replay_softmax,
    "squeeze_excite": replay_squeeze_excite,
}
