"""Layers in PyTorch on our parameters, the pieces that peers share: `t` holds tensors under the names of a state dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Tensors = dict[str, Any]
Pair = tuple[int, int]


def part(t: Tensors, name: str) -> Tensors:
    """The parameters of the layer `name`, under the names that they have inside it."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in t.items() if key.startswith(prefix)}


def conv(x: Any, t: Tensors, name: str, **config: Any) -> Any:
    """A convolution, with a bias if it has one."""
    import torch.nn.functional as F

    return F.conv2d(x, t[f"{name}.weight"], t.get(f"{name}.bias"), **config)


def depthwise(x: Any, t: Tensors, name: str) -> Any:
    """Every channel convolved by itself, the map as large as before."""
    return conv(x, t, name, padding=t[f"{name}.weight"].shape[-1] // 2, groups=x.shape[1])


def linear(x: Any, t: Tensors, name: str) -> Any:
    """A linear map of the last axis, with a bias if it has one."""
    import torch.nn.functional as F

    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def batch_norm(x: Any, t: Tensors, name: str, eps: float = 1e-5) -> Any:
    """Batch norm in training mode; running statistics are neither read nor written."""
    import torch.nn.functional as F

    return F.batch_norm(x, None, None, t[f"{name}.weight"], t[f"{name}.bias"], training=True, eps=eps)


def layer_norm(x: Any, t: Tensors, name: str, eps: float = 1e-5) -> Any:
    """Layer norm over the last axis."""
    import torch.nn.functional as F

    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], eps)


def layer_norm_of_maps(x: Any, t: Tensors, name: str, eps: float = 1e-5) -> Any:
    """Layer norm over the channels of every pixel."""
    return layer_norm(x.permute(0, 2, 3, 1), t, name, eps).permute(0, 3, 1, 2)


def to_tokens(x: Any) -> Any:
    """Maps (N, C, H, W) as tokens (N, H·W, C)."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Any, size: Pair) -> Any:
    """Tokens (N, H·W, C) as maps (N, C, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(size))


def attention(q: Any, k: Any, v: Any, bias: Any = None, fused: bool = True) -> Any:
    """softmax(q kᵀ/√d + bias) v of (N, heads, T, d), by PyTorch's own function or step by step."""
    import torch.nn.functional as F

    if fused:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (scores if bias is None else scores + bias).softmax(-1) @ v


def multi_head(q: Any, k: Any, v: Any, heads: int, bias: Any = None, fused: bool = True) -> Any:
    """`attention` of tokens (N, T, heads·d), head by head."""
    q, k, v = (tokens.unflatten(2, (heads, -1)).transpose(1, 2) for tokens in (q, k, v))
    return attention(q, k, v, bias, fused).transpose(1, 2).flatten(2)


def relative_bias(table: Any, size: int | Pair) -> Any:
    """(heads, 2H-1, 2W-1) -> (heads, H·W, H·W): the entry of query minus key."""
    import torch

    from pyhybrid.ops import relative_bias

    return table.flatten(1)[:, torch.from_numpy(relative_bias.index(size))]


def gates(p: Any, filtered: Any, projections: Sequence[tuple[Any, Any]], scale: float) -> Any:
    """The chain of gnConv as in the official code: the scaled maps split, then products and 1x1 convolutions in turn."""
    import torch.nn.functional as F

    C = p.shape[1]
    for k, f in enumerate((filtered * scale).split([C << k for k in range(len(projections) + 1)], dim=1)):
        p = (F.conv2d(p, *projections[k - 1]) if k else p) * f
    return p


def global_filter(x: Any, weight: Any) -> Any:
    """A product with `weight` (C, H, ⌊W/2⌋ + 1, 2) in frequency."""
    import torch

    X = torch.fft.rfft2(x, norm="ortho")
    return torch.fft.irfft2(X * torch.view_as_complex(weight), s=x.shape[2:], norm="ortho")
