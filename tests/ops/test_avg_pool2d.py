"""Average pooling: the standard laws; what is counted, constants, convolution, counts of windows."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import avg_pool2d, conv2d

JUDGE = {"oracle": naive.avg_pool2d, "oracle_backward": naive.avg_pool2d_backward, "step": "complex"}


@given(cases.strategy("avg_pool2d"))
def test_standard(case):
    check.operator(avg_pool2d, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("avg_pool2d"))
def test_corners(case):
    check.operator(avg_pool2d, case, **JUDGE)


@given(cases.strategy("avg_pool2d"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(avg_pool2d, case, only=["special values"])


@given(cases.strategy("avg_pool2d"))
def test_constants_stay_where_padding_is_not_counted(case):
    x = np.ones_like(case.arrays["x"])
    y, _ = avg_pool2d.forward(x, **{**case.config, "count_include_pad": False})
    check.assert_close(y, np.ones_like(y), "mean of ones", exact=True)


def test_counts_by_hand(backend):
    """Rows -1…1, 1…3 and, with ceil_mode, 3…5 of four rows padded by one: the last reaches beyond the padding, by row 5."""
    x = np.ones((1, 1, 4, 1))
    config = {"kernel_size": (3, 1), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True}
    counted, alone = avg_pool2d.forward(x, **config)[0], avg_pool2d.forward(x, **config, count_include_pad=False)[0]
    check.assert_close(counted[0, 0, :, 0], np.array([2 / 3, 3 / 3, 1 / 2]), "with padding")
    check.assert_close(alone[0, 0, :, 0], np.ones(3), "without", exact=True)


def test_a_convolution_with_equal_weights(backend):
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 6))
    y, _ = avg_pool2d.forward(x, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0))
    weight = np.full((3, 1, 3, 2), 1 / 6)
    check.assert_close(y, conv2d.forward(x, weight, stride=(2, 1), padding=(1, 0), groups=3)[0], "y", noise=1e-16)


def test_c1_x_is_a_batch_of_maps_with_pixels(refuses):
    refuses(avg_pool2d, "C1", "x", np.zeros((2, 3, 4)), kernel_size=1)
    refuses(avg_pool2d, "C1", "x", np.zeros((2, 3, 0, 4)), kernel_size=2, padding=1)
    refuses(avg_pool2d, "C1", "x", np.zeros((2, 3, 4, 0)), kernel_size=2, padding=1)


def test_c2_padding_is_at_most_half_a_window(refuses):
    x = np.zeros((1, 1, 5, 5))
    refuses(avg_pool2d, "C2", "padding", x, kernel_size=3, padding=2)
    refuses(avg_pool2d, "C2", "kernel_size", x, kernel_size=(4, 1), padding=(2, 1))


def test_c3_a_window_fits(refuses):
    x = np.zeros((1, 1, 5, 2))
    refuses(avg_pool2d, "C3", "x", x, kernel_size=3)
    refuses(avg_pool2d, "C3", "kernel_size", x, kernel_size=5, padding=1)
    refuses(avg_pool2d, "C3", "ceil_mode", x, kernel_size=5, stride=2, ceil_mode=True)
    assert avg_pool2d.forward(x, kernel_size=5, stride=4, ceil_mode=True)[0].shape == (1, 1, 1, 1)


@pytest.mark.parametrize("name", ["ceil_mode", "count_include_pad"])
@pytest.mark.parametrize("value", [1, None, "yes", np.True_])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(TypeError, match=name):
        avg_pool2d.forward(np.zeros((1, 1, 5, 5)), kernel_size=2, **{name: value})


def test_stride_none_is_the_window(backend):
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 9))
    none, same = avg_pool2d.forward(x, kernel_size=(2, 3))[0], avg_pool2d.forward(x, kernel_size=(2, 3), stride=(2, 3))[0]
    check.assert_close(none, same, "y", exact=True)


@pytest.mark.parametrize(("length", "k", "s", "p", "floor", "ceil"), [
    (5, 2, 2, 0, 2, 3), (4, 2, 2, 0, 2, 2), (5, 3, 2, 1, 3, 3), (6, 3, 2, 1, 3, 4), (5, 1, 3, 0, 2, 2), (6, 1, 4, 0, 2, 2),
    (6, 2, 5, 1, 2, 2), (1, 3, 1, 1, 1, 1), (3, 2, 3, 1, 2, 2), (7, 2, 3, 1, 3, 3),
])  # fmt: skip
def test_number_of_windows(length, k, s, p, floor, ceil):
    """Counted by hand: with ceil_mode one more, unless it would begin behind the last pixel."""
    x = np.zeros((1, 1, length, length))
    for mode, count in ((False, floor), (True, ceil)):
        assert avg_pool2d.output_shape(x, kernel_size=k, stride=s, padding=p, ceil_mode=mode) == (1, 1, count, count)
