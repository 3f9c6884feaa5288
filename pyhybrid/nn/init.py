"""Starting values of parameters, drawn from one generator that a network hands from layer to layer.

A seed is an int (the same int, the same weights), a `numpy.random.Generator` (several layers draw from it in turn), or None:
then the arrays are zeros that take no memory, for counting a network that would not fit.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from pyhybrid.errors import ConstraintError, describe

__all__ = ["Seed", "constant", "fan_in_uniform", "float_type", "generator", "kaiming_normal", "normal", "truncated_normal", "uniform"]

Array = np.ndarray
Seed = int | np.random.Generator | None


def generator(seed: Seed) -> np.random.Generator | None:
    """The generator behind a seed; None stays None."""
    return None if seed is None else np.random.default_rng(seed)


def float_type(owner: str, dtype: Any) -> np.dtype:
    """float32 or float64; `ConstraintError` names the layer otherwise."""
    if dtype not in ("float32", "float64", np.float32, np.float64):
        raise ConstraintError(f"{owner}: dtype must be float32 or float64; got {describe(dtype)}")
    return np.dtype(dtype)


def constant(value: float, shape: tuple[int, ...], dtype: np.dtype, seed: np.random.Generator | None) -> Array:
    """`value` everywhere (without memory if nothing is drawn)."""
    return _without_memory(shape, dtype) if seed is None else np.full(shape, value, dtype)


def uniform(bound: float, shape: tuple[int, ...], dtype: np.dtype, seed: np.random.Generator | None) -> Array:
    """Uniform within ±bound."""
    if seed is None:
        return _without_memory(shape, dtype)
    drawn = seed.random(shape, dtype)
    return (2 * drawn - 1) * dtype.type(bound)


def fan_in_uniform(fan_in: int, shape: tuple[int, ...], dtype: np.dtype, seed: np.random.Generator | None) -> Array:
    """Uniform within ±1/√fan_in: the framework's default for convolutions and linear maps, weight and bias alike."""
    return uniform(max(fan_in, 1) ** -0.5, shape, dtype, seed)


def normal(std: float, shape: tuple[int, ...], dtype: np.dtype, seed: np.random.Generator | None) -> Array:
    """Normal with mean 0."""
    if seed is None:
        return _without_memory(shape, dtype)
    return seed.standard_normal(shape, dtype) * dtype.type(std)


def kaiming_normal(shape: tuple[int, ...], dtype: np.dtype, seed: np.random.Generator | None, groups: int = 1) -> Array:
    """Kaiming's start of a kernel (O, C/groups, kh, kw) before a relu: normal with variance 2/fan_out, fan_out = O·kh·kw/groups."""
    return normal(sqrt(2 * groups / (shape[0] * prod(shape[2:]))), shape, dtype, seed)


def truncated_normal(std: float, shape: tuple[int, ...], dtype: np.dtype, seed: np.random.Generator | None, limit: float = 2.0) -> Array:
    """Normal with mean 0, entries beyond ±`limit` (an absolute value, as in the official initialisations) drawn again."""
    if seed is None:
        return _without_memory(shape, dtype)
    drawn = normal(std, shape, dtype, seed)
    while (outside := np.abs(drawn) > limit).any():
        drawn[outside] = normal(std, (int(outside.sum()),), dtype, seed)
    return drawn


def _without_memory(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)
