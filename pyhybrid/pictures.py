"""The photograph that the tour and the tutorials look at, and the few ways in which they draw arrays. Needs the extra `pictures`."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError

Array = np.ndarray
GROUPS = ("tab:blue", "tab:orange", "tab:green", "tab:purple")


def photograph(height: int = 96) -> Array:
    """A real photograph as x (1, 3, height, width), values k/255 with k whole, in the original's proportions.

    It is the portrait of Rear Admiral Grace Hopper (United States Navy, public domain) that matplotlib ships as sample data.
    """
    cbook = _matplotlib("matplotlib.cbook")
    from PIL import Image  # matplotlib needs it too, so it is there

    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        width = round(image.width * height / image.height)
        pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BOX))
    return pixels.transpose(2, 0, 1)[None] / 255.0


def picture(path: str | Path | None, size: int) -> Array:
    """A picture file as x (1, 3, size, size), values k/255: the square in its middle, resized. None is the photograph."""
    cbook = _matplotlib("matplotlib.cbook")
    from PIL import Image, UnidentifiedImageError

    source: Any = cbook.get_sample_data("grace_hopper.jpg") if path is None else path
    try:
        with Image.open(source) as image:
            square = image.convert("RGB").crop(_middle(image.size))
    except FileNotFoundError:
        raise UsageError(f"no such picture: {path}") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as wrong:
        raise UsageError(f"{path} is not a readable picture: {wrong}") from None
    finally:
        if path is None:
            source.close()
    resized = square.resize((size, size), Image.Resampling.BOX if size <= square.width else Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)[None] / 255.0


def _middle(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest square in the middle."""
    side = min(size)
    left, top = ((length - side) // 2 for length in size)
    return left, top, left + side, top + side


def heat(path: str | Path | None, image: Array, values: Array, *, title: str = "", mask: Array | None = None) -> Any:
    """An image (3, H, W), a heat map (H, W) in [0, 1], and the map laid over the image, side by side; written or returned as in `tiles`.

    Over the image the map covers the more the hotter it is, so that what is cold stays visible. A mask (H, W) is outlined.
    """
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(9.9, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for place, name in zip(axes, ("picture", "heat map", "heat map over the picture"), strict=True):
        place.set_axis_off()
        place.set_title(name, fontsize=9)
    axes[0].imshow(np.clip(image.transpose(1, 2, 0), 0, 1))
    scale = axes[1].imshow(values, cmap="inferno", vmin=0, vmax=1)
    # Mixed here rather than by transparency: a greyed picture, never quite black, under colours that cover the more the hotter they are.
    grey = 0.2 + 0.75 * np.tensordot([0.299, 0.587, 0.114], image, 1)[..., None]
    cover = (0.25 + 0.55 * np.clip(values, 0, 1))[..., None]
    axes[2].imshow(np.clip((1 - cover) * grey + cover * scale.to_rgba(values)[..., :3], 0, 1))
    if mask is not None:
        for place in axes:
            place.contour(mask, levels=[0.5], colors=["white"], linewidths=[2.2])
            place.contour(mask, levels=[0.5], colors=["black"], linewidths=[0.9])
    figure.colorbar(scale, ax=axes[2], fraction=0.046, pad=0.03, ticks=[0, 0.5, 1])
    if title:
        figure.suptitle(title, fontsize=11)
    return _shown(figure, path)


def tiles(path: str | Path | None, images: Mapping[str, Array] | Sequence[Array], *, columns: int = 3, title: str = "",
          marks: Mapping[str, tuple[int, int]] | None = None, size: float = 2.6) -> Any:
    """Images as tiles of one figure, `size` inches wide each, written to `path` or, if None, returned as a figure for a notebook.

    An image is (H, W), drawn in a diverging map centred at 0 if it has both signs and in a sequential one otherwise, or (3, H, W) in
    colour. `marks` puts a cross at (row, column) of the tiles it names.
    """
    named = dict(images) if isinstance(images, Mapping) else {str(i): image for i, image in enumerate(images)}
    figure_module = _matplotlib("matplotlib.figure")
    columns = max(1, min(columns, len(named)))
    rows = -(-len(named) // columns)
    shape = next(iter(named.values())).shape[-2:]
    height = rows * (size * shape[0] / shape[1] + 0.14 + 0.16 * max(name.count("\n") + 1 for name in named)) + 0.3 * bool(title)
    figure = figure_module.Figure(figsize=(size * columns, height), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.set_axis_off()
    for axes, (name, image) in zip(figure.axes, named.items(), strict=False):
        axes.set_title(name, fontsize=9)
        if image.ndim == 3:
            axes.imshow(np.clip(image.transpose(1, 2, 0), 0, 1))
        else:
            bound = float(np.abs(image).max()) or 1.0
            signed = image.min() < -0.02 * bound or not image.any()
            axes.imshow(image, cmap="RdBu_r" if signed else "viridis", vmin=-bound if signed else 0, vmax=bound)
        if marks and name in marks:
            row, column = marks[name]
            axes.plot(column, row, "+", color="white", markersize=11, markeredgewidth=2.5)
            axes.plot(column, row, "+", color="crimson", markersize=9, markeredgewidth=1.2)
    if title:
        figure.suptitle(title, fontsize=11)
    return _shown(figure, path)


def curves(path: str | Path | None, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, across: str, up: str,
           title: str = "", marks: Mapping[str, float] | None = None) -> Any:
    """Named lines (x, y) on logarithmic axes, zeros left out, written to `path` or returned as in `tiles`.

    `across` and `up` name the axes; `marks` are named vertical lines.
    """
    figure = _matplotlib("matplotlib.figure").Figure(figsize=(6.2, 3.4), layout="constrained")
    axes = figure.subplots()
    for style, (name, (x, y)) in zip(itertools.cycle(("o-", "s-", "^-", "o--", "s--", "^--")), lines.items(), strict=False):
        axes.loglog(x, [value or np.nan for value in y], style, label=name, markersize=3.5, linewidth=1.3)
    for name, place in (marks or {}).items():
        axes.axvline(place, color="grey", linestyle=":", linewidth=1)
        axes.annotate(name, (place, 0), (3, 4), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8,
                      color="dimgrey")
    axes.set(xlabel=across, ylabel=up)
    axes.set_title(title, fontsize=10)
    axes.grid(True, which="major", color="0.9", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    _plain_ticks(axes, sorted({value for x, _ in lines.values() for value in x}))
    axes.legend(fontsize=8, framealpha=0.9, edgecolor="none")
    return _shown(figure, path)


def _plain_ticks(axes: Any, places: Sequence[float]) -> None:
    """Ticks at the few values of x themselves, where powers of ten would leave most of the axis bare."""
    if 2 <= len(places) <= 8 and places[-1] < 1e3 * places[0]:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set_xticks([], minor=True)


def wiring(path: str | Path | None, columns: Mapping[str, Sequence[tuple[str, int]]], links: Sequence[tuple[int, int, int]], *,
           title: str = "", size: tuple[float, float] = (6.6, 3.6)) -> Any:
    """What is connected with what: named columns of boxes (text, group), groups in different colours, written or returned as in `tiles`.

    A link (c, a, b) joins box a of column c to box b of the next column, in the colour of box a. `size` is in inches.
    """
    figure = _matplotlib("matplotlib.figure").Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    entries = list(columns.values())
    heights = [[(n + 0.5) / len(column) for n in range(len(column))] for column in entries]
    for c, a, b in links:
        colour = GROUPS[entries[c][a][1] % len(GROUPS)]
        axes.plot((c, c + 1), (heights[c][a], heights[c + 1][b]), color=colour, linewidth=0.9, alpha=0.75)  # the boxes hide its ends
    for c, (name, column) in enumerate(columns.items()):
        axes.text(c, -0.03, name, ha="center", va="bottom", fontsize=9, fontweight="bold")
        for (text, group), height in zip(column, heights[c], strict=True):
            box = dict(boxstyle="round,pad=0.25", facecolor="white", edgecolor=GROUPS[group % len(GROUPS)], linewidth=1.2)
            axes.text(c, height, text, ha="center", va="center", fontsize=8, bbox=box)
    axes.set(xlim=(-0.4, len(entries) - 0.6), ylim=(1.02, -0.12))
    axes.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    return _shown(figure, path)


def _shown(figure: Any, path: str | Path | None) -> Any:
    """Write the figure, or make it one that a notebook draws by itself: sharp, and as wide as its size in inches says."""
    if path is not None:
        figure.savefig(path, dpi=110)
        return None

    def png() -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160)
        return buffer.getvalue(), {"width": round(96 * figure.get_figwidth())}

    figure._repr_png_ = png
    return figure


def _matplotlib(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise UsageError("pictures need matplotlib: pip install 'pyhybrid[pictures]'") from None
