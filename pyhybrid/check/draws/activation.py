"""Cases of what acts on every number by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pyhybrid.check.case import Case
from pyhybrid.check.draws._draw import Draw, Pins

SHAPES = ((3,), (1,), (2, 3), (2, 1, 4), (2, 3, 2, 2), (0, 3), (33,), (2, 17))


def smooth(draw: Draw, options: bool = False) -> Case:
    """Any shape. "large" numbers reach to 9, where these functions are near their limits and their tails still normal in float32."""
    shape = draw.choice("shape", SHAPES)
    config = {"approximate": draw.choice("approximate", ("none", "tanh"))} if options else {}
    values = draw.values()
    x = values.array(*shape, scale=1e-5 if values.regime == "large" else 2.0)
    return values.case({"x": np.clip(x, -9, 9)}, config, polynomial=False, batched=("x",))


def add(draw: Draw) -> Case:
    """Two arrays of one shape."""
    shape = draw.choice("shape", SHAPES)
    values = draw.values()
    arrays = {"a": values.array(*shape), "b": values.array(*shape)}
    return values.case(arrays, {}, polynomial=True, batched=("a", "b"))


def relu(draw: Draw) -> Case:
    """Away from the kink: no zeros."""
    shape = draw.choice("shape", SHAPES)
    values = draw.values()
    x = values.array(*shape)
    return values.case({"x": np.where(x == 0, 1.0, x)}, {}, polynomial=True, batched=("x",))


CASES: dict[str, Callable[[Draw], Case]] = {
    "add": add,
    "erf": smooth,
    "gelu": partial(smooth, options=True),
    "relu": relu,
    "sigmoid": smooth,
    "silu": smooth,
}

_ALL: list[Pins] = [
    dict(shape=(1,)), dict(shape=(0,)), dict(shape=(3, 0)), dict(shape=(7, 9)), dict(shape=(1, 65)), dict(shape=(2, 3, 4), regime="whole"),
    dict(shape=(31,), regime="large"), dict(shape=(5,), regime="tiny"),
]
CORNERS: dict[str, list[Pins]] = {
    "add": _ALL,
    "erf": _ALL,
    "gelu": [pins | {"approximate": approximate} for approximate in ("none", "tanh") for pins in _ALL],
    "relu": _ALL,
    "sigmoid": _ALL,
    "silu": _ALL,
}
