"""The viewers: text, page and notebook frame show the same trace, and the page works in a browser from disk."""

# ruff: noqa: F841 -- the functions below are there to be traced
from __future__ import annotations

import html
import importlib
import importlib.util
import inspect
import io
import json
import re
import shutil
import struct
import subprocess
import zlib
from fractions import Fraction

import numpy as np
import pytest

from pyhybrid import cli, stepper
from pyhybrid.check import cases
from pyhybrid.examples import EXAMPLES
from pyhybrid.ops import conv2d, pointwise_conv, shift_sum, softmax
from pyhybrid.stepper.parts import axis_names, parts, window
from pyhybrid.trace import Trace, record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium or Chrome to open the page")

LAYER_NORM = '''"""Layer normalisation over the last axis.

Shapes       x (N, C), weight (C,), bias (C,) -> y (N, C)
Forward      (F1) xc = x − mean(x)   (F2) r = (mean(xc²)+ε)^−½   (F3) n = xc·r   (F4) y = weight·n + bias
Backward     (B1) dweight = Σ dy·n   (B2) dbias = Σ dy   (B3) dn = weight·dy
             (B4) dx = r·(dn − mean(dn) − n·mean(dn·n)): x acts on n directly, through the mean and through r
Constraints  (C1) weight and bias have the length of x's last axis
"""
from typing import NamedTuple
import numpy as np

class Cache(NamedTuple): weight: np.ndarray; n: np.ndarray; r: np.ndarray
class Grads(NamedTuple): x: np.ndarray; weight: np.ndarray; bias: np.ndarray

def output_shape(x, weight, bias, *, eps=1e-5):
    if not weight.shape == bias.shape == x.shape[-1:]:
        raise ValueError("C1")
    return x.shape

def forward(x, weight, bias, *, eps=1e-5):
    xc = x - x.mean(-1, keepdims=True)                           # (F1)
    r = 1 / np.sqrt((xc * xc).mean(-1, keepdims=True) + eps)     # (F2)
    n = xc * r                                                   # (F3)
    y = weight * n + bias                                        # (F4)
    return y, Cache(weight, n, r)

def backward(dy, cache):
    weight, n, r = cache
    dweight = (dy * n).sum(0)                                                                 # (B1)
    dbias = dy.sum(0)                                                                         # (B2)
    dn = dy * weight                                                                          # (B3)
    dx = r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))         # (B4)
    return Grads(dx, dweight, dbias)
'''


