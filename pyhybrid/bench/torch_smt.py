"""SMT in PyTorch as the official code computes it. A peer, on our state dict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyhybrid.bench.torch_blocks import sam
from pyhybrid.bench.torch_layers import Pair, Tensors, batch_norm, conv, depthwise, layer_norm, linear, multi_head, part, to_map, to_tokens
from pyhybrid.papers.smt.block import SMTBlock
from pyhybrid.papers.smt.embed import Stem


def supports(net: Any) -> bool:
    """Any size and any order of blocks, as long as what is in a block is official."""
    return net.local_conv and net.dwconv and not (net.sam or net.qk_scale)


def forward(state: Tensors, x: Any, net: Any, path_scales: Sequence[tuple[Any, Any]] | None = None) -> Any:
    """Logits in training mode (batch statistics; the running ones are left alone); stochastic depth is drawn unless `path_scales` says."""
    scales = iter([(None, None)] * sum(net.depths) if path_scales is None else path_scales)
    for number, stage in enumerate(net.stages, 1):
        tokens, size = _embed(x, part(state, stage.first), stage.embed)
        for name, block in stage.blocks.items():
            tokens = _block(tokens, part(state, name), block, size, next(scales))
        tokens = layer_norm(tokens, state, f"norm{number}", net.norm_eps)
        x = to_map(tokens, size)
    return linear(tokens.mean(1), state, "head")


def _embed(x: Any, t: Tensors, embed: Any) -> tuple[Any, Pair]:
    """Tokens of a map of half the size, in the stem a quarter; and that size."""
    import torch.nn.functional as F

    if isinstance(embed, Stem):
        x = conv(F.relu(batch_norm(conv(x, t, "conv.0", stride=2, padding=embed.pad), t, "conv.1")), t, "conv.3", stride=2)
    else:
        x = conv(x, t, "proj", stride=embed.stride, padding=embed.pad)
    return layer_norm(to_tokens(x), t, "norm", embed.norm_eps), x.shape[2:]


def _block(x: Any, t: Tensors, block: SMTBlock, size: Pair, scales: tuple[Any, Any]) -> Any:
    """Modulation or attention, then the perceptron, each with a shortcut."""
    normed = layer_norm(x, t, "norm1", block.norm_eps)
    if block.kind == "sam":
        mixed = sam(normed, part(t, "attn"), size)
    else:
        mixed = _attention(normed, part(t, "attn"), block.sa_num_heads, size)
    x = x + _kept(mixed, t.get("gamma_1"), block.drop_path, scales[0])
    fed = _perceptron(layer_norm(x, t, "norm2", block.norm_eps), part(t, "mlp"), size)
    return x + _kept(fed, t.get("gamma_2"), block.drop_path, scales[1])


def _attention(x: Any, t: Tensors, heads: int, size: Pair) -> Any:
    """What attention gathers plus the values' depthwise convolution, projected."""
    k, v = linear(x, t, "kv").chunk(2, -1)
    gathered = multi_head(linear(x, t, "q"), k, v, heads)
    return linear(gathered + to_tokens(depthwise(to_map(v, size), t, "local_conv")), t, "proj")


def _perceptron(x: Any, t: Tensors, size: Pair) -> Any:
    """Two linear maps, between them GELU of the hidden map plus its depthwise convolution."""
    import torch.nn.functional as F

    hidden = linear(x, t, "fc1")
    return linear(F.gelu(hidden + to_tokens(depthwise(to_map(hidden, size), t, "dwconv.dwconv"))), t, "fc2")


def _kept(x: Any, gamma: Any, rate: float, scale: Any) -> Any:
    """A branch times its layer scale, if it has one, and times a factor per sample, drawn as our blocks draw it."""
    import torch

    if scale is None and rate > 0:
        scale = (torch.rand(len(x)) >= rate).to(x.dtype) / (1 - rate)
    x = x if gamma is None else x * gamma
    return x if scale is None else x * scale[:, None, None]
