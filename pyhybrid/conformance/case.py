"""One recorded case: reading it from a file, and keeping account of what of it has been understood.

Whoever replays a case asks it for configuration values and arrays by name. What was never asked for, and what was asked
for but is not there, is `NotUnderstood`: a case is replayed completely or it fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Case", "Config", "NotUnderstood", "Replayed", "Unreadable", "load"]

Array = np.ndarray
_META = ("system", "operator", "case", "config", "mode", "source", "note")
_MODES = ("eval", "train", "n/a")
_STATE = ("state_after", "after", "buffer_after")       # names for what a forward in training mode makes of the buffers
_KINDS = ("input", "param", "output", "cotangent", "grad.input", "grad.param", "aux", "inter", *_STATE)


class NotUnderstood(Exception):
    """The case holds or lacks something, so that replaying it would be a guess."""


class Unreadable(Exception):
    """The file is not a complete .npz file of plain arrays."""


class Config:
    """The configuration of a case. Each method returns the value of a key if it is of the kind that is understood."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.unread = dict.fromkeys(values)
        self.groups: dict[str, Config] = {}

    def left(self) -> list[str]:
        """The keys that nobody asked for, those in groups by their dotted names."""
        return [*self.unread, *(f"{name}.{key}" for name, group in self.groups.items() for key in group.left())]

    def group(self, key: str) -> Config:
        """An object with keys of its own; empty if it is absent."""
        value = self._value(key) if key in self.values else {}
        if not isinstance(value, dict):
            self._refuse(key, "an object")
        return self.groups.setdefault(key, Config(value))

    def whole(self, key: str, minimum: int = 1) -> int:
        """A whole number of at least `minimum`."""
        value = self._value(key)
        if not _is_whole(value) or value < minimum:
            self._refuse(key, f"a whole number of at least {minimum}")
        return value

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            self._refuse(key, "a finite number")
        return float(value)

    def number_or_null(self, key: str) -> float | None:
        """A finite number, or null."""
        if key in self.values and self.values[key] is None:
            self._value(key)
            return None
        return self.number(key)

    def flag(self, key: str) -> bool:
        """true or false."""
        value = self._value(key)
        if not isinstance(value, bool):
            self._refuse(key, "true or false")
        return value

    def choice(self, key: str, *allowed: Any, default: Any = None) -> Any:
        """One of the `allowed` values; `default`, if given, stands for a key that is absent."""
        if default is not None and key not in self.values:
            return default
        value = self._value(key)
        if not any(value == known and type(value) is type(known) for known in allowed):
            self._refuse(key, " or ".join(json.dumps(known) for known in allowed))
        return value

    def text(self, key: str) -> None:
        """A remark for the reader, which decides nothing; it may be absent."""
        if key in self.values and not isinstance(self._value(key), str):
            self._refuse(key, "a text")

    def sizes(self, key: str = "shape") -> tuple[int, ...]:
        """A list of non-negative whole numbers."""
        value = self._value(key)
        if not isinstance(value, list) or not all(_is_whole(n) and n >= 0 for n in value):
            self._refuse(key, "a list of sizes")
        return tuple(value)

    def size(self, key: str) -> int | tuple[int, int]:
        """A whole number, or a pair (vertical, horizontal) of them, all at least 1."""
        value = self._value(key)
        if isinstance(value, list) and len(value) == 2 and all(_is_whole(n) and n > 0 for n in value):
            return value[0], value[1]
        if not _is_whole(value) or value < 1:
            self._refuse(key, "a size, or a pair of sizes")
        return value

    def pairs(self, key: str) -> list[tuple[int, int]]:
        """A non-empty list of pairs of whole numbers."""
        value = self._value(key)
        rows = value if isinstance(value, list) else []
        if not rows or not all(isinstance(row, list) and len(row) == 2 and all(map(_is_whole, row)) for row in rows):
            self._refuse(key, "a list of pairs of whole numbers")
        return [(first, second) for first, second in rows]

    def items(self, key: str) -> list[Any]:
        """A non-empty list, whose entries the caller must check."""
        value = self._value(key)
        if not isinstance(value, list) or not value:
            self._refuse(key, "a list")
        return value

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise NotUnderstood(f"config key {key!r} is missing")
        self.unread.pop(key, None)
        return self.values[key]

    def _refuse(self, key: str, expected: str) -> None:
        raise NotUnderstood(f"config {key} = {json.dumps(self.values[key])}; understood is {expected}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Case:
    """A recorded case. `input`, `param` and `params` hand out its arrays and remember which were asked for."""

    def __init__(self, meta: dict[str, Any], arrays: dict[str, Array]) -> None:
        _check_meta(meta)
        self.operator: str = meta["operator"]
        self.system: str = meta.get("system", "")
        self.training = meta.get("mode") == "train"
        self.config = Config(meta["config"])
        self.dtype = np.dtype(np.float32 if meta["config"].get("dtype") == "float32" else np.float64)
        self.arrays = arrays
        self._unread = {name for name in arrays if name.startswith(("input.", "param."))}

    def check_arrays(self) -> None:
        """Raise `NotUnderstood` unless every array is of a known kind and has the precision of the case."""
        kinds = [name for name in self.arrays if not any(name.startswith(f"{kind}.") for kind in _KINDS)]
        types = [name for name, a in self.arrays.items() if a.dtype.kind not in "iu" and a.dtype.newbyteorder("=") != self.dtype]
        problems = [f"array {name}" for name in kinds]
        problems += [f"array {name} of {self.arrays[name].dtype} in a {self.dtype} case" for name in types]
        if problems:
            raise NotUnderstood("; ".join(problems))

    def named(self, kind: str) -> dict[str, Array]:
        """The arrays of one kind ("input", "param", "output", "cotangent", "grad", "aux"), by the rest of the name."""
        return {name[len(kind) + 1 :]: value for name, value in self.arrays.items() if name.startswith(kind + ".")}

    def input(self, name: str, shape: Sequence[int] | None = None) -> Array:
        """Array input.NAME, of the configured shape if one is given."""
        return self._take(f"input.{name}", shape)

    def param(self, name: str, shape: Sequence[int] | None = None) -> Array:
        """Array param.NAME, of the configured shape if one is given."""
        return self._take(f"param.{name}", shape)

    def optional_param(self, name: str, shape: Sequence[int] | None = None) -> Array | None:
        """Array param.NAME if the case has it."""
        return self.param(name, shape) if f"param.{name}" in self.arrays else None

    def state_after(self) -> dict[str, Array]:
        """The recorded buffers after one forward, by name."""
        return {name: value for kind in _STATE for name, value in self.named(kind).items()}

    def params(self) -> dict[str, Array]:
        """All param.* at once, for a layer that checks the names itself."""
        self._unread = {name for name in self._unread if not name.startswith("param.")}
        return self.named("param")

    def check_complete(self, outputs: Iterable[str], aux: Iterable[str], buffers: Iterable[str] = (), state: Iterable[str] = (),
                       fixed: Iterable[str] = (), constants: Iterable[str] = ()) -> None:
        """Raise `NotUnderstood`, listing everything, unless the file holds what was asked for and what is computed.

        `buffers` are those of `param.*` that have no gradient, `constants` those of `input.*`, `state` the buffers that the forward
        replaced, `fixed` the outputs that have none.
        """
        inputs = [name for name in self.arrays if name.startswith(("input.", "param."))]
        expected = {f"output.{name}" for name in outputs}
        known = expected | {f"{kind}.{name}" for kind in ("aux", "inter") for name in aux} | set(inputs)
        known |= {f"{kind}.{name}" for kind in _STATE for name in state}
        if self.named("cotangent"):      # then every gradient must be there; without cotangents there is none
            still = {f"param.{name}" for name in buffers} | {f"input.{name}" for name in constants}
            expected |= {f"cotangent.{name}" for name in outputs if name not in fixed}
            expected |= {f"grad.{name}" for name in inputs if name not in still}
            known |= expected
        problems = [f"config key {key!r}" for key in self.config.left()]
        problems += [f"array {name}" for name in sorted(self._unread) + sorted(set(self.arrays) - known)]
        problems += [f"array {name} is missing" for name in sorted(expected - set(self.arrays))]
        if problems:
            raise NotUnderstood("; ".join(problems))

    def _take(self, name: str, shape: Sequence[int] | None) -> Array:
        if name not in self.arrays:
            raise NotUnderstood(f"array {name} is missing")
        self._unread.discard(name)
        value = self.arrays[name]
        if shape is not None and value.shape != tuple(shape):
            raise NotUnderstood(f"array {name} has shape {value.shape}, the configuration says {tuple(shape)}")
        return value


def _check_meta(meta: Any) -> None:
    if not isinstance(meta, dict):
        raise NotUnderstood("meta is not a JSON object")
    for key, kind in (("operator", str), ("config", dict)):
        if key not in meta:
            raise NotUnderstood(f"meta without {key!r}")
        if not isinstance(meta[key], kind):
            raise NotUnderstood(f"meta {key} = {json.dumps(meta[key])[:80]}")
    strange = [key for key in meta if key not in _META]
    if strange:
        raise NotUnderstood("; ".join(f"meta key {key!r}" for key in strange))
    if meta.get("mode", "eval") not in _MODES:
        raise NotUnderstood(f"meta mode = {json.dumps(meta['mode'])[:80]}")


class Replayed(NamedTuple):
    """What the replay of a case gives: outputs, gradients on demand, and intermediate results on demand."""

    outputs: dict[str, Array]
    backward: Callable[[dict[str, Array]], dict[str, Array]] | None = None    # cotangents -> {"input.x": …, …}
    aux: dict[str, Callable[[], Array]] = {}  # noqa: RUF012 (never written to)
    exact: bool = False     # linear in floating point too: dyadic data must be reproduced with ==
    buffers: frozenset[str] = frozenset()     # parameters without a gradient, such as running statistics
    state: dict[str, Array] = {}  # noqa: RUF012 (never written to); the buffers that the forward replaced
    fixed: frozenset[str] = frozenset()       # outputs without a cotangent: whole numbers, such as an index table
    constants: frozenset[str] = frozenset()   # inputs without a gradient, such as the factors of stochastic depth


def load(path: Path) -> tuple[Any, dict[str, Array]]:
    """`meta` and the arrays of a file; `Unreadable` says why not. Pickled objects are never loaded."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise Unreadable("cannot be read: not an .npz archive")
        with archive:
            if len(set(archive.files)) != len(archive.files):
                raise Unreadable("the archive holds two arrays of one name")
            arrays = {name: archive[name] for name in archive.files}
    except Unreadable:
        raise
    except Exception as wrong:      # a damaged file can fail anywhere in zip, zlib, header or array
        raise Unreadable(f"cannot be read: {type(wrong).__name__}: {wrong}") from wrong
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):
            raise Unreadable(f"{name} is not an array")
    meta = arrays.pop("meta", None)
    if meta is None or meta.shape != () or meta.dtype.kind != "U":
        raise Unreadable("there is no `meta` string")
    try:
        return json.loads(str(meta)), arrays
    except (ValueError, RecursionError) as wrong:
        raise Unreadable(f"meta is not JSON: {wrong}") from wrong
