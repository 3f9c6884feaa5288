"""Bilinear sampling: the standard laws; whole coordinates, the band around the map, far outside, NaN and infinity, affine maps."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import bilinear_sample

JUDGE = {"oracle": naive.bilinear_sample, "oracle_backward": naive.bilinear_sample_backward, "step": "complex"}


@given(cases.strategy("bilinear_sample"))
def test_standard(case):
    check.operator(bilinear_sample, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("bilinear_sample"))
def test_corners(case):
    check.operator(bilinear_sample, case, **JUDGE)


@given(cases.strategy("bilinear_sample"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(bilinear_sample, case, only=["special values"])


TABLE = np.arange(1.0, 13).reshape(1, 1, 3, 4)


def at(y, x, image=TABLE, dtype=np.float64):
    """Value and the gradients dx, dy and dx of one point."""
    ys, xs = np.array([[y]], dtype), np.array([[x]], dtype)
    s, cache = bilinear_sample.forward(image.astype(dtype), ys, xs)
    dx, dys, dxs = bilinear_sample.backward(np.ones_like(s), cache)
    return s[0, 0, 0], dx[0, 0], dys[0, 0], dxs[0, 0]


@pytest.mark.parametrize(
    ("y", "x", "value", "along_y", "along_x"),
    [
        (1, 1, 6, 4, 1),  # inside, on a pixel: to the right
        (2, 1, 10, -10, 1),  # last row: the next one is zero
        (1, 3, 8, 4, -8),  # last column
        (-1, 1, 0, 2, 0),  # value 0, and a slope towards the map
        (1, -1, 0, 0, 5),
        (-1, -1, 0, 0, 0),
        (3, 1, 0, 0, 0),  # y = H: outside
        (1, 4, 0, 0, 0),
        (-1 - 2**-30, 1, 0, 0, 0),
        (3 - 2**-30, 1, 10 * 2**-30, -10, 2**-30),
        (1e20, 1, 0, 0, 0),
        (-3e9, 1, 0, 0, 0),
    ],
)
def test_whole_coordinates_and_borders(backend, y, x, value, along_y, along_x):
    s, _, dy, dx = at(y, x)
    assert (s, dy, dx) == (value, along_y, along_x)


def test_at_whole_coordinates_only_the_forward_difference_is_the_gradient(backend):
    value, _, slope, _ = at(1, 1.25)
    assert slope == (at(1.5, 1.25)[0] - value) / 0.5
    steeper = np.array([[0.0, 0, 0, 0], [1, 1, 1, 1], [5, 5, 5, 5]])[None, None]
    value, _, slope, _ = at(1, 1, steeper)
    assert slope == 4 and value - at(0.5, 1, steeper)[0] == 0.5  # to the left it is 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("y", "x"), [(np.inf, 1), (-np.inf, 1), (1, np.inf), (1, -np.inf), (np.inf, -np.inf)])
def test_infinite_coordinates_read_zero_and_have_no_gradient(backend, y, x, dtype):
    s, dimage, dy, dx = at(y, x, dtype=dtype)
    assert (s, dy, dx) == (0, 0, 0) and not dimage.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("y", "x"), [(np.nan, 1), (1, np.nan), (np.nan, np.nan), (np.nan, np.inf), (1e20, np.nan)])
def test_nan_coordinates_give_nan_and_leave_the_map_alone(backend, y, x, dtype):
    s, dimage, dy, dx = at(y, x, dtype=dtype)
    assert np.isnan([s, dy, dx]).all() and not dimage.any()


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_weights_of_the_pixels_sum_to_one_inside_and_to_less_in_the_band(backend, length):
    ones = np.ones((1, 1, length, length))
    inside = np.linspace(0, length - 1, 9)
    for y in inside:
        s, dimage, _, _ = at(y, inside[3], ones)
        assert abs(s - 1) < 1e-15 and (dimage > 0).sum() <= 4 and abs(dimage.sum() - 1) < 1e-15
    assert at(-0.25, 0, ones)[0] == 0.75 and at(length - 0.75, 0, ones)[0] == 0.75


def test_affine_maps_are_reproduced_with_their_slopes(backend):
    r, q = np.mgrid[:6, :8]
    image = (0.5 + 2 * r - 3 * q)[None, None].astype(float)
    random = np.random.default_rng(1)
    ys, xs = random.uniform(0, 5, (1, 50)), random.uniform(0, 7, (1, 50))
    s, cache = bilinear_sample.forward(image, ys, xs)
    check.assert_close(s[0, 0], (0.5 + 2 * ys - 3 * xs)[0], "s", noise=1e-14)
    _, dys, dxs = bilinear_sample.backward(np.ones_like(s), cache)
    check.assert_close(dys[0], np.full(50, 2.0), "dys", kind="gradient", noise=1e-14)
    check.assert_close(dxs[0], np.full(50, -3.0), "dxs", kind="gradient", noise=1e-14)
    assert at(-0.5, 1, image)[0] != image[0, 0, 0, 1] - 1  # not outside: the band blends with zeros


@pytest.mark.parametrize("border", [-1, 0, 2, 3])
def test_it_is_continuous_across_the_borders(backend, border):
    steps = [at(border + h, 1.5)[0] for h in (-(2.0**-30), 0, 2.0**-30)]
    assert np.abs(np.diff(steps)).max() <= 12 * 2.0**-30


@pytest.mark.parametrize(("y", "x"), [(0.5, 1.25), (-0.25, 3.5), (2.75, -0.5)])
def test_inside_a_cell_central_differences_are_exact(backend, y, x):
    h = 2.0**-3
    _, _, dy, dx = at(y, x)
    assert dy == (at(y + h, x)[0] - at(y - h, x)[0]) / (2 * h)
    assert dx == (at(y, x + h)[0] - at(y, x - h)[0]) / (2 * h)


def test_coordinates_keep_their_precision(backend):
    """2 - 1e-9 is below 2 in double precision, and lies in the cell before; rounded to single it would be in the next."""
    _, _, slope, _ = at(2 - 1e-9, 1)
    assert slope == 4 and at(2, 1)[2] == -10


def test_c1_x_has_four_axes(refuses):
    refuses(bilinear_sample, "C1", "x", np.zeros((2, 3, 3)), np.zeros((2, 1)), np.zeros((2, 1)))


def test_c2_there_are_coordinates_for_every_image(refuses):
    refuses(bilinear_sample, "C2", "ys", np.zeros((2, 1, 3, 3)), np.zeros((1, 4)), np.zeros((1, 4)))
    refuses(bilinear_sample, "C2", "ys", np.zeros((2, 1, 3, 3)), np.zeros(()), np.zeros(()))


def test_c3_both_coordinates_have_one_shape(refuses):
    refuses(bilinear_sample, "C3", "xs", np.zeros((2, 1, 3, 3)), np.zeros((2, 4)), np.zeros((2, 3)))
