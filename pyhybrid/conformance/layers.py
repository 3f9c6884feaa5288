"""Replay of a recorded layer or network: parameters by name, one forward, one backward, and what became of the buffers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pyhybrid.conformance.case import Case, Replayed
from pyhybrid.nn import Module

__all__ = ["COUNTER", "replay_layer"]

Array = np.ndarray
COUNTER = "num_batches_tracked"     # a running count that some recordings leave out


def replay_layer(case: Case, layer: Module, x: Array, forward: Callable[[Array], Any] | None = None, output: str = "y",
                 entry: str = "x", *, renamed: Callable[[dict[str, Any]], dict[str, Any]] = dict, exact: bool = False) -> Replayed:
    """`layer` on x in the mode of the case; `entry` and `output` are the recorded names of input and output.

    `renamed` gives the entries of a state other names, those of the layer; what is computed keeps the recorded ones.

    Gradients of buffers do not exist; batch norm replaces its own in training mode. What a layer has of `intermediates` is asked for where
    the case records some.
    """
    recorded = {name: _whole(value) if name.endswith(COUNTER) else value for name, value in renamed(case.params()).items()}
    spelled = renamed({name: name for name in case.params()})
    # The counter of batches takes no part in the arithmetic. Where none is recorded it starts at 0 and is not compared.
    counted = any(name.endswith(COUNTER) for name in recorded)
    absent = {} if counted else {name: value for name, value in layer.state_dict().items() if name.endswith(COUNTER)}
    layer.load_state_dict({**recorded, **absent})
    layer.train(case.training)
    before = layer.state_dict()
    y, cache = (forward or layer.forward)(x)

    def backward(d: dict[str, Array]) -> dict[str, Array]:
        dx, grads = layer.backward(d[output], cache)
        return {f"input.{entry}": dx} | {f"param.{spelled[name]}": grad for name, grad in grads.items()}

    buffers = frozenset(before) - frozenset(layer.named_params())
    own, after = buffers - absent.keys(), layer.state_dict()
    moved = {name for name in own if not np.array_equal(after[name], before[name])}
    state = {name: after[name] for name in moved | (own & case.state_after().keys())}      # what kept its value may be recorded
    intermediates = getattr(layer, "intermediates", None)
    found = intermediates(cache) if intermediates and (case.named("aux") or case.named("inter")) else {}
    aux: dict[str, Callable[[], Array]] = {name: partial(found.__getitem__, name) for name in found}
    return Replayed({output: y}, backward, aux, exact=exact, buffers=buffers, state=state)


def _whole(count: Array) -> Array:
    """A count that was recorded with the type of everything else."""
    return count.astype(np.int64) if count.dtype.kind == "f" and (count == np.rint(count)).all() else count
