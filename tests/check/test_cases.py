"""Cases: what a generator promises, and that one generator serves Hypothesis and seeds alike."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from pyhybrid.check import Case, cases
from pyhybrid.check.draws import acmix, convolution

NAMES = sorted(cases.CASES)
MAPS = [name for name in acmix.CASES | convolution.CASES if name not in ("softmax", "positional_term")]


def module(name):
    return importlib.import_module(f"pyhybrid.ops.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_case_is_legal(name):
    for case in cases.corners(name) + cases.seeded(name, 20):
        case.call(module(name).output_shape)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_every_drawn_case_is_legal_and_small(name, data):
    case = data.draw(cases.strategy(name))
    case.call(module(name).output_shape)
    assert sum(a.size for a in case.arrays.values()) < 10000


@pytest.mark.parametrize("name", NAMES)
def test_arguments_stand_in_the_order_of_the_signature(name):
    case = cases.seeded(name, 2)[0]
    assert tuple(case.arguments) == module(name).Grads._fields
    assert set(case.batched) | set(case.linear) <= set(case.arguments)


@pytest.mark.parametrize("name", NAMES)
def test_seeded_cases_repeat_and_differ_by_seed(name):
    def numbers(cases_):
        return [a.tobytes() for case in cases_ for a in case.arrays.values()]

    assert numbers(cases.seeded(name, 8)) == numbers(cases.seeded(name, 8))
    assert numbers(cases.seeded(name, 8)) != numbers(cases.seeded(name, 8, seed=1))
    assert len(cases.seeded(name, 5)) == 5
    assert all(a.size for a in cases.seeded(name, 8)[0].arrays.values())


@pytest.mark.parametrize("name", NAMES)
def test_corners_hold_axes_of_length_one_and_zero(name):
    lengths = {length for case in cases.corners(name) for a in case.arrays.values() for length in a.shape}
    assert {0, 1} <= lengths


@pytest.mark.parametrize("name", MAPS)
def test_corners_hold_what_must_not_be_left_to_luck(name):
    """Maps one pixel high, one pixel wide, not square, without rows or columns; no image, several images."""
    corners = cases.corners(name)
    first = [next(iter(case.arrays.values())) for case in corners]
    sizes = [a.shape[-2:] for a in first]
    assert any(h == 1 for h, w in sizes) and any(w == 1 for h, w in sizes) and any(h != w for h, w in sizes)
    assert any(0 in (h, w) for h, w in sizes) or name in ("unfold",)
    batches = {len(a) for a in first if a.ndim > 2}
    assert 0 in batches and batches & {2, 3}
    strides = [case.config["stride"] for case in corners if "stride" in case.config]
    assert not strides or any(s != 1 for s in strides)
    assert any(case.exact for case in corners) or name in ("local_attention", "acmix")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("conv2d", lambda c: c.config["groups"] > 1 and c.config["groups"] == c.arrays["x"].shape[1]),
        ("conv2d", lambda c: c.arrays["weight"].shape[2] > c.arrays["x"].shape[2] > 0),
        ("conv2d", lambda c: c.arrays["weight"].shape[3] % 2 == 0),
        ("conv2d", lambda c: "bias" in c.arrays and c.arrays["x"].shape[1] == 0),
        ("conv_decomposition", lambda c: c.arrays["weight"].shape[2] > c.arrays["x"].shape[2] > 0),
        ("conv_decomposition", lambda c: c.arrays["weight"].shape[2] % 2 == 0),
        (
            "local_attention",
            lambda c: c.config["kernel_size"] > 2 * max(c.arrays["q"].shape[2:]) and c.config["border"] != "reflect",
        ),
        (
            "shift",
            lambda c: (
                abs(c.config["offset"][0] if isinstance(c.config["offset"], tuple) else 0) > c.arrays["x"].shape[-2]
            ),
        ),
        ("reflection_pad", lambda c: c.config["padding"] == (3, 4) and c.arrays["x"].shape[-2:] == (4, 5)),
        ("conv_path", lambda c: c.config["channel_order"] == "head_major" and c.config["heads"] > 1),
        ("shift_conv", lambda c: c.arguments["weight"] is None),
    ],
)
def test_corners_hold_the_awkward_shapes(name, wanted):
    assert any(wanted(case) for case in cases.corners(name))


def test_a_failure_shrinks_to_the_smallest_case():
    quick = settings(max_examples=300, database=None, derandomize=True)
    case = find(cases.strategy("conv2d"), lambda c: c.config["groups"] > 1, settings=quick)
    assert case.arrays["x"].shape == (1, 2, 1, 1) and case.arrays["weight"].shape == (2, 1, 1, 1)
    assert case.arguments["bias"] is None and case.config["stride"] == 1 and case.seed == 0


def test_whole_values_are_whole_and_exact():
    exact = [case for case in cases.corners("conv2d") if case.exact]
    assert exact
    for case in exact:
        assert all((a == np.round(a)).all() and np.abs(a).max(initial=0) <= 4 for a in case.arrays.values())
        dy = case.cotangent((3, 4))
        assert (dy == np.round(dy)).all() and len(np.unique(dy)) > 1


def test_an_unknown_operator_is_named():
    with pytest.raises(KeyError, match="warp"):
        cases.seeded("warp")


def test_a_case_is_frozen_and_its_changes_are_copies():
    case = Case({"x": np.ones((2, 3)), "bias": None}, {"axis": 1}, seed=3, batched=("x",))
    with pytest.raises(AttributeError):
        case.seed = 4
    with pytest.raises(TypeError):
        case.arguments["x"] = None
    single = case.astype(np.float32)
    assert (
        single.arguments["x"].dtype == np.float32
        and single.arguments["bias"] is None
        and case.arguments["x"].dtype == np.float64
    )
    assert single.batched == ("x",) and single.config == {"axis": 1}
    case.copy().arguments["x"][...] = 0
    assert case.arguments["x"].all()
    assert repr(case) == "Case(x=float64[2, 3], bias=None, axis=1; seed 3)"
    assert case.call(lambda x, bias, *, axis: (x.shape, bias, axis)) == ((2, 3), None, 1)
    assert list(case.arrays) == ["x"] and case.with_(bias=np.ones(3)).arguments["bias"].shape == (3,)


def test_a_cotangent_is_random_and_repeats():
    case = Case({"x": np.ones(3)}, seed=1)
    first, again = case.cotangent((4, 5)), case.cotangent((4, 5))
    assert (first == again).all() and len(np.unique(first)) == 20
    assert (case.random(1).standard_normal(3) != case.random(2).standard_normal(3)).all()


def test_the_judges_import_neither_operators_nor_hypothesis():
    program = (
        "import sys, pyhybrid.check; print([m for m in sys.modules if m.startswith(('pyhybrid.ops', 'hypothesis'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
