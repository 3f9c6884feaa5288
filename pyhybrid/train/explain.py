"""Why a model answered what it did, as maps over the image. `EXPLANATIONS` lists the ways: a name, and a function that any model takes.

Such a function has the arguments model, x (1, 3, S, S) and the number of a class, and returns maps (H, W) of any size by name. To add one
is one line here; `pyhybrid predict --explain NAME` then offers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isqrt
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.explain import grad_cam, map_sizes
from pyhybrid.nn import Module
from pyhybrid.ops import acmix, attention, local_attention, relative_attention

__all__ = ["EXPLANATIONS", "attention_maps", "looked_at"]

Array = np.ndarray


def attention_maps(model: Module, x: Array) -> dict[str, Array]:
    """For every layer of the model with attention: how much each pixel is looked at, (heads, H, W), by the layer's name.

    1 is as much as the average pixel. With windows, the maps of all windows are put side by side again. Layers under one name that are
    used several times, or attend several times, are numbered. A layer whose keys are not the pixels of a square map, such as one with a
    class token, is left out. `UsageError` if no layer is left.
    """
    found: dict[str, Array] = {}
    with _watched(model) as visits:
        model.forward(x)
    seen: set[int] = set()
    for name, cache in visits:      # a layer ends before its parent, so each cache is named after the innermost layer that holds it
        for held in _attention_in(cache):
            if id(held) not in seen:
                seen.add(id(held))
                if (maps := looked_at(held)) is not None:
                    found[_free(name, found)] = maps
    if not found:
        raise UsageError("the model has no layer with attention over the pixels of a square map")
    return found


def looked_at(cache: Any) -> Array | None:
    """The weights a[t, u] with which pixel t takes the value of pixel u, summed over t, (heads, H, W); 1 is the average.

    o_t = Σ_u a[t, u]·v_u is linear in v, and its adjoint gives v_u back Σ_t a[t, u]·do_t: with do = 1, the sums that are wanted. So the
    backward of the operator computes them, borders and windows included. None if the u are not the pixels of a square map.
    """
    if isinstance(cache, acmix.Cache):
        cache = acmix.attention_cache(cache)
    if isinstance(cache, local_attention.Cache):
        q, k, v, pe, heads, kernel_size, stride, border, scale, _ = cache
        shape = local_attention.output_shape(q, k, v, pe, heads=heads, kernel_size=kernel_size, stride=stride, border=border, scale=scale)
        dv = local_attention.backward(np.ones(shape, v.dtype), cache).v
        maps = dv[0].reshape(cache.heads, -1, *dv.shape[2:])[:, 0]
    elif isinstance(cache, relative_attention.Cache):
        dv = relative_attention.backward(np.ones_like(cache.v), cache).v
        height, width = cache.size if isinstance(cache.size, tuple) else (cache.size, cache.size)
        maps = dv[0, :, :, 0].reshape(-1, height, width)
    else:
        dv = attention.backward(np.ones((*cache.q.shape[:3], cache.v.shape[3]), cache.v.dtype), cache).v
        squares = _side_by_side(dv[..., 0])
        if squares is None:
            return None
        maps = squares
    return maps / maps.mean()


def _side_by_side(received: Array) -> Array | None:
    """Windows (n², heads, s²) of a square image, row by row, as (heads, n·s, n·s); None if they are none."""
    windows, heads, keys = received.shape
    n, s = isqrt(windows), isqrt(keys)
    if n * n != windows or s * s != keys:
        return None
    return received.reshape(n, n, heads, s, s).transpose(2, 0, 3, 1, 4).reshape(heads, n * s, n * s)


def _attention_in(cache: Any) -> Iterator[Any]:
    """Caches of operators with attention, anywhere in a layer's cache."""
    if isinstance(cache, acmix.Cache | attention.Cache | local_attention.Cache | relative_attention.Cache):
        yield cache
    elif isinstance(cache, tuple | list):
        for part in cache:
            yield from _attention_in(part)
    elif isinstance(cache, Mapping):
        yield from _attention_in(tuple(cache.values()))


def _free(name: str, taken: Mapping[str, Array]) -> str:
    """`name`, or the first of "name (2)", "name (3)" … that is free."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


@contextmanager
def _watched(model: Module) -> Iterator[list[tuple[str, Any]]]:
    """Note the name and the cache of every forward of every layer, in the order in which they end."""
    visits: list[tuple[str, Any]] = []

    def watch(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            y, cache = forward(*args, **kwargs)
            visits.append((name, cache))
            return y, cache

        return noted

    watched = list(model.named_modules())
    for name, module in watched:
        module.__dict__["forward"] = watch(name, module.forward)
    try:
        yield visits
    finally:
        for _, module in watched:
            module.__dict__.pop("forward", None)


def _attention(model: Module, x: Array, label: int) -> dict[str, Array]:
    """`attention_maps`, the mean over the heads. They are the same whatever the class."""
    del label
    return {name: heads.mean(0) for name, heads in attention_maps(model, x).items()}


def _grad_cam(model: Module, x: Array, label: int) -> dict[str, Array]:
    """Grad-CAM at the last layer of every size of map, from 0 to 1 and as large as the image.

    The last map of all knows most of the class but, of a small image, has few pixels; the ones before say more exactly where. Layers inside
    one that changes the size are passed over: there, part of what reaches the class goes past them on a shortcut.
    """
    sizes = map_sizes(model, x.shape)
    last = {size: layer for layer, size in sizes.items() if all(sizes.get(outer, size) == size for outer in _around(layer))}
    if not last:
        raise UsageError("no layer of the model gives a map")
    return {f"{layer} ({h} x {w})": grad_cam(model, x, layer, label).heat[0] for (h, w), layer in last.items()}


def _around(layer: str) -> Iterator[str]:
    """The names of the layers that hold this one: "a" and "a.b" for "a.b.c"."""
    while layer := layer.rpartition(".")[0]:
        yield layer


EXPLANATIONS: dict[str, Callable[[Module, Array, int], dict[str, Array]]] = {"attention": _attention, "gradcam": _grad_cam}
