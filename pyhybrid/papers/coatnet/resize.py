"""The bias tables of a model at another image size: a table fixes the grid, so the grid of new images needs new tables.

A table holds one number per displacement, (2H-1) x (2W-1) of them. Resized as an image to (2H'-1) x (2W'-1), displacement 0 stays
displacement 0, and the others are stretched with the map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.ops import resize_bilinear
from pyhybrid.papers.coatnet.attention import RelativeAttention
from pyhybrid.papers.coatnet.model import CoAtNet

__all__ = ["resize_bias_tables"]

Array = np.ndarray
Pair = tuple[int, int]


def resize_bias_tables(state: Mapping[str, Any], model: CoAtNet, *, image_size: int | Pair | None = None,
                       align_corners: bool = False) -> dict[str, Array]:
    """`state` of the same model at another image size, with its tables resized bilinearly so that `model` can load it.

    image_size is the size that `state` was trained at. It is needed only where a table is kept as one list of displacements ("cw" and
    "timm") and its map was not square. Everything but tables and their index is handed on as it is; what does not fit then is reported
    when it is loaded. align_corners=False, the default, takes pixels as squares with a centre, as image resizing does.
    """
    old = None if image_size is None else dataclasses.replace(model, image_size=image_size, seed=None)
    before = dict(old.named_modules()) if old is not None else {}
    changed = {name: np.asarray(value) for name, value in state.items()}
    for layer, module in model.named_modules():
        if not isinstance(module, RelativeAttention):
            continue
        name = f"{layer}.{module.TABLE}"
        if name in changed:
            grid = _grid(name, changed[name], module, before.get(layer))
            changed[name] = _resized(changed[name], module, grid, align_corners)
        if f"{layer}.relative_index" in changed:
            changed[f"{layer}.relative_index"] = module.buffers["relative_index"]
    return changed


def _grid(name: str, table: Array, module: RelativeAttention, before: Any) -> Pair:
    """The map (H, W) that `table` was made for."""
    if before is not None:
        return before.grid
    if module.params[module.TABLE].ndim == 3 and table.ndim == 3:
        return (table.shape[1] + 1) // 2, (table.shape[2] + 1) // 2
    if table.shape == module.params[module.TABLE].shape:
        if module.grid[0] != module.grid[1]:
            raise ConstraintError(f"resize_bias_tables: {name} has {len(table)} displacements, which fit {module.grid} and that map on "
                                  f"its side; give the image_size that the state was trained at")
        return module.grid
    side = round(len(table) ** 0.5)
    if side * side != len(table) or side % 2 == 0:
        raise ConstraintError(f"resize_bias_tables: {name} has {len(table)} displacements, which are those of no square map; give the "
                              f"image_size that the state was trained at")
    return (side + 1) // 2, (side + 1) // 2


def _resized(table: Array, module: RelativeAttention, grid: Pair, align_corners: bool) -> Array:
    """`table`, made for `grid`, for the grid of `module`, in the layout that it came in."""
    (h, w), (H, W) = grid, module.grid
    if (h, w) == (H, W) or table.size != module.head_count * (2 * h - 1) * (2 * w - 1):     # a misfit is reported on loading
        return table
    maps = table if table.ndim == 3 else np.ascontiguousarray(table.T).reshape(-1, 2 * h - 1, 2 * w - 1)
    y, _ = resize_bilinear.forward(maps, size=(2 * H - 1, 2 * W - 1), align_corners=align_corners)
    return y if table.ndim == 3 else np.ascontiguousarray(y.reshape(len(y), -1).T)
