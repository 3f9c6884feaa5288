"""A trace as one self-contained HTML page: source, equation and heatmaps; and that page inside a notebook."""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from pyhybrid.stepper.parts import axis_names, describe, parts, window
from pyhybrid.trace import Step, Trace

__all__ = ["as_html", "save_html", "widget"]

_ROWS, _COLUMNS, _CELLS, _PANELS = 32, 32, 8192, 96  # of one array: what a screen can show


def as_html(trace: Trace, *, title: str | None = None) -> str:
    """The whole page. It loads nothing: style, script and data are inside."""
    data = _data(trace, title or _title(trace))
    inside = {
        "title": html.escape(data["title"]),
        "css": _asset("stepper.css"),
        "js": _asset("stepper.js"),
        # no value may close the script element: "<" is written as an escape that JSON.parse reads back
        "data": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"@@(title|css|js|data)@@", lambda place: inside[place[1]], _asset("stepper.html"))


def save_html(trace: Trace, path: str | Path, *, title: str | None = None) -> Path:
    """Write the page to `path`; OSError if that cannot be written."""
    path = Path(path)
    path.write_text(as_html(trace, title=title), encoding="utf-8")
    return path


def widget(trace: Trace, *, height: int = 760) -> str:
    """The page as an inline frame of `height` pixels, so that the notebook's style and the page's stay apart."""
    page = html.escape(as_html(trace), quote=True)
    style = f"width:100%;height:{int(height)}px;border:1px solid #8884;border-radius:8px"
    title = f"Step through {html.escape(_title(trace))}"
    return f'<iframe title="{title}" sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe>'


def _asset(name: str) -> str:
    return files("pyhybrid.stepper").joinpath(name).read_text(encoding="utf-8")


def _title(trace: Trace) -> str:
    names = dict.fromkeys(step.listing.name for step in trace if step.depth == 1)
    modules = {name.partition(".")[0] for name in names}
    return modules.pop() if len(modules) == 1 and len(names) > 1 else ", ".join(names) or "nothing"


def _data(trace: Trace, title: str) -> dict[str, Any]:
    """What the script reads: `steps` refer to `listings` and `values` by index, so that what repeats is stored once."""
    listings = list(dict.fromkeys(id(step.listing) for step in trace))
    by_id = {id(step.listing): step.listing for step in trace}
    values = _Values()
    steps = [_step(step, listings.index(id(step.listing)), values) for step in trace]
    shown = [
        {"name": x.name, "first": x.first, "lines": x.lines, "equations": x.equations}
        for x in map(by_id.__getitem__, listings)
    ]
    return {"title": title, "listings": shown, "steps": steps, "values": values.table}


def _step(step: Step, listing: int, values: _Values) -> dict[str, Any]:
    place = {"kind": step.kind, "label": step.label, "line": step.lineno, "end": step.end_lineno, "listing": listing}
    outputs = [values.add(step, *part) for pair in zip(step.names, step.values, strict=True) for part in parts(*pair)]
    inputs = [values.add(step, *part) for pair in step.inputs.items() for part in parts(*pair)]
    loops = [[name, _word(value)] for name, value in step.loops.items()]
    return place | {
        "phase": step.phase,
        "depth": step.depth,
        "name": step.name,
        "loops": loops,
        "out": outputs,
        "in": inputs,
    }


class _Values:
    """Table of the distinct values of a trace."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self.places: dict[str, int] = {}

    def add(self, step: Step, name: str, value: Any) -> list[Any]:
        """[name, index in the table, names of the axes]"""
        entry = _array(value) if isinstance(value, np.ndarray) else {"type": describe(value), "text": _word(value)}
        place = self.places.setdefault(json.dumps(entry, allow_nan=False), len(self.table))
        if place == len(self.table):
            self.table.append(entry)
        return [name, place, axis_names(step, name, np.ndim(value)) if isinstance(value, np.ndarray) else ()]


def _array(array: np.ndarray) -> dict[str, Any]:
    """Shape, window and numbers; `words` are there if a number does not say all (complex, fraction, large integer)."""
    matrix = window(array.shape, _ROWS, _COLUMNS, 1)[-2:]
    panels = max(1, min(_PANELS, _CELLS // max(1, int(np.prod([part.stop for part in matrix])))))
    shown = array[window(array.shape, _ROWS, _COLUMNS, panels)]
    entry: dict[str, Any] = {"type": str(array.dtype), "shape": array.shape, "window": shown.shape}
    entry["cells"] = [_number(value) for value in shown.flat]
    exact = (array.dtype.kind in "fb" and array.dtype.itemsize <= 8) or (
        array.dtype.kind in "iu" and all(abs(int(value)) < 2**53 for value in shown.flat)
    )
    if not exact:
        entry["words"] = [_word(value) for value in shown.flat]
    finite = [abs(x) for x in map(_number, array.flat) if not isinstance(x, str)]
    return entry | {"largest": max(finite, default=0.0)}


def _number(value: Any) -> float | str:
    """A JSON number that prints like `value`; NaN and infinities as the words that JavaScript reads."""
    try:
        number = float(str(value)) if isinstance(value, np.floating) else float(value.real)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return "NaN"
    if number != number:
        return "NaN"
    return number if abs(number) != float("inf") else "Infinity" if number > 0 else "-Infinity"


def _word(value: Any) -> str:
    text = (
        str(value)
        if isinstance(value, np.generic | np.ndarray) or not isinstance(value, str | tuple | list | dict)
        else repr(value)
    )
    return text if len(text) <= 400 else text[:399] + "…"
