"""The lessons where students meet them: JupyterLab in a browser runs a lesson, and what can be pressed in it answers.

Slow, and it needs a browser, so plain pytest leaves it out: pytest -m browser (extra `browser`, Chromium or Chrome).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from test_stepper import CHROMIUM, colours

from pyhybrid import stepper
from pyhybrid.ops import shift

pytestmark = pytest.mark.browser
TUTORIALS = Path(__file__).parents[2] / "tutorials"
LESSON = "08_between_the_pixels.ipynb"  # has a point to drag and an operator to step through
PATIENCE = 240  # seconds for what takes a few when nothing else runs
SETTINGS = {  # of JupyterLab: nothing is asked over the network, and no news covers the notebook
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Light"},
}


class Lab:
    """`pyhybrid lab` on a copy of the lessons in `home`, with a token, on a free port, and blind to the settings of whoever runs it."""

    def __init__(self, home: Path, settings: dict = SETTINGS) -> None:
        self.home, self.lessons = home, home / "lessons"
        shutil.copytree(TUTORIALS, self.lessons, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        server = {"ip": "127.0.0.1", "port": 0, "allow_root": True}
        self.write("config/jupyter_server_config.json", {"ServerApp": server})
        for name, values in settings.items():
            self.write(f"settings/{name}.jupyterlab-settings", values)
        folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "run", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython",
                   "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
        sources = os.pathsep.join(filter(None, (str(TUTORIALS.parent), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, **{name: str(home / folder) for name, folder in folders.items()},
                       "JUPYTER_TOKEN": "token-of-this-test", "PYTHONPATH": sources}
        self.log = open(home / "log", "w+", encoding="utf-8")
        command = [sys.executable, "-m", "pyhybrid", "lab", "--dir", str(self.lessons), "--no-browser"]
        self.process = subprocess.Popen(command, env=environment, cwd=home, stdout=self.log, stderr=self.log, start_new_session=True)
        self.url, self.token = self.address()

    def write(self, name: str, content: dict) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def said(self) -> str:
        return (self.home / "log").read_text(encoding="utf-8")[-4000:]

    def address(self) -> tuple[str, str]:
        """Where the server listens, as it writes itself once it does."""
        for _ in range(10 * PATIENCE):
            if self.process.poll() is not None:
                pytest.fail(f"pyhybrid lab ended with status {self.process.returncode}:\n{self.said()}")
            for path in (self.home / "run").glob("jpserver-*.json"):
                try:
                    told = json.loads(path.read_text(encoding="utf-8"))
                except ValueError:  # half written
                    continue
                return told["url"], told["token"]
            time.sleep(0.1)
        pytest.fail(f"pyhybrid lab does not listen after {PATIENCE} s:\n{self.said()}")

    def stop(self) -> int:
        """Ask the server to end, as the menu File, Shut Down does; returns the exit status of `pyhybrid lab`."""
        try:
            headers = {"Authorization": f"token {self.token}"}
            urllib.request.urlopen(urllib.request.Request(f"{self.url}api/shutdown", b"", headers), timeout=PATIENCE).close()
            return self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.log.close()


def opened(page, lab, lesson):
    """The lesson on the page, its kernel ready."""
    page.goto(f"{lab.url}lab/tree/{lesson}?reset&token={lab.token}")  # reset: without what was open before
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()


def run_all(page):
    """Run, Run All Cells; waits for the number of the last cell, which stands there once it has run."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    deadline = time.monotonic() + PATIENCE
    while any(not re.fullmatch(r"\[\d+\]:", prompt) for prompt in prompts(page)):
        assert time.monotonic() < deadline, f"after {PATIENCE} s: {prompts(page)}"
        page.wait_for_timeout(200)


def prompts(page):
    return page.locator(".jp-CodeCell .jp-InputArea-prompt").all_text_contents() or ["no code cells"]


def complaints(page):
    """What cells wrote on the error stream, tracebacks included, and formulas that could not be set."""
    wrong = page.locator("[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error'], mjx-merror")
    return wrong.all_text_contents()


@pytest.fixture(scope="module")
def page():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'pyhybrid[browser]'")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium or Chrome to open the lab")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM)  # without its sandbox, as root must
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(1000 * PATIENCE / 2)
        yield page
        chromium.close()


@pytest.fixture(scope="module")
def lab(page, tmp_path_factory):
    pytest.importorskip("jupyterlab", reason="needs JupyterLab: pip install 'pyhybrid[browser]'")
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    assert lab.stop() == 0, lab.said()


@pytest.fixture(scope="module")
def lesson(page, lab):
    """The page with the lesson run from top to bottom."""
    opened(page, lab, LESSON)
    run_all(page)
    return page


def frame(page, title):
    """The inside of the frame with this title, which may run its own script and nothing else."""
    outside = page.locator(f"iframe[title='{title}']")
    outside.scroll_into_view_if_needed()
    assert outside.get_attribute("sandbox") == "allow-scripts"
    return outside, outside.content_frame


