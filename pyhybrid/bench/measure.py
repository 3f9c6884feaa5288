"""Timing contenders against each other: interleaved runs, their medians and minima, and the machine's measured limits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pyhybrid import backend

#: Seconds of rest between two contenders, and of uncounted runs behind it.
SETTLE = 0.005


class Seconds(NamedTuple):
    """What a run took. On a machine that others share `median` tells what to expect, `least` what the work itself needs."""

    median: float
    least: float

    @classmethod
    def of(cls, times: list[float]) -> Seconds:
        """Of some runs."""
        return cls(statistics.median(times), min(times))


def interleaved(contenders: dict[str, Callable[[], object]], seconds: float = 1.0, least: int = 3) -> dict[str, Seconds]:
    """Seconds per run of each contender.

    The contenders take turns, so that a busy moment of the machine hits all of them; each runs once to warm up and then at least `least`
    times, more while its share of `seconds` lasts. Threads go on spinning for some milliseconds after their work, where those of the next
    contender would need the processor: so a turn begins with a rest, and with uncounted runs, if they are short, that wake its own.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    short = {name: timed(run) < SETTLE for name, run in contenders.items()}
    while True:
        for name, run in contenders.items():
            if len(times[name]) < least or sum(times[name]) < seconds:
                time.sleep(SETTLE)
                uncounted = 0.0
                while short[name] and uncounted < SETTLE:
                    uncounted += timed(run)
                turn = [timed(run)]
                while sum(turn) < SETTLE:
                    turn.append(timed(run))
                times[name] += turn
        if all(len(measured) >= least and sum(measured) >= seconds for measured in times.values()):
            return {name: Seconds.of(measured) for name, measured in times.items()}


def timed(run: Callable[[], object]) -> float:
    """Seconds that one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


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
