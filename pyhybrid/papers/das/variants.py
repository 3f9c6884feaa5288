"""The models of the DAS paper as data: what they are built from, what the paper publishes, and why a count differs.

Figures are parameters in millions and multiply-adds in billions at 224 pixels, as the paper and the works that it compares with count them.
"""

from __future__ import annotations

from pyhybrid.papers._model import Published, Variant, builder
from pyhybrid.papers.das.mobilenet import MobileNetV2
from pyhybrid.papers.das.resnet import ResNet

__all__ = ["VARIANTS"]

_PLAIN = ("without gates, as torchvision has it; the parameters agree after rounding, and the published multiply-adds, some of which count "
          "batch norm as well, are up to 1 % more")
_DAS = ("the published figures leave out the deformable kernels themselves ({params} M weights, {macs} G multiply-adds): a counter that "
        "does not know the layer adds 0 for it. Without them the count is {left} M and {spent} G, to which the published multiply-adds add "
        "those of norms and pool; `papers.das.costs.count` gives all of them")
_MOBILE = ("without gates, as torchvision has it (3.505 M); published are 3.51 M, and multiply-adds that count batch norm as well")
_DAS_MOBILE = ("gates after feature layers 3, 6, 13 and 17 (option after): the paper does not say which. Without the deformable kernels "
               "(0.203 M weights, 0.016 G) the count is 3.555 M and 0.310 G; no choice of four stage ends gives both published figures")


# Layers, block; published without and with gates; what the deformable kernels have, and what remains: weights and multiply-adds.
RESNETS: dict[str, tuple[tuple[int, ...], str, Published, Published, dict[str, str]]] = {
    "resnet18": ((2, 2, 2, 2), "basic", Published(11.69, 1.82), Published(11.82, 1.86),
                 {"params": "0.62", "macs": "0.09", "left": "11.816", "spent": "1.845"}),
    "resnet50": ((3, 4, 6, 3), "bottleneck", Published(25.56, 4.12), Published(26.90, 4.39),
                 {"params": "10.01", "macs": "1.47", "left": "26.897", "spent": "4.339"}),
    "resnet101": ((3, 4, 23, 3), "bottleneck", Published(44.55, 7.85), Published(45.89, 8.12),
                  {"params": "10.01", "macs": "1.47", "left": "45.889", "spent": "8.052"}),
}

VARIANTS: dict[str, Variant] = {
    **{f"das_{name}": Variant(builder(ResNet, layers=layers, block=block, gates="stages"), gated, _DAS.format(**counts), False)
       for name, (layers, block, _, gated, counts) in RESNETS.items()},
    "das_mobilenet_v2": Variant(builder(MobileNetV2, after=(3, 6, 13, 17)), Published(3.57, 0.35), _DAS_MOBILE, False),
    **{name: Variant(builder(ResNet, layers=layers, block=block, gates="none"), plain, _PLAIN)
       for name, (layers, block, plain, _, _) in RESNETS.items()},
    "mobilenet_v2": Variant(builder(MobileNetV2, after=()), Published(3.51, 0.32), _MOBILE),
}
