"""Whole blocks in PyTorch, as their official code or the paper writes them, on the same parameters under the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyhybrid.bench.torch_layers import Pair, Tensors, batch_norm, conv, depthwise, linear, multi_head, relative_bias, to_map, to_tokens
from pyhybrid.bench.work import Work

__all__ = ["BLOCKS", "mbconv", "relative_mha", "sam"]


def mbconv(x: Any, t: Tensors, stride: int = 1) -> Any:
    """Batch statistics, GELU exact, squeeze-excite on the hidden channels; with stride 2 the shortcut is pooled, and widened if need be."""
    import torch.nn.functional as F

    eps = 1e-3
    z = F.gelu(batch_norm(conv(batch_norm(x, t, "pre_norm", eps), t, "expand_conv", stride=stride), t, "expand_norm", eps))
    z = F.gelu(batch_norm(depthwise(z, t, "depthwise_conv"), t, "depthwise_norm", eps))
    z = z * conv(F.silu(conv(z.mean((2, 3), keepdim=True), t, "se.reduce")), t, "se.expand").sigmoid()
    if stride > 1:
        x = F.max_pool2d(x, stride, ceil_mode=True)
    if "shortcut_conv.weight" in t:
        x = conv(x, t, "shortcut_conv")
    return x + conv(z, t, "shrink_conv")


def relative_mha(x: Any, t: Tensors, fused: bool = True) -> Any:
    """Attention over tokens with one table per head: PyTorch's fused function with the bias gathered before, or step by step."""
    heads, *displacements = t["relative_bias"].shape
    bias = relative_bias(t["relative_bias"], tuple((n + 1) // 2 for n in displacements))
    q, k, v = (linear(x, t, name) for name in "qkv")
    return linear(multi_head(q, k, v, heads, bias[None], fused), t, "o")


def sam(x: Any, t: Tensors, size: Pair) -> Any:
    """The heads one after the other, joined so that a group holds one channel of each; then the grouped and the full expansion."""
    import torch
    import torch.nn.functional as F

    heads = sum(name.startswith("local_conv") and name.endswith("weight") for name in t)
    maps = to_map(linear(x, t, "s"), size).chunk(heads, 1)
    mixed = torch.stack([depthwise(m, t, f"local_conv_{head}") for head, m in enumerate(maps, 1)], 2).flatten(1, 2)
    u = conv(mixed, t, "proj0", groups=x.shape[2] // heads)
    modulator = conv(F.gelu(batch_norm(u, t, "bn")), t, "proj1")
    return linear(to_tokens(modulator) * linear(x, t, "v"), t, "proj")


def _mbconv_channels_last(t: Tensors, work: Work) -> Any:
    """The same on memory in which the channels of a pixel are neighbours."""
    import torch

    return mbconv(t["x"].to(memory_format=torch.channels_last), t)


BLOCKS: dict[str, dict[str, Callable[[Tensors, Work], Any]]] = {
    "mbconv": {"torch": lambda t, work: mbconv(t["x"], t), "torch channels-last": _mbconv_channels_last},
    "relative_mha": {"torch": lambda t, work: relative_mha(t["x"], t),
                     "torch step by step": lambda t, work: relative_mha(t["x"], t, fused=False)},
    "sam": {"torch": lambda t, work: sam(t["x"], t, work.config["size"])},
}
