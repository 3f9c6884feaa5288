"""Parameters in safetensors files: `save(model, path)` and `load(model, path)`. Needs the package `safetensors`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.nn import Module

__all__ = ["load", "read", "save"]

Array = np.ndarray


def save(model: Module, path: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write parameters and buffers under their official names. An existing file is replaced only when the new one is complete."""
    library, target = _library(), Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(library.save({name: np.array(value, order="C") for name, value in model.state_dict().items()}, metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(model: Module, path: str | os.PathLike) -> None:
    """Load a file written by anyone, by name: `StateDictError` lists unknown, missing and unfit entries, and then nothing is changed."""
    model.load_state_dict(read(path))


def read(path: str | os.PathLike) -> dict[str, Array]:
    """All arrays of a file by name. `UsageError` if it is no safetensors file; half precision is widened to float32, exactly."""
    library = _library()
    try:
        arrays = library.load_file(path)
    except FileNotFoundError:
        raise
    except Exception as wrong:      # the library has an error type of its own for each kind of damage
        raise UsageError(f"{path} is not a readable safetensors file: {wrong}") from wrong
    return {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in arrays.items()}


def _library() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        raise UsageError("safetensors files need the package `safetensors`: pip install 'pyhybrid[safetensors]'") from None
    return safetensors.numpy
