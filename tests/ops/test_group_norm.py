"""Group normalisation: the standard laws; mean 0 and variance 1 of every group, and what does not depend on what."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import group_norm, layer_norm

JUDGE = {"oracle": naive.group_norm, "oracle_backward": naive.group_norm_backward, "step": "complex"}


@given(cases.strategy("group_norm"))
def test_standard(case):
    check.operator(group_norm, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("group_norm"))
def test_corners(case):
    check.operator(group_norm, case, **JUDGE)


@given(cases.strategy("group_norm"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(group_norm, case, only=["special values"])


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_mean_zero_and_variance_one(backend, groups):
    x = 3 * np.random.default_rng(1).standard_normal((2, 6, 7, 9)) + 5
    y, _ = group_norm.forward(x, groups=groups, eps=1e-3)
    rows, v = y.reshape(2, groups, -1), x.reshape(2, groups, -1).var(2)
    check.assert_close(rows.mean(2), np.zeros((2, groups)), "mean", noise=1e-15)
    check.assert_close(rows.var(2), v / (v + 1e-3), "variance")


def test_one_group_is_layer_normalisation_of_the_whole_sample(backend):
    random = np.random.default_rng(2)
    x, dy = random.standard_normal((2, 3, 5, 7)), random.standard_normal((2, 3, 5, 7))
    (y, cache), (flat, flat_cache) = group_norm.forward(x), layer_norm.forward(x.reshape(2, -1))
    check.assert_close(y.reshape(2, -1), flat, "y")
    dx, expected = group_norm.backward(dy, cache).x, layer_norm.backward(dy.reshape(2, -1), flat_cache).x
    check.assert_close(dx.reshape(2, -1), expected, "dx", kind="gradient")


def test_a_constant_of_one_channel_is_seen_by_its_group_only(backend):
    x = np.random.default_rng(3).standard_normal((1, 4, 3, 3))
    moved = x.copy()
    moved[:, 0] += 1
    y, other = group_norm.forward(x, groups=2)[0], group_norm.forward(moved, groups=2)[0]
    assert (y[:, 2:] == other[:, 2:]).all() and (y[:, 1] != other[:, 1]).all()


def test_c1_there_are_values(refuses):
    refuses(group_norm, "C1", "x", np.zeros((2, 3, 4)))
    for shape in [(2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)]:
        refuses(group_norm, "C1", "x", np.zeros(shape))


def test_c2_groups_divide_the_channels(refuses):
    refuses(group_norm, "C2", "groups", np.zeros((1, 3, 2, 2)), groups=2)


def test_c3_weight_is_one_value_per_channel(refuses):
    refuses(group_norm, "C3", "weight", np.zeros((1, 3, 2, 2)), np.zeros(2))


def test_c4_bias_is_one_value_per_channel(refuses):
    refuses(group_norm, "C4", "bias", np.zeros((1, 3, 2, 2)), None, np.zeros((3, 1)))


@pytest.mark.parametrize("eps", [0, -1e-5, np.inf, np.nan, "small", None])
def test_c5_eps_is_positive_and_finite(refuses, eps):
    refuses(group_norm, "C5", "eps", np.zeros((1, 3, 2, 2)), eps=eps)