@pytest.fixture(scope="module")
def layer_norm(tmp_path_factory):
    path = tmp_path_factory.mktemp("ops") / "layer_norm.py"
    path.write_text(LAYER_NORM, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("layer_norm", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def steps(layer_norm):
    x = np.random.default_rng(0).normal(size=(4, 6))
    return stepper.trace_operator(layer_norm, (x, np.array([1, 2, 0.5, -1, 1, 1.5]), np.arange(6.0)), {"eps": 1e-3})


def loops_over_taps(x, weight):
    """Forward   (F1) y = Σ_q weight[q]·x[j+q]"""
    y = np.zeros(x.size - weight.size + 1)
    for q in range(weight.size):
        y += weight[q] * x[q : q + y.size]  # (F1)
    return y


def odd_values(x, name="</script><script>document.title='broken'</script><!-- \u2028 \ud800"):
    """Forward   (F1) y = </script><b>bold</b> & "x"   (F2) z = x_i^2"""
    y = x * np.nan  # (F1)
    y[0, 0] = np.inf
    y[0, 1] = -np.inf
    z = x + 1j * x  # (F2)
    f = np.array([[Fraction(1, 3), Fraction(-22, 7)]], dtype=object)
    mixed = np.array([x, None, "<i>"], dtype=object)
    large = np.arange(5 * 70 * 80.0).reshape(5, 70, 80)
    empty = np.zeros((0, 3))
    scalar = np.float32(0.1)
    zero_dimensional = np.array(2.5, np.float32)
    mask = x > 0
    far = np.arange(3, dtype=np.int64) - 2**62
    least = np.array([np.iinfo(np.int64).min])
    seven = np.ones((1, 2, 1, 3, 1, 2, 2))
    return y, (z, None), "text"


@pytest.fixture(scope="module")
def odd():
    return record(odd_values, np.array([[0.5, -1.5], [2.0, 0.0]]))


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# ---- an operator's trace


def test_trace_operator_runs_forward_then_backward(layer_norm, steps):
    assert [step.phase for step in steps] == ["forward"] * len(steps.forward) + ["backward"] * len(steps.backward)
    y, cache = layer_norm.forward(*steps[0].values[:3], eps=1e-3)
    assert (steps.forward.result[0] == y).all()
    dy = steps.backward[0].values[0]
    assert dy.shape == y.shape and len(np.unique(dy)) > 2  # a constant one would make dx vanish
    for got, wanted in zip(steps.result, layer_norm.backward(dy, cache), strict=True):
        assert (got == wanted).all()


def test_trace_operator_takes_a_cotangent_and_checks_constraints(layer_norm):
    x, ones = np.eye(2), np.ones(2)
    dy = np.array([[1.0, 2.0], [3.0, 5.0]])
    assert stepper.trace_operator(layer_norm, (x, ones, ones), dy=dy).backward[0].values[0].tolist() == dy.tolist()
    with pytest.raises(ValueError, match="C1"):
        stepper.trace_operator(layer_norm, (x, np.ones(3), ones))


def test_trace_operator_stays_exact_on_fractions():
    maps = np.array([Fraction(i, 7) for i in range(16)], dtype=object).reshape(1, 4, 1, 2, 2)
    steps = stepper.trace_operator(shift_sum, (maps,), {"kernel_size": 2})
    assert {type(value) for value in steps.backward[0].values[0].flat} == {Fraction}
    assert steps.backward.result.maps.shape == maps.shape


def test_every_label_of_an_operator_has_its_equation_on_screen():
    x, weight = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    for step in stepper.trace_operator(conv2d, (x, weight)):
        assert bool(step.equation) == bool(step.label), step.source


# ---- text


def test_text_says_step_label_equation_line_and_value(steps):
    text = str(steps)
    paragraph = next(part for part in text.split("\n\n") if "(F2)" in part).splitlines()
    r = steps[2]
    assert paragraph[0] == f" 3/{len(steps)}  (F2) r = (mean(xc²)+ε)^−½"
    assert paragraph[1].split("|")[0].strip() == str(r.lineno)
    assert paragraph[2].strip() == "r: float64 (4, 1)"
    assert [float(line) for line in paragraph[3:]] == pytest.approx(r.value.ravel().tolist(), abs=1e-4)
    assert "layer_norm.backward" in text and "\x1b" not in text and "Cache.n: float64 (4, 6) as above" in text


@pytest.mark.parametrize("width", [40, 72, 120])
def test_matrices_keep_to_the_width_and_say_what_is_left_out(width):
    text = stepper.as_text(record(loops_over_taps, np.arange(40.0), np.ones(3)), width=width)
    rows = [line for line in text.splitlines() if re.fullmatch(r"[\s\d.…-]+", line)]
    assert rows and max(map(len, rows)) <= width and all(line.endswith("…") for line in rows if len(line.split()) > 4)


def test_a_matrix_is_aligned(steps):
    lines = str(steps).splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip() == "xc: float64 (4, 6)")
    assert len({tuple(m.start() for m in re.finditer(r"\.", line)) for line in lines[at + 1 : at + 5]}) == 1


def test_only_one_label(steps):
    text = stepper.as_text(steps, only="B3")
    assert "(B3)" in text and "(B4)" not in text and "dn: float64" in text
    with pytest.raises(KeyError, match=r"Q1.*F1, F2"):
        stepper.as_text(steps, only="Q1")


def test_loop_variables_are_named():
    text = str(record(loops_over_taps, np.arange(4.0), np.ones(2)))
    assert "with q = 0" in text and "with q = 1" in text


def test_odd_values_have_a_text(odd):
    text = str(odd)
    expected = ("-22/7", "0.5+0.5j", "object (3,)", "float64 (0, 3)", "scalar: float32 = 0.1", "-inf", "⋮", "…")
    for words in expected:
        assert words in text, words


@pytest.mark.parametrize(
    ("tty", "plain", "no_color", "colored"),
    [(True, False, "", True), (True, False, "1", False), (True, True, "", False), (False, False, "", False)],
)
def test_colour_only_on_a_terminal_that_wants_it(steps, monkeypatch, tty, plain, no_color, colored):
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = io.StringIO()
    stream.isatty = lambda: tty
    stepper.print_trace(steps, stream=stream, plain=plain, only="F1")
    assert ("\x1b[" in stream.getvalue()) == colored
    assert "(F1)" in re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())


