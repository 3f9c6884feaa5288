"""Replay of the recorded cases of ACmix: one short function per operator, from a case to what the project computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyhybrid.conformance.case import Case, NotUnderstood, Replayed
from pyhybrid.conformance.layers import replay_layer
from pyhybrid.ops import (
    conv_decomposition,
    conv_path,
    local_attention,
    positional_term,
    reflection_pad,
    shift,
    tap_projection,
    unfold,
    window_partition,
)
from pyhybrid.papers.acmix import ACmix
from pyhybrid.papers.acmix.pvt import PVTAttention
from pyhybrid.papers.acmix.resnet import Bottleneck, ResNet
from pyhybrid.papers.acmix.san import SAM
from pyhybrid.papers.acmix.swin import PatchMerging, SwinBlock, SwinTransformer
from pyhybrid.papers.acmix.window_attention import WindowAttention

__all__ = ["OPERATORS"]

Array = np.ndarray


def replay_shift(case: Case) -> Replayed:
    """g = the shifts of f by all offsets, stacked; aux.kernels are the one-hot kernels of the same shifts."""
    config = case.config
    config.choice("boundary", "zero")
    config.text("definition")
    offsets = config.pairs("offsets")
    f = case.input("f", config.sizes())
    shifted, caches = zip(*(shift.forward(f, offset=offset) for offset in offsets), strict=True)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        return {"input.f": sum(shift.backward(dg, cache).x for dg, cache in zip(d["g"], caches, strict=True))}

    def kernels() -> Array:
        reach = max(max(abs(s), abs(t)) for s, t in offsets)
        one_hot = np.zeros((len(offsets), 2 * reach + 1, 2 * reach + 1))
        for kernel, (s, t) in zip(one_hot, offsets, strict=True):
            kernel[reach + s, reach + t] = 1
        return one_hot

    return Replayed({"g": np.stack(shifted)}, backward, {"kernels": kernels}, exact=True)


def replay_conv_decomposition(case: Case) -> Replayed:
    """A convolution as pointwise convolutions, shifted and summed; aux.stage1 and stage2 hold a map per tap."""
    config = case.config
    k, stride = config.whole("kernel"), config.whole("stride")
    config.choice("padding", k // 2)        # stage II reads tap (p, q) at p - k//2, q - k//2: no other has a meaning
    config.choice("map_order", "m=p*k+q", default="")
    shape = config.sizes()
    x = case.input("x", shape)
    weight = case.param("weight", (config.whole("out_channels"), config.whole("in_channels"), k, k))
    y, cache = conv_decomposition.forward(x, weight, stride=stride)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        grads = conv_decomposition.backward(d["y"], cache)
        return {"input.x": grads.x, "param.weight": grads.weight}

    def stage1() -> Array:
        return tap_projection.forward(x, weight)[0].swapaxes(0, 1)

    def stage2() -> Array:
        offsets = [(p - k // 2, q - k // 2) for p in range(k) for q in range(k)]
        return np.stack([shift.forward(maps, offset=offset)[0] for maps, offset in zip(stage1(), offsets, strict=True)])

    return Replayed({"y": y}, backward, {"stage1": stage1, "stage2": stage2}, exact=True)


def replay_position(case: Case) -> Replayed:
    """The location grids of several sizes, as the positional term with one unit vector per direction."""
    case.config.text("layout")
    directions = np.eye(2).reshape(2, 2, 1, 1)
    sizes = case.config.pairs("sizes")
    return Replayed({f"p_{h}x{w}": positional_term.forward(directions, size=(h, w))[0][None] for h, w in sizes})


def replay_reflect_unfold(case: Case) -> Replayed:
    """U = the windows of the map padded by reflection."""
    config = case.config
    config.choice("layout", "(B,C,k*k,Ho,Wo), m=u*k+v", default="")
    k, stride = config.whole("kernel"), config.whole("stride")
    x = case.input("x", config.sizes())
    padded, padding_cache = reflection_pad.forward(x, padding=config.whole("padding", minimum=0))
    U, cache = unfold.forward(padded, kernel_size=k, stride=stride)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        dpadded = unfold.backward(d["U"], cache).x
        return {"input.x": reflection_pad.backward(dpadded, padding_cache).x}

    return Replayed({"U": U}, backward, exact=True)


def replay_local_attention(case: Case) -> Replayed:
    """o = local attention on given q, k, v; aux.attn holds the weights."""
    config = case.config
    heads, stride, window = config.whole("heads"), config.whole("stride"), config.whole("kernel_att")
    border = config.choice("border", *local_attention.BORDERS)
    config.choice("scale", "head_dim**-0.5")
    q, k, v = _projections(case)
    pe, term = None, None
    if config.flag("positional"):
        d = q.shape[1] // heads
        weight, bias = case.param("conv_p.weight", (d, 2, 1, 1)), case.param("conv_p.bias", (d,))
        pe, term = positional_term.forward(weight, bias, size=q.shape[2:])
    o, cache = local_attention.forward(q, k, v, pe, heads=heads, kernel_size=window, stride=stride, border=border)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        dq, dk, dv, dpe = local_attention.backward(d["o"], cache)
        grads = {"input.q": dq, "input.k": dk, "input.v": dv}
        if term is not None:
            grads["param.conv_p.weight"], grads["param.conv_p.bias"] = positional_term.backward(dpe, term)
        return grads

    return Replayed({"o": o}, backward, {"attn": lambda: local_attention.weights(cache)})


def replay_conv_path(case: Case) -> Replayed:
    """y = the convolution path on given q, k, v; aux.f_conv are the maps that fc makes of them, channel e*k² + m."""
    config = case.config
    heads, stride, size = config.whole("heads"), config.whole("stride"), config.whole("kernel_conv")
    q, k, v = _projections(case)
    fc_weight = case.param("fc.weight", (size**2, 3 * heads, 1, 1))
    dep_conv_weight = case.param("dep_conv.weight", (q.shape[1], size**2, size, size))
    fc_bias, dep_conv_bias = case.optional_param("fc.bias"), case.optional_param("dep_conv.bias")
    weights = fc_weight, dep_conv_weight, fc_bias, dep_conv_bias
    y, cache = conv_path.forward(q, k, v, *weights, heads=heads, stride=stride)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        grads = conv_path.backward(d["y"], cache)
        given = {
            "input.q": grads.q,
            "input.k": grads.k,
            "input.v": grads.v,
            "param.fc.weight": grads.fc_weight,
            "param.dep_conv.weight": grads.dep_conv_weight,
            "param.fc.bias": grads.fc_bias,
            "param.dep_conv.bias": grads.dep_conv_bias,
        }
        return {name: grad for name, grad in given.items() if grad is not None}

    def f_conv() -> Array:
        N, C, H, W = q.shape
        P = np.concatenate([m.reshape(N, heads, C // heads, H, W) for m in (q, k, v)], axis=1)
        F = np.einsum("mt,ntehw->nemhw", fc_weight[:, :, 0, 0], P)
        return (F if fc_bias is None else F + fc_bias[:, None, None]).reshape(N, -1, H, W)

    return Replayed({"y": y}, backward, {"f_conv": f_conv}, exact=True)


def replay_acmix_init(case: Case) -> Replayed:
    """What the constructor of the block sets without a random number."""
    params = _block(case, dilation=1).params
    return Replayed({name: params[name] for name in ("rate1", "rate2", "dep_conv.weight")}, exact=True)


def replay_acmix(case: Case) -> Replayed:
    """The block, through the layer and its official parameter names."""
    layer = _block(case, dilation=case.config.choice("dilation", 1))
    case.config.choice("dtype", "float32", "float64", default="float64")
    x = case.input("x", case.config.sizes())
    if x.ndim != 4 or x.shape[1] != layer.in_planes:
        raise NotUnderstood(f"array input.x of shape {x.shape} with in_planes = {layer.in_planes}")
    return replay_layer(case, layer, x)


def replay_bottleneck(case: Case) -> Replayed:
    config = case.config
    x = case.input("x", config.sizes())
    layer = Bottleneck(
        config.whole("inplanes"), config.whole("planes"), config.whole("stride"), config.flag("downsample"), config.whole("k_att"),
        config.whole("head"), config.whole("k_conv"), bn_eps=config.number("bn_eps"), bn_momentum=config.number("bn_momentum"),
        dtype=case.dtype)
    return replay_layer(case, layer, x)


def replay_resnet(case: Case) -> Replayed:
    config = case.config
    x = case.input("x", config.sizes())
    layer = ResNet(
        config.sizes("layers"), config.sizes("planes"), config.whole("stem"), config.whole("k_att"), config.whole("head"),
        config.whole("k_conv"), config.whole("num_classes"), in_channels=x.shape[1], expansion=config.whole("expansion"), dtype=case.dtype)
    return replay_layer(case, layer, x)


def replay_window_attention(case: Case) -> Replayed:
    """Window attention and the convolution path on one map; aux.mask is the mask of a map rolled by `mask_shift`."""
    config = case.config
    config.choice("layout", "(B,H,W,C)", default="")
    dim, size, window = config.whole("dim"), (config.whole("H"), config.whole("W")), config.whole("window_size")
    x, shift = case.input("x", (config.whole("B"), *size, dim)), config.whole("mask_shift", minimum=0)
    layer = WindowAttention(dim, window, config.whole("num_heads"), config.flag("qkv_bias"), config.number_or_null("qk_scale"),
                            dtype=case.dtype)
    mask = window_partition.shift_mask(size, window, shift) if shift else None
    replayed = replay_layer(case, layer, x, lambda x: layer.forward(x, mask))
    return replayed if mask is None else replayed._replace(aux={"mask": lambda: mask})


def replay_swin_block(case: Case) -> Replayed:
    config = case.config
    dim, size = config.whole("dim"), config.size("input_resolution")
    layer = SwinBlock(dim, size, config.whole("num_heads"), config.whole("window_size"), config.whole("shift_size", minimum=0),
                      config.number("mlp_ratio"), ln_eps=config.number("ln_eps"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), layer.size[0] * layer.size[1], dim)))


def replay_patch_merging(case: Case) -> Replayed:
    config = case.config
    layer = PatchMerging(config.size("input_resolution"), config.whole("dim"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), layer.size[0] * layer.size[1], layer.dim)))


def replay_swin(case: Case) -> Replayed:
    """The whole network. With a drop path rate, what a training run drops is not recorded, so only rate 0 is understood there."""
    config = case.config
    rate = config.number("drop_path_rate")
    if case.training and rate:
        raise NotUnderstood(f"config drop_path_rate = {rate} in training mode without the paths that were dropped")
    x = case.arrays.get("input.x", np.empty((0, 0)))
    layer = SwinTransformer(
        config.size("img_size"), config.whole("patch_size"), x.shape[1], config.whole("num_classes"), config.whole("embed_dim"),
        config.sizes("depths"), config.sizes("num_heads"), config.whole("window_size"), config.number("mlp_ratio"),
        config.flag("qkv_bias"), drop_path_rate=rate, ape=config.flag("ape"), patch_norm=config.flag("patch_norm"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), x.shape[1], *layer.size)))


def replay_pvt_attention(case: Case) -> Replayed:
    config = case.config
    dim, size = config.whole("dim"), (config.whole("H"), config.whole("W"))
    layer = PVTAttention(dim, config.whole("num_heads"), size, config.flag("qkv_bias"), sr_ratio=config.whole("sr_ratio"), dtype=case.dtype)
    return replay_layer(case, layer, case.input("x", (config.whole("B"), size[0] * size[1], dim)))


def _replay_san(kind: str) -> Callable[[Case], Replayed]:
    def replay(case: Case) -> Replayed:
        config = case.config
        x = case.input("x", config.sizes())
        layer = SAM(kind, config.whole("in_planes"), config.whole("rel_planes"), config.whole("out_planes"), config.whole("share_planes"),
                    config.whole("kernel_size"), config.whole("stride"), dtype=case.dtype)
        return replay_layer(case, layer, x)

    return replay


def _projections(case: Case) -> tuple[Array, Array, Array]:
    """q, k and v, whose shape and number of channels the configuration states."""
    shape, channels = case.config.sizes(), case.config.whole("channels")
    if len(shape) != 4 or shape[1] != channels:
        raise NotUnderstood(f"config shape = {list(shape)} with channels = {channels}")
    return case.input("q", shape), case.input("k", shape), case.input("v", shape)


def _block(case: Case, dilation: int) -> ACmix:
    whole = case.config.whole
    return ACmix(
        in_planes=whole("in_planes"),
        out_planes=whole("out_planes"),
        kernel_att=whole("kernel_att"),
        head=whole("head"),
        kernel_conv=whole("kernel_conv"),
        stride=whole("stride"),
        dilation=dilation,
        dtype=case.dtype,
    )


OPERATORS = {
    "acmix": replay_acmix,
    "acmix_init": replay_acmix_init,
    "conv_decomposition": replay_conv_decomposition,
    "conv_path": replay_conv_path,
    "local_attention": replay_local_attention,
    "position": replay_position,
    "reflect_unfold": replay_reflect_unfold,
    "shift": replay_shift,
    "bottleneck": replay_bottleneck,
    "patch_merging": replay_patch_merging,
    "pvt_attention": replay_pvt_attention,
    "resnet_acmix": replay_resnet,
    "san_pairwise": _replay_san("pairwise"),
    "san_patchwise": _replay_san("patchwise"),
    "swin_block_acmix": replay_swin_block,
    "swin_transformer_acmix": replay_swin,
    "window_attention_acmix": replay_window_attention,
}
