"""A run on disk: a folder with `checkpoint.json`, which names the two safetensors files of the last complete epoch.

    checkpoint.json             model, settings, classes, scaling, history, and the name and SHA-256 of each of the files
    weights-0007.safetensors    parameters and buffers under their official names
    optimiser-0007.safetensors  the optimiser's state by parameter name

The arrays are written first, under names that no earlier epoch had; then `checkpoint.json` is replaced in one step; then the files of
the epoch before are removed. At every moment, `checkpoint.json` names files that are complete. What a process that was killed left
behind is removed by the next save.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.interop import atomic, safetensors
from pyhybrid.train.data import Scaling
from pyhybrid.train.settings import Settings

__all__ = ["FILE", "Checkpoint", "exists", "load", "save"]

Array = np.ndarray
FILE = "checkpoint.json"
FORMAT = 1
KINDS = ("weights", "optimiser")


@dataclass
class Checkpoint:
    """All that a run needs to go on, and all that a prediction needs."""

    settings: Settings
    classes: tuple[str, ...]
    scaling: Scaling
    digest: str                                                     # of the data
    backend: str                                                    # "rust" or "numpy": bits are promised for the same one only
    weights: Mapping[str, Array]
    optimiser: Mapping[str, Array]
    history: list[dict[str, float]] = field(default_factory=list)   # one entry for each complete epoch

    @property
    def epochs(self) -> int:
        """How many are complete."""
        return len(self.history)


def exists(folder: str | Path) -> bool:
    """Whether the folder holds a run."""
    return (Path(folder) / FILE).exists()


def save(folder: str | Path, held: Checkpoint) -> None:
    """Write the checkpoint; until that is done, the one before is still there and whole."""
    place = Path(folder)
    files = {}
    for kind, arrays in zip(KINDS, (held.weights, held.optimiser), strict=True):
        content = safetensors.encode(arrays, {"model": held.settings.model} if kind == "weights" else None)
        name = f"{kind}-{held.epochs:04d}.safetensors"
        atomic.replace(place / name, content)
        files[kind] = {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
    record = {
        "format": FORMAT, "model": held.settings.model, "settings": held.settings.to_json(), "classes": list(held.classes),
        "scaling": {"mean": list(held.scaling.mean), "std": list(held.scaling.std)}, "data_sha256": held.digest,
        "backend": held.backend, "files": files, "history": held.history}
    atomic.replace(place / FILE, (json.dumps(record, indent=1) + "\n").encode())
    _remove_others(place, {entry["file"] for entry in files.values()} | {FILE})


def load(folder: str | Path) -> Checkpoint:
    """Read it back, every byte of the arrays compared with what was written. `UsageError` says what is missing or damaged."""
    place = Path(folder)
    if not exists(place):
        raise UsageError(f"{place} holds no run: there is no {FILE}")
    try:
        record = json.loads((place / FILE).read_bytes())
        if record["format"] != FORMAT:
            raise UsageError(f"format {record['format']!r}, but this version reads format {FORMAT}")
        settings = Settings.from_json(record["settings"])
        weights, optimiser = (_arrays(place, record["files"][kind]) for kind in KINDS)
        scaling = Scaling(*(tuple(map(float, record["scaling"][part])) for part in ("mean", "std")))
        classes, history = tuple(map(str, record["classes"])), [dict(entry) for entry in record["history"]]
        return Checkpoint(settings, classes, scaling, str(record["data_sha256"]), str(record["backend"]), weights, optimiser, history)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, UsageError) as wrong:
        what = f"it has no {wrong}" if isinstance(wrong, KeyError) else str(wrong)
        raise UsageError(f"the checkpoint {place / FILE} is damaged: {what}") from wrong


def _arrays(place: Path, entry: dict[str, Any]) -> dict[str, Array]:
    """The arrays of a file that the record names."""
    path = place / entry["file"]
    if path.parent != place:
        raise UsageError(f"{entry['file']!r} is not a file of this folder")
    if not path.is_file():
        raise UsageError(f"{path.name} is not there")
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise UsageError(f"{path.name} is not the file that was written")
    return safetensors.read(path)


def _remove_others(place: Path, keep: set[str]) -> None:
    """Files of earlier epochs, and unfinished ones."""
    for kind in KINDS:
        for pattern in (f"{kind}-*.safetensors", f".{kind}-*.safetensors.*"):
            for path in place.glob(pattern):
                if path.name not in keep:
                    path.unlink(missing_ok=True)
    for path in place.glob(f".{FILE}.*"):
        path.unlink(missing_ok=True)
