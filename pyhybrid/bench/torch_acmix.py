"""ACmix and its parts in PyTorch, on the arguments of the operators of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyhybrid.bench.work import HEADS, WINDOW, Work


def shift_sum(t: dict[str, Any], work: Work) -> Any:
    """The nine maps of a 3 x 3 convolution, shifted by slices and added."""
    import torch.nn.functional as F

    maps = F.pad(t["maps"], (1, 1, 1, 1))
    H, W = t["maps"].shape[-2:]
    total = maps[:, 0, :, 0:H, 0:W]
    for m in range(1, 9):
        p, q = divmod(m, 3)
        total = total + maps[:, m, :, p : p + H, q : q + W]
    return total


def attention_unfold(t: dict[str, Any], work: Work) -> Any:
    """Local attention as the official code writes it: windows of keys, values and places stored by `unfold`."""
    import torch.nn.functional as F

    N, C, H, W = t["q"].shape
    d, taps, r = C // HEADS, WINDOW**2, WINDOW // 2

    def windows(x: Any) -> Any:
        return F.unfold(F.pad(x, (r, r, r, r), mode="reflect"), WINDOW).view(x.shape[0], -1, taps, H, W)

    keys = windows(t["k"]).view(N, HEADS, d, taps, H, W)
    place = t["pe"][None, :, None] - windows(t["pe"][None])
    scores = (t["q"].view(N, HEADS, d, 1, H, W) * d**-0.5 * (keys + place[:, None])).sum(2).softmax(2)
    return (scores[:, :, None] * windows(t["v"]).view(N, HEADS, d, taps, H, W)).sum(3).view(N, C, H, W)


def attention_taps(t: dict[str, Any], work: Work) -> Any:
    """Local attention tap by tap on slices, so that no window is stored."""
    import torch
    import torch.nn.functional as F

    N, C, H, W = t["q"].shape
    d, r = C // HEADS, WINDOW // 2
    # Keys minus their own place, once; the query's place adds the same to every tap and drops out of the softmax.
    keys = F.pad((t["k"].view(N, HEADS, d, H, W) - t["pe"]).view(N, C, H, W), (r, r, r, r), mode="reflect").view(N, HEADS, d, H + 2 * r, -1)
    values = F.pad(t["v"], (r, r, r, r), mode="reflect").view(N, HEADS, d, H + 2 * r, -1)
    query = t["q"].view(N, HEADS, d, H, W) * d**-0.5
    places = [(u, v) for u in range(WINDOW) for v in range(WINDOW)]
    scores = torch.stack([(query * keys[..., u : u + H, v : v + W]).sum(2) for u, v in places], 2).softmax(2)
    out = scores[:, :, 0, None] * values[..., 0:H, 0:W]
    for m, (u, v) in enumerate(places[1:], 1):
        out = out + scores[:, :, m, None] * values[..., u : u + H, v : v + W]
    return out.view(N, C, H, W)


def aggregation(t: dict[str, Any], work: Work) -> Any:
    """The windows of v added with the weights of each pixel, tap by tap on slices."""
    import torch.nn.functional as F

    weight, v = t["weight"], t["v"]
    (N, groups), (C, H, W), r = weight.shape[:2], v.shape[1:], WINDOW // 2
    padded = F.pad(v, (r, r, r, r), mode="reflect").view(N, C // groups, groups, H + 2 * r, W + 2 * r)
    places = [(u, v) for u in range(WINDOW) for v in range(WINDOW)]
    total = weight[:, None, :, 0] * padded[..., 0:H, 0:W]
    for m, (u, v) in enumerate(places[1:], 1):
        total = total + weight[:, None, :, m] * padded[..., u : u + H, v : v + W]
    return total.view(N, C, H, W)


def conv_path(t: dict[str, Any], work: Work) -> Any:
    """The convolution path: the heads of q, k, v mixed to nine maps, then shifted and summed by a grouped convolution."""
    import torch
    import torch.nn.functional as F

    N, C, H, W = t["q"].shape
    stacked = torch.cat([t[x].view(N, HEADS, C // HEADS, H * W) for x in "qkv"], 1)
    maps = F.conv2d(stacked, t["fc_weight"]).permute(0, 2, 1, 3).reshape(N, -1, H, W)
    return F.conv2d(maps, t["dep_conv_weight"], padding=1, groups=C // HEADS)


def acmix(attention: Callable[..., Any]) -> Callable[..., Any]:
    """Both paths on shared projections, with one of the two writings of `attention`."""

    def formula(t: dict[str, Any], work: Work) -> Any:
        import torch
        import torch.nn.functional as F

        q, k, v = (F.conv2d(t["x"], t[f"conv{i}_weight"], t[f"conv{i}_bias"]) for i in (1, 2, 3))
        H, W = t["x"].shape[2:]
        across, down = torch.linspace(-1, 1, W).expand(H, W), torch.linspace(-1, 1, H)[:, None].expand(H, W)
        pe = F.conv2d(torch.stack([across, down])[None], t["conv_p_weight"], t["conv_p_bias"])[0]
        parts = {**t, "q": q, "k": k, "v": v, "pe": pe}
        return t["rate1"] * attention(parts, work) + t["rate2"] * conv_path(parts, work)

    return formula
