"""What is measured: each operator and block at the feature-map sizes of a ResNet's four stages, batch 8, float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyhybrid.bench.block_work import BLOCKS
from pyhybrid.bench.operator_work import OPERATORS
from pyhybrid.bench.work import STAGES, Work
from pyhybrid.errors import UsageError

WORKS: dict[str, Callable[..., Work]] = OPERATORS | BLOCKS


def works(names: list[str], sizes: list[str], batch: int = 8) -> Iterator[Work]:
    """The works of these names (all if empty) at these sizes, made when their turn comes; UsageError lists the names there are."""
    unknown = [name for name in names if name not in WORKS]
    if unknown:
        raise UsageError(f"no benchmark named {', '.join(unknown)}; there are {', '.join(WORKS)}")
    return (WORKS[name](name, size, batch, *STAGES[size]) for name in names or WORKS for size in sizes)
