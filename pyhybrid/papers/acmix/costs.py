"""Table 1 of the ACmix paper, by counting: what the two stages of a convolution, of attention and of ACmix cost per pixel.

Nothing here is a formula. The operators are sent through `pyhybrid.counting` on one map, and the counts are divided by its pixels. Stage
II of a convolution multiplies nothing; as in the paper, what is counted there are the additions of its shifted maps.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from pyhybrid.counting import counting, placeholder
from pyhybrid.ops import conv_path, local_attention, pointwise_conv, shift_sum, tap_projection

__all__ = ["Cost", "table", "table_text"]


class Cost(NamedTuple):
    """Multiply-adds per pixel (stage II of a convolution: additions)."""

    stage1: int
    stage2: int

    @property
    def share(self) -> float:
        """The part of stage II in the whole."""
        return self.stage2 / (self.stage1 + self.stage2)


def table(channels: int, heads: int = 4, kernel_att: int = 7, kernel_conv: int = 3, size: int = 14) -> dict[str, Cost]:
    """Costs of "convolution", "self-attention" and "ACmix" with as many outputs as inputs."""
    C, k = channels, kernel_conv
    x, matrix = placeholder((1, C, size, size)), placeholder((C, C, 1, 1))

    def per_pixel(operator: Any, *arrays: Any, **config: Any) -> int:
        with counting() as calls:
            operator.forward(*arrays, **config)
        return sum(call.macs.total for call in calls) // size**2

    projections = 3 * per_pixel(pointwise_conv, x, matrix)
    attention = per_pixel(local_attention, x, x, x, heads=heads, kernel_size=kernel_att)
    path = per_pixel(conv_path, x, x, x, placeholder((k * k, 3 * heads, 1, 1)), placeholder((C, k * k, k, k)), heads=heads)
    with counting():
        maps, _ = tap_projection.forward(x, placeholder((C, C, k, k)))
        shift_sum.forward(maps, kernel_size=k)
    return {
        "convolution": Cost(per_pixel(tap_projection, x, placeholder((C, C, k, k))), prod(maps.shape) // size**2),
        "self-attention": Cost(projections, attention),
        "ACmix": Cost(projections, attention + path),
    }


def table_text(channels: tuple[int, ...] = (64, 128, 256, 512), **config: Any) -> str:
    """The table for several widths, one line each."""
    widths = {name: max(9, len(name) + 2) for name in table(channels[0], **config)}
    lines = [f"{'C':>4}  " + "  ".join(f"{name + ' I':>{width}} {'II':>7} share" for name, width in widths.items())]
    for C in channels:
        costs = table(C, **config)
        ratio = sum(costs["ACmix"]) / sum(costs["convolution"])
        row = "  ".join(f"{cost.stage1:>{widths[name]},} {cost.stage2:>7,} {cost.share:>5.1%}" for name, cost in costs.items())
        lines.append(f"{C:>4}  {row}  ACmix / convolution {ratio:.2f}")
    return "\n".join(lines)
