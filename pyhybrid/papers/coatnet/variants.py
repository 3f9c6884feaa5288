"""CoAtNet's models as data: the paper's table, two community code bases under their own names, and the layouts that the paper compares.

The authors released no code. "coatnet_N" is the paper's profile: of the readings of the text, the one that gives its parameter counts.
Figures are those of the paper's tables: parameters in millions, multiply-adds in billions at the smallest size that it gives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pyhybrid.errors import UsageError
from pyhybrid.nn import Module
from pyhybrid.papers._model import Published, Variant, builder
from pyhybrid.papers.coatnet.model import CoAtNet, Runs

__all__ = ["LAYOUTS", "VARIANTS"]

LAYOUTS = ("CCCC", "CCCT", "CCTT", "CTTT")
Build = Callable[..., Module]
Pair = tuple[int, int]
_coatnet = partial(builder, CoAtNet, "image_size")


class Sizes(NamedTuple):
    """One row of the paper's tables 3, 11 and 12."""

    stem: int
    blocks: tuple[int, ...]                 # of S1 to S4
    widths: tuple[int, ...]
    dim_head: int = 32
    mixed: tuple[int, int] | None = None    # convolution blocks that begin S3, and their width


PAPER = {
    "0": Sizes(64, (2, 3, 5, 2), (96, 192, 384, 768)),
    "1": Sizes(64, (2, 6, 14, 2), (96, 192, 384, 768)),
    "2": Sizes(128, (2, 6, 14, 2), (128, 256, 512, 1024)),
    "3": Sizes(192, (2, 6, 14, 2), (192, 384, 768, 1536)),
    "4": Sizes(192, (2, 12, 28, 2), (192, 384, 768, 1536)),
    "5": Sizes(192, (2, 12, 28, 2), (256, 512, 1280, 2048), 64),
    "6": Sizes(192, (2, 4, 42, 2), (192, 384, 1536, 2048), 128, (8, 768)),
    "7": Sizes(192, (2, 4, 42, 2), (256, 512, 2048, 3072), 128, (8, 1024)),
}
PUBLISHED = {
    "0": Published(25, 4.2), "1": Published(42, 8.4), "2": Published(75, 15.7), "3": Published(168, 34.7), "4": Published(275, 189.5, 384),
    "5": Published(688, 812, 512), "6": Published(1470, 1521, 512), "7": Published(2440, 2586, 512),
}
CW_WIDTHS = {
    "0": ((2, 2, 3, 5, 2), (64, 96, 192, 384, 768)), "1": ((2, 2, 6, 14, 2), (64, 96, 192, 384, 768)),
    "2": ((2, 2, 6, 14, 2), (128, 128, 256, 512, 1026)), "3": ((2, 2, 6, 14, 2), (192, 192, 384, 768, 1536)),
    "4": ((2, 2, 12, 28, 2), (192, 192, 384, 768, 1536)),
}

# timm's "rw" models: (stem, blocks of S1 to S4, widths, options of MBConv, of the Transformer block). All expand from the input's width.
RW_CONV = {"stride_mode": "dw", "expand_from": "input", "se_from": "hidden", "act": "silu"}
EARLY = {"pre_norm_act": True, "bias": False, "se_early": True, "se_act": "relu"}
RW: dict[str, tuple[tuple[int, int], tuple[int, ...], tuple[int, ...], dict[str, Any], dict[str, Any]]] = {
    "0_rw": ((32, 64), (2, 3, 7, 2), (96, 192, 384, 768), {**EARLY, "stride_mode": "pool"}, {"shortcut_bias": False}),
    "1_rw": ((32, 64), (2, 6, 14, 2), (96, 192, 384, 768), EARLY, {"shortcut_bias": False}),
    "2_rw": ((64, 128), (2, 6, 14, 2), (128, 256, 512, 1024), {"pre_norm_act": True, "bias": False}, {}),
    "nano_rw": ((32, 64), (3, 4, 6, 3), (64, 128, 256, 512), {"stride_mode": "pool"}, {}),
    "pico_rw": ((32, 64), (2, 3, 5, 2), (64, 128, 256, 512), {}, {}),
}

_PAPER = ("parameters agree with the paper after rounding; the multiply-adds counted are 1 to 3.5 % fewer, more so for large images: the "
          "paper seems to count the look-up of the bias table as well. Strided depthwise convolution: mbconv={'stride_mode': 'dw'}")
