"""ResNet-ACmix: the residual network whose 3x3 convolutions are ACmix blocks, under the official parameter names."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import BatchNorm2d, Conv2d, Linear, Module, Operator, Residual, Seed, Sequential, chain_backward, chain_forward, init
from pyhybrid.ops import global_avg_pool, max_pool2d, relu
from pyhybrid.papers.acmix.block import ACmix

__all__ = ["Bottleneck", "ResNet"]

Array = np.ndarray
Grads = dict[str, Array]
MIXERS = ("acmix", "conv")
INITS = ("official", "shift")


@dataclass(eq=False)
class Bottleneck(Residual):
    """x (N, inplanes, H, W) -> relu(main(x) + shortcut(x)), (N, expansion·planes, ⌈H/stride⌉, ⌈W/stride⌉).

    The main path is 1x1, batch norm, relu, mixer, batch norm, relu, 1x1, batch norm. The mixer is an `ACmix` with the options in
    `acmix`, or with mixer="conv" the 3x3 convolution that it replaces. downsample=True puts a strided 1x1 convolution and a batch
    norm on the shortcut; without it x itself is added, and stride must be 1.
    """

    inplanes: int
    planes: int
    stride: int = 1
    downsample: bool = False
    k_att: int = 7
    head: int = 4
    k_conv: int = 3
    _: KW_ONLY
    mixer: str = "acmix"
    acmix: dict[str, Any] = field(default_factory=dict)     # positional, border, conv_channel_order, dep_conv_bias of ACmix
    expansion: int = 4
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    dtype: Any = np.float64
    seed: Seed = 0

    MAIN = ("conv1", "bn1", "relu", "conv2", "bn2", "relu", "conv3", "bn3")

    def __post_init__(self) -> None:
        self.need(1, "inplanes", "planes", "stride", "head", "k_att", "k_conv", "expansion")
        outputs = self.expansion * self.planes
        choose("Bottleneck", "mixer", self.mixer, MIXERS)
        if not self.downsample and (self.stride != 1 or self.inplanes != outputs):
            raise ConstraintError(f"Bottleneck: without downsample the shortcut is x itself, so stride must be 1 and inplanes {outputs}; "
                                  f"got stride {self.stride} and inplanes {self.inplanes}")
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        norm = {"eps": self.bn_eps, "momentum": self.bn_momentum, **common}
        if self.mixer == "acmix":
            mixer: Module = ACmix(self.planes, self.planes, self.k_att, self.head, self.k_conv, self.stride, **self.acmix, **common)
        else:
            mixer = Conv2d(self.planes, self.planes, self.k_conv, self.stride, self.k_conv // 2, bias=False, **common)
        self.children |= {
            "conv1": Conv2d(self.inplanes, self.planes, 1, bias=False, **common), "bn1": BatchNorm2d(self.planes, **norm),
            "conv2": mixer, "bn2": BatchNorm2d(self.planes, **norm),
            "conv3": Conv2d(self.planes, outputs, 1, bias=False, **common), "bn3": BatchNorm2d(outputs, **norm),
            "relu": Operator(relu),
        }
        if self.downsample:
            strided = Conv2d(self.inplanes, outputs, 1, self.stride, bias=False, **common)
            self.children["downsample"] = Sequential({"0": strided, "1": BatchNorm2d(outputs, **norm)})


@dataclass(eq=False)
class ResNet(Module):
    """x (N, 3, H, W) -> logits (N, num_classes): stem, four stages of `Bottleneck`, global average pool, linear classifier.

    init="official" draws the weight of every convolution from N(0, 2/(out·kh·kw)), those inside ACmix as well, as the official code
    does; "shift" leaves the learnt shifts of ACmix (`dep_conv`) at the shift kernels, as the paper describes.
    """

    layers: tuple[int, ...]
    planes: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    k_att: int = 7
    head: int = 4
    k_conv: int = 3
    num_classes: int = 1000
    _: KW_ONLY
    in_channels: int = 3
    expansion: int = 4
    mixer: str = "acmix"
    acmix: dict[str, Any] = field(default_factory=dict)
    init: str = "official"
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self.need(1, "layers", "planes", "stem", "expansion", "in_channels")
        self.need(0, "num_classes")
        if len(self.layers) != len(self.planes):
            raise ConstraintError(f"ResNet: layers and planes must name as many stages; got {self.layers} and {self.planes}")
        choose("ResNet", "init", self.init, INITS)
        rng = init.generator(self.seed)
        common: dict[str, Any] = {"dtype": init.float_type("ResNet", self.dtype), "seed": rng}
        self.children |= {
            "conv1": Conv2d(self.in_channels, self.stem, 7, 2, 3, bias=False, **common), "bn1": BatchNorm2d(self.stem, **common),
            "relu": Operator(relu), "maxpool": Operator(max_pool2d, kernel_size=3, stride=2, padding=1),
        }
        inplanes = self.stem
        for stage, (blocks, planes) in enumerate(zip(self.layers, self.planes, strict=True), 1):
            made = {}
            for n in range(blocks):
                stride = 2 if n == 0 and stage > 1 else 1
                made[str(n)] = Bottleneck(
                    inplanes, planes, stride, stride != 1 or inplanes != planes * self.expansion, self.k_att, self.head, self.k_conv,
                    mixer=self.mixer, acmix=self.acmix, expansion=self.expansion, **common)
                inplanes = planes * self.expansion
            self.children[f"layer{stage}"] = Sequential(made)
        self.children |= {"avgpool": Operator(global_avg_pool), "fc": Linear(inplanes, self.num_classes, **common)}
        self._draw(rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        return chain_forward(self.children, self.children, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.children, dy, cache)

    def _draw(self, rng: np.random.Generator | None) -> None:
        """Kaiming's normal start for the weights of all convolutions (fan out, before relu)."""
        for _, module in self.named_modules():
            for name, value in module.params.items():
                kept = self.init == "shift" and name == "dep_conv.weight"
                if value.ndim == 4 and not kept:
                    module.params[name] = init.kaiming_normal(value.shape, value.dtype, rng)
