"""Batch normalisation with its activation: the standard laws; the same as one after the other, to the bit, and nothing kept between."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import batch_norm, batch_norm_act

JUDGE = {"oracle": naive.batch_norm_act, "oracle_backward": naive.batch_norm_act_backward, "step": "complex"}
ONES = (np.ones(3), np.zeros(3))


@given(cases.strategy("batch_norm_act"))
def test_standard(case):
    check.operator(batch_norm_act, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("batch_norm_act"))
def test_corners(case):
    check.operator(batch_norm_act, case, **JUDGE)


@given(cases.strategy("batch_norm_act"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(batch_norm_act, case, only=["special values"])


@pytest.mark.parametrize("activation", batch_norm_act.ACTIVATIONS)
@pytest.mark.parametrize("evaluation", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (3, 3, 7, 7), (2, 3, 40, 41), (1, 3, 6, 6)])
def test_the_same_bits_as_one_after_the_other(backend, shape, evaluation, activation):
    x, weight, bias, dy = normal(*shape), normal(3), normal(3), normal(*shape)
    running = (normal(3), normal(3) ** 2) if evaluation else ()
    act = batch_norm_act.ACTIVATIONS[activation]
    z, norm = batch_norm.forward(x, weight, bias, *running, eps=1e-3)
    expected, kept = act.forward(z)
    y, cache = batch_norm_act.forward(x, weight, bias, *running, eps=1e-3, activation=activation)
    assert (y == expected).all() and (cache.mean == norm.mean).all() and (cache.var == norm.var).all()
    found, one_by_one = batch_norm_act.backward(dy, cache), batch_norm.backward(act.backward(dy, kept).x, norm)
    for name, a, b in zip(found._fields, found, one_by_one, strict=True):
        assert (a is None and b is None) or (a == b).all(), name


def test_running_statistics_follow_it_too(backend):
    x, weight, bias = normal(4, 3, 5, 5), normal(3), normal(3)
    found, expected = (operator.forward(x, weight, bias)[1] for operator in (batch_norm_act, batch_norm))
    moved = [batch_norm.running_statistics(cache, *ONES, momentum=0.3) for cache in (found, expected)]
    assert (moved[0][0] == moved[1][0]).all() and (moved[0][1] == moved[1][1]).all()


def test_nothing_of_the_size_of_x_is_kept_but_x(backend):
    x = normal(2, 3, 5, 5)
    _, cache = batch_norm_act.forward(x, *ONES)
    assert [value is x for value in cache if getattr(value, "shape", None) == x.shape] == [True]


@pytest.mark.parametrize("activation", ["tanh", "", None, 3, ["gelu"]])
def test_c1_activation_is_one_of_three(refuses, activation):
    refuses(batch_norm_act, "C1", "activation", np.zeros((2, 3)), *ONES, activation=activation)


def test_all_else_is_refused_by_batch_norm():
    with pytest.raises(ValueError, match=r"batch_norm \(C2\)"):
        batch_norm_act.forward(np.zeros((2, 3)), np.ones(4), np.zeros(3))
