"""Layer scale: the standard laws; the gradient that wakes a branch whose factors are zero."""

import naive
import numpy as np
import pytest
from drawn import whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import layer_scale

JUDGE = {"oracle": naive.layer_scale, "oracle_backward": naive.layer_scale_backward, "step": "complex"}


@given(cases.strategy("layer_scale"))
def test_standard(case):
    check.operator(layer_scale, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("layer_scale"))
def test_corners(case):
    check.operator(layer_scale, case, **JUDGE)


@given(cases.strategy("layer_scale"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(layer_scale, case, only=["special values"])


def test_p15_zero_factors_shut_the_branch_but_not_their_own_gradient(backend):
    x, dy = whole(2, 5, 3), whole(2, 3, 5).reshape(2, 5, 3)
    y, cache = layer_scale.forward(x, np.zeros(3))
    grads = layer_scale.backward(dy, cache)
    assert (y == 0).all() and (grads.x == 0).all()
    assert (grads.gamma == (dy * x).sum((0, 1))).all() and grads.gamma.any()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_every_axis_is_the_same_rule_on_moved_axes(backend, axis):
    x, gamma = whole(3, 4, 5), whole(x_axis := (3, 4, 5)[axis], 1)[:, 0]
    y, cache = layer_scale.forward(x, gamma, axis=axis)
    assert (y == np.moveaxis(np.moveaxis(x, axis, -1) * gamma, -1, axis)).all()
    assert layer_scale.backward(x, cache).gamma.shape == (x_axis,)


def test_large_maps_in_several_tasks(backend):
    for axis, C in ((1, 37), (-1, 67)):
        case = check.Case({"x": whole(3, 37, 61, 67), "gamma": whole(C, 1)[:, 0]}, {"axis": axis}, 5, batched=("x",), exact=True)
        check.operator(layer_scale, case, only=["parity", "batch"])


def test_c1_axis_is_an_axis_of_x(refuses):
    refuses(layer_scale, "C1", "axis", np.zeros((2, 3)), np.zeros(3), axis=2)
    refuses(layer_scale, "C1", "axis", np.zeros((2, 3)), np.zeros(3), axis=-3)
    refuses(layer_scale, "C1", "x", np.zeros(()), np.zeros(3), axis=-1)


def test_c2_gamma_is_one_factor_per_channel(refuses):
    refuses(layer_scale, "C2", "gamma", np.zeros((2, 3)), np.zeros(2), axis=-1)
    refuses(layer_scale, "C2", "gamma", np.zeros((2, 3)), np.zeros((3, 1)), axis=-1)
