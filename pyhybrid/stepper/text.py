"""A trace as plain text: one paragraph per step, arrays as aligned matrices."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from pyhybrid.stepper.parts import describe, parts, window
from pyhybrid.trace import Step, Trace

__all__ = ["as_text", "print_trace"]

_ROWS, _COLUMNS, _BLOCKS = 8, 8, 6
_INK = {"label": "1;36", "equation": "1", "quiet": "2", "forward": "1;32", "backward": "1;35"}


def as_text(trace: Trace, *, width: int = 100, color: bool = False, only: str | None = None) -> str:
    """The steps as text of at most about `width` columns; `only` ("F2") leaves out the steps of other labels.

    A matrix shows its first 8 rows and columns, an array of more axes its first matrices; what is left out is marked.
    KeyError for a label that no step carries.
    """
    labels = dict.fromkeys(label for step in trace for label in step.label.split(", ") if label)
    if only is not None and only not in labels:
        raise KeyError(f"no step carries the label {only}; there are {', '.join(labels) or 'none'}")
    lines: list[str] = []
    before: tuple[str, str] | None = None
    printed: set[tuple[Any, ...]] = set()
    for number, step in enumerate(trace, 1):
        if only is not None and only not in step.label.split(", "):
            continue
        if (step.phase, step.listing.name) != before:
            before = (step.phase, step.listing.name)
            lines += ["", _ink(f"── {step.listing.name} ".ljust(min(width, 72), "─"), step.phase, color)]
        lines += ["", *_paragraph(step, f"{number:>{len(str(len(trace)))}}/{len(trace)}", width, color, printed)]
    return "\n".join(lines[1:])


def print_trace(trace: Trace, *, only: str | None = None, plain: bool = False, stream: Any = None) -> None:
    """Print the steps, as wide as the terminal; in colour on a terminal unless `plain` or NO_COLOR is set."""
    stream = stream or sys.stdout
    color = not plain and not os.environ.get("NO_COLOR") and stream.isatty()
    text = as_text(trace, width=shutil.get_terminal_size((100, 24)).columns, color=color, only=only)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream)  # a terminal without Σ shows a question mark


def _paragraph(step: Step, count: str, width: int, color: bool, printed: set[tuple[Any, ...]]) -> Iterator[str]:
    margin = "  " * step.depth
    title = step.equation or {"call": "arguments", "return": "result"}.get(step.kind, "")
    label = _ink(f"({step.label}) ".replace(", ", ") ("), "label", color) if step.label else ""
    yield f"{_ink(count, 'quiet', color)}  {label}{_ink(title, 'equation', color)}".rstrip()
    for offset, line in enumerate(step.source.splitlines()):
        text = "  #".join(part.rstrip() if i == 0 else part for i, part in enumerate(line.split("#", 1)))
        yield margin + _ink(f"{step.lineno + offset:>4} | ", "quiet", color) + text
    if step.loops:
        yield margin + "with " + ", ".join(f"{name} = {_plain(value, 40)}" for name, value in step.loops.items())
    for name, value in (part for pair in zip(step.names, step.values, strict=True) for part in parts(*pair)):
        content = (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) and value.ndim else ()
        again = (
            step.kind != "assign" and content in printed
        )  # arguments and results repeat what the reader has just seen
        printed |= {content} if content else set()
        yield from (margin + line for line in _value(name, value, width - len(margin), color, again))


def _value(name: str, value: Any, width: int, color: bool, again: bool) -> Iterator[str]:
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        kind = describe(value)
        kind = _ink(f": {kind}" if kind else "", "quiet", color)
        yield f"{name}{kind} = {_plain(value, max(width - len(name) - 12, 20))}"
        return
    yield f"{name}{_ink(f': {describe(value)}', 'quiet', color)}{' as above' * again}"
    if value.size and not again:
        yield from ("  " + line for line in _matrices(value, width - 2))


def _matrices(array: np.ndarray, width: int) -> Iterator[str]:
    """The first matrices of `array`, side by side as far as they fit."""
    if array.shape[-2:] == (1, 1) and array.ndim > 2:  # the weight of a pointwise convolution is one matrix
        array = array[..., 0, 0]
    shown = array[window(array.shape, _ROWS, _COLUMNS, _BLOCKS)]
    words = np.array(_words(shown), dtype=object).reshape(shown.shape)
    cell = max(len(word) for word in words.flat)
    columns = max(1, min(shown.shape[-1], (width - 2) // (cell + 2)))
    lead = list(np.ndindex(shown.shape[:-2]))
    blocks = []
    for index in lead:
        matrix = words[index] if array.ndim > 1 else words[None]
        lines = [
            "  ".join(word.rjust(cell) for word in row[:columns]) + (" …" if columns < array.shape[-1] else "")
            for row in matrix
        ]
        lines += ["⋮".rjust(cell)] * (array.ndim > 1 and array.shape[-2] > shown.shape[-2])
        caption = [f"[{', '.join(map(str, index))}]"] if index else []
        size = max(map(len, caption + lines))
        blocks.append([line.ljust(size) for line in caption + lines])
    while blocks:
        row = [blocks.pop(0)]
        while blocks and sum(len(block[0]) + 4 for block in row) + len(blocks[0][0]) <= width:
            row.append(blocks.pop(0))
        yield from (line.rstrip() for line in map("    ".join, zip(*row, strict=True)))
    hidden = int(np.prod(array.shape[:-2])) - len(lead)
    if hidden:
        yield f"… and {hidden} more such matrices"


def _words(array: np.ndarray) -> list[str]:
    """The numbers as words of four decimals at most; tiny ones beside large ones as 0."""
    if array.dtype == object:
        return [_short(str(value), 24) for value in array.flat]
    large = bool(np.any(np.abs(array) >= 1e-3)) if array.dtype.kind in "fc" else True
    style: dict[str, Any] = {"precision": 4, "suppress_small": large, "floatmode": "maxprec_equal"}
    line = np.array2string(array.ravel(), separator="\n", threshold=sys.maxsize, **style)
    return [word.strip() for word in line.strip("[]").split("\n")]


def _plain(value: Any, width: int) -> str:
    return _short(str(value) if isinstance(value, np.generic | np.ndarray) else repr(value), width)


def _short(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _ink(text: str, role: str, color: bool) -> str:
    return f"\x1b[{_INK[role]}m{text}\x1b[0m" if color and text else text