def test_a_terminal_without_greek_still_prints(steps):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stepper.print_trace(steps, stream=stream)
    stream.flush()
    assert b"(B1) dweight = ? dy?n" in stream.buffer.getvalue()


# ---- what is shown of a value


def test_parts_of_nested_values(layer_norm):
    cache = layer_norm.Cache(np.ones(1), np.ones(2), np.ones(3))
    assert [name for name, _ in parts("cache", cache)] == ["cache.weight", "cache.n", "cache.r"]
    assert [name for name, _ in parts("maps", [np.ones(1), (np.ones(1), 2)])] == ["maps[0]", "maps[1][0]", "maps[1][1]"]
    assert list(parts("size", (2, 3))) == [("size", (2, 3))]


def test_window_is_the_leading_corner():
    stops = lambda shape, *most: tuple(part.stop for part in window(shape, *most))
    assert stops((), 4, 4, 4) == ()
    assert stops((9,), 4, 5, 1) == (5,)
    assert stops((2, 3, 9, 9), 4, 5, 4) == (1, 3, 4, 5)
    assert stops((2, 3, 2, 2), 4, 5, 6) == (2, 3, 2, 2)
    assert stops((7, 9, 2, 2), 4, 5, 4) == (1, 4, 2, 2)
    assert stops((7, 9, 1, 1), 4, 5, 1) == (4, 5, 1, 1)


def test_a_pointwise_weight_is_one_matrix():
    text = str(record(softmax.forward, np.arange(4.0).reshape(2, 2, 1, 1)))
    assert "float64 (2, 2, 1, 1)" in text and re.search(r"0\.\s+1\.\n\s+2\.\s+3\.", text)


def test_axes_are_called_as_the_docstring_calls_them(steps):
    assert axis_names(steps[0], "x", 2) == ("N", "C") == axis_names(steps[-2], "dx", 2)
    assert axis_names(steps[0], "x", 3) == () == axis_names(steps[1], "xc", 2)


# ---- the page


def test_the_page_loads_nothing(steps):
    page = stepper.as_html(steps)
    assert not re.search(r"""(?:src|href)\s*=|https?://|@import|url\(|\bfetch\(|XMLHttpRequest|@@\w+@@""", page)
    assert "default-src 'none'" in page


def test_the_data_in_the_page_are_the_steps(steps):
    data = embedded(stepper.as_html(steps))
    assert data["title"] == "layer_norm" and len(data["steps"]) == len(steps)
    for shown, step in zip(data["steps"], steps, strict=True):
        assert (shown["label"], shown["line"], shown["phase"]) == (step.label, step.lineno, step.phase)
        listing = data["listings"][shown["listing"]]
        assert listing["lines"][shown["line"] - listing["first"]].strip() == step.source.splitlines()[0].strip()
        expected = [part for pair in zip(step.names, step.values, strict=True) for part in parts(*pair)]
        assert [name for name, *_ in shown["out"]] == [name for name, _ in expected]
        for (_, place, _), (_, value) in zip(shown["out"], expected, strict=True):
            entry = data["values"][place]
            if isinstance(value, np.ndarray):
                assert entry["cells"] == value.ravel().tolist() and tuple(entry["shape"]) == value.shape
            else:
                assert entry["text"] == str(value)
    assert len({json.dumps(value) for value in data["values"]}) == len(data["values"])


