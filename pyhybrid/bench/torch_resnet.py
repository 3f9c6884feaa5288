"""ResNet-ACmix in PyTorch as the official code computes it: keys and values unfolded. A peer, on our state dict."""

from __future__ import annotations

from typing import Any

from pyhybrid.bench.torch_layers import Tensors, batch_norm, conv, linear, part


def supports(net: Any) -> bool:
    """Any size, as long as every block mixes by ACmix and ACmix is official."""
    return net.mixer == "acmix" and net.k_conv == 3 and not net.acmix


def forward(state: Tensors, x: Any, net: Any) -> Any:
    """Logits in training mode (batch statistics; the running ones are left alone)."""
    import torch.nn.functional as F

    x = F.max_pool2d(F.relu(batch_norm(conv(x, state, "conv1", stride=2, padding=3), state, "bn1")), 3, 2, 1)
    for stage, blocks in enumerate(net.layers, 1):
        for n in range(blocks):
            t, stride = part(state, f"layer{stage}.{n}"), 2 if n == 0 and stage > 1 else 1
            z = F.relu(batch_norm(conv(x, t, "conv1"), t, "bn1"))
            z = F.relu(batch_norm(_acmix(z, part(t, "conv2"), net.head, stride, net.k_att), t, "bn2"))
            z = batch_norm(conv(z, t, "conv3"), t, "bn3")
            if "downsample.0.weight" in t:
                x = batch_norm(conv(x, t, "downsample.0", stride=stride), t, "downsample.1")
            x = F.relu(x + z)
    return linear(x.mean((2, 3)), state, "fc")


def _acmix(x: Any, t: Tensors, heads: int, stride: int, window: int) -> Any:
    """Attention over the unfolded windows and the convolution path, weighed by their rates."""
    import torch
    import torch.nn.functional as F

    q, k, v = (conv(x, t, f"conv{i}") for i in (1, 2, 3))
    N, C, H, W = q.shape
    d, r, Ho, Wo = C // heads, window // 2, -(-H // stride), -(-W // stride)
    across, down = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=x.dtype) for n in (W, H)), indexing="xy")
    pe = conv(torch.stack([across, down])[None], t, "conv_p")

    def windows(maps: Any) -> Any:
        return F.unfold(F.pad(maps, (r, r, r, r), mode="reflect"), window, stride=stride).view(len(maps), -1, window**2, Ho, Wo)

    query = (q * d**-0.5)[:, :, ::stride, ::stride].reshape(N, heads, d, 1, Ho, Wo)
    place = pe[:, :, None, ::stride, ::stride] - windows(pe)
    scores = (query * (windows(k).view(N, heads, d, -1, Ho, Wo) + place[:, None])).sum(2).softmax(2)
    att = (scores[:, :, None] * windows(v).view(N, heads, d, -1, Ho, Wo)).sum(3).reshape(N, C, Ho, Wo)

    stacked = torch.cat([maps.view(N, heads, d, H * W) for maps in (q, k, v)], 1)
    maps = conv(stacked, t, "fc").permute(0, 2, 1, 3).reshape(N, -1, H, W)
    return t["rate1"] * att + t["rate2"] * conv(maps, t, "dep_conv", stride=stride, padding=1, groups=d)