def rectangle(locator):
    """Where an element lies, once it is laid out: the page does that some time after it scrolled there."""
    deadline = time.monotonic() + PATIENCE
    while (found := locator.bounding_box()) is None:
        assert time.monotonic() < deadline, f"after {PATIENCE} s nothing is to be seen of {locator}"
        locator.page.wait_for_timeout(50)
    return found


def test_the_lesson_runs_without_complaints(lesson):
    assert not complaints(lesson)
    assert lesson.locator("mjx-container").count() > 20, "the formulas are not set"
    assert lesson.locator(".jp-RenderedImage img").count() >= 1, "there are no pictures"


def test_the_stepper_was_drawn_in_its_size_although_it_was_out_of_sight(lesson):
    """All cells ran while the page showed the top of the notebook; a frame that is not laid out yet has no width."""
    _, inside = frame(lesson, "Step through bilinear_sample")
    cells = rectangle(inside.locator("figure[data-name='x'] canvas"))
    assert min(cells["width"], cells["height"]) >= 3 * 26, "the cells of a 3 x 3 map have no room for their numbers"
    assert inside.locator("#timeline .mark").count() >= 5, "the labels of the steps are missing"


@pytest.mark.parametrize("hidden", ["display:none", "content-visibility:hidden", "width:0;overflow:hidden"])
def test_a_stepper_that_comes_into_sight_is_drawn_in_its_size(page, hidden):
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    alone = page.context.browser.new_page()
    alone.set_content(f"<div id=out style='{hidden}'>{stepper.widget(stepper.trace_operator(shift, (x,), {'offset': 1}))}</div>")
    alone.wait_for_function("document.querySelector('iframe') && document.readyState === 'complete'")
    inside = alone.locator("iframe").content_frame
    inside.locator("#count").wait_for(state="attached")
    alone.evaluate("document.getElementById('out').style = ''")
    cells = inside.locator("figure[data-name='x'] canvas")
    deadline = time.monotonic() + 10
    while (cells.bounding_box() or {"width": 0})["width"] < 3 * 26:
        assert time.monotonic() < deadline, "the cells of a 3 x 3 map have no room for their numbers"
        alone.wait_for_timeout(100)
    assert inside.locator("#timeline .mark").count() >= 2
    alone.close()


def shown(inside):
    """What the stepper says of its step, and the pictures of the values on its left: as text, so that two can be compared."""
    drawn = inside.locator("#outputs").evaluate("node => [...node.querySelectorAll('canvas')].map(canvas => canvas.toDataURL()).join()")
    return inside.locator("#headline").text_content(), inside.locator("#outputs").text_content(), drawn


def test_the_stepper_goes_to_the_step_that_its_buttons_ask_for(lesson, tmp_path):
    outside, inside = frame(lesson, "Step through bilinear_sample")
    total = int(re.fullmatch(r"Step 1 of (\d+)", inside.locator("#count").text_content())[1])
    assert total > 10 and inside.locator("#back").is_disabled() and inside.locator("#next").is_enabled()
    seen = {1: shown(inside)}
    for button, step in (("next", 2), ("next", 3), ("next", 4), ("back", 3), ("last", total), ("first", 1)):
        inside.locator(f"#{button}").click()
        assert inside.locator("#count").text_content() == f"Step {step} of {total}"
        assert inside.locator("#timeline").get_attribute("aria-valuenow") == str(step)
        assert seen.setdefault(step, shown(inside)) == shown(inside), f"step {step} looks different the second time"
    assert len({drawn for *_, drawn in seen.values()}) == len(seen) == 5, "different steps show the same values"
    picture = tmp_path / "stepper.png"
    outside.screenshot(path=picture)
    assert colours(picture) > 100


def test_the_stepper_reads_out_the_values_that_the_lesson_computes_by_hand(lesson):
    _, inside = frame(lesson, "Step through bilinear_sample")
    inside.locator("#equations [data-label='F3']").click()
    assert "(F3)" in inside.locator("#headline").text_content()
    blend = inside.locator("figure[data-name='s']")
    blend.focus()
    assert inside.locator("#tip").text_content() == "s[0, 0, 0] = 3.25"
    blend.press("ArrowRight")
    assert inside.locator("#tip").text_content() == "s[0, 0, 1] = 1"


def test_the_point_follows_the_mouse_and_the_arrow_keys(lesson, tmp_path):
    _, inside = frame(lesson, "Drag the point")
    assert "= 3.25" in inside.locator("#say").text_content() and "slope along y 1, along x −0.5" in inside.locator("#say").text_content()
    inside.locator("#map").press("Shift+ArrowDown")
    assert "y = 1.25, x = 1.5" in inside.locator("#say").text_content()
    box = rectangle(inside.locator("#map"))
    unit = box["width"] / 5.5  # three pixels and what lies around them
    lesson.mouse.click(box["x"] + 1.75 * unit, box["y"] + 2.75 * unit)
    assert "y = 1, x = 0" in inside.locator("#say").text_content() and "= 5" in inside.locator("#say").text_content()
    picture = tmp_path / "lab.png"
    lesson.screenshot(path=picture)
    assert colours(picture) > 100
