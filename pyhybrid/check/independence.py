"""What a result may not depend on (batch position, strides, earlier calls) and what a call may not touch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np

from pyhybrid.check.subject import Result, Run, Subject, fields, holds, on

__all__ = ["VARIANTS", "batch", "memory", "repeat", "strided", "strides", "unchanged"]

Array = np.ndarray
VARIANTS = ("fortran", "reversed", "spread", "misaligned")


def unchanged(s: Subject) -> Iterator[Result]:
    """Read-only arrays are accepted, and no byte of an argument, of dy or of the cache changes."""
    for backend in s.backends:
        case = s.case.copy()
        before = {name: a.tobytes() for name, a in case.arrays.items()}
        protect(case.arrays)
        with on(backend):
            cache = case.call(s.operator.forward)[1]
            yield from _same_bytes("unchanged", f" in forward ({backend})", case.arrays, before)
            dy = s.dy.copy()
            held = {"dy": dy}
            held |= {f"cache.{name}": value for name, value in fields(cache).items() if isinstance(value, np.ndarray)}
            before = {name: a.tobytes() for name, a in held.items()}
            protect(held)
            s.pull(dy, cache)
            yield from _same_bytes("unchanged", f" in backward ({backend})", held, before)


def memory(s: Subject) -> Iterator[Result]:
    """Outputs are fresh: y shares no memory with arguments and saved values, gradients none with any of these or dy."""
    for backend in s.backends:
        case, dy = s.case.copy(), s.dy.copy()
        with on(backend):
            y, cache = case.call(s.operator.forward)
            grads = s.pull(dy, cache)
        run = Run(y, cache, dy, grads)
        others = {**case.arrays, **run.saved}
        yield _apart("y", y, others, backend)
        others |= {"dy": dy, "y": y}
        for name, gradient in run.named_grads.items():
            yield _apart(name, gradient, others, backend)
            others[name] = gradient


def repeat(s: Subject) -> Iterator[Result]:
    """The same call gives the same bits again, and no call changes or adds to what an earlier one returned."""
    for backend in s.backends:
        first = s.run(forward=backend)
        kept = {name: np.array(a) for name, a in first.outputs.items()}
        s.run(s.case.map(np.negative), 2 * s.dy, forward=backend)
        for name, a in kept.items():
            yield s.compare("repeat", name, first.outputs[name], a, 0.0, f" after another call ({backend})")
        with on(backend):
            again = Run(first.y, first.cache, s.dy, s.pull(s.dy.copy(), first.cache))
        for name, a in again.named_grads.items():
            yield s.compare("repeat", name, a, kept[name], 0.0, f" of a second backward ({backend})")
        for name, a in s.run(forward=backend).outputs.items():
            yield s.compare("repeat", name, a, kept[name], 0.0, f" of a second call ({backend})")


def strides(s: Subject) -> Iterator[Result]:
    """Transposed, reversed, spread and misaligned arrays give what contiguous ones give, to the bit on rust."""
    for backend in s.backends:
        plain = s.run(forward=backend).outputs
        for turn, variant in enumerate(VARIANTS):
            kinds = cycle(VARIANTS[turn:] + VARIANTS[:turn])  # another variant for every array, every variant once
            case = s.case.with_(**{name: strided(a, next(kinds)) for name, a in s.case.arrays.items()})
            with on(backend):
                y, cache = case.call(s.operator.forward)
                run = Run(y, cache, s.dy, s.pull(strided(s.dy, variant), cache))
            for name, a in run.outputs.items():
                limit = s.limit(name, plain[name], exact=s.exact or backend == "rust")
                yield s.compare("strides", name, a, plain[name], limit, f" from non-contiguous arrays ({backend})")


def batch(s: Subject) -> Iterator[Result]:
    """Images do not see each other (to the bit on rust); a shared argument's gradient is the sum over images."""
    sizes = {len(s.case.arrays[name]) for name in s.case.batched if name in s.case.arrays}
    if not sizes:
        return
    for backend in s.backends:
        whole = s.run(forward=backend)
        exact = s.exact or backend == "rust"
        total: dict[str, Any] = {}
        shared = {name for name in whole.named_grads if name[1:] not in s.case.batched}
        for n in range(min(sizes)):
            one = {name: s.case.arrays[name][n : n + 1] for name in s.case.batched if name in s.case.arrays}
            run = s.run(s.case.with_(**one), s.dy[n : n + 1], forward=backend)
            where = f" of image {n} alone ({backend})"
            yield s.compare("batch", "y", run.y, whole.y[n : n + 1], s.limit("y", whole.y, exact=exact), where)
            for name, gradient in run.named_grads.items():
                if name in shared:
                    total[name] = total[name] + gradient if name in total else gradient
                else:
                    expected, limit = whole.named_grads[name], s.limit(name, whole.named_grads[name], exact=exact)
                    yield s.compare("batch", name, gradient, expected[n : n + 1], limit, where)
        for name, added in total.items():
            where = f" of the batch against the sum over its images ({backend})"
            yield s.compare("batch", name, whole.named_grads[name], added, s.limit(name, added), where)


def strided(a: Array, variant: str) -> Array:
    """A copy of `a` in "fortran" order, with "reversed" axes, "spread" (every second entry) or "misaligned"."""
    if variant == "fortran":
        return np.array(a, order="F")
    if variant == "reversed":
        flip = (slice(None, None, -1),) * a.ndim
        return np.array(a[flip], order="C")[flip]
    if variant == "spread":
        wide = np.full([2 * n for n in a.shape], 7, a.dtype)  # the gaps hold numbers, so that reading them shows
        every_second = (slice(None, None, 2),) * a.ndim
        wide[every_second] = a
        return wide[every_second]
    if variant == "misaligned":
        buffer = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        buffer[...] = a
        return buffer
    raise ValueError(f"variant must be one of {VARIANTS}; got {variant!r}")


def protect(arrays: dict[str, Array]) -> None:
    for a in arrays.values():
        a.flags.writeable = False


def _same_bytes(law: str, where: str, arrays: dict[str, Array], before: dict[str, bytes]) -> Iterator[Result]:
    for name, a in arrays.items():
        same = a.tobytes() == before[name]
        yield holds(law, name, same, f"{name} {'keeps its bytes' if same else 'was changed'}{where}")


def _apart(name: str, a: Array, others: dict[str, Array], backend: str) -> Result:
    shared = [other for other, b in others.items() if np.may_share_memory(a, b) and np.shares_memory(a, b)]
    said = f"memory with {', '.join(shared)}" if shared else "no memory"
    return holds("memory", name, not shared, f"{name} shares {said} ({backend})")
