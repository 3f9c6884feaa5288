"""The DAS gate as a layer: a map multiplied, pixel by pixel and channel by channel, by numbers between 0 and 1 made from the map itself."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np

from pyhybrid.errors import ConstraintError, check_cotangent, choose
from pyhybrid.nn import (
    BatchNorm2d,
    Conv2d,
    DeformConv2d,
    GroupNorm,
    InstanceNorm2d,
    LayerNorm,
    Module,
    Operator,
    Seed,
    chain_backward,
    chain_forward,
    init,
)
from pyhybrid.ops import gelu, sigmoid
from pyhybrid.ops._sizes import integer
from pyhybrid.papers.das.mixers import MIXERS, Deformed

__all__ = ["VARIANTS", "DASGate", "Wiring"]

Array = np.ndarray
Grads = dict[str, Array]
NORMS = ("instance", "layer", "batch", "none")
LAYER_NORMS = ("channel", "global")
BOTTLENECK_OPTIONS = ("dw_bias", "pw_bias", "dw_kernel", "gelu", "norm1")
DEFORM_OPTIONS = ("modulated", "deform_bias", "offset_kernel", "kink")


class Wiring(NamedTuple):
    """What a variant of figure 2 consists of, from x to its output."""

    bottleneck: str         # "narrow": to m channels; "full": at full width; "": none, the mixer reads x
    mixer: str              # a key of `MIXERS`
    norm: bool              # whether the second norm follows
    gate: bool              # whether the result, through a sigmoid, multiplies x; otherwise it is the output


VARIANTS = {
    "a": Wiring("", "grid", False, False),              # plain grid sampling
    "b": Wiring("narrow", "grid", True, True),          # grid sampling in place of the deformable convolution
    "c": Wiring("narrow", "deform", True, True),        # DAS
    "d": Wiring("", "deform", True, True),              # without the bottleneck
    "e": Wiring("full", "", True, True),                # without the deformable convolution
    "f": Wiring("narrow", "separable", True, True),     # a depthwise separable convolution in its place
    "g": Wiring("", "deform", False, False),            # the deformable convolution alone
    "h": Wiring("narrow", "deform", True, False),       # everything but the gate
}


class Cache(NamedTuple):
    x: Array
    bottleneck: list[Any]
    mixer: Any
    norm: list[Any]
    z: Array                # what the sigmoid reads, or the output if there is no gate
    A: Array | None         # the gate
    sigmoid: Any


@dataclass(eq=False)
class DASGate(Module):
    """x (N, channels, H, W) -> y, same shape: y = x·A, A = sigmoid(norm2(deform(X_c))), X_c = gelu(norm1(W1 x)), eqs. (1)-(4).

    W1 is a depthwise and a pointwise convolution to max(1, int(alpha·channels)) channels; deform a convolution back to `channels` whose
    offsets, two per tap, and mask, one per tap unless modulated=False, come from X_c by an ordinary convolution that starts at zero.
    `kernel_size` is that of all three k x k kernels; `dw_kernel` and `offset_kernel` replace it for the depthwise and the offset one.

    norm1 and norm2 are "instance", "layer", "batch" or "none"; a layer norm is over the channels of a pixel (ln="channel") or over the
    whole sample (ln="global"), an instance norm has parameters only with inst_affine=True. `variant` is a letter of figure 2, "c" being
    DAS; an option that a variant, or its norms, have no place for is refused, except alpha. No code was released: the parameter names are
    ours.
    """

    channels: int
    alpha: float = 0.2
    kernel_size: int = 3
    _: KW_ONLY
    variant: str = "c"
    modulated: bool = True
    norm1: str = "instance"
    norm2: str = "layer"
    ln: str = "channel"
    inst_affine: bool = False
    dw_bias: bool = False
    pw_bias: bool = False
    deform_bias: bool = False
    dw_kernel: int | None = None
    offset_kernel: int | None = None
    gelu: str = "none"          # or "tanh"
    kink: str = "right"         # or "zero_outside", the derivative of the sampling at whole coordinates: see `ops.deform_conv2d`
    eps: float = 1e-5
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        self._check()
        self.wiring, C = VARIANTS[self.variant], self.channels
        self.mid = max(1, int(self.alpha * C)) if self.wiring.bottleneck == "narrow" else C     # truncated, as int() does
        m, k = self.mid, self.kernel_size
        self.common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}

        if self.wiring.bottleneck:
            self._separable("", C, m, self.dw_kernel or k, (self.dw_bias, self.pw_bias))
            self._norm("norm1", self.norm1, m)
            self.children["gelu"] = Operator(gelu, approximate=self.gelu)
        self.bottleneck = list(self.children)
        if self.wiring.mixer == "deform":
            branch = self.offset_kernel or k
            self.children |= {
                "offset": Conv2d(m, (3 if self.modulated else 2) * k * k, branch, 1, branch // 2, **self.common),
                "deform": DeformConv2d(m, C, k, 1, k // 2, bias=self.deform_bias, kink=self.kink, **self.common),
            }
            self._zero("offset", "weight", "bias")      # every tap at its own place, every mask one half
        elif self.wiring.mixer == "grid":
            self.children |= {"grid": Conv2d(m, 2, k, 1, k // 2, **self.common),
                              "fuse": Conv2d(2 * m, C, 1, bias=not self.wiring.bottleneck, **self.common)}
        elif self.wiring.mixer == "separable":
            self._separable("2", m, C, k, (False, False))
        before = len(self.children)
        if self.wiring.norm:
            self._norm("norm2", self.norm2, C)
        self.norm = list(self.children)[before:]

    def forward(self, x: Array) -> tuple[Array, Cache]:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise ConstraintError(f"DASGate: x must be (N, {self.channels}, H, W); got shape {x.shape}")
        u, on_bottleneck = chain_forward(self.children, self.bottleneck, x)         # eq. (1)
        d, on_mixer = MIXERS[self.wiring.mixer].forward(self.children, u)           # eq. (2)
        z, on_norm = chain_forward(self.children, self.norm, d)
        if not self.wiring.gate:
            return z, Cache(x, on_bottleneck, on_mixer, on_norm, z, None, None)
        A, on_sigmoid = sigmoid.forward(z)                                          # eq. (3)
        return x * A, Cache(x, on_bottleneck, on_mixer, on_norm, z, A, on_sigmoid)  # eq. (4)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        check_cotangent("DASGate", dy, cache.z.shape)
        dz = dy
        if cache.A is not None:
            dz = sigmoid.backward(dy * cache.x, cache.sigmoid).x                    # eqs. (4), (3)
        dd, grads = chain_backward(self.children, self.norm, dz, cache.norm)
        du, own = MIXERS[self.wiring.mixer].backward(self.children, dd, cache.mixer)        # eq. (2)
        grads |= own
        dx, own = chain_backward(self.children, self.bottleneck, du, cache.bottleneck)      # eq. (1)
        # x is used twice: it makes the gate, and the gate multiplies it.
        return dx if cache.A is None else dx + dy * cache.A, grads | own

    def intermediates(self, cache: Cache) -> dict[str, Array]:
        """What lies between x and y, as far as the variant has it: bottleneck (W1 x), xc, offset, mask, deform (mixer's output), gate."""
        found: dict[str, Array | None] = {"gate": cache.A, "deform": cache.norm[0].x if cache.norm else cache.z}
        if cache.bottleneck:
            found["bottleneck"] = cache.bottleneck[2].x     # the layer after the pointwise convolution reads its output
        if isinstance(cache.mixer, Deformed):
            deform = cache.mixer.deform
            found |= {"xc": deform.x, "offset": deform.offset, "mask": deform.mask}
        return {name: value for name, value in found.items() if value is not None}

    def _separable(self, number: str, inputs: int, outputs: int, k: int, biases: tuple[bool, bool]) -> None:
        """A depthwise and a pointwise convolution without anything between them; their biases start at zero."""
        depthwise, pointwise = f"depthwise{number}", f"pointwise{number}"
        self.children[depthwise] = Conv2d(inputs, inputs, k, 1, k // 2, inputs, biases[0], **self.common)
        self.children[pointwise] = Conv2d(inputs, outputs, 1, bias=biases[1], **self.common)
        for name, bias in zip((depthwise, pointwise), biases, strict=True):
            if bias:
                self._zero(name, "bias")

    def _zero(self, child: str, *names: str) -> None:
        params = self.children[child].params
        for name in names:
            params[name] = init.constant(0, params[name].shape, params[name].dtype, self.common["seed"])

    def _norm(self, place: str, kind: str, channels: int) -> None:
        """Add the norm at "norm1" or "norm2", whose usual kinds have names of their own."""
        name = {("norm1", "instance"): "inst_norm", ("norm2", "layer"): "layer_norm"}.get((place, kind), place)
        if kind == "instance":
            self.children[name] = InstanceNorm2d(channels, self.eps, self.inst_affine, **self.common)
        elif kind == "batch":
            self.children[name] = BatchNorm2d(channels, self.eps, **self.common)
        elif kind == "layer" and self.ln == "channel":
            self.children[name] = LayerNorm(channels, self.eps, 1, **self.common)
        elif kind == "layer":
            self.children[name] = GroupNorm(1, channels, self.eps, **self.common)

    def _check(self) -> None:
        self.channels = integer("DASGate: channels", self.channels)
        for name in ("kernel_size", "dw_kernel", "offset_kernel"):
            value = getattr(self, name)
            if value is not None and integer(f"DASGate: {name}", value) % 2 == 0:
                raise ConstraintError(f"DASGate: {name} must be odd, so that the map keeps its size; got {value}")
        if not 0 < self.alpha:
            raise ConstraintError(f"DASGate: alpha must be a finite number greater than 0; got {self.alpha!r}")
        for name, allowed in (("variant", VARIANTS), ("norm1", NORMS), ("norm2", NORMS), ("ln", LAYER_NORMS),
                              ("gelu", ("none", "tanh")), ("kink", ("right", "zero_outside"))):
            choose("DASGate", name, getattr(self, name), allowed)
        self.dtype = init.float_type("DASGate", self.dtype)
        wiring = VARIANTS[self.variant]
        norms = ({self.norm1} if wiring.bottleneck else set()) | ({self.norm2} if wiring.norm else set())
        for names, place in ((BOTTLENECK_OPTIONS, wiring.bottleneck), (DEFORM_OPTIONS, wiring.mixer == "deform"),
                             (("norm2",), wiring.norm), (("inst_affine",), "instance" in norms), (("ln",), "layer" in norms),
                             (("eps",), norms - {"none"})):
            moot = [name for name in names if not place and getattr(self, name) != getattr(DASGate, name)]
            if moot:
                raise ConstraintError(f"DASGate: variant {self.variant!r}, as it is asked for, has no place for {moot[0]} = "
                                      f"{getattr(self, moot[0])!r}")
