"""The statements about gnConv and global filters catch broken operators; exact numbers of any length are what they say."""

from functools import partial

import numpy as np
import pytest
from proofs.failing import failing_steps as steps_that_fail

from pyhybrid import backend, proofs
from pyhybrid.ops import attention, conv2d, gate_chain, gated_conv, global_filter, gn_conv
from pyhybrid.proofs import Counterexample, Proof, Step, _check, check
from pyhybrid.proofs._draw import Draw, World


@pytest.fixture(autouse=True)
def reference():
    with backend.use("numpy"):
        yield


failing_steps = partial(steps_that_fail, draws=1)
DEGREE, MATRIX = "gnconv_has_degree_order_plus_one", "gnconv_is_a_matrix_at_every_pixel"
EULER, FILTER = "gnconv_gradients_share_by_degree", "global_filter_is_a_circular_convolution"
COLUMNS = "global_filter_has_redundant_columns"


def test_a_chain_that_scales_once_instead_of_every_time_is_found(monkeypatch):
    right = gate_chain.forward

    def wrong(p0, filtered, weight=None, bias=None, *, order, scale=1):
        y, cache = right(p0, filtered, weight, bias, order=order)
        return scale * y, cache

    monkeypatch.setattr(gate_chain, "forward", wrong)
    # It is a polynomial of the right degree still; the recursion and the matrices have s^n.
    assert failing_steps(DEGREE) == [1, 4]
    assert failing_steps(MATRIX) == [1]
    assert failing_steps(f"{MATRIX}.support") == [1, 3]
    assert failing_steps("gnconv_of_order_one_is_a_gated_convolution") == []


def test_gates_on_the_wrong_channels_are_found(monkeypatch):
    """From the second gate on: at order 1 nothing changes."""
    right = gate_chain.gates
    monkeypatch.setattr(gate_chain, "gates", lambda filtered, order: [
        np.roll(f, 1, axis=1) if k else f for k, f in enumerate(right(filtered, order))])
    assert failing_steps(DEGREE) == [1, 4]
    assert failing_steps(f"{DEGREE}.homogeneous") == [1, 3]
    assert failing_steps("gnconv_of_order_one_is_a_gated_convolution") == []


def test_a_gate_that_bends_has_no_degree(monkeypatch):
    right = gate_chain.forward
    monkeypatch.setattr(gate_chain, "forward", lambda p0, *rest, **config: right(abs(p0), *rest, **config))
    assert failing_steps(f"{DEGREE}.vanishes") == [2]
    assert failing_steps(f"{MATRIX}.neighbours") == []          # p_0 stands still there, and |p_0| does too
    assert failing_steps(DEGREE) == [1, 4]


@pytest.mark.parametrize("field", ["x", "proj_in_weight", "dwconv_weight", "pws_weight", "proj_out_weight"])
def test_a_gradient_that_is_off_by_a_factor_is_found(monkeypatch, field):
    right = gn_conv.backward

    def wrong(dy, cache):
        grads = right(dy, cache)
        value = getattr(grads, field)
        return grads._replace(**{field: None if value is None else 2 * value})

    monkeypatch.setattr(gn_conv, "backward", wrong)
    assert failing_steps(EULER) == [1]
    assert failing_steps(f"{EULER}.slope") == ([1] if field == "x" else [])


