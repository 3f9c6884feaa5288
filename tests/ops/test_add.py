"""Sum: the standard laws; what a fork and its joint do to each other."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import add

JUDGE = {"oracle": naive.add, "oracle_backward": naive.add_backward, "step": "complex"}


@given(cases.strategy("add"))
def test_standard(case):
    check.operator(add, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("add"))
def test_corners(case):
    check.operator(add, case, **JUDGE)


@given(cases.strategy("add"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(add, case, only=["special values"])


def test_infinities_of_opposite_sign_make_nan(backend):
    a, b = np.array([np.inf, np.inf, 1e308, -0.0]), np.array([-np.inf, 1.0, 1e308, -0.0])
    with np.errstate(all="ignore"):
        y, _ = add.forward(a, b)
    assert np.isnan(y[0]) and y[1] == y[2] == np.inf and np.signbit(y[3])


def test_one_array_twice(backend):
    """The two gradients are arrays of their own, to be added where the paths part."""
    x = np.arange(3.0)
    y, cache = add.forward(x, x)
    grads = add.backward(np.ones(3), cache)
    assert y.tolist() == [0, 2, 4] and not np.shares_memory(grads.a, grads.b)


def test_c1_nothing_is_broadcast(refuses):
    refuses(add, "C1", "b", np.zeros((2, 3)), np.zeros(3))
    refuses(add, "C1", "b", np.zeros((2, 3)), np.zeros((2, 1)))
