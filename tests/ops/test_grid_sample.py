"""Grid sampling: the standard laws; where the edges lie under both conventions, the identity, and the order of the axes."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import bilinear_sample, grid_sample

JUDGE = {"oracle": naive.grid_sample, "oracle_backward": naive.grid_sample_backward, "step": "complex"}


@given(cases.strategy("grid_sample"))
def test_standard(case):
    check.operator(grid_sample, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("grid_sample"))
def test_corners(case):
    check.operator(grid_sample, case, **JUDGE)


@given(cases.strategy("grid_sample"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(grid_sample, case, only=["special values"])


def identity(H, W, align_corners):
    """The grid whose points are the pixels, for lengths at which it is exact."""
    u, v = ((np.arange(n) * 2 + 1) / n - 1 if not align_corners else np.linspace(-1, 1, n) for n in (W, H))
    return np.stack(np.broadcast_arrays(u[None, :], v[:, None]), -1)[None]


@pytest.mark.parametrize(("align_corners", "size"), [(False, (4, 8)), (True, (5, 9))])
def test_the_identity_grid_returns_the_map(backend, align_corners, size):
    x = np.random.default_rng(1).integers(-9, 10, (1, 2, *size)).astype(float)
    y, _ = grid_sample.forward(x, identity(*size, align_corners), align_corners=align_corners)
    assert (y == x).all()


def test_minus_one_is_the_edge_or_the_centre_of_the_first_pixel(backend):
    x, corner = np.full((1, 1, 4, 4), 8.0), np.full((1, 1, 1, 2), -1.0)
    assert grid_sample.forward(x, corner)[0] == 2  # half of the pixel in both directions
    assert grid_sample.forward(x, corner, align_corners=True)[0] == 8


def test_the_first_number_of_the_grid_is_horizontal(backend):
    x = np.arange(20.0).reshape(1, 1, 4, 5)
    right = np.array([1.0, -1.0]).reshape(1, 1, 1, 2)
    assert grid_sample.forward(x, right, align_corners=True)[0] == x[0, 0, 0, 4]


@pytest.mark.parametrize("align_corners", [False, True])
def test_it_is_bilinear_sampling_at_scaled_coordinates(backend, align_corners):
    random = np.random.default_rng(2)
    x, grid, dy = random.standard_normal((2, 3, 4, 8)), random.uniform(-1.2, 1.2, (2, 5, 6, 2)), random.standard_normal((2, 3, 5, 6))
    (H, W), one = x.shape[2:], int(align_corners)
    ys, xs = ((grid[..., axis] + 1) * (n - one) / 2 - (1 - one) / 2 for axis, n in ((1, H), (0, W)))
    y, cache = grid_sample.forward(x, grid, align_corners=align_corners)
    s, sampling = bilinear_sample.forward(x, ys, xs)
    check.assert_close(y, s, "y", noise=1e-14)
    dgrid, (_, dys, dxs) = grid_sample.backward(dy, cache).grid, bilinear_sample.backward(dy, sampling)
    check.assert_close(dgrid[..., 0], dxs * (W - one) / 2, "du", kind="gradient", noise=1e-14)
    check.assert_close(dgrid[..., 1], dys * (H - one) / 2, "dv", kind="gradient", noise=1e-14)


def test_c1_x_has_four_axes(refuses):
    refuses(grid_sample, "C1", "x", np.zeros((2, 3, 3)), np.zeros((2, 1, 1, 2)))


def test_c2_the_grid_has_two_numbers_per_point_of_each_image(refuses):
    refuses(grid_sample, "C2", "grid", np.zeros((2, 1, 3, 3)), np.zeros((1, 4, 4, 2)))
    refuses(grid_sample, "C2", "grid", np.zeros((2, 1, 3, 3)), np.zeros((2, 4, 4, 3)))
    refuses(grid_sample, "C2", "grid", np.zeros((2, 1, 3, 3)), np.zeros((2, 4, 2)))


@pytest.mark.parametrize("align_corners", [1, "yes", None])
def test_c3_align_corners_is_a_truth_value(refuses, align_corners):
    refuses(grid_sample, "C3", "align_corners", np.zeros((2, 1, 3, 3)), np.zeros((2, 1, 1, 2)), align_corners=align_corners)
