"""Official checkpoints of PyTorch: their arrays by name, weights only, nothing in the file is run. Needs the package `torch`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.errors import UsageError

__all__ = ["read"]

Array = np.ndarray
ENTRIES = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")      # where official codes put the weights


def read(path: str | os.PathLike, entry: str | None = None) -> dict[str, Array]:
    """All arrays of a checkpoint by name, without the "module." that parallel training puts before each.

    The file holds either the arrays themselves or a dictionary that has them under `entry`; without `entry`, under the only one of the
    usual names that is there. Half precision (float16, bfloat16) becomes float32, exactly. `UsageError` if torch is missing, if the file is
    not there or damaged or would need anything else than arrays to be loaded, or if it does not say which arrays are meant.
    """
    library = _library()
    if not Path(path).is_file():
        raise UsageError(f"no such file: {path}")
    try:
        held = library.load(path, map_location="cpu", weights_only=True)
    except Exception as wrong:      # a pickle fails in many ways; weights_only names what it refuses to build
        raise UsageError(f"{path} cannot be loaded as weights alone: {_first_line(wrong)}") from wrong
    state = _choose(path, held, entry, library)
    arrays = {str(name): _array(value, library) for name, value in state.items()}
    if arrays and all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): value for name, value in arrays.items()}
    return arrays


def _choose(path: Any, held: Any, entry: str | None, library: Any) -> Mapping[str, Any]:
    """The dictionary of arrays in what was loaded."""
    if entry is not None:
        if not (isinstance(held, Mapping) and _is_state(held.get(entry), library)):
            raise UsageError(f"{path} has no arrays under {entry!r}; it has {_keys(held)}")
        return held[entry]
    if _is_state(held, library):
        return held
    there = [name for name in ENTRIES if isinstance(held, Mapping) and _is_state(held.get(name), library)]
    if len(there) != 1:
        what = f"arrays under {', '.join(there)}" if there else f"no arrays under {', '.join(ENTRIES)}, but {_keys(held)}"
        raise UsageError(f"{path} has {what}: say with --entry which are meant")
    return held[there[0]]


def _is_state(value: Any, library: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(array, library.Tensor) for array in value.values())


def _keys(held: Any) -> str:
    return ", ".join(map(repr, list(held)[:10])) if isinstance(held, Mapping) else f"a {type(held).__name__}"


def _array(value: Any, library: Any) -> Array:
    if value.dtype in (library.float16, library.bfloat16):
        value = value.float()
    return value.detach().cpu().contiguous().numpy()


def _first_line(wrong: Exception) -> str:
    return (str(wrong).strip() or type(wrong).__name__).splitlines()[0]


def _library() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError("PyTorch checkpoints need the package `torch`, for this conversion only: pip install torch") from None
    return torch
