"""What gnConv costs: the closed form of its multiply-adds, its bound for every order, and counts by two sets of rules.

Per pixel, for width C, order n and a K x K kernel: 2C² for proj_in, K²(2C - C_0) for the depthwise convolution, 2C - C_0 for the gates,
Σ C_(k-1)·C_k for their projections, C² for proj_out; C_k = C/2^(n-1-k). Biases and the factor s are not counted. Summed up, that is

    C [ 2K²(1 - 2^-n) + (11/3 - (2/3)·4^(1-n)) C + 2 - 2^(1-n) ]  <  C [ 2K² + (11/3) C + 2 ]

for every n, and no smaller bound holds for all n: higher orders cost next to nothing. This is equation (7) of the card.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, log2, prod
from typing import Any, NamedTuple

from pyhybrid.counting import Macs, counting, placeholder
from pyhybrid.nn import Conv2d, Module, summarize
from pyhybrid.papers.hornet.filters import spectrum_width
from pyhybrid.papers.hornet.gnconv import GnConv
from pyhybrid.papers.hornet.horfpn import GNConvModule

__all__ = ["Count", "Fusion", "bound", "closed_form", "count", "counted", "fusions", "per_pixel", "terms"]


def terms(dim: int, order: int, kernel_size: int = 7) -> dict[str, int]:
    """The five terms of the sum, per pixel, from the widths alone."""
    widths = [dim // 2 ** (order - 1 - k) for k in range(order)]
    filtered = sum(widths)
    return {"proj_in": 2 * dim * dim, "dwconv": kernel_size**2 * filtered, "gates": filtered,
            "pws": sum(a * b for a, b in pairwise(widths)), "proj_out": dim * dim}


def closed_form(dim: int, order: int, kernel_size: int = 7) -> Fraction:
    """The sum of the terms as one formula, per pixel, exactly."""
    kernel = 2 * kernel_size**2 * (1 - Fraction(1, 2**order))
    return dim * (kernel + (Fraction(11, 3) - Fraction(2, 3) * Fraction(4, 4**order)) * dim + 2 - Fraction(2, 2**order))


def bound(dim: int, kernel_size: int = 7) -> Fraction:
    """What the multiply-adds per pixel stay below at every order."""
    return dim * (2 * kernel_size**2 + Fraction(11, 3) * dim + 2)


def counted(dim: int, order: int, **options: Any) -> int:
    """Multiply-adds per pixel of a `GnConv` with these options, by sending a map through it."""
    return per_pixel(GnConv(dim, order, seed=None, **options), dim).total


def per_pixel(layer: Module, channels: int, size: int = 8) -> Macs:
    """Multiply-adds per pixel of a layer that keeps the size of its maps, by sending a map through it."""
    with counting() as calls:
        layer.forward(placeholder((1, channels, size, size)))
    found = sum((call.macs for call in calls), Macs())
    return Macs(found.weights // size**2, found.products // size**2)


class Fusion(NamedTuple):
    """A convolution that fuses maps of a pyramid, and the gnConv that HorFPN puts in its place.

    Multiply-adds are those with weights, per pixel.
    """

    convolution: int
    gnconv: int
    convolution_params: int
    gnconv_params: int

    @property
    def ratio(self) -> float:
        """What gnConv costs, over what the convolution costs."""
        return self.gnconv / self.convolution


def fusions(order: int = 2, kernel_size: int = 7) -> dict[str, Fusion]:
    """HorFPN against 3x3 convolutions: one level of the detection pyramid, and the fusion of UPerNet's four levels of 512 channels."""
    found = {}
    for name, (inputs, outputs) in {"detection": (256, 256), "segmentation": (4 * 512, 512)}.items():
        conv = Conv2d(inputs, outputs, 3, 1, 1, seed=None)
        ours = GNConvModule(inputs, outputs, order, kernel_size, seed=None)
        found[name] = Fusion(per_pixel(conv, inputs).weights, per_pixel(ours, inputs).weights,
                             conv.parameter_count(), ours.parameter_count())
    return found


class Count(NamedTuple):
    """The cost of a whole network on one image."""

    params: int
    macs: int               # of convolutions and linear maps
    gates: int              # products of gnConv
    filters: int            # multiply-adds in frequency, four for each complex product
    norms: int              # 5 for each value of a layer norm over the last axis
    transforms: int         # N·C·⌈log2 N⌉ for each transform of maps of N pixels in C channels
    misread: int            # the same with N the number of channels times the rows

    @property
    def official(self) -> int:
        """What the official tool says. It reads (batch, channels, rows, columns) as (batch, rows, columns, channels), and counts neither
        gates nor products in frequency, nor the layer norms over the channels of maps."""
        return self.macs + self.norms + self.misread


def count(model: Module, image_size: int) -> Count:
    """What a HorNet costs on an image of this size, by our rules and by those of the official tool."""
    found = summarize(model, (1, 3, image_size, image_size))
    norms = sum(5 * prod(row.shape) for row in found.rows if row.kind == "LayerNorm" and row.name.rpartition(".")[2] in ("norm2", "norm"))
    filters = transforms = misread = 0
    for row in found.rows:
        if row.kind == "GlobalLocalFilter":
            _, D, H, W = row.shape
            filters += row.macs.weights
            values = D // 2 * H * (W + spectrum_width(W))           # there, and back from the half spectrum
            transforms += values * ceil(log2(H * W))
            misread += values * ceil(log2(D // 2 * H))
    return Count(found.params, found.macs.weights - filters, found.macs.products, filters, norms, transforms, misread)
