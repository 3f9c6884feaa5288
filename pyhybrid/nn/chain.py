"""Layers one after the other: y = f_n(… f_2(f_1(x))), and back from f_n to f_1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from pyhybrid.nn.module import Joined, Module

__all__ = ["Sequential", "chain_backward", "chain_forward", "prefixed"]

Array = np.ndarray
Grads = dict[str, Array]

#: In the place of a cache: the layer ran together with one before it, whose place holds the cache of all.
JOINED = object()


class OfSeveral(NamedTuple):
    """The cache of layers that ran as one."""

    joined: Joined
    cache: Any


def chain_forward(layers: Mapping[str, Module], names: Iterable[str], x: Any) -> tuple[Any, list[Any]]:
    """The layers called `names`, in this order; y and their caches. Layers that can run as one (`Module.joined`) do."""
    waiting = [layers[name] for name in names]
    caches: list[Any] = []
    while waiting:
        layer, *following = waiting
        as_one = None if watched(layer) else layer.joined(list(takewhile(lambda other: not watched(other), following)))
        x, cache = (as_one or layer).forward(x)
        caches += [OfSeveral(as_one, cache)] + [JOINED] * (as_one.layers - 1) if as_one else [cache]
        waiting = waiting[as_one.layers if as_one else 1 :]
    return x, caches


def chain_backward(layers: Mapping[str, Module], names: Iterable[str], dy: Any, caches: list[Any]) -> tuple[Any, Grads]:
    """The same layers in the opposite order; dx and the gradients under "NAME.parameter"."""
    names, grads = list(names), Grads()
    for k, (name, cache) in reversed(list(enumerate(zip(names, caches, strict=True)))):
        if isinstance(cache, OfSeveral):
            dy, of_each = cache.joined.backward(dy, cache.cache)
            for each, own in zip(names[k : k + cache.joined.layers], of_each, strict=True):
                grads |= prefixed(each, own)
        elif cache is not JOINED:
            dy, own = layers[name].backward(dy, cache)
            grads |= prefixed(name, own)
    return dy, grads


def watched(layer: Module) -> bool:
    """Whether somebody looks at what the layer gives, having put a forward of his own in its place."""
    return "forward" in vars(layer)


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