_THREE = ("at 224 pixels 167 M parameters, as in the first version of the paper, at 512 the 168 M of the second: the bias tables grow with "
          "the image. The multiply-adds counted are 1 to 3.5 % fewer")
_SIX = ("as table 12 prints it, with width 2048 in S4; that does not give the published 1470 M. coatnet_6_3072, with the width doubled as "
        "everywhere else, does")
_SIX_3072 = "S4 twice as wide as S3: 1471 M parameters and 1495.5 G, against 1470 M and 1521 G published; table 12 prints 2048"
_CW = ("third-party code of other dimensions: 8 heads of 32 channels in every block, feed-forward, expansion and gate from the input's "
       "width, no hidden layer in the head")
_TIMM = "third-party: as the paper's profile, with mean pools, the stride in the depthwise convolution and no biases in the stem"
_TIMM_5 = _TIMM + "; heads of 32 channels, where the paper has 64"
_VIT = ("the paper compares a vision transformer with relative attention but does not print its depth and width; 12 and 768 stand in "
        "(options depth, width)")
_RW = ("third-party and a model of its own, with trained weights: expansion from the input's width, the widening of attention in its "
       "output, SiLU in the convolution blocks, a norm before the pool and no hidden layer in the head")


def _stages(sizes: Sizes, layout: str) -> tuple[Runs, ...]:
    if layout not in LAYOUTS:
        raise UsageError(f"layout must be one of {', '.join(LAYOUTS)}; got {layout!r}")
    stages: list[Runs] = [((kind, blocks, width),) for kind, blocks, width in zip(layout, sizes.blocks, sizes.widths, strict=True)]
    if sizes.mixed is not None:
        blocks, width = sizes.mixed
        stages[2] = (("C", blocks, width), *stages[2])
    return tuple(stages)


def _paper(sizes: Sizes) -> Build:
    def build(*, layout: str = "CCTT", **options: Any) -> Module:
        return _coatnet(stages=_stages(sizes, layout), stem=(sizes.stem, sizes.stem), dim_head=sizes.dim_head)(**options)

    return build


def _vit(*, depth: int = 12, width: int = 768, **options: Any) -> Module:
    return _coatnet(stages=((("T", depth, width),),), stem=(width,), patch=16)(**options)


def _cw(blocks: tuple[int, ...], widths: tuple[int, ...]) -> Build:
    def build(*, layout: str = "CCTT", **options: Any) -> Module:
        stages = _stages(Sizes(widths[0], blocks[1:], widths[1:]), layout)
        return _coatnet(stages=stages, stem=(widths[0],) * blocks[0], names="cw", head="plain")(**options)

    return build


def _timm(sizes: Sizes) -> Build:
    return _coatnet(stages=_stages(sizes, "CCTT"), stem=(sizes.stem, sizes.stem), names="timm")


def _rw(stem: Pair, blocks: tuple[int, ...], widths: tuple[int, ...], conv: dict[str, Any], transformer: dict[str, Any]) -> Build:
    return _coatnet(stages=_stages(Sizes(0, blocks, widths), "CCTT"), stem=stem, names="timm", head="ln_first",
                    mbconv={**RW_CONV, **conv}, transformer={"expand_first": False, **transformer})


VARIANTS: dict[str, Variant] = {
    **{f"coatnet_{n}": Variant(_paper(sizes), PUBLISHED[n], {"3": _THREE, "6": _SIX}.get(n, _PAPER), False) for n, sizes in PAPER.items()},
    "coatnet_6_3072": Variant(_paper(PAPER["6"]._replace(widths=(192, 384, 1536, 3072))), PUBLISHED["6"], _SIX_3072, False),
    "coatnet_vit_rel": Variant(_vit, None, _VIT, False),
    **{f"coatnet_cw_{n}": Variant(_cw(*sizes), None, _CW + ("; width 1026 in S4, sic" if n == "2" else ""), False)
       for n, sizes in CW_WIDTHS.items()},
    **{f"coatnet_timm_{n}": Variant(_timm(PAPER[n]), None, _TIMM_5 if n == "5" else _TIMM, False) for n in "012345"},
    **{f"coatnet_timm_{n}": Variant(_rw(*sizes), None, _RW, False) for n, sizes in RW.items()},
}
