"""The same work in PyTorch, forward and backward, in the formulation that is fastest there and in the one the official code uses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from pyhybrid.bench import torch_acmix
from pyhybrid.bench.torch_blocks import BLOCKS
from pyhybrid.bench.torch_layers import attention, gates, global_filter, relative_bias
from pyhybrid.bench.work import WINDOW, Work


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


def _softmax(t: dict[str, Any], work: Work) -> Any:
    return t["x"].softmax(work.config["axis"])


def _add(t: dict[str, Any], work: Work) -> Any:
    return t["a"] + t["b"]


def _gelu(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.gelu(t["x"])


def _deform_conv2d(t: dict[str, Any], work: Work) -> Any:
    """Four gathers from the map with a border of zeros, a blend and a product: what is at hand without torchvision."""
    import torch
    import torch.nn.functional as F

    x, offset, weight, mask = t["x"], t["offset"], t["weight"], t["mask"]
    (N, C, H, W), (Ho, Wo) = x.shape, offset.shape[2:]
    kh, kw = weight.shape[2:]
    p, q = torch.meshgrid(torch.arange(kh), torch.arange(kw), indexing="ij")
    moved = offset.view(N, kh * kw, 2, Ho, Wo)
    y = moved[:, :, 0] + (p.reshape(-1, 1, 1) - work.config["padding"] + torch.arange(Ho)[:, None])
    across = moved[:, :, 1] + (q.reshape(-1, 1, 1) - work.config["padding"] + torch.arange(Wo))
    y, across = y.clamp(-2, H + 1), across.clamp(-2, W + 1)
    y0, x0 = y.floor(), across.floor()
    a, b = y - y0, across - x0
    padded = F.pad(x, (2, 3, 2, 3)).flatten(2)
    corner = ((y0.long() + 2) * (W + 5) + x0.long() + 2).view(N, 1, -1).expand(N, C, -1)
    z = [padded.gather(2, corner + step).view(N, C, *y.shape[1:]) for step in (0, 1, W + 5, W + 6)]
    weights = [(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b]
    columns = sum((mask * w)[:, None] * c for w, c in zip(weights, z, strict=True))
    return (weight.view(1, len(weight), -1) @ columns.reshape(N, -1, Ho * Wo)).view(N, -1, Ho, Wo)


def _max_pool2d(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.max_pool2d(t["x"], **work.config)


def _linear(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    y = F.linear(t["x"], t["weight"], t["bias"])
    return y.transpose(-1, -2).contiguous() if work.config.get("channels_first") else y


def _layer_norm(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    last = t["x"].movedim(work.config["axis"], -1)
    return F.layer_norm(last, last.shape[-1:], t["weight"], t["bias"]).movedim(-1, work.config["axis"])


def _batch_norm(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.batch_norm(t["x"], None, None, t["weight"], t["bias"], training=True)


def _batch_norm_gelu(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.gelu(_batch_norm(t, work))


def _mask(t: dict[str, Any]) -> Any:
    """The bias of every entry of the batch."""
    bias = t["bias"]
    return bias.expand(len(t["q"]) // len(bias), *bias.shape[1:]) if len(bias) == 1 else bias.repeat(len(t["q"]) // len(bias), 1, 1, 1)


def _attention_fused(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.scaled_dot_product_attention(t["q"], t["k"], t["v"], attn_mask=_mask(t))


def _attention_steps(t: dict[str, Any], work: Work) -> Any:
    q, period = t["q"], len(t["bias"])
    scores = (q * q.shape[-1] ** -0.5) @ t["k"].transpose(-1, -2)
    scores = (scores.view(-1, period, *scores.shape[1:]) + t["bias"]).view(scores.shape)
    return scores.softmax(-1) @ t["v"]


def _relative_attention(fused: bool) -> Callable[..., Any]:
    def formula(t: dict[str, Any], work: Work) -> Any:
        return attention(t["q"], t["k"], t["v"], relative_bias(t["table"], work.config["size"])[None], fused)

    return formula


def _projections(weight: Any, bias: Any, channels: int, order: int) -> list[tuple[Any, Any]]:
    """The 1x1 convolutions between the gates, of which the operators take flat arrays; the first gate has so many channels."""
    widths = [channels << k for k in range(order)]
    weights = weight.split([O * I for I, O in pairwise(widths)])
    return [(w.view(O, -1, 1, 1), b) for w, b, O in zip(weights, bias.split(widths[1:]), widths[1:], strict=True)]


def _gate_chain(t: dict[str, Any], work: Work) -> Any:
    return gates(t["p0"], t["filtered"], _projections(t["weight"], t["bias"], t["p0"].shape[1], work.config["order"]), work.config["scale"])


def _gn_conv(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    fused = F.conv2d(t["x"], t["proj_in_weight"], t["proj_in_bias"])
    channels = len(t["dwconv_weight"])
    p, q = fused.split([fused.shape[1] - channels, channels], dim=1)
    filtered = F.conv2d(q, t["dwconv_weight"], t["dwconv_bias"], padding=WINDOW // 2, groups=channels)
    p = gates(p, filtered, _projections(t["pws_weight"], t["pws_bias"], p.shape[1], work.config["order"]), work.config["scale"])
    return F.conv2d(p, t["proj_out_weight"], t["proj_out_bias"])


def _gn_conv_channels_last(t: dict[str, Any], work: Work) -> Any:
    import torch

    maps = {name: a.to(memory_format=torch.channels_last) if a.ndim == 4 else a for name, a in t.items()}
    return _gn_conv(maps, work)


def _global_filter(t: dict[str, Any], work: Work) -> Any:
    return global_filter(t["x"], t["weight"])


def _mbconv_hidden(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    def norm(x: Any, which: str) -> Any:
        return F.gelu(F.batch_norm(x, None, None, t[f"{which}_weight"], t[f"{which}_bias"], training=True))

    return norm(F.conv2d(norm(t["x"], "in"), t["weight"], padding=1, groups=len(t["weight"])), "out")


def _squeeze_excite(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    z = F.silu(F.linear(t["x"].mean((2, 3)), t["reduce_weight"], t["reduce_bias"]))
    return t["x"] * F.linear(z, t["expand_weight"], t["expand_bias"]).sigmoid()[:, :, None, None]


def _squeeze_excite_conv(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    return F.conv2d(_squeeze_excite(t, work), t["weight"], t["bias"])


def _mixed_conv(t: dict[str, Any], work: Work) -> Any:
    """Each head's channels by themselves, as in the official code."""
    import torch
    import torch.nn.functional as F

    M, sizes = len(t["weight"]), (3, 5, 7, 9)
    weights = [w.reshape(M, 1, k, k) for w, k in zip(t["weight"].split([k * k for k in sizes], 1), sizes, strict=True)]
    heads = zip(t["x"].split(M, 1), weights, t["bias"].split(M), sizes, strict=True)
    return torch.cat([F.conv2d(x, w, b, padding=k // 2, groups=M) for x, w, b, k in heads], 1)


def _regroup(t: dict[str, Any], work: Work) -> Any:
    N, heads = len(t["x"]), work.config["heads"]
    return t["x"].view(N, heads, -1).transpose(1, 2).reshape(N, -1)


def _scale_aware_aggregation(t: dict[str, Any], work: Work) -> Any:
    import torch.nn.functional as F

    (N, C, H, W), M = t["x"].shape, t["x"].shape[1] // 4
    p = t["x"].view(N, 4, M, H, W).transpose(1, 2).reshape(N, C, H, W)
    e = F.conv2d(p, t["proj0_weight"], t["proj0_bias"], groups=M)
    u = F.batch_norm(e, None, None, t["bn_weight"], t["bn_bias"], training=True)
    return F.conv2d(F.gelu(u), t["proj1_weight"], t["proj1_bias"])


def _modulation(t: dict[str, Any], work: Work) -> Any:
    return t["v"] * t["modulator"].flatten(2).transpose(1, 2)


FORMULAS: dict[str, dict[str, Callable[..., Any]]] = {
    "conv2d": {"torch": _conv2d, "torch channels-last": _conv2d_channels_last},
    "pointwise_conv": {"torch": _pointwise},
    "shift_sum": {"torch": torch_acmix.shift_sum},
    "softmax": {"torch": _softmax},
    "linear": {"torch": _linear},
    "layer_norm": {"torch": _layer_norm},
    "batch_norm": {"torch": _batch_norm},
    "batch_norm_act": {"torch": _batch_norm_gelu},
    "add": {"torch": _add},
    "gelu": {"torch": _gelu},
    "deform_conv2d": {"torch gather": _deform_conv2d},
    "max_pool2d": {"torch": _max_pool2d},
    "local_attention": {"torch": torch_acmix.attention_taps, "torch unfold": torch_acmix.attention_unfold},
    "attention": {"torch": _attention_fused, "torch step by step": _attention_steps},
    "relative_attention": {"torch": _relative_attention(fused=True), "torch step by step": _relative_attention(fused=False)},
    "aggregation": {"torch": torch_acmix.aggregation},
    "mbconv_hidden": {"torch": _mbconv_hidden},
    "squeeze_excite": {"torch": _squeeze_excite},
    "squeeze_excite_conv": {"torch": _squeeze_excite_conv},
    "gate_chain": {"torch": _gate_chain},
    "gn_conv": {"torch": _gn_conv, "torch channels last": _gn_conv_channels_last},
    "global_filter": {"torch.fft": _global_filter},
    "mixed_conv": {"torch": _mixed_conv},
    "regroup": {"torch": _regroup},
    "scale_aware_aggregation": {"torch": _scale_aware_aggregation},
    "modulation": {"torch": _modulation},
    "conv_path": {"torch": torch_acmix.conv_path},
    "acmix": {"torch": torch_acmix.acmix(torch_acmix.attention_taps), "torch unfold": torch_acmix.acmix(torch_acmix.attention_unfold)},
    **BLOCKS,
}
