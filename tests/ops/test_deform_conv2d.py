"""Deformable convolution: the standard laws; zero and whole offsets, the order of offsets, groups, kinks and the two rules at -1."""

import naive
import numpy as np
import pytest
from drawn import normal, whole
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, deform_conv2d

JUDGE = {"oracle": naive.deform_conv2d, "oracle_backward": naive.deform_conv2d_backward, "step": "complex"}


@given(cases.strategy("deform_conv2d"))
def test_standard(case):
    check.operator(deform_conv2d, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("deform_conv2d"))
def test_corners(case):
    check.operator(deform_conv2d, case, **JUDGE)


@given(cases.strategy("deform_conv2d"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(deform_conv2d, case, only=["special values"])


def deform(x, offset, weight, mask=None, bias=None, **config):
    return deform_conv2d.forward(x, offset, weight, mask, bias, **config)[0]


@pytest.mark.parametrize("config", [{"padding": 1}, {"padding": (2, 0), "stride": (2, 1), "dilation": (1, 2)}, {"padding": 1, "groups": 2}])
def test_zero_offsets_are_the_ordinary_convolution(backend, config):
    x, weight, bias = whole(2, 4, 6, 7), whole(6, 4 // config.get("groups", 1), 3, 3), whole(6)
    y, _ = conv2d.forward(x, weight, bias, **config)
    offset, mask = np.zeros((2, 18, *y.shape[2:])), np.ones((2, 9, *y.shape[2:]))
    assert (deform(x, offset, weight, None, bias, **config) == y).all()
    assert (deform(x, offset, weight, mask, bias, **config) == y).all()
    assert (deform(x, offset, weight, mask / 2, **config) == (y - bias[:, None, None]) / 2).all()


@pytest.mark.parametrize("moved", [(1, 0), (0, -2), (-1, 3)])
def test_a_constant_whole_offset_shifts_the_map(backend, moved):
    """The map, moved with zeros coming in, is convolved; taps in its padding read pixels that moved out of sight, so it is wide."""
    x, weight = whole(1, 2, 6, 7), whole(3, 2, 3, 3)
    wide = np.pad(x, [(0, 0), (0, 0), (6, 6), (6, 6)])
    shifted = np.roll(wide, (-moved[0], -moved[1]), (2, 3))
    y, _ = conv2d.forward(shifted, weight, padding=1)
    offset = np.zeros((1, 9, 2, 6, 7)) + np.array(moved, float)[:, None, None]
    assert (deform(x, offset.reshape(1, 18, 6, 7), weight, padding=1) == y[:, :, 6:12, 6:13]).all()


def test_offsets_alternate_vertical_and_horizontal(backend):
    x, weight = whole(1, 1, 5, 6), np.ones((1, 1, 1, 1))
    down, right = np.zeros((1, 2, 5, 6)), np.zeros((1, 2, 5, 6))
    down[:, 0], right[:, 1] = 1, 1
    assert (deform(x, down, weight)[0, 0, :-1] == x[0, 0, 1:]).all()
    assert (deform(x, right, weight)[0, 0, :, :-1] == x[0, 0, :, 1:]).all()


def test_one_tap_moves_alone(backend):
    x, weight, offset = whole(1, 1, 5, 6), np.zeros((1, 1, 2, 3)), np.zeros((1, 12, 4, 4))
    weight[0, 0, 1, 2] = 1
    still = deform(x, offset, weight)
    offset[:, :10] = 7.5  # all taps but the last, (1, 2)
    assert (deform(x, offset, weight) == still).all()
    offset[:, 10] = -1
    assert (deform(x, offset, weight)[0, 0] == x[0, 0, :4, 2:]).all()


def test_offset_groups_that_agree_are_one(backend):
    x, weight, one, mask = normal(2, 4, 5, 6), normal(3, 4, 3, 3), normal(2, 18, 5, 6), normal(2, 9, 5, 6)
    two, masks = np.concatenate([one, one], 1), np.concatenate([mask, mask], 1)
    check.assert_close(deform(x, two, weight, masks, padding=1, offset_groups=2), deform(x, one, weight, mask, padding=1), "y")


def test_exchanged_offset_groups_are_exchanged_channels(backend):
    x, weight, offset = whole(1, 4, 5, 6), whole(3, 4, 3, 3), whole(1, 36, 5, 6) / 4
    swap = [2, 3, 0, 1]
    swapped = np.concatenate([offset[:, 18:], offset[:, :18]], 1)
    y = deform(np.ascontiguousarray(x[:, swap]), swapped, np.ascontiguousarray(weight[:, swap]), padding=1, offset_groups=2)
    assert (y == deform(x, offset, weight, padding=1, offset_groups=2)).all()


def test_groups_are_a_weight_with_zero_blocks(backend):
    x, weight, offset = whole(2, 4, 5, 6), whole(6, 2, 3, 3), whole(2, 18, 5, 6) / 4
    dense = np.zeros((6, 4, 3, 3))
    dense[:3, :2], dense[3:, 2:] = weight[:3], weight[3:]
    assert (deform(x, offset, weight, padding=1, groups=2) == deform(x, offset, dense, padding=1)).all()


def test_a_constant_fractional_offset_is_a_convolution_with_an_interpolated_kernel(backend):
    """Half a pixel to the right: the 3x3 kernel becomes 3x4, and y is right wherever that kernel's own padding is zero too."""
    x, weight = whole(1, 2, 6, 7), whole(3, 2, 3, 3)
    offset = np.zeros((1, 18, 6, 7))
    offset[:, 1::2] = 0.5
    between = (np.pad(weight, [(0, 0)] * 3 + [(0, 1)]) + np.pad(weight, [(0, 0)] * 3 + [(1, 0)])) / 2
    y, _ = conv2d.forward(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 2)]), between)
    assert (deform(x, offset, weight, padding=1) == y).all()


