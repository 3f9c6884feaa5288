"""Layers one after the other: y = f_n(… f_2(f_1(x))), and back from f_n to f_1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pyhybrid.nn.module import Module

__all__ = ["Sequential", "chain_backward", "chain_forward", "prefixed"]

Array = np.ndarray
Grads = dict[str, Array]


#: In the place of a cache: the layer ran together with the one before it.
JOINED = object()


def chain_forward(layers: Mapping[str, Module], names: Iterable[str], x: Any) -> tuple[Any, list[Any]]:
    """The layers called `names`, in this order; y and their caches. Two layers that can run as one (`Module.joined`) do."""
    waiting, caches = [layers[name] for name in names], []
    while waiting:
        layer = waiting.pop(0)
        both = layer.joined(waiting[0]) if waiting and not watched(layer, waiting[0]) else None
        x, cache = (both or layer.forward)(x)
        caches.append(cache)
        if both:
            waiting.pop(0)
            caches.append(JOINED)
    return x, caches


def chain_backward(layers: Mapping[str, Module], names: Iterable[str], dy: Any, caches: list[Any]) -> tuple[Any, Grads]:
    """The same layers in the opposite order; dx and the gradients under "NAME.parameter"."""
    grads: Grads = {}
    for name, cache in zip(reversed(list(names)), reversed(caches), strict=True):
        if cache is not JOINED:
            dy, own = layers[name].backward(dy, cache)
            grads |= prefixed(name, own)
    return dy, grads


def watched(*layers: Module) -> bool:
    """Whether somebody looks at what one of these layers gives, having put a forward of his own in its place."""
    return any("forward" in vars(layer) for layer in layers)


def prefixed(name: str, grads: Mapping[str, Array]) -> Grads:
    """Gradients of a child under the names that they have in its parent."""
    return {f"{name}.{parameter}": grad for parameter, grad in grads.items()}


class Sequential(Module):
    """x -> y through all children in order: the shapes are those that they take and give."""

    def __init__(self, layers: Mapping[str, Module]) -> None:
        super().__init__()
        self.children |= layers

    def forward(self, x: Any) -> tuple[Any, list[Any]]:
        return chain_forward(self.children, self.children, x)

    def backward(self, dy: Any, cache: list[Any]) -> tuple[Any, Grads]:
        return chain_backward(self.children, self.children, dy, cache)
