"""The same work in PyTorch, forward and backward, in the formulation that is fastest there and in the one the official code uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyhybrid.bench.work import HEADS, WINDOW, Work

Array = np.ndarray


def torch_contenders(work: Work, backward: bool) -> dict[str, Callable[[], object]]:
    """Contenders by name; empty if PyTorch is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return {}
    tensors = {name: torch.from_numpy(array).requires_grad_(backward) for name, array in work.arrays.items()}
    dy = torch.from_numpy(work.cotangent())

    def contender(formula: Callable[..., Any]) -> Callable[[], object]:
        def run() -> object:
            if not backward:
                with torch.no_grad():
                    return formula(tensors, work)
            return torch.autograd.grad(formula(tensors, work), list(tensors.values()), dy)

        return run

    return {name: contender(formula) for name, formula in FORMULAS[work.operator].items()}


def _conv2d(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.conv2d(t["x"], t["weight"], **work.config)


def _conv2d_channels_last(t: dict[str, Any], work: Work) -> Any:
    import torch
    import torch.nn.functional as F

    return F.conv2d(t["x"].to(memory_format=torch.channels_last), t["weight"].to(memory_format=torch.channels_last), **work.config)


def _pointwise(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.conv2d(t["x"], t["weight"], t["bias"])


def _shift_sum(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    maps = F.pad(t["maps"], (1, 1, 1, 1))
    H, W = t["maps"].shape[-2:]
    total = maps[:, 0, :, 0:H, 0:W]
    for m in range(1, 9):
        p, q = divmod(m, 3)
        total = total + maps[:, m, :, p : p + H, q : q + W]
    return total


def _softmax(t: dict[str, Any], work: Work) -> Any:
    return t["x"].softmax(work.config["axis"])


def _attention_unfold(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    N, C, H, W = t["q"].shape
    d, taps, r = C // HEADS, WINDOW**2, WINDOW // 2

    def windows(x: Any) -> Any:
        return F.unfold(F.pad(x, (r, r, r, r), mode="reflect"), WINDOW).view(x.shape[0], -1, taps, H, W)

    keys = windows(t["k"]).view(N, HEADS, d, taps, H, W)
    place = t["pe"][None, :, None] - windows(t["pe"][None])
    scores = (t["q"].view(N, HEADS, d, 1, H, W) * d**-0.5 * (keys + place[:, None])).sum(2).softmax(2)
    return (scores[:, :, None] * windows(t["v"]).view(N, HEADS, d, taps, H, W)).sum(3).view(N, C, H, W)


def _attention_taps(t: dict[str, Any], work: Work) -> Any:
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


def _conv_path(t: dict[str, Any], work: Work) -> Any:
    import torch
    import torch.nn.functional as F

    N, C, H, W = t["q"].shape
    stacked = torch.cat([t[x].view(N, HEADS, C // HEADS, H * W) for x in "qkv"], 1)
    maps = F.conv2d(stacked, t["fc_weight"]).permute(0, 2, 1, 3).reshape(N, -1, H, W)
    return F.conv2d(maps, t["dep_conv_weight"], padding=1, groups=C // HEADS)


def _acmix(attention: Callable[..., Any]) -> Callable[..., Any]:
    def formula(t: dict[str, Any], work: Work) -> Any:
        import torch
        import torch.nn.functional as F

        q, k, v = (F.conv2d(t["x"], t[f"conv{i}_weight"], t[f"conv{i}_bias"]) for i in (1, 2, 3))
        H, W = t["x"].shape[2:]
        across, down = torch.linspace(-1, 1, W).expand(H, W), torch.linspace(-1, 1, H)[:, None].expand(H, W)
        pe = F.conv2d(torch.stack([across, down])[None], t["conv_p_weight"], t["conv_p_bias"])[0]
        parts = {**t, "q": q, "k": k, "v": v, "pe": pe}
        return t["rate1"] * attention(parts, work) + t["rate2"] * _conv_path(parts, work)

    return formula


FORMULAS: dict[str, dict[str, Callable[..., Any]]] = {
    "conv2d": {"torch": _conv2d, "torch channels-last": _conv2d_channels_last},
    "pointwise_conv": {"torch": _pointwise},
    "shift_sum": {"torch": _shift_sum},
    "softmax": {"torch": _softmax},
    "local_attention": {"torch": _attention_taps, "torch unfold": _attention_unfold},
    "conv_path": {"torch": _conv_path},
    "acmix": {"torch": _acmix(_attention_taps), "torch unfold": _acmix(_attention_unfold)},
}