def gradients(offset, kink, mask=True):
    x, weight = normal(1, 2, 4, 5), normal(3, 2, 3, 3)
    given = normal(1, 9, 4, 5) if mask else None
    y, cache = deform_conv2d.forward(x, offset, weight, given, padding=1, kink=kink)
    return deform_conv2d.backward(normal(*y.shape, seed=1), cache)


def test_the_two_rules_differ_only_where_a_coordinate_is_minus_one(backend):
    right, zero = (gradients(np.zeros((1, 18, 4, 5)), kink) for kink in ("right", "zero_outside"))
    ys = np.arange(4)[None, :, None] - 1 + np.repeat(np.arange(3), 3)[:, None, None] + np.zeros(5)
    xs = np.arange(5)[None, None, :] - 1 + np.tile(np.arange(3), 3)[:, None, None] + np.zeros((4, 1))
    outside = (ys <= -1) | (xs <= -1)
    pairs = right.offset.reshape(9, 2, 4, 5).swapaxes(0, 1), zero.offset.reshape(9, 2, 4, 5).swapaxes(0, 1)
    for a, b in zip(*pairs, strict=True):
        assert (b[outside] == 0).all() and (a[outside] != 0).any() and (a[~outside] == b[~outside]).all()
    for name in ("x", "weight", "mask"):
        assert (getattr(right, name) == getattr(zero, name)).all()
    between = normal(1, 18, 4, 5, seed=3)
    for a, b in zip(gradients(between, "right"), gradients(between, "zero_outside"), strict=True):
        assert a is b is None or (a == b).all()


def test_at_zero_offsets_the_offset_gradient_is_the_forward_difference(backend):
    """h inside the next cell: exact, since there the output is linear in one coordinate."""
    x, weight, offset, h = whole(1, 2, 4, 5), whole(3, 2, 3, 3), np.zeros((1, 18, 4, 5)), 0.5
    y, cache = deform_conv2d.forward(x, offset, weight, padding=1)
    dy = whole(*y.shape, seed=1)
    doffset = deform_conv2d.backward(dy, cache).offset
    for channel in range(18):
        moved = offset.copy()
        moved[:, channel] = h
        difference = (dy * (deform(x, moved, weight, padding=1) - y)).sum(1) / h
        assert (difference == doffset[:, channel]).all()


def test_mirrored_maps_mirror_the_gradients_except_on_the_kinks(backend):
    x, weight = normal(1, 2, 4, 5), normal(3, 2, 3, 3)

    def both(offset):
        y, cache = deform_conv2d.forward(x, offset, weight, padding=1)
        mirrored = offset.reshape(1, 3, 3, 2, 4, 5)[:, :, ::-1, :, :, ::-1] * np.array([1.0, -1.0])[:, None, None]
        other = [np.ascontiguousarray(a) for a in (x[..., ::-1], mirrored.reshape(1, 18, 4, 5), weight[..., ::-1])]
        y_other, cache_other = deform_conv2d.forward(*other, padding=1)
        check.assert_close(y_other[..., ::-1], y, "y", noise=1e-15)
        dy = normal(*y.shape, seed=2)
        d = deform_conv2d.backward(dy, cache).offset.reshape(3, 3, 2, 4, 5)
        d_other = deform_conv2d.backward(np.ascontiguousarray(dy[..., ::-1]), cache_other).offset.reshape(3, 3, 2, 4, 5)
        return d, d_other[:, ::-1, :, :, ::-1] * np.array([1.0, -1.0])[:, None, None]

    d, d_other = both(normal(1, 18, 4, 5, seed=5))
    check.assert_close(d_other, d, "doffset", kind="gradient", noise=1e-13)
    d, d_other = both(np.zeros((1, 18, 4, 5)))
    assert np.abs(d - d_other).max() > 0.1 * np.abs(d).max()


