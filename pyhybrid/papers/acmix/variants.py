"""The models of the ACmix paper as data: what they are built from, what the paper publishes, and why a count may differ.

`build(name)` makes one. The figures are those of the paper's tables, parameters in millions and multiply-adds in billions, at 224 pixels.
"""

from __future__ import annotations

from pyhybrid.papers._model import Published, Variant, builder
from pyhybrid.papers.acmix.pvt import PVT
from pyhybrid.papers.acmix.resnet import ResNet
from pyhybrid.papers.acmix.san import SAN
from pyhybrid.papers.acmix.swin import SwinTransformer

__all__ = ["VARIANTS"]

_RESNET = ("the released code, counted here, has 0.11 to 0.27 M parameters less than the paper's table; one more grouped convolution per "
           "block would give the published figures, but why they differ is not known")
_SWIN_T = "the multiply-adds agree with the paper; its 30 M parameters do not follow from the released code"
_SWIN_S = "the multiply-adds agree with the paper; its 51 M parameters are 50.35 M in the released code"
_UNRELEASED = ("not released officially: this is the attention alone, as in the code it was taken from; the paper's figure includes its "
               "convolution path, whose wiring here was never published")


VARIANTS: dict[str, Variant] = {
    "acmix_resnet26": Variant(builder(ResNet, layers=(1, 2, 4, 1)), Published(10.6, 2.3), _RESNET),
    "acmix_resnet38": Variant(builder(ResNet, layers=(2, 3, 5, 2)), Published(14.6, 2.9), _RESNET),
    "acmix_resnet50": Variant(builder(ResNet, layers=(3, 4, 6, 3)), Published(18.6, 3.6), _RESNET),
    "acmix_swin_t": Variant(builder(SwinTransformer, "img_size", depths=(2, 2, 6, 2), drop_path_rate=0.2), Published(30, 4.6), _SWIN_T),
    "acmix_swin_s": Variant(builder(SwinTransformer, "img_size", depths=(2, 2, 18, 2), drop_path_rate=0.3), Published(51, 9.0), _SWIN_S),
    "acmix_san10": Variant(builder(SAN, kind="patchwise", layers=(2, 1, 2, 4, 1)), Published(12.1, 1.9), _UNRELEASED, released=False),
    "acmix_san15": Variant(builder(SAN, kind="patchwise", layers=(3, 2, 3, 5, 2)), Published(16.6, 2.7), _UNRELEASED, released=False),
    "acmix_san19": Variant(builder(SAN, kind="patchwise", layers=(3, 3, 4, 6, 3)), Published(21.2, 3.4), _UNRELEASED, released=False),
    "acmix_pvt_t": Variant(builder(PVT, "img_size", depths=(2, 2, 2, 2)), Published(13, 2.0), _UNRELEASED, released=False),
    "acmix_pvt_s": Variant(builder(PVT, "img_size", depths=(3, 4, 6, 3)), Published(25, 3.9), _UNRELEASED, released=False),
}
