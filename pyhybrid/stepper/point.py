"""A point that can be dragged over a small map, with what an operator says at every place: value, parts of the pixels, both slopes.

Nothing is computed in the page. All places of a lattice are asked for beforehand, so every number that it shows came out of the operator.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Lattice", "Point"]

Array = np.ndarray
Sample = Callable[[Array, Array], tuple[Array, Array, Array, Array]]
BEYOND = 1.5  # how far the point can leave the map, in pixels
LARGEST = 8   # pixels per side of a map that is still readable


class Lattice(NamedTuple):
    """What was asked for: places ys (Y,) and xs (X,), value, slopes dy and dx (Y, X) and parts (Y, X, H, W)."""

    ys: Array
    xs: Array
    value: Array
    parts: Array
    dy: Array
    dx: Array


class Point:
    """The page for the map x (H, W), at most 8 x 8.

    `sample(ys, xs)` gets places (P,) and returns the value (P,), the part of each pixel in it (P, H, W), and the slopes along y and along x
    (P,). `start` is the first place (y, x), `per_pixel` the number of places between two pixels. A notebook displays it; `page` is a whole
    HTML page and `save` writes it.
    """

    def __init__(self, x: Array, sample: Sample, *, start: tuple[float, float] = (0.25, 1.5), per_pixel: int = 8) -> None:
        if x.ndim != 2 or not 1 <= min(x.shape) or max(x.shape) > LARGEST:
            raise ValueError(f"x must be a map (H, W) of 1 to {LARGEST} pixels per side; got shape {x.shape}")
        self.x, self.start, self.per_pixel = x, start, per_pixel
        ys, xs = (np.arange(-BEYOND, length - 1 + BEYOND + 1e-9, 1 / per_pixel) for length in x.shape)
        down, across = (grid.ravel() for grid in np.meshgrid(ys, xs, indexing="ij"))
        value, parts, dy, dx = sample(down, across)
        size = (len(ys), len(xs))
        self.lattice = Lattice(ys, xs, value.reshape(size), parts.reshape(*size, *x.shape), dy.reshape(size), dx.reshape(size))

    @property
    def page(self) -> str:
        """The whole page. It loads nothing: style, script and data are inside."""
        data = json.dumps(self._data(), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return files("pyhybrid.stepper").joinpath("point.html").read_text(encoding="utf-8").replace("@@data@@", data)

    def save(self, path: str | Path) -> Path:
        """Write the page to `path`."""
        path = Path(path)
        path.write_text(self.page, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        style = "width:100%;height:500px;border:1px solid #8884;border-radius:8px"
        source = html.escape(self.page, quote=True)
        return f'<iframe title="Drag the point" sandbox="allow-scripts" style="{style}" srcdoc="{source}"></iframe>'

    def _data(self) -> dict[str, object]:
        ys, xs, value, parts, dy, dx = self.lattice
        start = [int(np.argmin(np.abs(axis - place))) for axis, place in zip((ys, xs), self.start, strict=True)]
        some = [[[[int(r), int(q), float(at[r, q])] for r, q in np.argwhere(at)] for at in row] for row in parts]
        return {"map": self.x.tolist(), "ys": ys.tolist(), "xs": xs.tolist(), "value": value.tolist(), "dy": dy.tolist(),
                "dx": dx.tolist(), "parts": some, "start": start}
