"""HorNet's models as data: four sizes, each with 7x7 convolutions throughout or with global-local filters in the last two stages.

Figures are those of the official table: parameters in millions, multiply-adds in billions. All take images of any size from 32 pixels
on; a filter whose spectrum belongs to another map is resized in the forward.
"""

from __future__ import annotations

from pyhybrid.papers._model import Published, Variant, builder
from pyhybrid.papers.hornet.model import HorNet

__all__ = ["VARIANTS"]

Pair = tuple[int, int]
Filters = tuple[Pair | None, ...]

DEPTHS, ORDERS, SCALE = (2, 3, 18, 2), (2, 3, 4, 5), 1 / 3
WIDTHS = {"tiny": 64, "small": 96, "base": 128, "large": 192}

# Per stage: None for the 7x7 convolution, else the spectrum of the stage's maps, 14x14 and 7x7 pixels or 24x24 and 12x12.
FILTERS: dict[str, Filters] = {
    "7x7": (None, None, None, None),
    "gf": (None, None, (14, 8), (7, 4)),
    "gf_img384": (None, None, (24, 13), (12, 7)),
}
PUBLISHED = {
    "tiny_7x7": Published(22, 4.0), "tiny_gf": Published(23, 3.9), "small_7x7": Published(50, 8.8), "small_gf": Published(50, 8.7),
    "base_7x7": Published(87, 15.6), "base_gf": Published(88, 15.5), "large_7x7": Published(209, 34.8), "large_gf": Published(211, 34.7),
    "large_gf_img384": Published(216, 101.8, 384),
}

_AGREES = "parameters and multiply-adds agree with the published ones after rounding"
_BASE_GF = ("parameters agree after rounding; the 15.5 G published count the layer norms and the transforms as well "
            "(costs.count(…).official: 15.461 G)")
_22K = ("the published parameters are those of the ImageNet-22K head: the official label map reaches at least 10,459 classes, and about "
        "10,450 classes give 209 M, 211 M and 216 M, where 1000 classes give 195 M, 196 M and 202 M")
_22K_GF = _22K + "; the multiply-adds published count the layer norms and the transforms as well (costs.count)"
_384 = "in the official code without a published figure; its filters are made for 384 pixels (--image-size 384 counts it there)"
DIFFERENCES = {"base_gf": _BASE_GF, "large_7x7": _22K, "large_gf": _22K_GF, "large_gf_img384": _22K_GF, "base_gf_img384": _384}


NAMES = [*(f"{size}_{kind}" for size in WIDTHS for kind in ("7x7", "gf")), "base_gf_img384", "large_gf_img384"]
VARIANTS: dict[str, Variant] = {
    f"hornet_{name}": Variant(builder(HorNet, depths=DEPTHS, base_dim=WIDTHS[size], orders=ORDERS, s=SCALE, filters=FILTERS[kind]),
                              PUBLISHED.get(name), DIFFERENCES.get(name, _AGREES))
    for name in NAMES for size, _, kind in [name.partition("_")]
}
