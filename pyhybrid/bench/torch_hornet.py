"""HorNet in PyTorch as the official code computes it, with 7x7 convolutions or global-local filters. A peer, on our state dict."""

from __future__ import annotations

from typing import Any

from pyhybrid.bench.torch_layers import Tensors, conv, depthwise, gates, global_filter, layer_norm, layer_norm_of_maps, linear, part

EPS = 1e-6


def supports(net: Any) -> bool:
    """Any size, order and kind of filter, as long as gnConv is official and nothing is dropped."""
    return not (net.gnconv or net.drop_path_rate)


def forward(state: Tensors, x: Any, net: Any) -> Any:
    """Logits; nothing in this network is different in training."""
    for i, depth in enumerate(net.depths):
        shrink = part(state, f"downsample_layers.{i}")
        if i == 0:
            x = layer_norm_of_maps(conv(x, shrink, "0", stride=4), shrink, "1", EPS)
        else:
            x = conv(layer_norm_of_maps(x, shrink, "0", EPS), shrink, "1", stride=2)
        for j in range(depth):
            x = _block(x, part(state, f"stages.{i}.{j}"), net.orders[i], net.s)
    return linear(layer_norm(x.mean((2, 3)), state, "norm", EPS), state, "head")


def _block(x: Any, t: Tensors, order: int, scale: float) -> Any:
    """gnConv on maps, then a perceptron on the channels of every pixel, each with a shortcut and, if it has one, a layer scale."""
    import torch.nn.functional as F

    mixed = _gn_conv(layer_norm_of_maps(x, t, "norm1", EPS), part(t, "gnconv"), order, scale)
    x = x + (mixed * t["gamma1"][:, None, None] if "gamma1" in t else mixed)
    pixels = layer_norm(x.permute(0, 2, 3, 1), t, "norm2", EPS)
    fed = linear(F.gelu(linear(pixels, t, "pwconv1")), t, "pwconv2")
    return x + (fed * t["gamma2"] if "gamma2" in t else fed).permute(0, 3, 1, 2)


def _gn_conv(x: Any, t: Tensors, order: int, scale: float) -> Any:
    """A projection to p and q, a filter of q, the chain of gates, a projection back."""
    fused = conv(x, t, "proj_in")
    narrow = fused.shape[1] >> order
    p, q = fused.split([narrow, fused.shape[1] - narrow], 1)
    filtered = depthwise(q, t, "dwconv") if "dwconv.weight" in t else _global_local(q, part(t, "dwconv"))
    projections = [(t[f"pws.{k}.weight"], t[f"pws.{k}.bias"]) for k in range(order - 1)]
    return conv(gates(p, filtered, projections, scale), t, "proj_out")


def _global_local(x: Any, t: Tensors) -> Any:
    """Half of the channels through a 3x3 convolution, half through a global filter, interleaved, between two layer norms."""
    import torch
    import torch.nn.functional as F

    near, far = layer_norm_of_maps(x, t, "pre_norm", EPS).chunk(2, 1)
    weight, size = t["complex_weight"], (x.shape[2], x.shape[3] // 2 + 1)
    if weight.shape[1:3] != size:
        weight = F.interpolate(weight.permute(3, 0, 1, 2), size, mode="bilinear", align_corners=True).permute(1, 2, 3, 0).contiguous()
    joined = torch.stack([depthwise(near, t, "dw"), global_filter(far, weight)], 2).flatten(1, 2)
    return layer_norm_of_maps(joined, t, "post_norm", EPS)
