"""Positional term: the standard laws; the grid itself, differences are linear in the displacement."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import positional_term

JUDGE = {"oracle": naive.positional_term, "oracle_backward": naive.positional_term_backward, "step": "complex"}


@given(cases.strategy("positional_term"))
def test_standard(case):
    check.operator(positional_term, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("positional_term"))
def test_corners(case):
    check.operator(positional_term, case, **JUDGE)


@given(cases.strategy("positional_term"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(positional_term, case, only=["special values"])


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5), (7, 7), (2, 3)])
def test_the_grid_runs_from_minus_one_to_one_horizontal_first(size):
    L = positional_term.location_grid(size)
    assert L.shape == (1, 2, *size)
    for i, j in naive.box(*size):
        check.assert_close(
            L[0, :, i, j], np.array([naive.coordinate(j, size[1]), naive.coordinate(i, size[0])], float), "L"
        )


def test_the_grid_has_the_dtype_of_the_weight(backend):
    pe, _ = positional_term.forward(np.ones((1, 2, 1, 1), np.float32), size=(3, 4))
    assert pe.dtype == np.float32


def test_p9_differences_depend_on_the_displacement_alone(backend):
    """pe at the query minus pe at the key: no bias, linear in (i-a, j-b), steps 2/(H-1) and 2/(W-1)."""
    weight = np.random.default_rng(5).standard_normal((3, 2, 1, 1))
    H, W = 5, 7
    pe, _ = positional_term.forward(weight, np.full(3, 11.0), size=(H, W))
    for i, j, a, b in naive.box(H, W, 2, 3):
        step = weight[:, 0, 0, 0] * (j - b) * 2 / (W - 1) + weight[:, 1, 0, 0] * (i - a) * 2 / (H - 1)
        check.assert_close(pe[:, i, j] - pe[:, a, b], step, "difference", noise=1e-14)


def test_p9_fails_when_the_map_is_resized(backend):
    weight = np.ones((1, 2, 1, 1))
    small, large = (positional_term.forward(weight, size=(n, n))[0] for n in (4, 7))
    assert small[0, 0, 1] - small[0, 0, 0] != large[0, 0, 1] - large[0, 0, 0]


def test_c1_weight_has_one_factor_per_direction(refuses):
    refuses(positional_term, "C1", "weight", np.zeros((3, 3, 1, 1)), size=4)
    refuses(positional_term, "C1", "weight", np.zeros((3, 2)), size=4)


def test_c2_bias_is_one_value_per_row(refuses):
    refuses(positional_term, "C2", "bias", np.zeros((3, 2, 1, 1)), np.zeros(2), size=4)
