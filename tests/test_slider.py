"""The slider: every figure is in the page, the page loads nothing, and what cannot be shown is refused."""

import base64
import html
import json
import re

import pytest

figure_module = pytest.importorskip("matplotlib.figure")

from pyhybrid.stepper.slider import Slider  # noqa: E402


def figures(*sizes):
    made = {}
    for n, size in enumerate(sizes):
        made[f"n = {n}"] = figure = figure_module.Figure(figsize=size)
        figure.subplots().plot([0, n])
    return made


def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_every_figure_is_in_the_page_under_its_name():
    found = data(Slider(figures((2, 1), (2, 1), (2, 1)), label="order").page)
    assert found["names"] == ["n = 0", "n = 1", "n = 2"] and found["label"] == "order" and found["width"] == 192
    pictures = [base64.b64decode(picture) for picture in found["pictures"]]
    assert len(set(pictures)) == 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_the_page_loads_nothing_and_a_name_cannot_leave_its_place(tmp_path):
    slider = Slider({"</script><b>": figures((1, 1))["n = 0"]}, label='"quoted" <i>')
    assert "http" not in slider.page.replace("http-equiv", "") and "default-src 'none'" in slider.page
    assert slider.page.count("</script>") == 2 and data(slider.page)["names"] == ["</script><b>"]
    shown = slider._repr_html_()
    assert shown.count("<") == 2 and 'sandbox="allow-scripts"' in shown
    assert html.unescape(re.search(r'srcdoc="(.*)"', shown, re.DOTALL).group(1)) == slider.page
    assert slider.save(tmp_path / "slider.html").read_text(encoding="utf-8") == slider.page


@pytest.mark.parametrize("sizes", [[], [(2, 1), (3, 1)]])
def test_figures_have_one_size(sizes):
    with pytest.raises(ValueError, match=f"figures of one size; got {len(sizes)} figures"):
        Slider(figures(*sizes))
