"""Somebody else's function in the shape of an operator, so that the same laws judge it."""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["adapt"]


def adapt(
    forward: Callable[..., Any], gradient: Callable[..., Any] | None = None, *, like: Any, name: str = "candidate"
) -> Any:
    """An operator for `check.laws` from plain functions with the arguments of the operator `like`.

    `forward(*arrays, **config)` returns y (or y and anything else); `gradient(dy, *arrays, **config)`, if there is one,
    the gradients as tuple, NamedTuple or dict, None for those it does not have. Without it the laws about gradients are
    left out.
    """
    signature = inspect.signature(like.output_shape)
    arrays = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    Cache = namedtuple("Cache", list(signature.parameters))  # type: ignore[misc]
    names = list(like.Grads._fields)

    def run(*args: Any, **config: Any) -> tuple[Any, Any]:
        bound = signature.bind(*args, **config)
        bound.apply_defaults()
        y = forward(*args, **config)
        return y[0] if isinstance(y, tuple) else y, Cache(**bound.arguments)

    def pull(dy: Any, cache: Any) -> Any:
        assert gradient is not None
        given = cache._asdict()
        values = [given.pop(argument) for argument in arrays]
        return like.Grads(*by_name(gradient(dy, *values, **given), names))

    backward = None if gradient is None else pull
    parts = {
        "forward": run,
        "backward": backward,
        "output_shape": like.output_shape,
        "Cache": Cache,
        "Grads": like.Grads,
    }
    return SimpleNamespace(__name__=name, **parts)


def by_name(given: Any, names: list[str]) -> list[Any]:
    """Gradients in the order of `names`, from a dict (keys "x" or "dx"), a tuple, a list or a single array.

    ValueError says what is missing or unknown.
    """
    if isinstance(given, dict):
        known = {key if key in names else key.removeprefix("d"): value for key, value in given.items()}
        if extra := sorted(set(known) - set(names)):
            raise ValueError(f"there is no argument {', '.join(extra)}; gradients are wanted for {', '.join(names)}")
        return [known.get(name) for name in names]
    if isinstance(given, np.ndarray) or given is None:
        given = (given,)
    if len(given) != len(names):
        raise ValueError(f"got {len(given)} gradients; wanted are {len(names)}: {', '.join(names)}")
    return list(given)
