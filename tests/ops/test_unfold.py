"""Unfold: the standard laws; convolution is a matrix product of what it returns."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, unfold

JUDGE = {"oracle": naive.unfold, "oracle_backward": naive.unfold_backward, "step": "complex"}


@given(cases.strategy("unfold"))
def test_standard(case):
    check.operator(unfold, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("unfold"))
def test_corners(case):
    check.operator(unfold, case, **JUDGE)


@given(cases.strategy("unfold"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(unfold, case, only=["special values"])


def test_convolution_is_a_product_with_the_unfolded_map(backend):
    random = np.random.default_rng(4)
    x, weight = (random.integers(-4, 5, shape).astype(float) for shape in ((2, 3, 6, 5), (4, 3, 3, 2)))
    U, _ = unfold.forward(x, kernel_size=(3, 2), stride=(2, 1))
    y = np.einsum("ocm,ncmij->noij", weight.reshape(4, 3, 6), U)
    check.assert_close(conv2d.forward(x, weight, stride=(2, 1))[0], y, "y", exact=True)


def test_the_gradient_of_ones_counts_the_windows(backend):
    U, cache = unfold.forward(np.zeros((4, 4)), kernel_size=3)
    assert unfold.backward(np.ones_like(U), cache).x.tolist() == [
        [1, 2, 2, 1],
        [2, 4, 4, 2],
        [2, 4, 4, 2],
        [1, 2, 2, 1],
    ]


def test_c1_x_has_two_axes(refuses):
    refuses(unfold, "C1", "x", np.zeros(4), kernel_size=1)


def test_c2_the_window_fits_into_the_map(refuses):
    refuses(unfold, "C2", "kernel_size", np.zeros((3, 4)), kernel_size=4)
    refuses(unfold, "C2", "kernel_size", np.zeros((3, 4)), kernel_size=(1, 5))