def test_nan_and_infinite_offsets_touch_only_their_own_tap(backend):
    x, weight, offset = whole(1, 2, 4, 5), whole(3, 2, 3, 3), np.zeros((1, 18, 4, 5))
    y = deform(x, offset, weight, padding=1)
    offset[0, 3, 2, 1] = np.nan
    offset[0, 6, 1, 3] = np.inf
    moved, cache = deform_conv2d.forward(x, offset, weight, padding=1)
    assert np.isnan(moved[0, :, 2, 1]).all() and np.isnan(moved).sum() == 3
    same = np.ones((4, 5), bool)
    same[2, 1] = same[1, 3] = False
    assert (moved[..., same] == y[..., same]).all()
    grads = deform_conv2d.backward(whole(*y.shape, seed=1), cache)
    assert np.isfinite(grads.x).all() and np.isnan(grads.offset[0, 2:4, 2, 1]).all() and np.isnan(grads.offset).sum() == 2
    assert (grads.offset[0, 6:8, 1, 3] == 0).all()


def test_it_is_the_adjoint_in_x(backend):
    x, weight, offset, mask = normal(2, 4, 5, 6), normal(3, 4, 3, 3), 2 * normal(2, 18, 5, 6), normal(2, 9, 5, 6)
    y, cache = deform_conv2d.forward(x, offset, weight, mask, padding=1)
    dy = normal(*y.shape, seed=1)
    check.assert_close((x * deform_conv2d.backward(dy, cache).x).sum(), (y * dy).sum(), "⟨x, dx⟩", kind="gradient", noise=1e-13)


CALL = (np.zeros((1, 2, 3, 4)), np.zeros((1, 8, 2, 3)), np.zeros((2, 2, 2, 2)))


def test_c1_x_has_four_axes(refuses):
    refuses(deform_conv2d, "C1", "x", np.zeros((2, 3, 4)), *CALL[1:])


def test_c2_weight_fits_the_channels(refuses):
    for shape in [(2, 3, 2, 2), (2, 2, 0, 2), (2, 2, 2)]:
        refuses(deform_conv2d, "C2", "weight", *CALL[:2], np.zeros(shape))


def test_c3_groups_divide_the_channels(refuses):
    refuses(deform_conv2d, "C3", "groups", *CALL, groups=3)
    refuses(deform_conv2d, "C3", "groups", *CALL[:2], np.zeros((3, 1, 2, 2)), groups=2)


def test_c4_offset_groups_divide_the_channels(refuses):
    refuses(deform_conv2d, "C4", "offset_groups", *CALL, offset_groups=3)


def test_c5_the_padded_input_holds_the_kernel(refuses):
    refuses(deform_conv2d, "C5", "x", *CALL[:2], np.zeros((2, 2, 4, 1)))


def test_c6_offset_has_two_values_per_tap_and_pixel(refuses):
    for shape in [(1, 4, 2, 3), (1, 8, 3, 4), (2, 8, 2, 3), (1, 8, 2)]:
        refuses(deform_conv2d, "C6", "offset", CALL[0], np.zeros(shape), CALL[2])
    refuses(deform_conv2d, "C6", "offset", *CALL, offset_groups=2)


def test_c7_mask_has_one_value_per_tap_and_pixel(refuses):
    refuses(deform_conv2d, "C7", "mask", *CALL, np.zeros((1, 4, 3, 4)))
    refuses(deform_conv2d, "C7", "mask", *CALL, np.zeros((1, 8, 2, 3)))


def test_c8_bias_is_one_value_per_output_channel(refuses):
    refuses(deform_conv2d, "C8", "bias", *CALL, None, np.zeros(3))


@pytest.mark.parametrize("kink", ["left", None, 1])
def test_c9_kink_is_a_known_rule(refuses, kink):
    refuses(deform_conv2d, "C9", "kink", *CALL, kink=kink)


def test_nan_reaches_the_offset_also_where_nothing_is_put_out(backend):
    """Without outputs what comes back to a sample is 0; times a slope that is NaN it is NaN."""
    offset = normal(2, 2, 3, 4)
    offset[1, 0, 2, 1] = np.nan
    y, cache = deform_conv2d.forward(normal(2, 3, 3, 4), offset, np.zeros((0, 3, 1, 1)))
    grads = deform_conv2d.backward(np.zeros_like(y), cache)
    assert np.isnan(grads.offset[1, :, 2, 1]).all() and np.isnan(grads.offset).sum() == 2
    assert grads.weight.shape == (0, 3, 1, 1) and not grads.offset[0].any() and not grads.x[0].any()
