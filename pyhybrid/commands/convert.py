"""`pyhybrid convert MODEL FILE OUT`: an official PyTorch checkpoint, which you have, as a safetensors file that the models load by name.

Only arrays are taken from the file; nothing in it is run. Every name and shape is compared with the model's before anything is written.
The number of classes is that of the checkpoint's classifier. PyTorch is needed for this step alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pyhybrid.errors import UsageError

Array = np.ndarray
HELP = "turn an official PyTorch checkpoint into safetensors"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name that `pyhybrid models` lists")
    parser.add_argument("file", metavar="FILE", help="the checkpoint (.pth, .pt)")
    parser.add_argument("out", metavar="OUT", help="the safetensors file to write")
    parser.add_argument("--image-size", type=int, metavar="N", help="pixels on a side it was trained for (default: the paper's)")
    parser.add_argument("--entry", metavar="NAME", help="where in the checkpoint the weights are, if there are several")
    parser.add_argument("--classes", metavar="FILE", help="a text file with the name of one class per line")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def run(options: argparse.Namespace) -> int:
    from pyhybrid.interop import safetensors, torch
    from pyhybrid.papers import variant

    out, data = Path(options.out), variant(options.model)
    if out.exists() and not options.force:
        raise UsageError(f"{out} exists; name another file, or replace it by --force")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent} to write {out.name} in")
    arrays = torch.read(options.file, options.entry)
    size = options.image_size or (data.published.image_size if data.published else 224)
    count = class_count(options.model, size, arrays)
    noted = {"model": options.model, "image_size": str(size), "num_classes": str(count)}
    if options.classes is not None:
        noted["classes"] = json.dumps(_names(options.classes, count))
    safetensors.write(_fitted(options.model, size, count, arrays, options.file), out, noted)
    print(f"{out}: {len(arrays)} arrays, {sum(a.size for a in arrays.values()):,} values, {count} classes")
    return 0


def class_count(name: str, size: int, arrays: Mapping[str, Array]) -> int:
    """The number of classes of a checkpoint: the extent that, in the model, follows the number of classes."""
    few, more = (_counted(name, size, classes) for classes in (2, 3))
    for key, shape in few.items():
        if shape != more[key]:
            axis = next(axis for axis, (a, b) in enumerate(zip(shape, more[key], strict=True)) if a != b)
            if key not in arrays or arrays[key].ndim != len(shape):
                what = "of another rank" if key in arrays else "missing"
                raise UsageError(f"the checkpoint has no classifier of {name}: {key} is {what}")
            return int(arrays[key].shape[axis])
    raise UsageError(f"{name} has no classifier")


def _counted(name: str, size: int, classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the model's parameters."""
    from pyhybrid.papers import build

    try:
        return {key: value.shape for key, value in build(name, image_size=size, num_classes=classes, seed=None).named_params().items()}
    except ValueError as refused:
        raise UsageError(f"{name} cannot be built for images of {size} pixels: {refused}") from refused


def _fitted(name: str, size: int, count: int, arrays: Mapping[str, Array], file: str) -> dict[str, Array]:
    """The arrays as the model holds them after loading. `UsageError` lists all that does not fit."""
    from pyhybrid.papers import build

    model = build(name, image_size=size, num_classes=count)
    try:
        model.load_state_dict(arrays)
    except ValueError as unfit:
        raise UsageError(f"{file} is not a checkpoint of {name} at {size} pixels: {unfit}") from unfit
    return model.state_dict()


def _names(path: str, count: int) -> list[str]:
    try:
        names = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as wrong:
        raise UsageError(f"--classes: {path} cannot be read: {wrong}") from wrong
    if len(names) != count:
        raise UsageError(f"--classes: {path} must have one line for each of {count} classes; it has {len(names)}")
    return names
