"""The point to drag: what the page shows is what the operator said at every place of the lattice."""

import html
import json
import re

import numpy as np
import pytest
from test_stepper import browser, chromium

from pyhybrid.ops import bilinear_sample
from pyhybrid.stepper import Point

MAP = np.array([[1.0, 2, 4], [5, 8, 0], [3, 6, -7]])


def look(ys, xs, picture=MAP):
    s, cache = bilinear_sample.forward(np.broadcast_to(picture, (len(ys), 1, *picture.shape)), ys[:, None], xs[:, None])
    parts, dy, dx = bilinear_sample.backward(np.ones_like(s), cache)
    return s[:, 0, 0], parts[:, 0], dy[:, 0], dx[:, 0]


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_every_number_of_the_page_is_the_operators():
    data = embedded(Point(MAP, look, per_pixel=4).page)
    assert data["map"] == MAP.tolist() and data["ys"][0] == -1.5 and data["ys"][-1] == 3.5 and data["ys"][1] == -1.25
    for iy, ix in np.ndindex(len(data["ys"]), len(data["xs"])):
        s, parts, dy, dx = look(np.array([data["ys"][iy]]), np.array([data["xs"][ix]]))
        assert (data["value"][iy][ix], data["dy"][iy][ix], data["dx"][iy][ix]) == (s[0], dy[0], dx[0])
        shown = np.zeros_like(MAP)
        for r, q, part in data["parts"][iy][ix]:
            shown[r, q] = part
        assert (shown == parts[0]).all() and (shown * MAP).sum() == pytest.approx(s[0], abs=1e-14)


def test_it_starts_at_the_nearest_place():
    data = embedded(Point(MAP, look, start=(0.3, 9.0), per_pixel=4).page)
    assert data["ys"][data["start"][0]] == 0.25 and data["xs"][data["start"][1]] == 3.5


def test_maps_that_are_not_square(tmp_path):
    picture = np.arange(6.0).reshape(1, 6)
    data = embedded(Point(picture, lambda ys, xs: look(ys, xs, picture)).page)
    assert len(data["value"]) == len(data["ys"]) == 25 and len(data["value"][0]) == len(data["xs"]) == 65


@pytest.mark.parametrize("shape", [(3,), (0, 3), (9, 2), (1, 3, 3)])
def test_maps_that_cannot_be_read_are_refused(shape):
    with pytest.raises(ValueError, match=r"x must be a map \(H, W\) of 1 to 8 pixels"):
        Point(np.zeros(shape), look)


def test_the_page_loads_nothing_and_a_notebook_shows_it(tmp_path):
    point = Point(MAP, look, per_pixel=2)
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)", point.page)
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', point._repr_html_())[1]) == point.page
    assert 'sandbox="allow-scripts"' in point._repr_html_()
    assert point.save(tmp_path / "point.html").read_text("utf-8") == point.page


@browser
def test_every_place_can_be_drawn(tmp_path):
    point = Point(MAP, look)
    page = chromium("--virtual-time-budget=60000", "--dump-dom", f"{point.save(tmp_path / 'point.html').as_uri()}#selftest").decode()
    rows, columns = (len(range(0, len(axis), 3)) for axis in point.lattice[:2])
    verdict = re.search(r'<output id="selftest">(.*?)</output>', page)
    assert verdict and verdict[1] == f"selftest ok {rows * columns}"


@browser
def test_the_first_place_is_spelled_out(tmp_path):
    page = chromium("--virtual-time-budget=3000", "--dump-dom", Point(MAP, look).save(tmp_path / "point.html").as_uri()).decode()
    told = re.sub(r"<[^>]+>", " ", page.split('id="say"')[1].split("</p>")[0])
    assert "0.375·2 + 0.375·4 + 0.125·8 + 0.125·0 = 3.25" in " ".join(told.split())
