"""Timing contenders against each other: interleaved runs, medians, and the machine's measured limits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyhybrid import backend


def interleaved(contenders: dict[str, Callable[[], object]], seconds: float = 1.0, least: int = 3) -> dict[str, float]:
    """Median seconds per run of each contender.

    The contenders take turns, so that a busy moment of the machine hits all of them; each runs once to warm up and then at least `least`
    times, more while its share of `seconds` lasts.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    while True:
        for name, run in contenders.items():
            if len(times[name]) < least or sum(times[name]) < seconds:
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
        if all(len(measured) >= least and sum(measured) >= seconds for measured in times.values()):
            return {name: statistics.median(measured) for name, measured in times.items()}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """`count` threads for the compiled kernels, NumPy's matrix product (where threadpoolctl is installed) and PyTorch (if loaded)."""
    import sys

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        threadpool_limits = None
    limits = threadpool_limits(count) if threadpool_limits else None
    if torch:
        torch.set_num_threads(count)
    try:
        if backend.available():
            with backend.threads(count):
                yield
        else:
            yield
    finally:
        if limits is not None:
            limits.unregister()
        if torch:
            torch.set_num_threads(before)


def machine_limits(counts: list[int]) -> dict[int, tuple[float, float]]:
    """For each number of threads: (floating-point operations per second in float32, bytes per second from memory), measured now."""
    limits = {}
    for count in counts:
        with backend.threads(count):
            limits[count] = (backend.core().fma_rate(), backend.core().read_rate())
    return limits
