"""Trace an operator: its forward, then its backward from what the forward saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyhybrid.trace import Trace, record

__all__ = ["trace_operator"]


def trace_operator(
    module: Any, arguments: Sequence[Any], config: Mapping[str, Any] | None = None, dy: Any = None, *, depth: int = 1
) -> Trace:
    """The steps of `module.forward(*arguments, **config)` and of `module.backward(dy, cache)`, both NumPy references.

    `dy` has the shape of the output; None takes small whole numbers that differ from cell to cell, so that no gradient
    vanishes by symmetry. `depth` as in `pyhybrid.trace.record`. Raises what the operator raises for wrong arguments.
    """
    config = dict(config or {})
    if hasattr(module, "output_shape"):  # the reference bodies trust their caller: constraints are checked here
        module.output_shape(*arguments, **config)
    forward = record(module.forward, *arguments, depth=depth, **config)
    y, cache = forward.result
    backward = record(module.backward, _cotangent(y) if dy is None else dy, cache, depth=depth)
    return Trace([*forward, *backward], forward.results | backward.results)


def _cotangent(y: Any) -> Any:
    """Whole numbers −2 … 2 in the shape and dtype of `y`, one array per array of an output with several."""
    if isinstance(y, tuple):
        return type(y)(*map(_cotangent, y))
    draw = np.random.default_rng(1).integers(-2, 3, np.shape(y))
    return draw.astype(object) * (y.flat[0] * 0 + 1) if y.dtype == object and y.size else draw.astype(y.dtype)
