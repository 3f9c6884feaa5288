"""Small models of the papers for small images, such as 32 x 32 pixels: minutes of training instead of days. Not of the papers' tables.

A model is one entry of `TINY`: its class, what it is made of in a few words, and the arguments of the class.
"""

from __future__ import annotations

from typing import Any

from pyhybrid.nn import Module, Seed
from pyhybrid.papers._model import Variant
from pyhybrid.papers.acmix.resnet import ResNet
from pyhybrid.papers.coatnet.model import CoAtNet
from pyhybrid.papers.das.resnet import ResNet as GatedResNet
from pyhybrid.papers.hornet.model import HorNet
from pyhybrid.papers.smt.model import SMT

__all__ = ["TINY"]


def _small(kind: type[Module], remark: str, size: str | None = None, **given: Any) -> Variant:
    """A model of this class; `size` names the argument that takes the image size, None if the class takes images of any size."""

    def build(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
        sized = {} if size is None else {size: image_size or 32}
        return kind(**{**sized, **given, **options, "num_classes": num_classes, "dtype": dtype, "seed": seed})

    return Variant(build, None, remark)


TINY: dict[str, Variant] = {
    "acmix_tiny": _small(ResNet, "a ResNet of two ACmix bottlenecks", layers=(1, 1), planes=(16, 32), stem=16, k_att=3, head=4),
    # In the profile of timm, whose convolutions start wider than the paper's N(0, 0.02²): with those, the first ten epochs are slow.
    "coatnet_tiny": _small(CoAtNet, "a stem, two convolution blocks and two Transformer blocks", "image_size", names="timm",
                           stages=((("C", 2, 32),), (("T", 2, 64),)), stem=(16, 16), dim_head=16, mbconv={"bn_momentum": 0.1}),
    "das_resnet_tiny": _small(GatedResNet, "a ResNet of three basic blocks, each with a gate", layers=(1, 1, 1), widths=(24, 48, 96),
                              stem=24),
    # Three stages: a fourth would attend to a single pixel of a 32 x 32 image.
    "smt_tiny": _small(SMT, "two blocks of modulation and two of attention", depths=(1, 2, 1), mix=("S", "SM", "M"),
                       embed_dims=(32, 64, 64), mlp_ratios=(4, 4, 2), ca_num_heads=(4, 4, -1), sa_num_heads=(-1, 4, 4)),
    # Layer scale starts at 1 and weights at N(0, 0.1²): from the official 1e-6 and 0.02, made for wide networks and long training, products
    # of up to five narrow factors start so small that a run of minutes hardly moves them.
    "hornet_tiny": _small(HorNet, "four stages of gnConv of order 2 to 5, seven blocks", depths=(2, 2, 2, 1), base_dim=16, s=1 / 3,
                          layer_scale_init_value=1.0, init_std=0.1),
}