def test_float32_is_shown_as_it_prints():
    data = embedded(stepper.as_html(record(loops_over_taps, np.array([0.1], np.float32), np.ones(1, np.float32))))
    assert [0.1] in [value.get("cells") for value in data["values"]]


def test_nothing_in_the_data_can_end_the_script(odd):
    page = stepper.as_html(odd, title="<b>&</b>")
    assert page.count("</script>") == 2 and "<b>" not in page.replace("&lt;b&gt;", "") and "<!-- " not in page
    data = embedded(page)
    assert data["title"] == "<b>&</b>" and data["values"][1]["text"] == repr(odd[0].values[1])
    assert data["listings"][0]["equations"]["F1"] == 'y = </script><b>bold</b> & "x"'


def test_numbers_that_json_does_not_know_survive(odd):
    data = embedded(stepper.as_html(odd))
    assigned = [step for step in data["steps"] if step["kind"] == "assign"]
    named = {name: data["values"][place] for step in assigned for name, place, _ in step["out"]}
    assert named["y"]["cells"] == ["Infinity", "-Infinity", "NaN", "NaN"]
    assert named["z"]["words"][0] == "(0.5+0.5j)" and named["z"]["cells"][0] == 0.5
    assert named["f"]["words"] == ["1/3", "-22/7"] and named["f"]["cells"][1] == pytest.approx(-22 / 7)
    assert named["far"]["words"][1] == str(1 - 2**62) and named["least"]["words"] == [str(-(2**63))]
    assert "words" not in named["mask"] and named["empty"]["cells"] == []
    assert named["large"]["shape"] == [5, 70, 80] and named["large"]["window"] == [5, 32, 32]
    assert named["large"]["largest"] == 5 * 70 * 80 - 1  # the colours belong to the whole array
    assert named["mixed"]["cells"] == ["NaN"] * 3


def test_an_empty_trace_has_a_page():
    assert embedded(stepper.as_html(Trace([], {})))["steps"] == []
    assert str(Trace([], {})) == "" and Trace([], {}).result is None


def test_save_html_writes_the_page(steps, tmp_path):
    path = stepper.save_html(steps, tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == stepper.as_html(steps)
    with pytest.raises(OSError):
        stepper.save_html(steps, tmp_path / "missing" / "page.html")


def test_the_notebook_shows_the_page_in_a_frame_of_its_own(steps):
    frame = steps._repr_html_()
    assert frame.startswith("<iframe ") and frame.endswith("></iframe>") and frame.count("<") == 2
    assert 'sandbox="allow-scripts"' in frame
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == stepper.as_html(steps)


# ---- in a browser


def chromium(*options, timeout=120):
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]
    return subprocess.run([CHROMIUM, *flags, *options], capture_output=True, timeout=timeout, check=True).stdout


def colours(path):
    """Number of different colours in an RGB or RGBA screenshot."""
    content, place, packed, pixel = path.read_bytes(), 8, b"", 0
    while place < len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        body = content[place + 8 : place + 8 + size]
        if kind == b"IHDR":
            width, pixel = struct.unpack(">I", body[:4])[0], {2: 3, 6: 4}[body[9]]
        packed += body if kind == b"IDAT" else b""
        place += size + 12
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, 1 + width * pixel)
    return len(np.unique(rows[:, 1:].reshape(-1, pixel)[:, :3] @ np.array([1, 256, 65536])))  # filtered bytes will do


