"""SMT's models as data: the four sizes of the paper, their published figures, and why a count differs.

Figures are parameters in millions and multiply-adds in billions; the paper calls them FLOPs. Options of `build("smt_t", ...)`: every
argument of `SMT`, such as mix="half", and imagenet_22k=True for the head and the stochastic depth of pre-training on 21,841 classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pyhybrid.nn import Module
from pyhybrid.papers._model import Published, Variant, builder
from pyhybrid.papers.smt.model import SMT

__all__ = ["CLASSES_22K", "VARIANTS"]

CLASSES_22K = 21_841


class Sizes(NamedTuple):
    """One column of the paper's table of configurations; the values of the configuration files."""

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    mlp_ratios: tuple[int, ...]
    head_conv: int
    drop_path_rate: float
    use_layerscale: bool = False


NARROW, WIDE = (64, 128, 256, 512), (96, 192, 384, 768)
SIZES = {
    "t": Sizes(NARROW, (2, 2, 8, 1), (4, 4, 4, 2), 3, 0.1),
    "s": Sizes(NARROW, (3, 4, 18, 2), (4, 4, 4, 2), 3, 0.2),
    "b": Sizes(NARROW, (4, 6, 28, 2), (8, 6, 4, 2), 7, 0.3),
    "l": Sizes(WIDE, (4, 6, 28, 4), (8, 6, 4, 2), 7, 0.4, use_layerscale=True),
}
PRETRAINING_RATE = 0.1      # stochastic depth of pre-training with 22k classes, and of fine-tuning at 384 pixels

_FLOPS = "the published FLOPs are multiply-adds of convolutions and linear maps, without those between queries, keys and values"
_AGREES = f"parameters and weights' multiply-adds agree with the paper after rounding; {_FLOPS}"
_S = ("the multiply-adds agree with the paper; its 21 M parameters do not follow from its depths, which give 22.55 M, and no configuration "
      f"in the code's history gives them; {_FLOPS}")
_L = (f"parameters agree after rounding, with the layer scale of the configuration files (use_layerscale=False: 80,589,544); {_FLOPS}, "
      "but the counting tool adds some for the norms: 17.55 G at 224 pixels and 51.57 G at 384")


def _build(sizes: Sizes) -> Callable[..., Module]:
    def build(*, imagenet_22k: bool = False, **options: Any) -> Module:
        if imagenet_22k:
            options = {"drop_path_rate": PRETRAINING_RATE, **options, "num_classes": CLASSES_22K}
        return builder(SMT, **sizes._asdict())(**options)

    return build


VARIANTS: dict[str, Variant] = {
    "smt_t": Variant(_build(SIZES["t"]), Published(11.5, 2.4), _AGREES),
    "smt_s": Variant(_build(SIZES["s"]), Published(21, 4.7), _S),
    "smt_b": Variant(_build(SIZES["b"]), Published(32, 7.7), _AGREES),
    "smt_l": Variant(_build(SIZES["l"]), Published(81, 17.6), _L),
    "smt_l_384": Variant(_build(SIZES["l"]._replace(drop_path_rate=PRETRAINING_RATE)), Published(81, 51.6, 384), _L),
}
