"""A trained model and images from files: what is in the picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.interop import safetensors
from pyhybrid.nn import Module
from pyhybrid.papers import build
from pyhybrid.train import checkpoint
from pyhybrid.train.data import Scaling
from pyhybrid.train.images import read_image
from pyhybrid.train.loop import make_model

__all__ = ["Guess", "Predictor", "load"]

Array = np.ndarray
IMAGENET = Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))      # what published networks were trained with


@dataclass
class Guess:
    """A class and the probability that the model gives it."""

    label: int
    name: str
    probability: float


@dataclass
class Predictor:
    """A model in evaluation mode, with what it takes to feed it files and to name its answers."""

    name: str
    model: Module
    size: int
    scaling: Scaling
    classes: tuple[str, ...]

    def read(self, path: str | Path, invert: bool = False) -> Array:
        """x (1, 3, size, size) of an image file, scaled as in training. `UsageError` if it cannot be read."""
        pixels = read_image(path, self.size, invert)
        return self.scaling.apply(pixels[None].astype(np.float32) / np.float32(255))

    def shown(self, x: Array) -> Array:
        """The picture (3, size, size), from 0 to 1, that `read` made x of."""
        mean, std = (np.asarray(values, np.float32)[:, None, None] for values in self.scaling)
        return np.clip(x[0] * std + mean, 0, 1)

    def guesses(self, x: Array, top: int) -> list[Guess]:
        """The `top` most probable classes of one image, the most probable first."""
        logits, _ = self.model.forward(x)
        z = logits[0].astype(np.float64)
        e = np.exp(z - z.max())
        p = e / e.sum()
        return [Guess(int(k), self.classes[k], float(p[k])) for k in np.argsort(-p, kind="stable")[:top]]


def load(source: str | Path) -> Predictor:
    """The folder of a run, or a safetensors file that `pyhybrid convert` made. `UsageError` if it is neither, or damaged."""
    path = Path(source)
    if path.is_dir() or path.name == checkpoint.FILE:
        return _from_run(path if path.is_dir() else path.parent)
    if path.is_file():
        return _from_weights(path)
    raise UsageError(f"{path} is neither the folder of a run nor a safetensors file: it is not there")


def _from_run(folder: Path) -> Predictor:
    held = checkpoint.load(folder)
    model = make_model(held.settings, len(held.classes))
    _fill(model, held.weights, f"the checkpoint {folder}")
    return Predictor(held.settings.model, model, held.settings.image_size, held.scaling, held.classes)


def _from_weights(path: Path) -> Predictor:
    """The model is named in the file's metadata; an image is scaled as is usual for ImageNet, and classes have numbers unless named."""
    noted = safetensors.metadata(path)
    try:
        name, size, count = noted["model"], int(noted["image_size"]), int(noted["num_classes"])
        classes = tuple(map(str, json.loads(noted["classes"]))) if "classes" in noted else tuple(map(str, range(count)))
        if len(classes) != count:
            raise ValueError(f"{len(classes)} names for {count} classes")
    except (KeyError, ValueError) as wrong:
        what = f"no {wrong}" if isinstance(wrong, KeyError) else str(wrong)
        raise UsageError(f"{path} does not say which model it belongs to ({what}): make it with `pyhybrid convert`") from wrong
    try:
        model = build(name, image_size=size, num_classes=count)
    except ValueError as refused:
        raise UsageError(f"{path}: {name} cannot be built for images of {size} pixels: {refused}") from refused
    _fill(model, safetensors.read(path), str(path))
    return Predictor(name, model, size, IMAGENET, classes)


def _fill(model: Module, weights: Any, what: str) -> None:
    try:
        model.load_state_dict(weights)
    except ValueError as unfit:
        raise UsageError(f"{what} does not fit its model: {unfit}") from unfit
