"""Stochastic depth: the standard laws; what a mask of zeros and ones does, and what it does on average."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import drop_path

JUDGE = {"oracle": naive.drop_path, "oracle_backward": naive.drop_path_backward, "step": "complex"}


@given(cases.strategy("drop_path"))
def test_standard(case):
    check.operator(drop_path, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("drop_path"))
def test_corners(case):
    check.operator(drop_path, case, **JUDGE)


@given(cases.strategy("drop_path"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(drop_path, case, only=["special values"])


X = np.random.default_rng(3).standard_normal((4, 3, 2))


def test_a_dropped_sample_is_zero_and_a_kept_one_makes_up_for_it(backend):
    mask = np.array([1.0, 0.0, 1.0, 0.0])
    y, cache = drop_path.forward(X, mask, rate=0.5)
    assert (y[[1, 3]] == 0).all() and (y[[0, 2]] == 2 * X[[0, 2]]).all()
    dx = drop_path.backward(X, cache).x
    assert (dx == y).all(), "the operator is its own transpose"


def test_without_a_rate_and_with_all_kept_nothing_changes(backend):
    assert (drop_path.forward(X, np.ones(4))[0] == X).all()


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.75])
def test_the_average_over_all_masks_is_the_input(backend, rate):
    """Sixteen masks of four samples, each weighted by its chance."""
    mean = np.zeros_like(X)
    for bits in np.ndindex(2, 2, 2, 2):
        mask = np.array(bits, float)
        chance = float(np.prod(np.where(mask == 1, 1 - rate, rate)))
        mean += chance * drop_path.forward(X, mask, rate=rate)[0]
    check.assert_close(mean, X, "mean", noise=1e-16)


def test_large_maps_in_several_tasks(backend):
    random = np.random.default_rng(5)
    arrays = {"x": random.standard_normal((3, 37, 61, 67)), "mask": random.standard_normal(3)}
    check.operator(drop_path, check.Case(arrays, {"rate": 0.3}, 5, batched=("x", "mask")), only=["parity", "batch"])


def test_c1_x_has_samples(refuses):
    refuses(drop_path, "C1", "x", np.zeros(()), np.zeros(1))


def test_c2_mask_is_one_number_per_sample(refuses):
    refuses(drop_path, "C2", "mask", X, np.zeros(3))
    refuses(drop_path, "C2", "mask", X, np.zeros((4, 1, 1)))


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, np.nan, np.inf, "half", None, True])
def test_c3_rate_leaves_something(refuses, rate):
    refuses(drop_path, "C3", "rate", X, np.ones(4), rate=rate)
