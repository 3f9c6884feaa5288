"""The recorder: what counts as a step, what a step says, and that the traced function does not notice."""

# ruff: noqa: F841, F842 -- the functions below are there to be traced
from __future__ import annotations

import ast
import inspect
import sys
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from pyhybrid import trace
from pyhybrid._listing import equations
from pyhybrid.nn import Linear
from pyhybrid.ops import acmix, conv2d, shift_sum, softmax
from pyhybrid.trace import record


class Pair(NamedTuple):
    n: np.ndarray
    scale: float


def square_sum(x, weight, *, scale=2.0):
    """Forward      (F1) a = weight·x   (F2) y = Σ a², as in (F1)
    Backward     (B1) dx = 2·a·weight
                 on two lines
    Constraints  (C1) none
    """
    a = weight * x  # (F1)
    y = (
        (a * a)
        .sum()
    )  # (F2) (one number)
    return y, Pair(a, scale)


def names(steps):
    return [step.name for step in steps]


def test_a_step_has_label_line_equation_name_shape_dtype_and_value():
    x, weight = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    steps = record(square_sum, x, weight)
    assert names(steps) == ["x, weight, scale", "a", "y", "y, Pair"]
    assert [step.kind for step in steps] == ["call", "assign", "assign", "return"]
    assert [step.label for step in steps] == ["", "F1", "F2", ""]
    assert [step.equation for step in steps] == ["", "a = weight·x", "y = Σ a², as in (F1)", ""]
    first = inspect.getsourcelines(square_sum)[1]
    a = steps[1]
    assert (a.lineno - first, a.source) == (6, "a = weight * x  # (F1)")
    assert (a.shape, a.dtype, a.value.tolist()) == ((2,), np.float64, [3.0, 8.0])
    assert a.inputs.keys() == {"weight", "x"} and a.phase == "forward" and a.depth == 1
    assert steps.result[0] == 73.0 and steps.last("y") == 73.0


def test_a_statement_on_several_lines_is_one_step_with_its_whole_source():
    y = record(square_sum, np.ones(2), np.ones(2))[2]
    assert y.end_lineno - y.lineno == 3
    assert y.source.splitlines() == ["y = (", "    (a * a)", "    .sum()", ")  # (F2) (one number)"]


def test_equations_end_where_the_next_label_or_heading_begins():
    table = equations(inspect.cleandoc(square_sum.__doc__ or ""))
    assert table["B1"] == "dx = 2·a·weight on two lines"
    assert set(table) == {"F1", "F2", "B1", "C1"}


def targets(x, table):
    a, (b, *rest) = x[0], (x[1], x[2], 4)
    c = d = a + b
    c += 1
    e: float = 2.0
    table[0, 1:] = 7
    table[1:][0] -= 1
    doubled = [value * 2 for value in (u for u in range(3))]
    if (n := len(doubled)) > 2:
        f = n
    _, g = 1, 2
    unbound: int
    square = lambda t: t * t
    return c, d, e, f, g, square(n)


def test_every_kind_of_assignment_is_a_step():
    steps = record(targets, np.array([1.0, 2.0, 3.0]), np.zeros((2, 3)))
    assert names(steps)[1:-1] == ["a, b, rest", "c, d", "c", "e", "table", "table", "doubled", "n", "f", "g"]
    assert steps[1].value == (1.0, 2.0, [3.0, 4])
    assert steps[3].value == 4.0 and list(steps[3].inputs) == ["c"]
    assert steps[5].value.tolist() == [[0, 7, 7], [0, 0, 0]] and steps[6].value.tolist() == [[0, 7, 7], [-1, -1, -1]]
    assert steps[7].value == [0, 2, 4]
    assert steps[-1].kind == "return" and steps[-1].value == steps.result == (4.0, 3.0, 2.0, 3, 2, 9)


def in_place(dx, index, dy):
    np.add.at(dx, index, dy)  # (B1)
    np.multiply(dx, 2, out=dx)  # (B2)
    index.sort()  # (B3)
    index.reverse()
    return dx


def test_a_labelled_call_that_writes_in_place_is_a_step():
    steps = record(in_place, np.zeros(3), [2, 0], np.array([1.0, 5.0]))
    assert [(s.label, s.name) for s in steps[1:-1]] == [("B1", "dx"), ("B2", "dx"), ("B3", "index")]
    assert [list(s.value) for s in steps[1:-1]] == [[5, 0, 1], [10, 0, 2], [0, 2]]


def taps(x, kernel):
    y = np.zeros_like(x)
    for p, row in enumerate(kernel):
        for q in range(2):
            y = y + row[q] * x  # (F1)
            if q: z = p
    while y[0] > 30: y = y - 30
    return y


