"""One set of arguments for an operator, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["Case"]

Array = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """Arguments of an operator, in the order of its signature: arrays (or None) and configuration.

    `batched` names the arguments whose first axis is the batch, `linear` those in which the output is linear up to a
    constant, `exact` says that arithmetic on these values is free of rounding, so results must agree with ==. `seed`
    feeds cotangents and directions.
    """

    arguments: Mapping[str, Array | None]
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    note: str = ""
    batched: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()
    exact: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))

    @property
    def arrays(self) -> dict[str, Array]:
        """The arguments that are not None."""
        return {name: value for name, value in self.arguments.items() if value is not None}

    def call(self, function: Callable[..., Any]) -> Any:
        """`function` on these arguments."""
        return function(*self.arguments.values(), **self.config)

    def map(self, change: Callable[[Array], Array]) -> Case:
        """The case with `change` applied to every array."""
        return replace(self, arguments={name: None if a is None else change(a) for name, a in self.arguments.items()})

    def with_(self, **arguments: Array | None) -> Case:
        """The case with some arguments replaced."""
        return replace(self, arguments={**self.arguments, **arguments})

    def astype(self, dtype: Any) -> Case:
        """The case with every array converted (copied)."""
        return self.map(lambda a: a.astype(dtype))

    def copy(self) -> Case:
        """The case on fresh, writable, contiguous arrays, so that nothing done to them is seen elsewhere."""
        return self.map(lambda a: np.array(a, order="C"))

    def random(self, *salt: int) -> np.random.Generator:
        """A random generator of this case; another `salt` gives independent numbers."""
        return np.random.default_rng([self.seed, *salt])

    def cotangent(self, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        """A random gradient for an output of this shape, never ones; whole numbers if the case is exact."""
        random = self.random(0)
        values = random.integers(-4, 5, shape) if self.exact else random.standard_normal(shape)
        return np.asarray(values, dtype)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # what Hypothesis and notebooks print: sizes and seed, not every number

    def __repr__(self) -> str:
        def short(value: Any) -> str:
            return "None" if value is None else f"{value.dtype}{list(value.shape)}"

        arrays = [f"{name}={short(value)}" for name, value in self.arguments.items()]
        config = [f"{name}={value!r}" for name, value in self.config.items()]
        return f"Case({', '.join(arrays + config)}; {self.note + ', ' if self.note else ''}seed {self.seed})"
