"""Everything that decides how a run ends, in one record: the same settings and data give the same weights, bit for bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

from pyhybrid.errors import UsageError
from pyhybrid.train.augment import Strength
from pyhybrid.train.optimisers import OPTIMISERS, SGD, AdamW, Optimiser

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Of one run. `UsageError` names the first value that cannot be meant."""

    model: str
    data: str = "digits"            # or a folder
    image_size: int = 32            # pixels on a side
    epochs: int = 15
    batch: int = 32
    optimiser: str = "adamw"
    learning_rate: float = 2e-3     # at its peak
    warmup: float = 1.0             # epochs
    momentum: float = 0.9           # of sgd
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    drop_path: float = 0.0          # of the last block; models without drop path know only 0
    clip: float = 1.0               # longest gradient; 0 does not clip
    rotate: float = 10.0
    shear: float = 0.1
    zoom: float = 0.1
    shift: float = 0.06
    flip: bool = False
    held_out: float = 0.2           # share of every class
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = type(field.default) if field.name != "model" else str
            right = isinstance(value, (int, float)) and not isinstance(value, bool) if kind is float else type(value) is kind
            if not right or (kind is float and not isfinite(value)):
                raise UsageError(f"{_option(field.name)} must be {_KINDS[kind]}; got {value!r}")
        for name, holds, rule in (
            ("image_size", self.image_size >= 1, "at least 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch", self.batch >= 2, "at least 2: batch norm needs more than one image"),
            ("optimiser", self.optimiser in OPTIMISERS, f"one of {', '.join(OPTIMISERS)}"),
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("warmup", 0 <= self.warmup <= self.epochs, f"from 0 to the number of epochs, {self.epochs}"),
            ("momentum", 0 <= self.momentum < 1, "at least 0 and below 1"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            ("drop_path", 0 <= self.drop_path < 1, "at least 0 and below 1"),
            ("clip", self.clip >= 0, "at least 0"),
            ("rotate", 0 <= self.rotate <= 180, "from 0 to 180 degrees"),
            ("shear", 0 <= self.shear <= 1, "from 0 to 1"),
            ("zoom", 0 <= self.zoom <= 1, "from 0 to 1"),
            ("shift", 0 <= self.shift <= 1, "from 0 to 1"),
            ("held_out", 0 < self.held_out < 1, "above 0 and below 1"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            if not holds:
                raise UsageError(f"{_option(name)} must be {rule}; got {getattr(self, name)!r}")

    @property
    def strength(self) -> Strength:
        """Of the augmentation."""
        return Strength(self.rotate, self.shear, self.zoom, self.shift, self.flip)

    def make_optimiser(self) -> Optimiser:
        """A new one, without state."""
        if self.optimiser == "sgd":
            return SGD(self.momentum, self.weight_decay)
        return AdamW(weight_decay=self.weight_decay)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, held: Any) -> Self:
        """From what `to_json` gave. `UsageError` unless every setting is there and no other."""
        names = {field.name for field in fields(cls)}
        if not isinstance(held, dict) or held.keys() != names:
            odd = sorted(names ^ held.keys()) if isinstance(held, dict) else sorted(names)
            raise UsageError(f"settings that are missing or unknown: {', '.join(odd)}")
        return cls(**held)


_KINDS: dict[type, str] = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def _option(name: str) -> str:
    """The option of the command line that sets it."""
    return "MODEL" if name == "model" else f"--{name.replace('_', '-')}"
