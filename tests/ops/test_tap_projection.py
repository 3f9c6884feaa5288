"""Stage I: the standard laws; every map is a pointwise convolution with one tap of the kernel."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import pointwise_conv, tap_projection

JUDGE = {"oracle": naive.tap_projection, "oracle_backward": naive.tap_projection_backward, "step": "complex"}


@given(cases.strategy("tap_projection"))
def test_standard(case):
    check.operator(tap_projection, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("tap_projection"))
def test_corners(case):
    check.operator(tap_projection, case, **JUDGE)


@given(cases.strategy("tap_projection"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(tap_projection, case, only=["special values"])


def test_map_m_is_the_pointwise_convolution_with_tap_pq(backend):
    random = np.random.default_rng(1)
    x, weight, bias = (random.integers(-4, 5, shape).astype(float) for shape in ((2, 3, 4, 5), (2, 3, 2, 3), (6, 2)))
    maps, _ = tap_projection.forward(x, weight, bias)
    for p, q in naive.box(2, 3):
        m = p * 3 + q
        tap, _ = pointwise_conv.forward(x, weight[:, :, p : p + 1, q : q + 1], bias[m])
        check.assert_close(maps[:, m], tap, f"maps[:, {m}]", exact=True)


def test_c1_x_has_four_axes(refuses):
    refuses(tap_projection, "C1", "x", np.zeros((2, 3, 3)), np.zeros((1, 2, 3, 3)))


def test_c2_weight_fits_the_channels(refuses):
    refuses(tap_projection, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 3, 3, 3)))
    refuses(tap_projection, "C2", "weight", np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 0, 3)))


def test_c3_bias_is_one_value_per_tap_and_channel(refuses):
    refuses(tap_projection, "C3", "bias", np.zeros((1, 2, 3, 3)), np.zeros((4, 2, 3, 3)), np.zeros(4))