@pytest.fixture(scope="module")
def pages(steps, odd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    x = np.random.default_rng(2).integers(-2, 3, (1, 2, 5, 4)).astype(float)
    conv = stepper.trace_operator(conv2d, (x, np.ones((2, 2, 2, 2))), {"padding": 1, "stride": 2}, depth=2)
    pointwise = stepper.trace_operator(pointwise_conv, (x, np.arange(6.0).reshape(3, 2, 1, 1)))
    traces = {
        "layer_norm": steps,
        "odd": odd,
        "conv2d": conv,
        "pointwise": pointwise,
        "softmax": stepper.trace_operator(softmax, (x.astype(np.float32),)),
        "loop": record(loops_over_taps, np.arange(40.0), np.ones(3)),
    }
    return {name: (stepper.save_html(trace, folder / f"{name}.html"), len(trace)) for name, trace in traces.items()}


@browser
@pytest.mark.parametrize("name", ["layer_norm", "odd", "conv2d", "pointwise", "softmax", "loop"])
def test_every_step_can_be_walked_with_the_keyboard(pages, name):
    path, count = pages[name]
    page = chromium("--virtual-time-budget=60000", "--dump-dom", f"{path.as_uri()}#selftest").decode()
    verdict = re.search(r'<output id="selftest">(.*?)</output>', page)
    assert verdict and verdict[1] == f"selftest ok {count}"


@browser
def test_the_address_names_a_step(pages, steps):
    path, _ = pages["layer_norm"]
    page = chromium("--virtual-time-budget=3000", "--dump-dom", f"{path.as_uri()}#step=3&theme=dark").decode()
    assert re.search(r'data-line="(\d+)" aria-current="step"', page)[1] == str(steps[2].lineno)
    assert 'data-scheme="dark"' in page and 'aria-valuenow="3"' in page and "Step 3 of" in page


@browser
@pytest.mark.parametrize(("size", "theme"), [("1600,950", "light"), ("700,1000", "dark")])
def test_a_screenshot_is_not_blank(pages, tmp_path, size, theme):
    path, _ = pages["layer_norm"]
    picture = tmp_path / "page.png"
    address = f"{path.as_uri()}#step=9&theme={theme}"
    chromium(f"--window-size={size}", "--virtual-time-budget=3000", f"--screenshot={picture}", address)
    assert colours(picture) > 100


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_labelled_equation_is_a_step(name):
    """Of the example or of another case of the operator, in its own functions or in those that it calls."""
    operator = importlib.import_module(f"pyhybrid.ops.{name}")
    missing = set(re.findall(r"\(([FB]\d+)\)", operator.__doc__))
    arguments = [p.name for p in inspect.signature(operator.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    for case in cases.seeded(name, 12):
        trace = stepper.trace_operator(operator, [case.arrays.get(argument) for argument in arguments], case.config, depth=3)
        missing -= {label for step in trace for label in step.label.split(", ")}
        if not missing:
            break
    assert not missing


def test_command_finds_an_equation_where_it_stands(capsys):
    def printed(*arguments):
        code = cli.main(["step", *arguments, "--plain"])
        out, err = capsys.readouterr()
        return code, out + err

    assert printed("scale_aware_aggregation", "--only", "F1")[1].startswith("── scale_aware_aggregation.forward ")
    assert "(F3) z = act(t)" in printed("squeeze_excite", "--only", "F3")[1]                    # in a function that it calls
    code, text = printed("linear", "--only", "F2")
    assert code == 2 and "(F2) channels_first: " in text and "its options are channels_first=False, --set gives others" in text
    code, text = printed("linear", "--only", "F2", "--set", "channels_first=True")
    assert code == 0 and "y = turned(y)" in text
    assert "K = softmax of k" in printed("linear_attention", "--only", "F5", "--set", "kind=efficient")[1]
    for wrong, message in (("kind=other", "(C3)"), ("stride=2", "the options of linear_attention are kind, eps"), ("x", "NAME=VALUE")):
        code, text = printed("linear_attention", "--set", wrong)
        assert code == 2 and message in text, text
    code, text = printed("conv2d", "--only", "Q1")
    assert code == 2 and "no step carries the label Q1; there are F1" in text
