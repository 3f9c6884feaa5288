"""State dicts: complete, copied, and loaded all or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import Module, StateDictError


@dataclass(eq=False)
class Scale(Module):
    """y = weight * x, with a counter among the buffers."""

    width: int

    def __post_init__(self):
        self.params["weight"] = np.full(self.width, 2.0)
        self.buffers["num_batches_tracked"] = np.zeros((), np.int64)


@dataclass(eq=False)
class Pair(Module):
    """Two scales and a parameter of its own."""

    def __post_init__(self):
        self.params["rate"] = np.array([0.5], np.float32)
        self.children |= {"first": Scale(2), "second": Scale(3)}


NAMES = ["rate", "first.weight", "first.num_batches_tracked", "second.weight", "second.num_batches_tracked"]


def test_names_and_count():
    pair = Pair()
    assert list(pair.state_dict()) == NAMES
    assert list(pair.named_params()) == ["rate", "first.weight", "second.weight"]
    assert pair.parameter_count() == 1 + 2 + 3


def test_layers_do_not_share_arrays():
    one, other = Pair(), Pair()
    one.params["rate"][0] = 7
    assert other.params["rate"][0] == 0.5


def test_state_dict_and_loading_copy():
    pair = Pair()
    state = pair.state_dict()
    state["first.weight"][:] = 9
    assert (pair.named_params()["first.weight"] == 2).all()
    pair.load_state_dict(state)
    state["first.weight"][:] = 0
    assert (pair.children["first"].params["weight"] == 9).all()


def test_round_trip():
    rng = np.random.default_rng(0)
    one, other = Pair(), Pair()
    for value in one.named_params().values():
        value[...] = rng.normal(size=value.shape)
    one.children["first"].buffers["num_batches_tracked"][...] = 3
    other.load_state_dict(one.state_dict())
    for name, value in one.state_dict().items():
        assert (other.state_dict()[name] == value).all() and other.state_dict()[name].dtype == value.dtype


def test_loading_leaves_earlier_arrays_alone():
    pair = Pair()
    before = pair.params["rate"]
    pair.load_state_dict(pair.state_dict() | {"rate": np.array([4.0], np.float32)})
    assert before[0] == 0.5 and pair.params["rate"][0] == 4


def test_everything_wrong_is_listed_and_nothing_loaded():
    pair = Pair()
    state = {"rate": np.ones(1, np.float32), "bogus": np.ones(1), "first.bogus": np.ones(1), "first.weight": np.ones(5)}
    state["second.num_batches_tracked"] = np.array(1.5)
    with pytest.raises(StateDictError) as error:
        pair.load_state_dict(state)
    assert error.value.unknown == ["bogus", "first.bogus"]
    assert error.value.missing == ["first.num_batches_tracked", "second.weight"]
    assert len(error.value.unfit) == 2
    for words in ("bogus", "first.bogus", "second.weight", "first.weight has shape (5,), expected (2,)", "int64"):
        assert words in str(error.value)
    assert pair.params["rate"][0] == 0.5


@pytest.mark.parametrize("value", [np.ones(1), np.ones(1, complex), np.array(["a"]), np.array([None]), [0.5]])
def test_values_that_would_lose_something_are_refused(value):
    pair = Pair()
    with pytest.raises(StateDictError, match=r"rate is .* expected float32"):
        pair.load_state_dict(pair.state_dict() | {"rate": value})


def test_narrower_values_are_widened():
    scale = Scale(2)
    scale.load_state_dict({"weight": np.ones(2, np.float32), "num_batches_tracked": np.int32(4)})
    assert scale.params["weight"].dtype == np.float64 and scale.buffers["num_batches_tracked"].dtype == np.int64


def test_base_has_no_passes():
    with pytest.raises(NotImplementedError, match="Scale"):
        Scale(1).forward(np.ones(1))
    with pytest.raises(NotImplementedError, match="Scale"):
        Scale(1).backward(np.ones(1), None)


def test_an_inline_child_lends_its_arrays_to_the_parent():
    """Named as if they were the parent's, in the state and in the list of modules; the child itself keeps its name in that list."""
    outer, inner = Pair(), Pair()
    inner.params["own"] = inner.params.pop("rate")
    inner.children = {"third": inner.children["first"]}
    outer.children["group"] = inner
    outer.inline.add("group")
    assert {"own", "third.weight", "third.num_batches_tracked"} <= set(outer.state_dict()) and "group.own" not in outer.state_dict()
    assert [name for name, _ in outer.named_modules()] == ["", "first", "second", "group", "third"]
    state = outer.state_dict() | {"third.weight": np.full(2, 7.0)}
    outer.load_state_dict(state)
    assert (inner.children["third"].params["weight"] == 7).all()
    nested = Pair()
    nested.children["layer"] = outer
    assert {"layer.own", "layer.third.weight"} <= set(nested.state_dict())
    assert "layer.third" in dict(nested.named_modules()) and "layer.group" in dict(nested.named_modules())
    assert all(module.training for _, module in nested.train().named_modules())


@dataclass(eq=False)
class Counter(Module):
    """x -> x; counts its forwards, fails if told to."""

    fails: bool = False
    share: float = 0.5
    limit: float | None = None

    def __post_init__(self) -> None:
        self.buffers["count"] = np.zeros(())

    def forward(self, x):
        self.buffers["count"] = self.buffers["count"] + 1
        if self.fails:
            raise KeyboardInterrupt
        return x, None


@dataclass(eq=False)
class Row(Module):
    """x -> x through all children."""

    def forward(self, x):
        for child in self.children.values():
            x, _ = child.forward(x)
        return x, None


def test_a_forward_in_training_changes_all_buffers_or_none():
    row = Row()
    row.children |= {"first": Counter(), "inner": Row(), "last": Counter(fails=True)}
    row.children["inner"].children["second"] = Counter()
    counts = lambda: {name: int(value) for name, value in row.state_dict().items()}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            row.train().forward(np.ones(2))
        assert set(counts().values()) == {0}
    row.children["last"].fails = False
    row.forward(np.ones(2))
    assert set(counts().values()) == {1}
    row.children["last"].fails = True
    with pytest.raises(KeyboardInterrupt):
        row.eval().forward(np.ones(2))
    assert set(counts().values()) == {2}, "only training is guarded: in evaluation nothing of ours changes"


def test_switches_and_numbers_are_what_they_are_declared_as():
    assert Counter(np.True_, np.float32(2), 3).fails and Counter(limit=None).share == 0.5 and Counter(share=Fraction(1, 3))
    for wrong in ({"fails": 1}, {"fails": "False"}, {"fails": None}):
        with pytest.raises(ConstraintError, match=r"Counter: fails must be True or False; got "):
            Counter(**wrong)
    for name, values in (("share", ("3", None, True, np.nan, np.inf, [1.0])), ("limit", ("3", False, np.nan))):
        for value in values:
            with pytest.raises(ConstraintError, match=rf"Counter: {name} must be a finite number.*; got "):
                Counter(**{name: value})
    layer = Counter()
    with pytest.raises(ConstraintError, match="share"):
        layer.share = "0.5"
    assert layer.share == 0.5
