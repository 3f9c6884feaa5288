"""One training step of a whole network, each contender in a process of its own: seconds, and the most memory it held.

`rust` never unfolds; `numpy`, the readable bodies, does, and so does ResNet-ACmix in PyTorch, which follows the official code. The other
networks that are written for PyTorch (`networks`) use its own attention. A process may be given a limit of address space: then a step
that needs more ends in an error instead of a machine that swaps.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np

from pyhybrid.bench.measure import Seconds, timed

__all__ = ["OURS", "Step", "contenders", "measure"]

OURS = ("rust", "numpy")


class Step(NamedTuple):
    """What one contender needed; `problem` says why there are no numbers."""

    contender: str
    seconds: float = 0.0        # median of the steps; one before them warms up
    least: float = 0.0          # the fastest
    peak: int = 0               # bytes resident at most, everything included
    problem: str = ""


def contenders(model: str) -> list[str]:
    """Who can do a step of this network here: our two backends and, where PyTorch is installed, the formulas that compute it."""
    from pyhybrid.bench.networks import peers
    from pyhybrid.papers import build

    net = build(model, seed=None)
    return [*OURS, *(peers(net) if importlib.util.find_spec("torch") else ())]


def measure(model: str, batch: int, image_size: int, contender: str, limit: int | None = None, threads: int = 2,
            seconds: float = 0.0, timeout: float = 900) -> Step:
    """Run steps for at least `seconds`, no fewer than one, in a child process that may use `limit` bytes of address space."""
    task = json.dumps([model, batch, image_size, contender, limit, threads, seconds])
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}     # memory retained, for all
    try:
        done = subprocess.run([sys.executable, "-m", __name__, task], capture_output=True, text=True, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        return Step(contender, problem=f"no end after {timeout:.0f} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        out_of_memory = done.returncode in (-9, 137) or "MemoryError" in done.stderr or "can't allocate memory" in done.stderr
        return Step(contender, problem="does not fit" if out_of_memory else lines[-1])
    return Step(contender, **json.loads(done.stdout.splitlines()[-1]))


def main(task: str) -> None:
    """The child: print times and peak as JSON."""
    import resource

    model, batch, image_size, contender, limit, threads, seconds = json.loads(task)
    x = np.random.default_rng(0).standard_normal((batch, 3, image_size, image_size), np.float32)
    step = (_own_step if contender in OURS else _torch_step)(model, image_size, x, contender, threads)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    step()
    times = [timed(step)]
    while sum(times) < seconds:
        times.append(timed(step))
    median, least = Seconds.of(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": median, "least": least, "peak": peak}))


def _own_step(model: str, image_size: int, x: np.ndarray, name: str, threads: int) -> Any:
    from pyhybrid import backend
    from pyhybrid.papers import build

    net = build(model, image_size=image_size).train()
    if backend.available():
        backend.set_threads(threads)

    def step() -> None:
        with backend.use(name):
            y, cache = net.forward(x)
            _, grads = net.backward(_cross_entropy_gradient(y), cache)
        parameters = net.named_params()
        for parameter, grad in grads.items():
            parameters[parameter] -= np.float32(1e-3) * grad

    return step


def _cross_entropy_gradient(logits: np.ndarray) -> np.ndarray:
    """Of the mean cross-entropy, every image labelled 0."""
    e = np.exp(logits - logits.max(1, keepdims=True))
    probability = e / e.sum(1, keepdims=True)
    probability[:, 0] -= 1
    return probability / np.float32(len(logits))


def _torch_step(model: str, image_size: int, x: np.ndarray, name: str, threads: int) -> Any:
    import torch
    import torch.nn.functional as F

    from pyhybrid.bench.networks import peers
    from pyhybrid.papers import build

    torch.set_num_threads(threads)
    net = build(model, image_size=image_size, seed=None)        # without memory: what the formula is told of the network
    forward, channels_last = peers(net)[name]
    state = laid_out(build(model, image_size=image_size).state_dict(), channels_last)
    learnt = [state[key].requires_grad_() for key in net.named_params()]
    images, labels = laid_out({"x": x}, channels_last)["x"], torch.zeros(len(x), dtype=torch.long)

    def step() -> None:
        loss = F.cross_entropy(forward(state, images, net), labels)
        for parameter, grad in zip(learnt, torch.autograd.grad(loss, learnt), strict=True):
            with torch.no_grad():
                parameter -= 1e-3 * grad

    return step


def laid_out(arrays: dict[str, np.ndarray], channels_last: bool) -> dict[str, Any]:
    """Tensors of the same names; maps and kernels, where it is asked for, so that the channels of a pixel are neighbours.

    The weight of a filter in frequency has four axes too, but is no kernel: the last one holds complex numbers.
    """
    import torch

    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    if not channels_last:
        return tensors
    return {name: value.to(memory_format=torch.channels_last) if value.ndim == 4 and not name.endswith("complex_weight") else value
            for name, value in tensors.items()}


if __name__ == "__main__":
    main(sys.argv[1])
