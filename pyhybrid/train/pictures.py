"""A run as two pictures: its curves, and which classes were taken for which. Needs the extra `pictures`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.interop import atomic

__all__ = ["confusion_matrix", "curves", "need_pictures"]

Array = np.ndarray


def need_pictures() -> None:
    """`UsageError` if pictures cannot be drawn here: to be asked before a run, not after it."""
    _figure((1, 1))


def curves(path: str | Path, history: Sequence[dict[str, float]], title: str) -> None:
    """Loss, accuracy and learning rate over the epochs. The loss that is learnt from counts augmentation and smoothing, the other not."""
    figure = _figure((9.6, 3.2))
    epochs = [entry["epoch"] for entry in history]
    panels = (("loss", ("loss", "held_out_loss")), ("accuracy", ("accuracy", "held_out_accuracy")), ("learning rate", ("learning_rate",)))
    for axes, (name, lines) in zip(figure.subplots(1, 3), panels, strict=True):
        for line in lines:
            label = "held out" if line.startswith("held_out") else "training"
            axes.plot(epochs, [entry[line] for entry in history], "o-", markersize=3, linewidth=1.3, label=label)
        axes.set(xlabel="epoch", title=name)
        axes.grid(True, color="0.9", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(lines) > 1:
            axes.legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    _write(figure, path)


def confusion_matrix(path: str | Path, counts: Array, classes: Sequence[str], title: str) -> None:
    """How many images of each class (row) were taken for each class (column); the shade is the share of the row."""
    K = len(classes)
    side = min(2.2 + 0.42 * K, 14)
    figure = _figure((side, side))
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="taken for", ylabel="class")
    axes.set_title(title, fontsize=10)
    if K <= 30:
        axes.set_xticks(range(K), classes, rotation=90 if max(map(len, classes)) > 3 else 0, fontsize=8)
        axes.set_yticks(range(K), classes, fontsize=8)
        for i, j in zip(*counts.nonzero(), strict=True):
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color="white" if shares[i, j] > 0.5 else "black")
    _write(figure, path)


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("pictures need matplotlib: pip install 'pyhybrid[train]', or train with --no-pictures") from None
    return Figure(figsize=size, layout="constrained")


def _write(figure: Any, path: str | Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    atomic.replace(path, content.getvalue())
