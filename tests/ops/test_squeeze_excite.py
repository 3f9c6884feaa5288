"""Squeeze and excitation: the standard laws; the gate lies between 0 and 1, what it depends on, NaN."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import gelu, global_avg_pool, linear, relu, sigmoid, silu, squeeze_excite

JUDGE = {"oracle": naive.squeeze_excite, "oracle_backward": naive.squeeze_excite_backward, "step": "complex"}


@given(cases.strategy("squeeze_excite"))
def test_standard(case):
    check.operator(squeeze_excite, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("squeeze_excite"))
def test_corners(case):
    check.operator(squeeze_excite, case, **JUDGE)


@given(cases.strategy("squeeze_excite"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(squeeze_excite, case, only=["special values"])


def test_i8_a_closed_bottleneck_halves(backend):
    """V₂ = 0 and b₂ = 0 make every gate σ(0)."""
    x = normal(2, 3, 4, 5)
    y, _ = squeeze_excite.forward(x, normal(2, 3), np.zeros((3, 2)), normal(2), np.zeros(3))
    assert (y == x / 2).all()


def test_no_bottleneck_at_all_is_a_constant_gate(backend):
    """R = 0, which a quarter of three channels rounds to: every gate is σ(b₂)."""
    x, b2 = normal(2, 3, 4, 5), normal(3)
    y, cache = squeeze_excite.forward(x, np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0), b2)
    check.assert_close(y, x * sigmoid.forward(b2)[0][:, None, None], "y")
    dy = normal(*y.shape, seed=1)
    check.assert_close(squeeze_excite.backward(dy, cache).x, dy * sigmoid.forward(b2)[0][:, None, None], "dx")


@given(cases.strategy("squeeze_excite"))
def test_i8_gates_lie_between_zero_and_one(case):
    y, cache = case.call(squeeze_excite.forward)
    s = squeeze_excite.gate(cache)
    assert (s >= 0).all() and (s <= 1).all() and s.shape == y.shape[:2]
    x = case.arrays["x"]
    check.assert_close(y, x * s[:, :, None, None], "y")


@pytest.mark.parametrize("activation", ["silu", "relu", "gelu"])
def test_it_is_a_pool_two_linear_maps_and_a_gate(backend, activation):
    x, V1, V2, b1, b2 = normal(2, 5, 3, 4), normal(3, 5), normal(5, 3), normal(3), normal(5)
    u, _ = global_avg_pool.forward(x)
    z, _ = {"silu": silu, "relu": relu, "gelu": gelu}[activation].forward(linear.forward(u, V1, b1)[0])
    s, _ = sigmoid.forward(linear.forward(z, V2, b2)[0])
    y, cache = squeeze_excite.forward(x, V1, V2, b1, b2, activation=activation)
    check.assert_close(y, x * s[:, :, None, None], "y")
    check.assert_close(cache.u, u, "u")


def test_where_a_pixel_lies_does_not_matter(backend):
    """The gate knows the mean only: moving the pixels moves the output with them."""
    x, V1, V2 = normal(1, 4, 3, 4), normal(2, 4), normal(4, 2)
    order = np.random.default_rng(3).permutation(12)
    moved = np.ascontiguousarray(x.reshape(1, 4, 12)[:, :, order]).reshape(x.shape)
    y, same = (squeeze_excite.forward(a, V1, V2)[0].reshape(1, 4, 12) for a in (x, moved))
    check.assert_close(same, y[:, :, order], "y")


def test_an_image_with_nan_spoils_itself_alone(backend):
    """One pixel in one channel reaches every channel of its image through the mean."""
    x = normal(3, 4, 3, 4)
    x[1, 2, 0, 0] = np.nan
    y, _ = squeeze_excite.forward(x, normal(2, 4), normal(4, 2))
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


def test_large_maps_in_several_tasks(backend):
    weights = {"reduce_weight": normal(2, 3), "expand_weight": normal(3, 2), "reduce_bias": None, "expand_bias": normal(3)}
    case = check.Case({"x": normal(2, 3, 61, 67), **weights}, {"activation": "gelu"}, 5, batched=("x",))
    check.operator(squeeze_excite, case, only=["parity", "batch"])


def test_c1_x_is_a_batch_of_maps(refuses):
    refuses(squeeze_excite, "C1", "x", np.zeros((2, 3, 4)), np.zeros((1, 3)), np.zeros((3, 1)))


def test_c2_weights_fit_the_channels_and_one_another(refuses):
    x = np.zeros((1, 3, 2, 2))
    refuses(squeeze_excite, "C2", "reduce_weight", x, np.zeros((1, 4)), np.zeros((4, 1)))
    refuses(squeeze_excite, "C2", "expand_weight", x, np.zeros((1, 3)), np.zeros((3, 2)))
    refuses(squeeze_excite, "C2", "reduce_weight", x, np.zeros((1, 3, 1, 1)), np.zeros((3, 1)))


def test_c3_biases_are_one_value_per_row(refuses):
    x, V1, V2 = np.zeros((1, 3, 2, 2)), np.zeros((2, 3)), np.zeros((3, 2))
    refuses(squeeze_excite, "C3", "reduce_bias", x, V1, V2, np.zeros(3))
    refuses(squeeze_excite, "C3", "expand_bias", x, V1, V2, np.zeros(2), np.zeros(2))


def test_c4_no_mean_of_nothing(refuses):
    refuses(squeeze_excite, "C4", "x", np.zeros((1, 3, 0, 2)), np.zeros((2, 3)), np.zeros((3, 2)))


def test_c5_activation_is_known(refuses):
    x, V1, V2 = np.zeros((1, 3, 2, 2)), np.zeros((2, 3)), np.zeros((3, 2))
    refuses(squeeze_excite, "C5", "activation", x, V1, V2, activation="tanh")
    refuses(squeeze_excite, "C5", "activation", x, V1, V2, activation=None)
