"""The models of the ACmix paper as data: what they are built from, what the paper publishes, and why a count may differ.

`build(name)` makes one. The figures are those of the paper's tables, parameters in millions and multiply-adds in billions, at 224 pixels.
"""

from __future__ import annotations

from typing import Any

from pyhybrid.nn import Module, Seed
from pyhybrid.papers._model import Published, Variant
from pyhybrid.papers.acmix.pvt import PVT
from pyhybrid.papers.acmix.resnet import ResNet
from pyhybrid.papers.acmix.san import SAN
from pyhybrid.papers.acmix.swin import SwinTransformer

__all__ = ["VARIANTS"]

_RESNET = ("the released code, counted here, has 0.11 to 0.27 M parameters less than the paper's table; one more grouped convolution per "
           "block would give the published figures, but why they differ is not known")
_SWIN_T = "the multiply-adds agree with the paper; its 30 M parameters do not follow from the released code"
_SWIN_S = "agrees with the paper after rounding"
_UNRELEASED = ("not released officially: this is the attention alone, as in the code it was taken from; the paper's figure includes its "
               "convolution path, whose wiring here was never published")


def _resnet(layers: tuple[int, ...]) -> Any:
    def build(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
        return ResNet(layers, num_classes=num_classes, dtype=dtype, seed=seed, **options)

    return build


def _swin(depths: tuple[int, ...], drop_path_rate: float) -> Any:
    def build(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
        given = {"depths": depths, "drop_path_rate": drop_path_rate, **options}
        return SwinTransformer(image_size or 224, num_classes=num_classes, dtype=dtype, seed=seed, **given)

    return build


def _san(layers: tuple[int, ...]) -> Any:
    def build(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, kind: str = "patchwise", **options: Any) -> Module:
        return SAN(kind, layers, num_classes=num_classes, dtype=dtype, seed=seed, **options)

    return build


def _pvt(depths: tuple[int, ...]) -> Any:
    def build(*, image_size: int | None, num_classes: int, dtype: Any, seed: Seed, **options: Any) -> Module:
        return PVT(image_size or 224, depths, num_classes=num_classes, dtype=dtype, seed=seed, **options)

    return build


VARIANTS: dict[str, Variant] = {
    "acmix_resnet26": Variant(_resnet((1, 2, 4, 1)), Published(10.6, 2.3), _RESNET),
    "acmix_resnet38": Variant(_resnet((2, 3, 5, 2)), Published(14.6, 2.9), _RESNET),
    "acmix_resnet50": Variant(_resnet((3, 4, 6, 3)), Published(18.6, 3.6), _RESNET),
    "acmix_swin_t": Variant(_swin((2, 2, 6, 2), 0.2), Published(30, 4.6), _SWIN_T),
    "acmix_swin_s": Variant(_swin((2, 2, 18, 2), 0.3), Published(51, 9.0), _SWIN_S),
    "acmix_san10": Variant(_san((2, 1, 2, 4, 1)), Published(12.1, 1.9), _UNRELEASED, released=False),
    "acmix_san15": Variant(_san((3, 2, 3, 5, 2)), Published(16.6, 2.7), _UNRELEASED, released=False),
    "acmix_san19": Variant(_san((3, 3, 4, 6, 3)), Published(21.2, 3.4), _UNRELEASED, released=False),
    "acmix_pvt_t": Variant(_pvt((2, 2, 2, 2)), Published(13, 2.0), _UNRELEASED, released=False),
    "acmix_pvt_s": Variant(_pvt((3, 4, 6, 3)), Published(25, 3.9), _UNRELEASED, released=False),
}
