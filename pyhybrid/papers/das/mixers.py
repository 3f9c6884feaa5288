"""How the gate brings its bottleneck back to full width: deformable convolution, or what figure 2 of the paper puts in its place.

Each is a pair of functions on the layers of the gate, so that all parameters keep their names there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from pyhybrid.nn import Module, chain_backward, chain_forward, prefixed
from pyhybrid.ops import deform_conv2d, grid_sample, sigmoid, tanh

__all__ = ["MIXERS", "Deformed", "Mixer"]

Array = np.ndarray
Grads = dict[str, Array]
Layers = Mapping[str, Module]
SEPARABLE = ("depthwise2", "pointwise2")


class Mixer(NamedTuple):
    """forward(layers, u) -> (y, cache) and backward(layers, dy, cache) -> (du, gradients by name)."""

    forward: Callable[[Layers, Array], tuple[Array, Any]]
    backward: Callable[[Layers, Array, Any], tuple[Array, Grads]]


class Deformed(NamedTuple):
    """Caches of the deformable convolution with the branch that makes its offsets and mask."""

    branch: Any
    mask: sigmoid.Cache | None
    deform: deform_conv2d.Cache


def deformable_forward(layers: Layers, u: Array) -> tuple[Array, Deformed]:
    """Eq. (2): offsets, two per tap, and mask logits, one per tap, come from u by an ordinary convolution; u is read where they say."""
    o, branch = layers["offset"].forward(u)
    kh, kw = layers["deform"].params["weight"].shape[2:]
    offset, logits = o[:, : 2 * kh * kw], o[:, 2 * kh * kw :]
    mask, on_mask = sigmoid.forward(logits) if logits.shape[1] else (None, None)
    y, deform = layers["deform"].forward(u, offset, mask)      # type: ignore[call-arg]
    return y, Deformed(branch, on_mask, deform)


def deformable_backward(layers: Layers, dy: Array, cache: Deformed) -> tuple[Array, Grads]:
    (du, doffset, dmask), own = layers["deform"].backward(dy, cache.deform)
    do = doffset if cache.mask is None else np.concatenate([doffset, sigmoid.backward(dmask, cache.mask).x], 1)
    du_branch, branch = layers["offset"].backward(do, cache.branch)
    return du + du_branch, prefixed("deform", own) | prefixed("offset", branch)     # u is read twice: at the taps and by the branch


def grid_forward(layers: Layers, u: Array) -> tuple[Array, Any]:
    """Ablations a, b: u beside u sampled at every pixel's own place plus a displacement of at most half the map, fused by a 1x1 kernel."""
    shift, on_conv = layers["grid"].forward(u)
    moved, on_tanh = tanh.forward(shift)
    grid = pixel_grid(u.shape[2:], u.dtype) + moved.transpose(0, 2, 3, 1)
    sampled, on_sample = grid_sample.forward(u, grid)
    y, on_fuse = layers["fuse"].forward(np.concatenate([u, sampled], 1))
    return y, (on_conv, on_tanh, on_sample, on_fuse)


def grid_backward(layers: Layers, dy: Array, cache: Any) -> tuple[Array, Grads]:
    on_conv, on_tanh, on_sample, on_fuse = cache
    dboth, fuse = layers["fuse"].backward(dy, on_fuse)
    direct, dsampled = np.split(dboth, 2, 1)
    du, dgrid = grid_sample.backward(dsampled, on_sample)
    dshift = tanh.backward(dgrid.transpose(0, 3, 1, 2), on_tanh).x
    du_conv, conv = layers["grid"].backward(dshift, on_conv)
    return direct + du + du_conv, prefixed("grid", conv) | prefixed("fuse", fuse)


def pixel_grid(size: tuple[int, ...], dtype: Any) -> Array:
    """(H, W, 2): the normalised place (horizontal, vertical) of every pixel's centre, the map's edges being at -1 and 1."""
    H, W = size
    grid = np.empty((H, W, 2), dtype)
    grid[..., 0] = (2 * np.arange(W) + 1) / W - 1
    grid[..., 1] = ((2 * np.arange(H) + 1) / H - 1)[:, None]
    return grid


def separable_forward(layers: Layers, u: Array) -> tuple[Array, Any]:
    """Ablation f: a second depthwise separable convolution."""
    return chain_forward(layers, SEPARABLE, u)


def separable_backward(layers: Layers, dy: Array, cache: Any) -> tuple[Array, Grads]:
    return chain_backward(layers, SEPARABLE, dy, cache)


def nothing_forward(layers: Layers, u: Array) -> tuple[Array, None]:
    """Ablation e: the bottleneck has full width already."""
    del layers
    return u, None


def nothing_backward(layers: Layers, dy: Array, cache: None) -> tuple[Array, Grads]:
    del layers, cache
    return dy, {}


MIXERS = {
    "deform": Mixer(deformable_forward, deformable_backward),
    "grid": Mixer(grid_forward, grid_backward),
    "separable": Mixer(separable_forward, separable_backward),
    "": Mixer(nothing_forward, nothing_backward),
}
