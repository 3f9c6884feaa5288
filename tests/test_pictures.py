"""Pictures are written where asked, or shown by a notebook as sharp images; a drawing of links contains what it was given."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from pyhybrid.pictures import curves, tiles, wiring

PNG = b"\x89PNG\r\n"
COLUMNS = {"in": [("a", 0), ("b", 1)], "out": [("c", 7)]}
DRAW = {
    "tiles": lambda path: tiles(path, {"x": np.eye(3), "y": -np.eye(3)}, marks={"x": (1, 1)}),
    "curves": lambda path: curves(path, {"line": ([1, 2], [0.1, 0.0])}, across="x", up="y", marks={"here": 1.5}),
    "wiring": lambda path: wiring(path, COLUMNS, [(0, 0, 0), (0, 1, 0)], title="t"),
}


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_written_or_shown(name, tmp_path):
    path = tmp_path / "picture.png"
    assert DRAW[name](path) is None
    assert path.read_bytes().startswith(PNG)
    data, size = DRAW[name](None)._repr_png_()
    assert data.startswith(PNG) and size["width"] > 0


def test_wiring_draws_every_box_and_every_link_in_the_colour_of_its_source():
    figure = DRAW["wiring"](None)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["in", "a", "b", "out", "c"]
    boxes = {text.get_text(): text.get_bbox_patch().get_edgecolor() for text in axes.texts if text.get_bbox_patch()}
    from matplotlib.colors import to_rgb

    assert [to_rgb(line.get_color()) for line in axes.lines] == [to_rgb(boxes["a"]), to_rgb(boxes["b"])]
    heights = [line.get_ydata() for line in axes.lines]
    assert heights[0][0] < heights[1][0] and heights[0][1] == heights[1][1]
