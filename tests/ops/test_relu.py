"""ReLU: the standard laws away from 0; the kink, idempotence, limits, NaN."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import relu

JUDGE = {"oracle": naive.relu, "oracle_backward": naive.relu_backward, "step": "complex"}


@given(cases.strategy("relu"))
def test_standard(case):
    check.operator(relu, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("relu"))
def test_corners(case):
    check.operator(relu, case, **JUDGE)


@given(cases.strategy("relu"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(relu, case, only=["special values"])


@given(cases.strategy("relu"))
def test_idempotent(case):
    y = relu.forward(case.arrays["x"])[0]
    check.assert_close(relu.forward(y)[0], y, "relu(relu(x))", exact=True)


@given(cases.strategy("relu"))
def test_parts_add_up(case):
    x = case.arrays["x"]
    check.assert_close(relu.forward(x)[0] - relu.forward(-x)[0], x, "relu(x) - relu(-x)", exact=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kink_limits_and_nan(backend, dtype):
    """At 0 the derivative is 0; a NaN stays NaN and passes dy on; what is cut off passes nothing, not even NaN."""
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, tiny, -tiny, np.inf, -np.inf, np.nan, -1.0], dtype)
    dy = np.array([2, 3, 5, 7, 11, 13, 17, np.nan], dtype)
    y, cache = relu.forward(x)
    (dx,) = relu.backward(dy, cache)
    assert np.array_equal(y, np.array([0, 0, tiny, 0, np.inf, 0, np.nan, 0], dtype), equal_nan=True)
    assert not np.signbit(y[:6]).any() and (dx == [0, 0, 5, 0, 11, 0, 17, 0]).all()


def test_no_axes(backend):
    y, cache = relu.forward(np.array(0.5))
    assert y.shape == () and relu.backward(np.array(1.0), cache).x.shape == ()
