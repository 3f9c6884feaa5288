"""Whole blocks in PyTorch, as their official code or the paper writes them, on the same parameters under the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyhybrid.bench.work import Work

__all__ = ["BLOCKS"]

Tensors = dict[str, Any]


def mbconv(t: Tensors, work: Work) -> Any:
    """Batch statistics, GELU exact, squeeze-excite on the hidden channels."""
    import torch.nn.functional as F

    x = t["x"]
    z = F.conv2d(_batch_norm(x, t, "pre_norm"), t["expand_conv.weight"])
    z = F.gelu(_batch_norm(z, t, "expand_norm"))
    z = F.conv2d(z, t["depthwise_conv.weight"], padding=1, groups=z.shape[1])
    z = F.gelu(_batch_norm(z, t, "depthwise_norm"))
    squeezed = F.silu(F.conv2d(z.mean((2, 3), keepdim=True), t["se.reduce.weight"], t["se.reduce.bias"]))
    z = z * F.conv2d(squeezed, t["se.expand.weight"], t["se.expand.bias"]).sigmoid()
    return x + F.conv2d(z, t["shrink_conv.weight"], t["shrink_conv.bias"])


def mbconv_channels_last(t: Tensors, work: Work) -> Any:
    """The same on memory in which the channels of a pixel are neighbours."""
    import torch

    return mbconv({**t, "x": t["x"].to(memory_format=torch.channels_last)}, work)


def relative_mha(fused: bool) -> Callable[[Tensors, Work], Any]:
    """Attention over tokens with one table per head: PyTorch's fused kernel with the bias gathered before, or step by step."""

    def formula(t: Tensors, work: Work) -> Any:
        import torch.nn.functional as F

        (N, tokens, _), heads = t["x"].shape, work.config["heads"]
        q, k, v = (F.linear(t["x"], t[f"{p}.weight"], t[f"{p}.bias"]).view(N, tokens, heads, -1).transpose(1, 2) for p in "qkv")
        bias = _bias(t["relative_bias"], *work.config["size"])
        if fused:
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            o = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias).softmax(-1) @ v
        return F.linear(o.transpose(1, 2).reshape(N, tokens, -1), t["o.weight"], t["o.bias"])

    return formula


def sam(t: Tensors, work: Work) -> Any:
    """The heads one after the other, joined so that a group holds one channel of each; then the grouped and the full expansion."""
    import torch
    import torch.nn.functional as F

    (N, _, C), heads = t["x"].shape, sum(name.startswith("local_conv") and name.endswith("weight") for name in t)
    maps = F.linear(t["x"], t["s.weight"], t["s.bias"]).transpose(1, 2).reshape(N, heads, C // heads, *work.config["size"])
    mixed = []
    for head in range(heads):
        kernel = t[f"local_conv_{head + 1}.weight"]
        mixed.append(F.conv2d(maps[:, head], kernel, t[f"local_conv_{head + 1}.bias"], padding=kernel.shape[-1] // 2, groups=C // heads))
    u = F.conv2d(torch.stack(mixed, 2).flatten(1, 2), t["proj0.weight"], t["proj0.bias"], groups=C // heads)
    modulator = F.conv2d(F.gelu(_batch_norm(u, t, "bn", 1e-5)), t["proj1.weight"], t["proj1.bias"])
    z = modulator.flatten(2).transpose(1, 2) * F.linear(t["x"], t["v.weight"], t["v.bias"])
    return F.linear(z, t["proj.weight"], t["proj.bias"])


def _batch_norm(x: Any, t: Tensors, name: str, eps: float = 1e-3) -> Any:
    import torch.nn.functional as F

    return F.batch_norm(x, None, None, t[f"{name}.weight"], t[f"{name}.bias"], training=True, eps=eps)


def _bias(table: Any, H: int, W: int) -> Any:
    """(heads, 2H-1, 2W-1) -> (1, heads, H·W, H·W): the entry of query minus key."""
    import torch

    i, j = torch.arange(H), torch.arange(W)
    rows = (i[:, None, None, None] - i[:, None] + H - 1).expand(H, W, H, W)
    columns = (j[:, None, None] - j + W - 1).expand(H, W, H, W)
    return table[:, rows, columns].reshape(1, -1, H * W, H * W)


BLOCKS: dict[str, dict[str, Callable[[Tensors, Work], Any]]] = {
    "mbconv": {"torch": mbconv, "torch channels-last": mbconv_channels_last},
    "relative_mha": {"torch": relative_mha(fused=True), "torch step by step": relative_mha(fused=False)},
    "sam": {"torch": sam},
}
