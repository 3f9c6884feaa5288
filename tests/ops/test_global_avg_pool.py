"""Global average pooling: the standard laws; it is average pooling with one window."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import avg_pool2d, global_avg_pool

JUDGE = {"oracle": naive.global_avg_pool, "oracle_backward": naive.global_avg_pool_backward, "step": "complex"}


@given(cases.strategy("global_avg_pool"))
def test_standard(case):
    check.operator(global_avg_pool, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("global_avg_pool"))
def test_corners(case):
    check.operator(global_avg_pool, case, **JUDGE)


@given(cases.strategy("global_avg_pool"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(global_avg_pool, case, only=["special values"])


@given(cases.strategy("global_avg_pool"))
def test_one_window(case):
    x = case.arrays["x"]
    pooled, cache = avg_pool2d.forward(x, kernel_size=x.shape[2:])
    y, own = global_avg_pool.forward(x)
    check.assert_close(y, pooled[:, :, 0, 0], "y", noise=1e-16 * np.abs(x).max(initial=0))
    dy = case.cotangent(y.shape)
    same = avg_pool2d.backward(dy[:, :, None, None], cache).x
    check.assert_close(global_avg_pool.backward(dy, own).x, same, "dx", kind="gradient")


def test_c1_x_is_a_batch_of_maps(refuses):
    refuses(global_avg_pool, "C1", "x", np.zeros((2, 3, 4)))


def test_c2_no_mean_of_nothing(refuses):
    refuses(global_avg_pool, "C2", "x", np.zeros((2, 3, 0, 4)))
    refuses(global_avg_pool, "C2", "x", np.zeros((2, 3, 4, 0)))