def test_a_convolution_around_the_border_is_found(monkeypatch):
    right = conv2d.forward

    def wrapped(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
        (r, s), (H, W) = np.broadcast_to(padding, 2), x.shape[2:]
        wide = x[:, :, np.arange(-r, H + r) % H][..., np.arange(-s, W + s) % W]
        return right(wide, weight, bias, stride=stride, padding=0, dilation=dilation, groups=groups)

    monkeypatch.setattr(conv2d, "forward", wrapped)
    assert failing_steps("gnconv_of_order_one_is_a_gated_convolution") == [1, 2]
    assert failing_steps(f"{FILTER}.zero_padded") == [1]
    # What is claimed is claimed inside, where nothing is read from beyond.
    assert failing_steps("gnconv_and_filters_move_with_the_image") == []


def broken_filter(monkeypatch, change):
    right = global_filter.forward
    monkeypatch.setattr(global_filter, "forward", lambda x, weight: right(x, np.ascontiguousarray(change(weight))))


def test_a_filter_with_conjugated_weights_is_found(monkeypatch):
    broken_filter(monkeypatch, lambda weight: weight * [1, -1])
    assert failing_steps(FILTER) == [1, 3]
    assert failing_steps(f"{FILTER}.depthwise") == [2]
    assert failing_steps(f"{COLUMNS}.adjoint") == [1, 3, 4]


def test_a_filter_that_counts_a_column_wrongly_is_found(monkeypatch):
    """Column 1 taken for one that is its own mirror image: half of it would be enough."""
    broken_filter(monkeypatch, lambda weight: weight * np.where(np.arange(weight.shape[2]) == 1, 0.5, 1.0)[:, None])
    assert failing_steps(FILTER) == [1, 3]
    assert 2 in failing_steps(f"{FILTER}.depthwise")
    assert failing_steps(f"{COLUMNS}.composition") == [1, 2]


def test_a_filter_whose_self_conjugate_column_acts_as_a_whole_is_found(monkeypatch):
    """|w| in the first column: then the part that must not act does."""
    def change(weight):
        changed = weight.copy()
        changed[:, :, 0, 0] = np.hypot(weight[:, :, 0, 0], weight[:, :, 0, 1])
        return changed

    broken_filter(monkeypatch, change)
    assert 1 in failing_steps(COLUMNS)


def test_the_adjoint_of_the_backward_is_judged(monkeypatch):
    right = global_filter.backward
    monkeypatch.setattr(global_filter, "backward", lambda dy, cache: right(dy, cache._replace(weight=cache.weight * [1, -1])))
    assert failing_steps(f"{COLUMNS}.adjoint") == [4]


def test_degrees_are_judged(monkeypatch):
    forward = gated_conv.forward
    monkeypatch.setattr(gated_conv, "forward", lambda p, *rest: forward(abs(p), *rest))
    assert failing_steps("degree_tells_operators_apart.gate") == [1, 3]
    monkeypatch.setattr(attention, "forward", lambda q, k, v, *rest, right=attention.forward, **config: right(q, k, 2 * v, *rest, **config))
    assert failing_steps("degree_tells_operators_apart.softmax_attention") == [1]


def test_a_cost_that_forgets_the_gates_is_found(monkeypatch):
    right = gn_conv.macs
    monkeypatch.setattr(gn_conv, "macs", lambda *arrays, **config: right(*arrays, **config)._replace(products=0))
    assert failing_steps("gnconv_costs_less_than_a_bound_for_every_order") == [1]
    assert failing_steps("gnconv_costs_less_than_a_bound_for_every_order.bound") == [1]


# Integers of any length.


def sixth_power(right):
    world = lambda draw: World(a=draw("a", 3), b=draw("b", 3))
    return Proof("power", "t", "s", ("h",), "d", "s", world, ({},), ({},),
                 (Step("(a + b)^6", lambda w: (w.a + w.b) ** 6), Step("right", right, "r")),
                 (Counterexample("a minus", world, {}, Step("a", lambda w: w.a), Step("-a", lambda w: -w.a)),), degree=6)


def test_high_degrees_are_judged_on_integers_that_are_never_rounded():
    verdict = check(sixth_power(lambda w: (w.b + w.a) ** 6))
    assert verdict.holds and verdict.backends == ("numpy",) and verdict.survival < 1e-15
    # In float64 the last digit would be lost: the numbers reach 6·10^37.
    assert not check(sixth_power(lambda w: (w.b + w.a) ** 6 + 1)).holds


def test_low_degrees_stay_in_float64():
    kinds = {proof.name: _check.kind_of(proof) for proof in proofs.every()}
    assert kinds[DEGREE] == "wholes" and kinds["conv_is_shift_and_sum.odd"] == "integers" and kinds[FILTER] == "integers"


def test_whole_draws_are_integers_of_python():
    x = Draw("wholes", [0], 10**6)("x", 50)
    assert x.dtype == object and {type(entry) for entry in x} == {int} and max(abs(x)) > 10**5
    assert Draw("wholes", [0], 3).exact and not x.flags.writeable
