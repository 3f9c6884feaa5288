"""Stochastic arithmetic: arrays whose every computed entry is moved by a random fraction, to see what rounding does to a result.

Moving the inputs shows how an exact evaluation reacts to them. It does not show what is lost inside, where large terms cancel: with
equal weights 1/4 the derivative of a softmax is an exact zero for any inputs, and rounding noise of the size of its terms as soon as
one of the weights is off by an ulp. Here each intermediate result takes such a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["stochastic"]

Array = np.ndarray


def stochastic(value: Any, random: np.random.Generator, eps: float) -> Any:
    """A float array that moves the entries of all that is computed from it by up to `eps` of themselves; anything else unchanged."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    return value.view(_kind(random, eps))


def _kind(random: np.random.Generator, eps: float) -> type:
    def moved(result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(map(moved, result))
        if not isinstance(result, np.ndarray | np.generic) or result.dtype.kind != "f":
            return result
        values = np.asarray(result)
        step = np.asarray(1 + eps * random.uniform(-1, 1, values.shape), values.dtype)
        return np.asarray(values * step).view(Stochastic)

    class Stochastic(np.ndarray):
        def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
            result = getattr(ufunc, method)(*map(_plain, inputs), **{k: _plain(v) for k, v in options.items()}, **_into(out))
            if out is None:
                return moved(result)
            for target in out:
                if isinstance(target, np.ndarray) and target.dtype.kind == "f":
                    _plain(target)[...] *= 1 + eps * random.uniform(-1, 1, target.shape)
            return out[0] if len(out) == 1 else out

    return Stochastic


def _into(out: Any) -> dict[str, Any]:
    return {} if out is None else {"out": tuple(map(_plain, out))}


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, np.ndarray) else value
