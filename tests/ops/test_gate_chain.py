"""The chain of gates: the standard laws; homogeneity, linearity in every factor, packing, and the size of powers of the scale."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import gate_chain, pointwise_conv

JUDGE = {"oracle": naive.gate_chain, "oracle_backward": naive.gate_chain_backward, "step": "complex"}


@given(cases.strategy("gate_chain"))
def test_standard(case):
    check.operator(gate_chain, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("gate_chain"))
def test_corners(case):
    check.operator(gate_chain, case, **JUDGE)


@given(cases.strategy("gate_chain"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(gate_chain, case, only=["special values"])


def draw(seed, *shapes):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) for shape in shapes]


def chain(order=3, C0=2, seed=1):
    """p0, filtered, weight, bias of a chain on two small maps."""
    shapes = gate_chain.projections(C0, order)
    size, rows = sum(O * C for O, C in shapes), sum(O for O, _ in shapes)
    return draw(seed, (2, C0, 3, 4), (2, (2**order - 1) * C0, 3, 4), (size,), (rows,))


def test_it_is_gates_and_projections_in_turn(backend):
    p0, filtered, weight, bias = chain()
    (W1, W2), (b1, b2) = gate_chain.unpack(weight, bias, 2, 3)
    f0, f1, f2 = gate_chain.gates(filtered, 3)
    p = f0 * p0 / 2
    p = f1 * pointwise_conv.forward(p, W1, b1)[0] / 2
    p = f2 * pointwise_conv.forward(p, W2, b2)[0] / 2
    check.assert_close(gate_chain.forward(p0, filtered, weight, bias, order=3, scale=0.5)[0], p, "y")


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_without_biases_y_is_homogeneous_of_degree_order_in_the_gates(backend, order):
    """Powers of two: not one bit differs."""
    p0, filtered, weight, _ = chain(order)
    y, _ = gate_chain.forward(p0, filtered, weight, order=order)
    assert (gate_chain.forward(p0, 2 * filtered, weight, order=order)[0] == 2**order * y).all()
    assert (gate_chain.forward(2 * p0, filtered, weight, order=order)[0] == 2 * y).all()
    assert (gate_chain.forward(p0, filtered, weight, order=order, scale=0.5)[0] == y / 2**order).all()


def test_y_is_linear_in_each_gate_alone(backend):
    """And not in all of them together."""
    p0, filtered, weight, bias = chain()
    other, = draw(2, filtered.shape)
    value = lambda f: gate_chain.forward(p0, f, weight, bias, order=3)[0]
    for k, (first, last) in enumerate([(0, 2), (2, 6), (6, 14)]):
        here, there, mean = filtered.copy(), filtered.copy(), filtered.copy()
        there[:, first:last] = other[:, first:last]
        mean[:, first:last] = (here[:, first:last] + there[:, first:last]) / 2
        check.assert_close(value(mean), (value(here) + value(there)) / 2, f"gate {k}", noise=1e-14)
    both = value((filtered + other) / 2) - (value(filtered) + value(other)) / 2
    assert np.abs(both).max() > 0.1


def test_without_biases_every_factor_has_the_same_share_of_the_loss(backend):
    """Euler: <p0, dp0> = <f_k, df_k> = <W_k, dW_k> = <dy, y> for each k."""
    p0, filtered, weight, _ = chain()
    y, cache = gate_chain.forward(p0, filtered, weight, order=3, scale=1 / 3)
    dy, = draw(3, y.shape)
    loss, grads = (dy * y).sum(), gate_chain.backward(dy, cache)
    shares = [(p0 * grads.p0).sum()]
    shares += [(f * df).sum() for f, df in zip(gate_chain.gates(filtered, 3), gate_chain.gates(grads.filtered, 3), strict=True)]
    shares += [(W * dW).sum() for W, dW in zip(*(gate_chain.unpack(a, None, 2, 3)[0] for a in (weight, grads.weight)), strict=True)]
    check.assert_close(np.array(shares), np.full(6, loss), "shares", noise=1e-14 * np.abs(dy * y).sum())


def test_packing_is_undone_by_unpacking():
    Ws, bs = draw(4, (4, 2), (8, 4)), draw(5, (4,), (8,))
    weight, bias = gate_chain.pack(Ws, bs)
    assert weight.shape == (40,) and bias.shape == (12,) and gate_chain.pack([], []) == (None, None)
    back, biases = gate_chain.unpack(weight, bias, 2, 3)
    assert [W.shape for W in back] == [(4, 2, 1, 1), (8, 4, 1, 1)] and all(np.shares_memory(W, weight) for W in back)
    assert all((W[:, :, 0, 0] == V).all() for W, V in zip(back, Ws, strict=True))
    assert all((b == c).all() for b, c in zip(biases, bs, strict=True))
    again, none = gate_chain.pack(back)
    assert (again == weight).all() and none is None


def test_order_1_is_one_product(backend):
    p0, filtered = draw(6, (2, 3, 4, 5), (2, 3, 4, 5))
    y, cache = gate_chain.forward(p0, filtered, order=1, scale=0.5)
    assert (y == 0.5 * filtered * p0).all() and cache.u.shape == (2, 0, 4, 5)
    with_empty, cache = gate_chain.forward(p0, filtered, np.zeros(0), np.zeros(0), order=1, scale=0.5)
    assert (with_empty == y).all()
    assert [g.shape for g in gate_chain.backward(y, cache)[2:]] == [(0,), (0,)]


P0, FILTERED, WEIGHT = np.zeros((1, 2, 3, 3)), np.zeros((1, 6, 3, 3)), np.zeros(8)


def test_c1_order_has_an_end(refuses):
    refuses(gate_chain, "C1", "order", P0, FILTERED, WEIGHT, order=31)
    with pytest.raises(ValueError, match="order must be a whole number from 1"):
        gate_chain.forward(P0, FILTERED, WEIGHT, order=0)


def test_c2_p0_has_four_axes_and_a_channel(refuses):
    refuses(gate_chain, "C2", "p0", np.zeros((2, 3, 3)), FILTERED, WEIGHT, order=2)
    refuses(gate_chain, "C2", "p0", np.zeros((1, 0, 3, 3)), np.zeros((1, 0, 3, 3)), WEIGHT, order=2)


def test_c3_filtered_has_a_gate_of_twice_the_width_for_every_step(refuses):
    for shape in [(1, 5, 3, 3), (2, 6, 3, 3), (1, 6, 3, 4), (6, 3, 3), (1, 14, 3, 3)]:
        refuses(gate_chain, "C3", "filtered", P0, np.zeros(shape), WEIGHT, order=2)


def test_c4_weight_holds_the_projections(refuses):
    for weight in [None, np.zeros(7), np.zeros((4, 2))]:
        refuses(gate_chain, "C4", "weight", P0, FILTERED, weight, order=2)
    refuses(gate_chain, "C4", "weight", P0, P0, np.zeros(1), order=1)


def test_c5_bias_holds_a_value_per_output(refuses):
    for bias in [np.zeros(2), np.zeros((4, 1))]:
        refuses(gate_chain, "C5", "bias", P0, FILTERED, WEIGHT, bias, order=2)


@pytest.mark.parametrize("scale", [np.inf, np.nan, "1", None, 1j])
def test_c6_scale_is_a_number(refuses, scale):
    refuses(gate_chain, "C6", "scale", P0, FILTERED, WEIGHT, order=2, scale=scale)
