"""CoAtNet in PyTorch as the paper describes it. A peer, on our state dict."""

from __future__ import annotations

from typing import Any

from pyhybrid.bench.torch_blocks import mbconv, relative_mha
from pyhybrid.bench.torch_layers import Tensors, batch_norm, conv, layer_norm, layer_norm_of_maps, linear, part, to_map, to_tokens
from pyhybrid.papers.coatnet.mbconv import MBConv
from pyhybrid.papers.coatnet.transformer import TransformerBlock


def supports(net: Any) -> bool:
    """The paper's profile, of any size and layout, with no option of a block changed and nothing dropped."""
    return net.names == "paper" and net.head == "hidden" and not (net.mbconv or net.transformer or net.drop_path_rate)


def forward(state: Tensors, x: Any, net: Any) -> Any:
    """Logits in training mode (batch statistics; the running ones are left alone)."""
    import torch.nn.functional as F

    if net.patch is None:
        x = F.gelu(batch_norm(conv(x, state, "stem.conv_0", stride=2, padding=1), state, "stem.norm_0", 1e-3))
        x = conv(x, state, "stem.conv_1", padding=1)
    else:
        x = conv(x, state, "stem", stride=net.patch)
    for name, block in net.children.items():
        if isinstance(block, MBConv):
            x = mbconv(x, part(state, name), 2 if block.downsample else 1)
        elif isinstance(block, TransformerBlock):
            x = _transformer(x, part(state, name), block)
    pooled = layer_norm(x.mean((2, 3)), state, "head.final_layer_norm")
    return linear(linear(pooled, state, "head.inner_dense").tanh(), state, "head.logit_dense")


def _transformer(x: Any, t: Tensors, block: TransformerBlock) -> Any:
    """Relative attention and a feed-forward network; the first block of a stage pools both the normed map and the shortcut."""
    import torch.nn.functional as F

    normed = layer_norm_of_maps(x, t, "attn_layer_norm")
    if block.downsample:
        x, normed = (F.max_pool2d(maps, 2, ceil_mode=True) for maps in (x, normed))
    tokens = to_tokens(x)
    if "shortcut_proj.weight" in t:
        tokens = linear(tokens, t, "shortcut_proj")
    z = tokens + relative_mha(to_tokens(normed), part(t, "attention"))
    fed = linear(F.gelu(linear(layer_norm(z, t, "ffn_layer_norm"), t, "ffn.expand_dense")), t, "ffn.shrink_dense")
    return to_map(z + fed, block.size)
