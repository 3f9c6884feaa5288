"""Grad-CAM on any model: where in the image a layer's maps speak for a class.

For class t and a layer with maps F (K, h, w) it asks for g = d logit_t / d F, which is the backward pass from the logit down to that
layer, and weighs every map by the mean of its gradient: cam = relu(Σ_k w_k F_k), w_k = mean of g_k. The result is resized to the image
and brought to [0, 1]. Source: Grad-CAM, arXiv 1610.02391, eqs. (1) and (2); the logit, not the probability, and in evaluation mode.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from pyhybrid.counting import counting, placeholder
from pyhybrid.errors import ConstraintError, UsageError, describe
from pyhybrid.nn import Module, to_map
from pyhybrid.nn.summary import evaluating
from pyhybrid.ops import relu, resize_bilinear

__all__ = ["GradCAM", "grad_cam", "map_layers", "map_sizes", "normalised"]

Array = np.ndarray
Pair = tuple[int, int]


class GradCAM(NamedTuple):
    """Everything on the way from the logits to the heat map, for each of the N images."""

    logits: Array           # (N, classes)
    classes: Array          # (N,), the one explained for each image
    activation: Array       # F, (N, K, h, w)
    gradient: Array         # g = d logit / d F, (N, K, h, w)
    weight: Array           # w, (N, K)
    linear: Array           # Σ_k w_k F_k, (N, h, w)
    cam: Array              # relu of it
    upsampled: Array        # at the size of the image, (N, H, W)
    heat: Array             # that in [0, 1]


def grad_cam(model: Module, x: Array, layer: str, classes: int | Sequence[int] | None = None, *, grid: Pair | None = None) -> GradCAM:
    """Grad-CAM of x (N, C, H, W) at the output of `layer`, a dotted name such as "layer4" or "das.4".

    classes      one class for all images, one per image, or None for the class with the largest logit of each
    grid         (h, w) of a layer whose output is tokens (N, h·w, K); None takes the grid with the proportions of the image

    The model is left as it was, in its mode and with its statistics. `UsageError` if there is no such layer or its output is no map;
    `ConstraintError` if a class does not exist.
    """
    if x.ndim != 4:
        raise ConstraintError(f"grad_cam: x must be (N, C, H, W); got {describe(x)}")
    module = _named(model, layer)
    with evaluating(model), _tapped(module) as tap:
        logits, cache = model.forward(x)
        if not tap.uses:
            raise UsageError(f"layer {layer!r} is not used by a forward of this model")
        if not isinstance(logits, np.ndarray) or logits.ndim != 2 or len(logits) != len(x):
            raise UsageError(f"Grad-CAM needs a model that gives logits (N, classes); got {describe(logits)}")
        chosen = _classes(logits, classes)
        dlogits = np.zeros_like(logits)
        dlogits[np.arange(len(x)), chosen] = 1
        output, gradient = _down_to(model, dlogits, cache)
    F, g = (_as_map(value, layer, x.shape[2:], grid) for value in (output, gradient))
    weight = g.mean((2, 3))
    linear = (weight[:, :, None, None] * F).sum(1)
    cam, _ = relu.forward(linear)
    upsampled, _ = resize_bilinear.forward(cam, size=x.shape[2:])
    return GradCAM(logits, chosen, F, g, weight, linear, cam, upsampled, normalised(upsampled))


def normalised(maps: Array) -> Array:
    """Each map (N, H, W) moved and scaled to [0, 1]; a constant one becomes zeros."""
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


def map_layers(model: Module, shape: tuple[int, ...]) -> list[str]:
    """The layers that give maps of more than one pixel, or tokens on a grid, for an input of this shape, in the order of computation."""
    return list(map_sizes(model, shape))


def map_sizes(model: Module, shape: tuple[int, ...]) -> dict[str, Pair]:
    """The layers of `map_layers`, each with the (h, w) of its map."""
    found: dict[str, Pair] = {}

    def note(name: str, y: Any) -> None:
        if not name or not isinstance(y, np.ndarray):
            return
        size: Pair | None = None
        if y.ndim == 4 and y.shape[2] * y.shape[3] > 1 and _in_proportion(y.shape[2:], shape[2:]):
            size = (y.shape[2], y.shape[3])
        elif y.ndim == 3:
            size = _grid(y.shape[1], shape[2:])
        if size is not None:
            found.pop(name, None)
            found[name] = size

    with evaluating(model), counting():
        originals = [(name, module, module.forward) for name, module in model.named_modules()]
        try:
            for name, module, forward in originals:
                def noted(*args: Any, name: str = name, forward: Any = forward) -> Any:
                    y, cache = forward(*args)
                    note(name, y)
                    return y, cache

                module.__dict__["forward"] = noted
            model.forward(placeholder(shape, np.float32))
        finally:
            for _, module, _ in originals:
                module.__dict__.pop("forward", None)
    return found


class _Tap:
    """The outputs of one layer, each with the cache that its backward will be called with."""

    def __init__(self) -> None:
        self.uses: list[tuple[Any, Any]] = []


class _Reached(Exception):
    """The backward pass has come to the layer; nothing below it is needed."""

    def __init__(self, output: Any, dy: Any) -> None:
        super().__init__()
        self.output, self.dy = output, dy


@contextmanager
def _tapped(module: Module) -> Iterator[_Tap]:
    """Note what the layer puts out, and stop the backward pass at it."""
    tap, forward = _Tap(), module.forward

    def noted(*args: Any, **options: Any) -> Any:
        y, cache = forward(*args, **options)
        tap.uses.append((y, cache))
        return y, cache

    def stop(dy: Any, cache: Any) -> Any:
        # A layer may be used several times, as the one relu of a residual block is: the cache says which use this is.
        output = next(y for y, kept in reversed(tap.uses) if kept is cache)
        raise _Reached(output, dy)

    module.__dict__ |= {"forward": noted, "backward": stop}
    try:
        yield tap
    finally:
        del module.__dict__["forward"], module.__dict__["backward"]


def _down_to(model: Module, dlogits: Array, cache: Any) -> tuple[Any, Any]:
    """Output of the tapped layer and the gradient that arrives there; if it is used several times, the last time."""
    try:
        model.backward(dlogits, cache)
    except _Reached as reached:
        return reached.output, reached.dy
    raise UsageError("the backward pass does not come to this layer")


def _named(model: Module, layer: str) -> Module:
    layers = dict(model.named_modules())
    if not layer or layer not in layers:
        near = difflib.get_close_matches(layer, layers, n=3)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        raise UsageError(f"no layer named {layer!r}{hint}")
    return layers[layer]


def _classes(logits: Array, classes: int | Sequence[int] | None) -> Array:
    if classes is None:
        return logits.argmax(1)
    chosen = np.broadcast_to(np.asarray(classes), len(logits)) if np.ndim(classes) == 0 else np.asarray(classes)
    if chosen.shape != (len(logits),) or chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < logits.shape[1])).all():
        raise ConstraintError(f"grad_cam: classes must be from 0 to {logits.shape[1] - 1}, one for all or one for each of the "
                              f"{len(logits)} images; got {classes!r}")
    return chosen


def _as_map(value: Any, layer: str, image: tuple[int, ...], grid: Pair | None) -> Array:
    """Output or gradient of the layer as (N, K, h, w)."""
    if isinstance(value, np.ndarray) and value.ndim == 4:
        return value
    if not isinstance(value, np.ndarray) or value.ndim != 3:
        raise UsageError(f"the output of layer {layer!r} is no map (N, K, h, w): it is {describe(value)}")
    T = value.shape[1]
    found = grid or _grid(T, image)
    if found is None or found[0] * found[1] != T:
        raise UsageError(f"layer {layer!r} gives {T} tokens, which do not fill a grid with the proportions of the image; name one by "
                         "grid=(h, w)")
    return to_map(value, found)


def _in_proportion(size: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether a map is the image made smaller, up to two pixels of borders. An output (N, h, w, K), channels last, is not."""
    (h, w), (H, W) = size, image
    return abs(h * W - w * H) <= 2 * max(H, W)


def _grid(tokens: int, image: tuple[int, ...]) -> Pair | None:
    """The grid of so many pixels whose sides are in the proportion of the image's, if there is one."""
    H, W = image
    h = round((tokens * H / W) ** 0.5) if W else 0
    return (h, tokens // h) if h and tokens % h == 0 and (tokens // h) * H == h * W and tokens > 1 else None
