"""Small models of the papers for small images, such as 32 x 32 pixels: minutes of training instead of days. Not of the papers' tables.

A model is one entry: how it is built, and what it is made of.
"""

from __future__ import annotations

from typing import Any

from pyhybrid.nn import Module, Seed
from pyhybrid.papers._model import Variant
from pyhybrid.papers.acmix.resnet import ResNet
from pyhybrid.papers.coatnet.model import CoAtNet

__all__ = ["TINY"]


def _acmix(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
    given = {"layers": (1, 1), "planes": (16, 32), "stem": 16, "k_att": 3, "head": 4, **options}
    return ResNet(num_classes=num_classes, dtype=dtype, seed=seed, **given)


def _coatnet(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
    given = {"stages": ((("C", 2, 32),), (("T", 2, 64),)), "stem": (16, 16), "dim_head": 16,
             "mbconv": {"stride_mode": "dw", "bn_momentum": 0.1}, **options}
    return CoAtNet(image_size or 32, num_classes=num_classes, dtype=dtype, seed=seed, **given)


TINY: dict[str, Variant] = {
    "acmix_tiny": Variant(_acmix, None, "a ResNet of two ACmix bottlenecks"),
    "coatnet_tiny": Variant(_coatnet, None, "a stem, two convolution blocks and two Transformer blocks"),
}
