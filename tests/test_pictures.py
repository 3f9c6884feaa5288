"""Pictures are written where asked, or shown by a notebook as sharp images; a drawing of links contains what it was given."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from pyhybrid.errors import UsageError
from pyhybrid.pictures import curves, heat, picture, tiles, wiring

PNG = b"\x89PNG\r\n"
COLUMNS = {"in": [("a", 0), ("b", 1)], "out": [("c", 7)]}
DRAW = {
    "tiles": lambda path: tiles(path, {"x": np.eye(3), "y": -np.eye(3)}, marks={"x": (1, 1)}),
    "curves": lambda path: curves(path, {"line": ([1, 2], [0.1, 0.0])}, across="x", up="y", marks={"here": 1.5}),
    "heat": lambda path: heat(path, np.full((3, 4, 5), 0.5), np.linspace(0, 1, 20).reshape(4, 5), title="t", mask=np.eye(4, 5)),
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


def test_a_picture_is_cut_to_the_square_in_its_middle(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (4, 7, 3), dtype=np.uint8)       # rows, columns
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(picture(tmp_path / "wide.png", 4)[0], pixels[:, 1:5].transpose(2, 0, 1) / 255)
    Image.fromarray(pixels.swapaxes(0, 1)).save(tmp_path / "tall.png")
    halved = pixels.swapaxes(0, 1)[1:5].reshape(2, 2, 2, 2, 3).mean((1, 3))
    # Rounded along one axis, then along the other.
    assert np.abs(picture(tmp_path / "tall.png", 2)[0] * 255 - halved.transpose(2, 0, 1)).max() <= 1
    assert picture(None, 32).shape == (1, 3, 32, 32) and picture(tmp_path / "tall.png", 9).shape == (1, 3, 9, 9)
    with pytest.raises(UsageError, match="no such picture"):
        picture(tmp_path / "absent.png", 4)


def test_the_hotter_the_more_of_the_heat_map_is_seen():
    figure = heat(None, np.full((3, 2, 2), 0.5), np.array([[0.0, 1.0], [0.25, 0.5]]))
    over = np.asarray(figure.axes[2].images[0].get_array())
    plain = np.asarray(figure.axes[1].images[0].to_rgba(np.array([[0.0, 1.0], [0.25, 0.5]])))[..., :3]
    grey = 0.2 + 0.75 * 0.5
    np.testing.assert_allclose(over, grey + np.array([[0.25, 0.8], [0.3875, 0.525]])[..., None] * (plain - grey), rtol=1e-12)
