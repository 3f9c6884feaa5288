"""Blocks of the published networks at a size, in training mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyhybrid.bench.work import Array, BlockWork, Work, draw
from pyhybrid.nn import Module, summarize


def _block(operator: str, size: str, network: Module, x: Array, config: dict[str, Any]) -> Work:
    macs = summarize(network, x.shape).macs
    arrays = {"x": x, **network.named_params()}
    return BlockWork(operator, operator, size, arrays, config, macs.total, 2 * macs.weights + 5 * macs.products // 2, network.train())


def _mbconv(name: str, size: str, N: int, C: int, H: int) -> Work:
    """CoAtNet's convolution block at the widths of CoAtNet-0, half again those of a ResNet's stages."""
    from pyhybrid.papers.coatnet import MBConv

    C = 3 * C // 2
    return _block(name, f"{C}@{H}", MBConv(C, C, dtype="float32"), draw(x=(N, C, H, H))["x"], {})


def _relative_mha(name: str, size: str, N: int, C: int, H: int) -> Work:
    """Relative attention with its four projections at the widths of CoAtNet-0, over at most 14 × 14 tokens."""
    from pyhybrid.papers.coatnet.attention import RelativeAttention

    C, H = 3 * C // 2, min(H, 14)
    network = RelativeAttention(C, C, H, dtype="float32")
    return _block(name, f"{C}@{H}", network, draw(x=(N, H * H, C))["x"], {"size": (H, H), "heads": network.head_count})


def _sam(name: str, size: str, N: int, C: int, H: int) -> Work:
    """SMT's modulation of tokens with its three projections, four heads of 3 × 3 to 9 × 9 and batch statistics."""
    from pyhybrid.papers.smt import ScaleAwareModulation

    network = ScaleAwareModulation(C, dtype="float32").train()
    x = draw(x=(N, H * H, C))["x"]
    per_pixel = 3 * C * C + C * (9 + 25 + 49 + 81) // 4 + 2 * C * 4 + 2 * C * C       # v, s, proj; the heads; grouped and full expansion
    macs = N * H * H * per_pixel
    return BlockWork(name, name, size, {"x": x, **network.named_params()}, {"size": (H, H)}, macs, 2 * macs, network, ((H, H),))


BLOCKS: dict[str, Callable[..., Work]] = {"mbconv": _mbconv, "relative_mha": _relative_mha, "sam": _sam}
