"""Bilinear resize: the standard laws; identity, means, flips, and where offsets go."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import resize_bilinear

JUDGE = {"oracle": naive.resize_bilinear, "oracle_backward": naive.resize_bilinear_backward, "step": "complex"}


@given(cases.strategy("resize_bilinear"))
def test_standard(case):
    check.operator(resize_bilinear, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("resize_bilinear"))
def test_corners(case):
    check.operator(resize_bilinear, case, **JUDGE)


@given(cases.strategy("resize_bilinear"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(resize_bilinear, case, only=["special values"])


def resize(x, size, **config):
    return resize_bilinear.forward(x, size=size, **config)[0]


@pytest.mark.parametrize("align_corners", [False, True])
def test_equal_size_is_the_identity(backend, align_corners):
    """Not one bit differs."""
    x = np.random.default_rng(1).standard_normal((2, 7, 13))
    assert (resize(x, (7, 13), align_corners=align_corners) == x).all()


@given(cases.strategy("resize_bilinear"))
def test_a_constant_stays_and_nothing_leaves_its_range(case):
    x, config = case.arrays["x"], dict(case.config)
    check.assert_close(resize(np.full_like(x, 3.0), **config), np.full((*x.shape[:-2], *naive.pair(config["size"])), 3.0), "constant")
    y = resize(x, **config)
    if x.size:
        slack = 1e-15 * np.abs(x).max()
        assert y.min() >= x.min() - slack and y.max() <= x.max() + slack


@given(cases.strategy("resize_bilinear"))
def test_it_commutes_with_flips_and_with_the_transpose(case):
    x, (h, w), aligned = case.arrays["x"], naive.pair(case.config["size"]), {"align_corners": case.config["align_corners"]}
    if aligned["align_corners"] and 1 in (h, w):
        return     # a single new pixel is then the first old one, which a flip exchanges
    y, noise = resize(x, (h, w), **aligned), 1e-15 * np.abs(x).max(initial=0.0)
    for axis in (-1, -2):
        flipped = resize(np.ascontiguousarray(np.flip(x, axis)), (h, w), **aligned)
        check.assert_close(np.flip(flipped, axis), y, "flipped", noise=noise)
    turned = resize(np.ascontiguousarray(x.swapaxes(-1, -2)), (w, h), **aligned)
    check.assert_close(turned.swapaxes(-1, -2), y, "transposed", noise=noise)


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_displacement_zero_stays_in_the_middle_of_the_table(backend, align_corners):
    """From one odd size to another the middle is read exactly: a pixel of the map keeps its bias towards itself."""
    x = np.random.default_rng(2).standard_normal((3, 13, 27))
    y = resize(x, (23, 47), align_corners=align_corners)
    assert (y[:, 11, 23] == x[:, 6, 13]).all()


def test_a_ramp_is_read_where_the_centres_lie(backend):
    """From 3 to 6 pixels the centres lie at -1/4, 1/4, 3/4, …; beyond the outermost centres the map is held."""
    ramp = np.array([[0.0, 1.0, 2.0]])
    assert resize(ramp, (1, 6)).tolist() == [[0, 0.25, 0.75, 1.25, 1.75, 2]]
    assert resize(ramp, (1, 5), align_corners=True).tolist() == [[0, 0.5, 1, 1.5, 2]]


def test_a_single_pixel(backend):
    """To one pixel: the middle, or with aligned corners the first; from one pixel: that one everywhere."""
    x = np.array([[0.0, 1.0, 5.0, 7.0]])
    assert resize(x, 1).tolist() == [[3.0]] and resize(x, 1, align_corners=True).tolist() == [[0.0]]
    for align_corners in (False, True):
        assert (resize(np.full((1, 1), 2.5), (3, 4), align_corners=align_corners) == 2.5).all()


def test_c1_there_is_a_map(refuses):
    refuses(resize_bilinear, "C1", "x", np.zeros(3), size=2)
    refuses(resize_bilinear, "C1", "x", np.zeros((2, 0, 3)), size=2)
    refuses(resize_bilinear, "C1", "x", np.zeros((2, 3, 0)), size=2)


def test_c2_align_corners_is_a_truth_value(refuses):
    refuses(resize_bilinear, "C2", "align_corners", np.zeros((2, 3)), size=2, align_corners="yes")
    refuses(resize_bilinear, "C2", "align_corners", np.zeros((2, 3)), size=2, align_corners=1)
