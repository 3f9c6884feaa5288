"""Figures behind a slider: one picture for each value of a parameter, drawn beforehand. Needs the extra `pictures`."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["Slider"]


class Slider:
    """The page that shows one of several matplotlib figures, `figures` by name, and moves between them; `label` says what the names are.

    All figures have one size. A notebook displays it; `page` is a whole HTML page, which loads nothing, and `save` writes it.
    `ValueError` without figures, or if their sizes differ.
    """

    def __init__(self, figures: Mapping[str, Any], *, label: str = "") -> None:
        sizes = {tuple(figure.get_size_inches()) for figure in figures.values()}
        if len(sizes) != 1:
            raise ValueError(f"a slider needs figures of one size; got {len(figures)} figures of the sizes {sorted(sizes)}")
        ((self.width, self.height),) = sizes
        self.label, self.names = label, [str(name) for name in figures]
        self.pictures = [_png(figure) for figure in figures.values()]

    @property
    def page(self) -> str:
        data = {"label": self.label, "names": self.names, "pictures": self.pictures, "width": round(96 * self.width)}
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
        return files("pyhybrid.stepper").joinpath("slider.html").read_text(encoding="utf-8").replace("@@data@@", text)

    def save(self, path: str | Path) -> Path:
        """Write the page to `path`."""
        path = Path(path)
        path.write_text(self.page, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{round(96 * self.height) + 70}px;border:1px solid #8884;border-radius:8px"
        source = html.escape(self.page, quote=True)
        title = html.escape(f"Slider: {self.label}", quote=True)
        return f'<iframe title="{title}" sandbox="allow-scripts" style="{style}" srcdoc="{source}"></iframe>'


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
