"""ResNet with DAS gates, and without: torchvision's network and parameter names, with gates `das.{stage}` after the stages."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import BatchNorm2d, Conv2d, Linear, Module, Operator, Residual, Seed, Sequential, chain_backward, chain_forward, init
from pyhybrid.ops import global_avg_pool, max_pool2d, relu
from pyhybrid.papers.das.gate import DASGate

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "kaiming"]

Array = np.ndarray
Grads = dict[str, Array]
GATES = ("stages", "blocks", "none")


@dataclass(eq=False)
class BasicBlock(Residual):
    """x (N, inplanes, H, W) -> relu(main(x) + shortcut(x)), (N, planes, ⌈H/stride⌉, ⌈W/stride⌉): two 3x3 convolutions with batch norm.

    The shortcut is x itself where that fits, and a strided 1x1 convolution with batch norm otherwise. relu=False leaves out the last relu.
    """

    inplanes: int
    planes: int
    stride: int = 1
    relu: bool = True
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    EXPANSION: ClassVar[int] = 1
    MAIN: ClassVar[tuple[str, ...]] = ("conv1", "bn1", "relu", "conv2", "bn2")

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        outputs = self.EXPANSION * self.planes
        for n, (kernel, inputs, wide, stride) in enumerate(self._convolutions(), 1):
            self.children[f"conv{n}"] = Conv2d(inputs, wide, kernel, stride, kernel // 2, bias=False, **common)
            self.children[f"bn{n}"] = BatchNorm2d(wide, **common)
        self.children["relu"] = Operator(relu)
        if self.stride != 1 or self.inplanes != outputs:
            projection = Conv2d(self.inplanes, outputs, 1, self.stride, bias=False, **common)
            self.children["downsample"] = Sequential({"0": projection, "1": BatchNorm2d(outputs, **common)})

    @property
    def last(self) -> tuple[str, ...]:
        return ("relu",) if self.relu else ()

    def _convolutions(self) -> tuple[tuple[int, int, int, int], ...]:
        """Kernel size, inputs, outputs and stride of each."""
        return (3, self.inplanes, self.planes, self.stride), (3, self.planes, self.planes, 1)


@dataclass(eq=False)
class Bottleneck(BasicBlock):
    """x (N, inplanes, H, W) -> (N, 4·planes, ⌈H/stride⌉, ⌈W/stride⌉), as `BasicBlock`: a 1x1, a 3x3 with the stride, a 1x1 convolution."""

    EXPANSION = 4
    MAIN = ("conv1", "bn1", "relu", "conv2", "bn2", "relu", "conv3", "bn3")

    def _convolutions(self) -> tuple[tuple[int, int, int, int], ...]:
        C = self.planes
        return (1, self.inplanes, C, 1), (3, C, C, self.stride), (1, C, self.EXPANSION * C, 1)


BLOCKS: dict[str, type[BasicBlock]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


@dataclass(eq=False)
class ResNet(Module):
    """x (N, in_channels, H, W) -> logits (N, num_classes): stem, stages, global average pool, linear classifier.

    gates="stages" puts a `DASGate` with the options in `gate` after each stage, "das.1" to "das.4"; "blocks" after each block,
    "das.{stage}.{block}"; "none" is the plain network. pre_relu=True puts a gate before the last relu of its stage (or block).
    cifar=True replaces the stem, a 7x7 convolution and a max pool that shrink the image to a quarter, by one 3x3 convolution.
    """

    layers: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    block: str = "basic"
    num_classes: int = 1000
    _: KW_ONLY
    gates: str = "stages"
    gate: dict[str, Any] = field(default_factory=dict)
    pre_relu: bool = False
    cifar: bool = False
    in_channels: int = 3
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self._check()
        rng = init.generator(self.seed)
        self.common: dict[str, Any] = {"dtype": init.float_type("ResNet", self.dtype), "seed": rng}
        kernel, stride = (3, 1) if self.cifar else (7, 2)
        self.children |= {"conv1": Conv2d(self.in_channels, self.stem, kernel, stride, kernel // 2, bias=False, **self.common),
                          "bn1": BatchNorm2d(self.stem, **self.common), "relu": Operator(relu)}
        if not self.cifar:
            self.children["maxpool"] = Operator(max_pool2d, kernel_size=3, stride=2, padding=1)
        self.order = list(self.children)        # the names of the layers as they follow on one another; relu may come again
        channels = self.stem
        for stage, (blocks, width) in enumerate(zip(self.layers, self.widths, strict=True), 1):
            channels = self._add_stage(stage, blocks, channels, width)
        self.children |= {"avgpool": Operator(global_avg_pool), "fc": Linear(channels, self.num_classes, **self.common)}
        self.order += ["avgpool", "fc"]
        kaiming(self, rng)

    def forward(self, x: Array) -> tuple[Array, Any]:
        return chain_forward(self.children, self.order, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.order, dy, cache)

    def _add_stage(self, stage: int, count: int, inputs: int, width: int) -> int:
        """The blocks of a stage and its gates; returns the channels of its output."""
        kind, made = BLOCKS[self.block], {}
        gated: set[int] = {"stages": {count - 1}, "blocks": set(range(count)), "none": set()}[self.gates]
        for n in range(count):
            stride = 2 if n == 0 and stage > 1 else 1
            made[str(n)] = kind(inputs, width, stride, not (self.pre_relu and n in gated), **self.common)
            inputs = kind.EXPANSION * width
        if self.gates == "blocks":
            for number, block in made.items():
                self._add(f"layer{stage}.{number}", block, f"das.{stage}.{number}", inputs)
        else:
            self._add(f"layer{stage}", Sequential(made), f"das.{stage}" if gated else "", inputs)
        return inputs

    def _add(self, name: str, layer: Module, gate: str, channels: int) -> None:
        self.children[name] = layer
        self.order.append(name)
        if gate:
            self.children[gate] = DASGate(channels, **{**self.gate, **self.common})
            self.order += [gate, "relu"] if self.pre_relu else [gate]

    def _check(self) -> None:
        self.layers, self.widths = tuple(self.layers), tuple(self.widths)
        self.need(1, "widths", "stem", "in_channels")
        self.need(0, "num_classes")
        check_gate("ResNet", self.gate)
        if not self.layers or len(self.layers) != len(self.widths) or min(self.layers) < 1:
            raise ConstraintError(f"ResNet: layers and widths must name as many stages, of at least one block; got {self.layers} and "
                                  f"{self.widths}")
        choose("ResNet", "block", self.block, BLOCKS)
        choose("ResNet", "gates", self.gates, GATES)
        if self.gates == "none" and (self.gate or self.pre_relu):
            raise ConstraintError(f"ResNet: without gates there is no place for gate = {self.gate!r} and pre_relu = {self.pre_relu!r}")


def check_gate(owner: str, gate: dict[str, Any]) -> None:
    """`ConstraintError` if the options of a network's gates hold what the network itself decides."""
    for name in ("channels", "dtype", "seed"):
        if name in gate:
            raise ConstraintError(f"{owner}: gate must leave {name} to the network; got {name} = {gate[name]!r}")


def kaiming(model: Module, rng: np.random.Generator | None) -> None:
    """Draw the weights of all convolutions outside the gates from N(0, 2/(out·kh·kw)), as the plain networks start."""
    for name, module in model.named_modules():
        weight = module.params.get("weight")
        if isinstance(module, Conv2d) and weight is not None and not name.startswith("das."):
            module.params["weight"] = init.kaiming_normal(weight.shape, weight.dtype, rng)