def test_each_iteration_is_a_step_with_its_loop_variables():
    steps = record(taps, np.array([4.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    inside = [step for step in steps if step.label == "F1"]
    assert [(step.loops["p"], step.loops["q"], step.value[0]) for step in inside] == [
        (0, 0, 4.0), (0, 1, 12.0), (1, 0, 24.0), (1, 1, 40.0)]  # fmt: skip
    assert [step.loops["p"] for step in steps if step.name == "z"] == [0, 1]  # only where the branch ran
    assert [step.value[0] for step in steps if step.name == "y" and not step.label][:-1] == [0.0, 10.0]


def mutating(x):
    view = x[1:]
    view[0] = 5
    x *= 10
    return x


def test_values_are_copies_of_that_moment():
    x = np.array([1.0, 2.0])
    steps = record(mutating, x)
    assert [s.values[0].tolist() for s in steps] == [[1, 2], [2], [5], [10, 50], [10, 50]]
    assert steps.result is x and not any(np.shares_memory(x, s.values[0]) for s in steps)
    with pytest.raises(ValueError):
        steps[0].values[0][0] = 3


def test_what_stays_the_same_is_stored_once():
    steps = record(square_sum, np.ones(1000), np.ones(1000))
    assert steps[1].inputs["x"] is steps[0].values[0]


def echo(x):
    y = x
    return y


@pytest.mark.parametrize(
    "value",
    [
        np.array([0.1], np.float32),
        np.array([1 + 2j]),
        np.array([Fraction(1, 3)], dtype=object),
        np.array(3.0),
        np.zeros((0, 2)),
        np.float32(0.5),
        Fraction(2, 3),
        Pair(np.ones(2), 1.0),
        [np.ones(2), (np.zeros(1), {"k": np.ones(3)})],
        "mask",
        (1, 2),
        None,
        True,
        slice(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_every_type_are_kept(value):
    kept = record(echo, value)[1].value
    assert type(kept) is type(value)
    assert repr(kept) == repr(value)
    if isinstance(value, np.ndarray):
        assert kept is not value and (kept.dtype, kept.shape) == (value.dtype, value.shape)


def reads_fields(x, pair):
    y = pair.n + pair.scale * np.ones(x.shape)
    return y


def test_inputs_are_the_fields_and_shapes_that_the_line_names():
    step = record(reads_fields, np.zeros(2), Pair(np.array([1.0, 2.0]), 3.0))[1]
    assert list(step.inputs) == ["pair.n", "pair.scale", "x.shape"]
    assert step.inputs["pair.scale"] == 3.0 and step.inputs["x.shape"] == (2,)


def guarded(x):
    try:
        y = 1 // x
    except ZeroDivisionError:
        y = -1
    with np.errstate(all="ignore"):
        try:
            return y
        finally:
            closed = True


def test_a_statement_that_raises_is_no_step_and_the_return_comes_last():
    assert [(s.name, s.value) for s in record(guarded, 0)] == [("x", 0), ("y", -1), ("closed", True), ("y", -1)]


def failing(x):
    y = x + 1
    raise KeyError("as it was")


def test_exceptions_pass_unchanged_and_the_hook_is_restored():
    before = sys.gettrace()
    with pytest.raises(KeyError, match="as it was") as caught:
        record(failing, 1)
    assert caught.traceback[-1].name == "failing"
    assert sys.gettrace() is before


@pytest.mark.parametrize("function", [square_sum, failing])
def test_another_tracer_gets_its_place_back(function):
    events = []

    def other(frame, event, arg):
        events.append(frame.f_code.co_name)
        return None

    before = sys.gettrace()
    sys.settrace(other)
    try:
        try:
            record(function, *[np.ones(2)] * (2 if function is square_sum else 1))
        except KeyError:
            pass
        assert sys.gettrace() is other
        echo(1)
    finally:
        sys.settrace(before)
    assert "echo" in events and function.__name__ not in events


def test_the_real_function_runs_and_nothing_is_left_on_it():
    code, attributes = echo.__code__, dict(vars(echo))
    value = object()
    assert record(echo, value).result is value
    assert echo.__code__ is code and vars(echo) == attributes


def test_closures_methods_and_defaults():
    bias = np.array([1.0])

    class Layer:
        weight = np.array([2.0])

        def forward(self, x, *more, flag=True, **config):
            y = self.weight * x + bias
            return y

    steps = record(Layer().forward, np.array([3.0]), 5, size=4)
    assert steps[0].name == "self, x, flag, more, config" and steps.result == [7.0]
    assert names(steps)[1:] == ["y", "y"] and "bias" in steps[1].inputs


def no_value(x):
    x[0] = 1


def test_a_function_without_a_return_ends_with_its_last_assignment():
    steps = record(no_value, np.zeros(1))
    assert names(steps) == ["x", "x"] and steps.result is None


@pytest.mark.parametrize("wrong", [np.add, len, "forward"])
def test_only_python_functions_can_be_traced(wrong):
    with pytest.raises(TypeError, match="written in Python"):
        record(wrong, 1)


def test_a_function_without_source_is_refused():
    space: dict = {}
    exec("def f(x):\n    y = x\n    return y", space)
    with pytest.raises(ValueError, match="source of f"):
        record(space["f"], 1)
    with pytest.raises(ValueError, match="source"):
        record(lambda x: x, 1)
    assert sys.gettrace() is None or sys.gettrace() is not record


def helper(x):
    h = x + 1  # (F1)
    return h


def plain_helper(x):
    h = x + 1
    return h


def composite(x):
    """Forward   (F1) a = helper(x)"""
    a = helper(x)  # (F1)
    b = plain_helper(a)
    return a + b


def test_depth_steps_into_labelled_functions():
    assert {s.depth for s in record(composite, 1)} == {1}
    steps = record(composite, 1, depth=2)
    assert [(s.name, s.depth) for s in steps] == [
        ("x", 1), ("x", 2), ("h", 2), ("h", 2), ("a", 1), ("b", 1), ("a + b", 1)]  # fmt: skip
    assert steps[1].listing.name == "test_trace.helper"


def countdown(n):
    m = n - 1  # (F1)
    return countdown(m) if m else 0


def test_recursion_stops_at_the_depth():
    assert [s.depth for s in record(countdown, 5, depth=3) if s.name == "m"] == [1, 2, 3]


def test_operators_give_the_values_they_compute():
    draw = np.random.default_rng(0)
    x, weight = draw.integers(-3, 4, (2, 2, 4, 3)).astype(float), draw.integers(-3, 4, (3, 2, 2, 2)).astype(float)
    steps = record(conv2d.forward, x, weight, stride=2, padding=1)
    y, cache = conv2d.forward.reference(x, weight, stride=2, padding=1)
    assert (steps.result[0] == y).all() and steps[-1].value[0].tolist() == y.tolist()
    dy = draw.integers(-3, 4, y.shape).astype(float)
    back = record(conv2d.backward, dy, cache)
    for got, wanted in zip(back.result, conv2d.backward.reference(dy, cache), strict=True):
        assert got is wanted is None or (got == wanted).all()
    assert {s.phase for s in back} == {"backward"} and {"B1", "B2", "B3"} <= {s.label for s in back}


def test_an_exact_operator_stays_exact():
    maps = np.array([Fraction(i, 7) for i in range(36)], dtype=object).reshape(1, 4, 1, 3, 3)
    steps = record(shift_sum.forward, maps, kernel_size=2)
    assert all(isinstance(value, Fraction | int) for value in steps.last("y").flat)


def test_a_composite_runs_its_parts_in_numpy_and_can_be_stepped_into():
    draw = np.random.default_rng(1)
    half = lambda *shape: draw.integers(-2, 3, shape) / 2
    projections = [half(*shape) for _ in range(3) for shape in ((4, 3, 1, 1), (4,))]
    arguments = (half(1, 3, 4, 4), half(1), half(1), *projections, half(9, 6, 1, 1), half(4, 9, 3, 3))
    outer = record(acmix.forward, *arguments, heads=2, kernel_size=3)
    deep = record(acmix.forward, *arguments, heads=2, kernel_size=3, depth=2)
    assert len(deep) > len(outer) and names(s for s in deep if s.depth == 1) == names(outer)
    assert {"local_attention.forward", "conv_path.forward"} <= {s.listing.name for s in deep}
    assert (deep.result[0] == acmix.forward.reference(*arguments, heads=2, kernel_size=3)[0]).all()


def test_a_trace_is_a_sequence_with_two_passes():
    x = np.array([[1.0, 2.0]])
    forward = record(softmax.forward, x)
    backward = record(softmax.backward, np.ones((1, 2)), forward.result[1])
    both = trace.Trace([*forward, *backward], forward.results | backward.results)
    assert len(both) == len(forward) + len(backward)
    assert tuple(both.forward) == tuple(forward) and tuple(both.backward) == tuple(backward)
    assert both.result is backward.result and both.forward.result is forward.result
    assert repr(both) == f"<Trace of softmax.forward, softmax.backward: {len(both)} steps>"
    with pytest.raises(KeyError):
        both.last("nothing")


def test_the_recorder_is_small_and_imports_no_operator():
    text = inspect.getsource(trace)
    modules = [n.module or "" for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
    assert len(text.splitlines()) <= 120
    assert not [m for m in modules if m.startswith("pyhybrid.ops")]


def test_a_layers_forward_and_backward_are_functions_like_any_other():
    layer = Linear(3, 2, seed=1)
    steps = record(layer.forward, np.ones((2, 3)))
    y, cache = steps.result
    assert steps[0].names[-1] == "x" and "linear.forward(x" in steps[-1].source and (y == layer.forward(np.ones((2, 3)))[0]).all()
    steps = record(layer.backward, y, cache)
    assert [step.name for step in steps][:2] == ["self, dy, cache", "grads"] and (steps.result[0] == layer.backward(y, cache)[0]).all()
