"""Parameters in safetensors files: `save(model, path)` and `load(model, path)`. Needs the package `safetensors`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError
from pyhybrid.interop import atomic
from pyhybrid.nn import Module

__all__ = ["encode", "load", "metadata", "read", "save", "write"]

Array = np.ndarray


def save(model: Module, path: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write parameters and buffers under their official names. An existing file is replaced only when the new one is complete."""
    write(model.state_dict(), path, metadata)


def write(arrays: Mapping[str, Array], path: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write arrays by name, as `save` does; `metadata` are texts by name, which `metadata(path)` reads."""
    atomic.replace(path, encode(arrays, metadata))


def encode(arrays: Mapping[str, Array], metadata: dict[str, str] | None = None) -> bytes:
    """The content of the file that `write` writes."""
    return _library().save({name: np.array(value, order="C") for name, value in arrays.items()}, metadata)


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


def metadata(path: str | os.PathLike) -> dict[str, str]:
    """The texts that were written with the arrays; empty if there are none. Errors as in `read`."""
    _library()
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError:
        raise
    except Exception as wrong:
        raise UsageError(f"{path} is not a readable safetensors file: {wrong}") from wrong


def _library() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        raise UsageError("safetensors files need the package `safetensors`: pip install 'pyhybrid[safetensors]'") from None
    return safetensors.numpy
