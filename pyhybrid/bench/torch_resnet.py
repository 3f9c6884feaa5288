"""ResNet-ACmix in PyTorch as the official code computes it: keys and values unfolded. A peer, on our state dict."""

from __future__ import annotations

from typing import Any


def forward(state: dict[str, Any], x: Any, layers: tuple[int, ...], heads: int) -> Any:
    """Logits in training mode (batch statistics; the running ones are left alone)."""
    import torch.nn.functional as F

    def norm(x: Any, name: str) -> Any:
        return F.batch_norm(x, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True)

    x = F.max_pool2d(F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1")), 3, 2, 1)
    for stage, blocks in enumerate(layers, 1):
        for n in range(blocks):
            name, stride = f"layer{stage}.{n}", 2 if n == 0 and stage > 1 else 1
            z = F.relu(norm(F.conv2d(x, state[f"{name}.conv1.weight"]), f"{name}.bn1"))
            z = F.relu(norm(_acmix(state, f"{name}.conv2", z, heads, stride), f"{name}.bn2"))
            z = norm(F.conv2d(z, state[f"{name}.conv3.weight"]), f"{name}.bn3")
            if f"{name}.downsample.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = F.relu(x + z)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def _acmix(state: dict[str, Any], name: str, x: Any, heads: int, stride: int, window: int = 7) -> Any:
    import torch
    import torch.nn.functional as F

    p = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
    q, k, v = (F.conv2d(x, p[f"conv{i}.weight"], p[f"conv{i}.bias"]) for i in (1, 2, 3))
    N, C, H, W = q.shape
    d, r, Ho, Wo = C // heads, window // 2, -(-H // stride), -(-W // stride)
    across, down = torch.linspace(-1, 1, W).expand(H, W), torch.linspace(-1, 1, H)[:, None].expand(H, W)
    pe = F.conv2d(torch.stack([across, down])[None], p["conv_p.weight"], p["conv_p.bias"])

    def windows(t: Any) -> Any:
        return F.unfold(F.pad(t, (r, r, r, r), mode="reflect"), window, stride=stride).view(t.shape[0], -1, window**2, Ho, Wo)

    query = (q * d**-0.5)[:, :, ::stride, ::stride].reshape(N, heads, d, 1, Ho, Wo)
    place = pe[:, :, None, ::stride, ::stride] - windows(pe)
    scores = (query * (windows(k).view(N, heads, d, -1, Ho, Wo) + place[:, None])).sum(2).softmax(2)
    att = (scores[:, :, None] * windows(v).view(N, heads, d, -1, Ho, Wo)).sum(3).reshape(N, C, Ho, Wo)

    stacked = torch.cat([t.view(N, heads, d, H * W) for t in (q, k, v)], 1)
    maps = F.conv2d(stacked, p["fc.weight"]).permute(0, 2, 1, 3).reshape(N, -1, H, W)
    conv = F.conv2d(maps, p["dep_conv.weight"], stride=stride, padding=1, groups=d)
    return p["rate1"] * att + p["rate2"] * conv
