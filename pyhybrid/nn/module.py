"""The base of every layer: parameters and buffers under their official names, and loading that is all or nothing.

A layer is a dataclass with `y, cache = layer.forward(x)` and `dx, grads = layer.backward(dy, cache)`. `grads` has one
entry per parameter, under the same dotted name as `state_dict()`. The cache is the caller's: a layer used twice in one
pass has two caches. `self` holds parameters and buffers; a forward in training mode replaces the running statistics of
batch norm there, and nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from pyhybrid.errors import OptionError, describe
from pyhybrid.ops._sizes import integer

__all__ = ["Joined", "Module", "StateDictError"]

Array = np.ndarray
_guarded: ContextVar[bool] = ContextVar("pyhybrid_guarded_forward", default=False)
Slot = tuple[str, dict[str, Array], str, bool]      # dotted name, the dict that holds the array, its key there, whether it is fixed


class StateDictError(ValueError):
    """A state dict does not fit the layer. Everything that is wrong is listed, and nothing was loaded."""

    def __init__(self, layer: str, unknown: list[str], missing: list[str], unfit: list[str]) -> None:
        self.unknown, self.missing, self.unfit = unknown, missing, unfit
        found = {"unknown keys": unknown, "missing keys": missing, "unfit values": unfit}
        listed = [f"{what}: {', '.join(names)}" for what, names in found.items() if names]
        super().__init__(f"{layer}: nothing was loaded; {'; '.join(listed)}")


class Joined(NamedTuple):
    """Layers in a row that run as one operator."""

    layers: int
    forward: Callable[[Any], tuple[Any, Any]]                                           # x -> y, cache
    backward: Callable[[Any, Any], tuple[Any, Iterable[dict[str, Array]]]]              # dy, cache -> dx, the gradients of each layer


@dataclass(eq=False)
class Module:
    """A layer: `params` (learnt), `buffers` (kept, not learnt) and `children`, each under its official name.

    A layer that runs one operator for a whole block may hold dotted names itself ("conv1.weight") instead of children. Where the official
    code has no module for a child, the child's name is `inline`: its arrays are named as if they were the parent's.
    """

    params: dict[str, Array] = field(init=False, repr=False, default_factory=dict)
    buffers: dict[str, Array] = field(init=False, repr=False, default_factory=dict)
    children: dict[str, Module] = field(init=False, repr=False, default_factory=dict)
    training: bool = field(init=False, repr=False, default=False)       # set by train() and eval()
    inline: set[str] = field(init=False, repr=False, default_factory=set)     # children without a name of their own in the state dict

    FIXED: ClassVar[tuple[str, ...]] = ()       # buffers that follow from the configuration: loading may confirm them, not change them
    _kinds: ClassVar[dict[str, str]] = {}       # the options that are switches or numbers, see `__setattr__`

    def __init_subclass__(cls) -> None:
        declared = {name: getattr(kind, "__name__", str(kind)) for name, kind in cls.__annotations__.items()}
        cls._kinds = cls._kinds | {name: kind for name, kind in declared.items() if kind in _KINDS}
        if "forward" in cls.__dict__:
            cls.forward = _all_or_nothing(cls.forward)      # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        """An option that is declared as a switch, a number or several is that: "False" would be true, and "3" repeat what it multiplies."""
        kind = self._kinds.get(name)
        if kind is not None:
            fits, wanted = _KINDS[kind]
            if not fits(value):
                raise OptionError(f"{type(self).__name__}: {name} must be {wanted}; got {describe(value)}")
        super().__setattr__(name, value)

    def forward(self, x: Any) -> tuple[Any, Any]:
        """y and the cache that `backward` needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Any, cache: Any) -> tuple[Any, dict[str, Array]]:
        """dx and the gradient of every parameter, keyed by its dotted name."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def need(self, least: int, *names: str) -> None:
        """ValueError or TypeError, naming layer and option, unless these are whole numbers, or tuples of them, of at least `least`."""
        for name in names:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple | list) else (value,):
                integer(f"{type(self).__name__}: {name}", number, least)

    def joined(self, following: Sequence[Module]) -> Joined | None:
        """This layer and the first of those behind it as one, if there is such a thing."""
        return None

    def train(self, mode: bool = True) -> Self:
        """Batch statistics and drop path on (or off), here and in all children; returns the layer."""
        for _, layer in self.named_modules():
            layer.training = mode
        return self

    def eval(self) -> Self:
        """Running statistics, nothing dropped: `train(False)`. A new layer is in this mode."""
        return self.train(False)

    def named_modules(self, prefix: str = "", inside: str | None = None) -> Iterator[tuple[str, Module]]:
        """The layer itself and everything below it, by dotted name; a parent comes before its children.

        `inside` is what the names below begin with, if not `prefix`: below an inline child they are those of the state dict.
        """
        yield prefix, self
        start = prefix if inside is None else inside
        for name, child in self.children.items():
            yield from child.named_modules(f"{start}.{name}" if start else name, start if name in self.inline else None)

    def named_params(self) -> dict[str, Array]:
        """The learnt arrays themselves (not copies) by dotted name, children after the layer's own."""
        return {name: store[key] for name, store, key, _ in self._slots(("params",))}

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, by dotted official name."""
        return {name: store[key].copy() for name, store, key, _ in self._slots()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace every array by a copy of the value under its name, or raise `StateDictError` and change nothing."""
        slots = {name: (store, key, fixed) for name, store, key, fixed in self._slots()}
        unknown = [str(name) for name in state if name not in slots]
        missing = [name for name in slots if name not in state]
        # New arrays rather than new contents: the cache of an earlier forward keeps the parameters it was made with.
        fresh, unfit = {}, []
        for name, (store, key, fixed) in slots.items():
            if name in state:
                value = np.asarray(state[name])
                problem = _unfit(name, value, store[key], fixed)
                unfit += [problem] if problem else []
                fresh[name] = value if problem else np.array(value, dtype=store[key].dtype, order="C")
        if unknown or missing or unfit:
            raise StateDictError(type(self).__name__, unknown, missing, unfit)
        for name, (store, key, _) in slots.items():
            store[key] = fresh[name]

    def parameter_count(self) -> int:
        """Number of learnt values, children included."""
        return sum(value.size for value in self.named_params().values())

    def _slots(self, kinds: tuple[str, ...] = ("params", "buffers"), prefix: str = "") -> Iterator[Slot]:
        """Where every array of these kinds is kept."""
        for store in (getattr(self, kind) for kind in kinds):
            yield from ((prefix + key, store, key, key in self.FIXED) for key in store)
        for name, child in self.children.items():
            yield from child._slots(kinds, prefix if name in self.inline else f"{prefix}{name}.")


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not _is_switch(value) and isfinite(value)


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not _is_switch(value)


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple | list) and all(map(fits, value))


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "bool": (_is_switch, "True or False"),
    "float": (_is_number, "a finite number"),
    "float | None": (lambda value: value is None or _is_number(value), "a finite number or None"),
    "int": (_is_whole, "a whole number"),
    "int | None": (lambda value: value is None or _is_whole(value), "a whole number or None"),
    "tuple[int, ...]": (_all(_is_whole), "a tuple or list of whole numbers"),
    "tuple[float, ...]": (_all(_is_number), "a tuple or list of finite numbers"),
}


def _all_or_nothing(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward in training mode that fails, or is interrupted, leaves the buffers of all its layers as they were."""

    @functools.wraps(forward)
    def guarded(self: Module, *args: Any, **kwargs: Any) -> Any:
        if not self.training or _guarded.get():
            return forward(self, *args, **kwargs)
        before = [(layer, dict(layer.buffers)) for _, layer in self.named_modules() if layer.buffers]
        token = _guarded.set(True)
        try:
            return forward(self, *args, **kwargs)
        except BaseException:
            for layer, kept in before:
                layer.buffers |= kept
            raise
        finally:
            _guarded.reset(token)

    return guarded


def _unfit(name: str, value: Array, current: Array, fixed: bool) -> str:
    """Why `value` cannot replace `current`; empty if it can. A wider type would lose digits, so it is refused."""
    if value.shape != current.shape:
        return f"{name} has shape {value.shape}, expected {current.shape}"
    if value.dtype.kind not in "iuf" or not np.can_cast(value.dtype, current.dtype, "safe"):
        return f"{name} is {describe(value)}, expected {current.dtype} (convert it, or build the layer with its dtype)"
    if fixed and not np.array_equal(value, current):
        return f"{name} differs from the values that follow from this layer's configuration"
    return ""
