"""Max pooling: the standard laws away from ties; ties, NaN, -inf, borders, counts of windows."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import max_pool2d

JUDGE = {"oracle": naive.max_pool2d, "oracle_backward": naive.max_pool2d_backward, "step": "complex"}


@given(cases.strategy("max_pool2d"))
def test_standard(case):
    check.operator(max_pool2d, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("max_pool2d"))
def test_corners(case):
    check.operator(max_pool2d, case, **JUDGE)


@given(cases.strategy("max_pool2d"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(max_pool2d, case, only=["special values"])


def test_first_of_equals_gets_the_gradient(backend):
    x = np.array([[1.0, 3, 3, 0], [3, 2, 0, 3]])[None, None]
    y, cache = max_pool2d.forward(x, kernel_size=2, stride=(1, 1))
    assert (y == 3).all()
    dx = max_pool2d.backward(np.array([[[[2.0, 5, 7]]]]), cache).x
    assert (dx == [[0, 7, 7, 0], [0, 0, 0, 0]]).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_wins_and_the_first_nan_gets_the_gradient(backend, dtype):
    x = np.array([[1, np.nan, 9], [np.nan, 2, 3], [4, 5, np.inf]], dtype)[None, None]
    y, cache = max_pool2d.forward(x, kernel_size=2, stride=1)
    assert np.isnan(y[0, 0]).tolist() == [[True, True], [True, False]] and y[0, 0, 1, 1] == np.inf
    dx = max_pool2d.backward(np.array([[[[2, 3], [5, 7]]]], dtype), cache).x
    assert (dx == [[0, 5, 0], [5, 0, 0], [0, 0, 7]]).all()


def test_padding_never_wins(backend):
    """A window that holds only -inf gives its gradient to its first pixel of the map."""
    x = np.full((1, 1, 2, 2), -np.inf)
    y, cache = max_pool2d.forward(x, kernel_size=3, stride=2, padding=1, ceil_mode=True)
    dx = max_pool2d.backward(np.ones_like(y), cache).x
    assert (y == -np.inf).all() and dx.sum() == y.size and dx[0, 0, 0, 0] == 1


@given(cases.strategy("max_pool2d"))
def test_every_gradient_arrives(case):
    y, cache = case.call(max_pool2d.forward)
    dy = case.cotangent(y.shape)
    dx = max_pool2d.backward(dy, cache).x
    check.assert_close(dx.sum((2, 3)), dy.sum((2, 3)), "sum of dx", noise=1e-16 * np.abs(dy).sum())


@given(cases.strategy("max_pool2d"))
def test_increasing_functions_commute(case):
    """max f(x) = f(max x): the values are only compared."""
    x = case.arrays["x"]
    check.assert_close(max_pool2d.forward(2 * x, **case.config)[0], 2 * case.call(max_pool2d.forward)[0], "y", exact=True)


def test_c1_x_is_a_batch_of_maps_with_pixels(refuses):
    refuses(max_pool2d, "C1", "x", np.zeros((2, 3, 4)), kernel_size=1)
    refuses(max_pool2d, "C1", "x", np.zeros((2, 3, 0, 4)), kernel_size=2, padding=1)
    refuses(max_pool2d, "C1", "x", np.zeros((2, 3, 4, 0)), kernel_size=2, padding=1)


def test_c2_padding_is_at_most_half_a_window(refuses):
    x = np.zeros((1, 1, 5, 5))
    refuses(max_pool2d, "C2", "padding", x, kernel_size=3, padding=2)
    refuses(max_pool2d, "C2", "kernel_size", x, kernel_size=(4, 1), padding=(2, 1))


def test_c3_a_window_fits(refuses):
    x = np.zeros((1, 1, 5, 2))
    refuses(max_pool2d, "C3", "x", x, kernel_size=3)
    refuses(max_pool2d, "C3", "kernel_size", x, kernel_size=5, padding=1)
    refuses(max_pool2d, "C3", "ceil_mode", x, kernel_size=5, stride=2, ceil_mode=True)
    assert max_pool2d.forward(x, kernel_size=5, stride=4, ceil_mode=True)[0].shape == (1, 1, 1, 1)


@pytest.mark.parametrize("name", ["ceil_mode"])
@pytest.mark.parametrize("value", [1, None, "yes", np.True_])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(TypeError, match=name):
        max_pool2d.forward(np.zeros((1, 1, 5, 5)), kernel_size=2, **{name: value})


def test_stride_none_is_the_window(backend):
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 9))
    none, same = max_pool2d.forward(x, kernel_size=(2, 3))[0], max_pool2d.forward(x, kernel_size=(2, 3), stride=(2, 3))[0]
    check.assert_close(none, same, "y", exact=True)


@pytest.mark.parametrize(("length", "k", "s", "p", "floor", "ceil"), [
    (5, 2, 2, 0, 2, 3), (4, 2, 2, 0, 2, 2), (5, 3, 2, 1, 3, 3), (6, 3, 2, 1, 3, 4), (5, 1, 3, 0, 2, 2), (6, 1, 4, 0, 2, 2),
    (6, 2, 5, 1, 2, 2), (1, 3, 1, 1, 1, 1), (3, 2, 3, 1, 2, 2), (7, 2, 3, 1, 3, 3),
])  # fmt: skip
def test_number_of_windows(length, k, s, p, floor, ceil):
    """Counted by hand: with ceil_mode one more, unless it would begin behind the last pixel."""
    x = np.zeros((1, 1, length, length))
    for mode, count in ((False, floor), (True, ceil)):
        assert max_pool2d.output_shape(x, kernel_size=k, stride=s, padding=p, ceil_mode=mode) == (1, 1, count, count)
