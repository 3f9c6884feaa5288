"""Pairwise and patchwise self-attention (SAN), the modes of ACmix that its official code does not contain.

The attention is that of SAN's own code. How ACmix adds its convolution path to it was never published: query and key have a quarter
of the value's channels here, so "3 N equal segments" has no literal meaning. These models are the attention alone.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, choose
from pyhybrid.nn import BatchNorm2d, Conv2d, Linear, Module, Operator, Seed, Sequential, add, chain_backward, chain_forward, init, prefixed
from pyhybrid.ops import aggregation, global_avg_pool, max_pool2d, positional_term, reflection_pad, relu, softmax, unfold
from pyhybrid.ops._sizes import pair

__all__ = ["SAM", "SAN", "SANBottleneck"]

Array = np.ndarray
Grads = dict[str, Array]
Pair = tuple[int, int]
KINDS = ("pairwise", "patchwise")


@dataclass(eq=False)
class SAM(Module):
    """x (N, in_planes, H, W) -> y (N, out_planes, Ho, Wo), Ho = ⌈H/stride⌉: each pixel weighs the window around it, channel by channel.

    pairwise   the weight of a neighbour comes from the difference of query and key there, w = softmax(conv_w([x1 - U(x2), p - U(p)]))
    patchwise  the weights of all neighbours come from the whole window at once, w = conv_w([x1, U(x2)]), without a softmax
    `share_planes` consecutive groups of channels share their weights; the border is mirrored.
    """

    kind: str
    in_planes: int
    rel_planes: int
    out_planes: int
    share_planes: int = 8
    kernel_size: int = 3
    stride: int | Pair = 1
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        choose("SAM", "kind", self.kind, KINDS)
        self.need(1, "in_planes", "rel_planes", "out_planes", "share_planes")
        if self.kernel_size % 2 == 0 or self.kernel_size < 1:
            raise ConstraintError(f"SAM: kernel_size must be odd, so that a window has a centre; got {self.kernel_size!r}")
        if self.share_planes < 1 or self.out_planes % self.share_planes:
            raise ConstraintError(f"SAM: share_planes must divide out_planes = {self.out_planes}; got {self.share_planes!r}")
        dtype, rng = init.float_type("SAM", self.dtype), init.generator(self.seed)
        common: dict[str, Any] = {"dtype": dtype, "seed": rng}
        taps, weights = self.kernel_size**2, self.out_planes // self.share_planes
        if self.kind == "pairwise":
            relation, hidden, outputs = self.rel_planes + 2, self.rel_planes, weights
            self.params |= {"conv_p.weight": init.fan_in_uniform(2, (2, 2, 1, 1), dtype, rng),
                            "conv_p.bias": init.fan_in_uniform(2, (2,), dtype, rng)}
        else:
            relation, hidden, outputs = self.rel_planes * (taps + 1), weights, weights * taps
        self.children |= {
            "conv1": Conv2d(self.in_planes, self.rel_planes, 1, **common), "conv2": Conv2d(self.in_planes, self.rel_planes, 1, **common),
            "conv3": Conv2d(self.in_planes, self.out_planes, 1, **common),
            "conv_w": Sequential({
                "0": BatchNorm2d(relation, **common), "1": Operator(relu), "2": Conv2d(relation, hidden, 1, bias=False, **common),
                "3": BatchNorm2d(hidden, **common), "4": Operator(relu), "5": Conv2d(hidden, outputs, 1, **common)}),
        }

    def forward(self, x: Array) -> tuple[Array, Any]:
        (x1, c1), (x2, c2), (x3, c3) = (self.children[name].forward(x) for name in ("conv1", "conv2", "conv3"))
        relate = self._pairwise if self.kind == "pairwise" else self._patchwise
        w, c_relation = relate(x1, x2)                                                     # (N, Cw, k*k, Ho, Wo)
        y, c_sum = aggregation.forward(w, x3, kernel_size=self.kernel_size, stride=self.stride)
        return y, (c1, c2, c3, c_relation, c_sum)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        c1, c2, c3, c_relation, c_sum = cache
        dw, dx3 = aggregation.backward(dy, c_sum)
        relate = self._pairwise_backward if self.kind == "pairwise" else self._patchwise_backward
        dx1, dx2, grads = relate(dw, c_relation)
        dx = None
        for name, dz, c in (("conv1", dx1, c1), ("conv2", dx2, c2), ("conv3", dx3, c3)):
            part, own = self.children[name].backward(dz, c)
            dx, grads = part if dx is None else add(dx, part), grads | prefixed(name, own)
        assert dx is not None
        return dx, grads

    def _pairwise(self, x1: Array, x2: Array) -> tuple[Array, Any]:
        p, c_p = positional_term.forward(self.params["conv_p.weight"], self.params["conv_p.bias"], size=x1.shape[2:])
        (Ux2, c_x2), (Up, c_up) = self._windows(x2), self._windows(p)
        place = np.broadcast_to(self._centre(p)[:, None] - Up, (len(x1), *Up.shape))
        delta = np.concatenate([self._centre(x1)[:, :, None] - Ux2, place], axis=1)         # (N, rel + 2, k*k, Ho, Wo)
        logits, c_w = self.children["conv_w"].forward(delta.reshape(*delta.shape[:3], -1))
        w, c_softmax = softmax.forward(logits, axis=2)
        return w.reshape(*w.shape[:3], *delta.shape[3:]), (x1.shape, c_p, c_x2, c_up, c_w, c_softmax)

    def _pairwise_backward(self, dw: Array, cache: Any) -> tuple[Array, Array, Grads]:
        shape, c_p, c_x2, c_up, c_w, c_softmax = cache
        dlogits = softmax.backward(dw.reshape(*dw.shape[:3], -1), c_softmax).x
        ddelta, of_w = self.children["conv_w"].backward(dlogits, c_w)
        ddelta = ddelta.reshape(*ddelta.shape[:3], *dw.shape[3:])
        dnear, dplace = ddelta[:, : self.rel_planes], ddelta[:, self.rel_planes :].sum(0)
        dx1 = self._centre_adjoint(dnear.sum(2), shape)                                     # the centre enters with every neighbour …
        dx2 = self._windows_adjoint(-dnear, c_x2)                                           # … and the neighbour with a minus sign
        dp = self._centre_adjoint(dplace.sum(1), (2, *shape[2:])) + self._windows_adjoint(-dplace, c_up)
        dweight, dbias = positional_term.backward(dp, c_p)
        return dx1, dx2, prefixed("conv_w", of_w) | {"conv_p.weight": dweight, "conv_p.bias": dbias}

    def _patchwise(self, x1: Array, x2: Array) -> tuple[Array, Any]:
        Ux2, c_x2 = self._windows(x2)
        near = Ux2.reshape(len(x1), -1, *Ux2.shape[3:])                                     # channel e*k*k + m
        patch = np.concatenate([self._centre(x1), near], axis=1)                            # (N, rel*(k*k + 1), Ho, Wo)
        w, c_w = self.children["conv_w"].forward(patch)                                     # channel g*k*k + m
        return w.reshape(len(x1), -1, self.kernel_size**2, *w.shape[2:]), (x1.shape, Ux2.shape, c_x2, c_w)

    def _patchwise_backward(self, dw: Array, cache: Any) -> tuple[Array, Array, Grads]:
        shape, unfolded, c_x2, c_w = cache
        dpatch, of_w = self.children["conv_w"].backward(dw.reshape(len(dw), -1, *dw.shape[3:]), c_w)
        dx1 = self._centre_adjoint(dpatch[:, : self.rel_planes], shape)
        dx2 = self._windows_adjoint(dpatch[:, self.rel_planes :].reshape(unfolded), c_x2)
        return dx1, dx2, prefixed("conv_w", of_w)

    # U of the specification and the pixels of the stride grid, with their adjoints.

    def _windows(self, x: Array) -> tuple[Array, Any]:
        padded, c_pad = reflection_pad.forward(x, padding=self.kernel_size // 2)
        windows, c_cut = unfold.forward(padded, kernel_size=self.kernel_size, stride=self.stride)
        return windows, (c_pad, c_cut)

    def _windows_adjoint(self, dwindows: Array, cache: Any) -> Array:
        c_pad, c_cut = cache
        return reflection_pad.backward(unfold.backward(dwindows, c_cut).x, c_pad).x

    def _centre(self, x: Array) -> Array:
        sh, sw = pair("stride", self.stride)
        return x[..., ::sh, ::sw]

    def _centre_adjoint(self, dcentre: Array, shape: tuple[int, ...]) -> Array:
        dx = np.zeros(shape, dcentre.dtype)
        self._centre(dx)[...] = dcentre
        return dx


@dataclass(eq=False)
class SANBottleneck(Module):
    """x -> x + conv(relu(bn2(sam(relu(bn1(x)))))), all of shape (N, planes, H, W)."""

    kind: str
    planes: int
    kernel_size: int = 7
    share_planes: int = 8
    _: KW_ONLY
    dtype: Any = np.float64
    seed: Seed = 0

    MAIN = ("bn1", "relu", "sam", "bn2", "relu", "conv")

    def __post_init__(self) -> None:
        common: dict[str, Any] = {"dtype": self.dtype, "seed": init.generator(self.seed)}
        middle = self.planes // 4
        self.children |= {
            "bn1": BatchNorm2d(self.planes, **common),
            "sam": SAM(self.kind, self.planes, self.planes // 16, middle, self.share_planes, self.kernel_size, **common),
            "bn2": BatchNorm2d(middle, **common), "conv": Conv2d(middle, self.planes, 1, **common), "relu": Operator(relu),
        }

    def forward(self, x: Array) -> tuple[Array, Any]:
        z, caches = chain_forward(self.children, self.MAIN, x)
        return add(x, z), caches

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        dx, grads = chain_backward(self.children, self.MAIN, dy, cache)
        return add(dy, dx), grads


@dataclass(eq=False)
class SAN(Module):
    """x (N, 3, H, W) -> logits (N, num_classes): five stages of `SANBottleneck`, each behind a 2x2 max pooling and a 1x1 convolution."""

    kind: str
    layers: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 7, 7, 7, 7)
    num_classes: int = 1000
    _: KW_ONLY
    widths: tuple[int, ...] = (64, 256, 512, 1024, 2048)
    share_planes: int = 8
    dtype: Any = np.float64
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not len(self.layers) == len(self.kernels) == len(self.widths):
            raise ConstraintError(f"SAN: layers, kernels and widths must name as many stages; got {self.layers}, {self.kernels}, "
                                  f"{self.widths}")
        common: dict[str, Any] = {"dtype": init.float_type("SAN", self.dtype), "seed": init.generator(self.seed)}
        self.children |= {"relu": Operator(relu), "pool": Operator(max_pool2d, kernel_size=2), "avgpool": Operator(global_avg_pool),
                          "conv_in": Conv2d(3, self.widths[0], 1, bias=False, **common), "bn_in": BatchNorm2d(self.widths[0], **common)}
        self.order = ["conv_in", "bn_in", "relu"]
        before = self.widths[0]
        for s, (blocks, kernel, width) in enumerate(zip(self.layers, self.kernels, self.widths, strict=True)):
            stage = {str(n): SANBottleneck(self.kind, width, kernel, self.share_planes, **common) for n in range(blocks)}
            self.children |= {f"conv{s}": Conv2d(before, width, 1, bias=False, **common), f"layer{s}": Sequential(stage),
                              f"bn{s}": BatchNorm2d(width, **common)}
            self.order += ["pool", f"conv{s}", f"layer{s}", f"bn{s}", "relu"]
            before = width
        self.children["fc"] = Linear(before, self.num_classes, **common)
        self.order += ["avgpool", "fc"]

    def forward(self, x: Array) -> tuple[Array, Any]:
        return chain_forward(self.children, self.order, x)

    def backward(self, dy: Array, cache: Any) -> tuple[Array, Grads]:
        return chain_backward(self.children, self.order, dy, cache)
