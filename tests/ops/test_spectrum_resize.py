"""Spectrum resize: the standard laws; ends stay ends, a shift in place becomes less than a shift."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import global_filter, resize_bilinear, spectrum_resize

JUDGE = {"oracle": naive.spectrum_resize, "oracle_backward": naive.spectrum_resize_backward, "step": "complex"}


@given(cases.strategy("spectrum_resize"))
def test_standard(case):
    check.operator(spectrum_resize, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("spectrum_resize"))
def test_corners(case):
    check.operator(spectrum_resize, case, **JUDGE)


@given(cases.strategy("spectrum_resize"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(spectrum_resize, case, only=["special values"])


def drawn(*shape):
    return np.random.default_rng(list(shape)).standard_normal(shape)


def test_equal_size_is_the_identity(backend):
    weight = drawn(2, 7, 4, 2)
    assert (spectrum_resize.forward(weight, size=(7, 4))[0] == weight).all()


@given(cases.strategy("spectrum_resize"))
def test_each_part_is_resized_as_an_image(case):
    weight, size = case.arrays["weight"], case.config["size"]
    y, _ = spectrum_resize.forward(weight, size=size)
    for part in range(2):
        image, _ = resize_bilinear.forward(weight[..., part].copy(), size=size, align_corners=True)
        check.assert_close(y[..., part], image, f"part {part}")


def test_the_corners_stay_where_they_are(backend):
    weight = drawn(2, 4, 3, 2)
    y, _ = spectrum_resize.forward(weight, size=(9, 7))
    for corner in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
        assert (y[:, corner[0], corner[1]] == weight[:, corner[0], corner[1]]).all()


def test_a_filter_that_changes_nothing_stays_one(backend):
    """The spectrum of a single 1 is constant, and a constant stays."""
    weight = np.ones((1, 8, 5, 1)) * [1.0, 0.0]
    assert (spectrum_resize.forward(weight, size=(11, 7))[0] == np.ones((1, 11, 7, 1)) * [1.0, 0.0]).all()


def test_it_is_no_padding_of_the_kernel(backend):
    """The spectrum of a shift down by one pixel, resized from 8 to 16, is no pure shift any more: 86 % of the energy stays at the tap."""
    kernel = np.zeros((1, 8, 8))
    kernel[0, 1, 0] = 1
    k = np.fft.rfft2(kernel)
    weight, _ = spectrum_resize.forward(np.stack([k.real, k.imag], -1), size=(16, 9))
    one = np.zeros((1, 1, 16, 16))
    one[0, 0, 0, 0] = 1
    energy = global_filter.forward(one, weight)[0][0, 0] ** 2
    assert energy.argmax() == 16 and 0.85 < energy[1, 0] < 0.87 and 0.89 < energy.sum() < 0.91


def test_c1_weight_is_a_half_spectrum(refuses):
    for shape in [(2, 4, 3), (2, 4, 3, 3), (2, 0, 3, 2), (2, 4, 0, 2)]:
        refuses(spectrum_resize, "C1", "weight", np.zeros(shape), size=2)
