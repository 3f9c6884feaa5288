"""Linear attention: the standard laws; it is attention with normalised weights (I9), moving keys, tails and NaN."""

import naive
import numpy as np
import pytest
from drawn import normal, qkv
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import elu_plus_one, linear_attention, softmax

JUDGE = {"oracle": naive.linear_attention, "oracle_backward": naive.linear_attention_backward, "step": "complex"}


@given(cases.strategy("linear_attention"))
def test_standard(case):
    check.operator(linear_attention, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("linear_attention"))
def test_corners(case):
    check.operator(linear_attention, case, **JUDGE)


@given(cases.strategy("linear_attention"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    with np.errstate(invalid="ignore"):
        check.operator(linear_attention, case, only=["special values"])


def attend(q, k, v, **config):
    return linear_attention.forward(q, k, v, **config)[0]


def pairs(q, k):
    """The weights that linear attention never forms, (B, heads, T, S)."""
    features = [elu_plus_one.forward(x)[0] for x in (q, k)]
    return np.einsum("bntc,bnuc->bntu", *features)


@given(cases.strategy("linear_attention"))
def test_i9_attention_with_the_pairs_written_out(case):
    q, k, v = case.arguments.values()
    kind, eps = case.config["kind"], case.config["eps"]
    if kind == "elu":
        w = pairs(q, k)
        w = w / (w.sum(-1, keepdims=True) + eps)
    else:
        w = np.einsum("bntc,bnuc->bntu", softmax.forward(q)[0], softmax.forward(k, axis=-2)[0])
    noise = 1e-15 * float(np.abs(v).max(initial=0.0))
    check.assert_close(attend(q, k, v, kind=kind, eps=eps), w @ v, "y", noise=noise)
    if eps == 0 or kind == "efficient":
        check.assert_close(w.sum(-1), np.ones(w.shape[:3]), "sum of a row", noise=1e-15)


@pytest.mark.parametrize("kind", ["elu", "efficient"])
def test_a_constant_value_is_kept(backend, kind):
    """Rows of the weights sum to 1."""
    q, k, _ = qkv(2, 3, 7, 4)
    check.assert_close(attend(q, k, np.full((2, 3, 7, 5), 2.5), kind=kind), np.full((2, 3, 7, 5), 2.5), "y", noise=1e-15)


@given(cases.strategy("linear_attention"))
def test_the_order_of_the_keys_does_not_matter(case):
    q, k, v = case.arguments.values()
    order = case.random(1).permutation(k.shape[2])
    moved = attend(q, k[:, :, order], v[:, :, order], **case.config)
    check.assert_close(moved, attend(q, k, v, **case.config), "y", noise=1e-15 * float(np.abs(v).max(initial=0.0)))


def test_eps_pulls_towards_zero(backend):
    q, k, v = np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 4, 1)), np.ones((1, 1, 4, 1))
    assert attend(q, k, v) == 1 and attend(q, k, v, eps=4.0) == 0.5
    assert attend(q, k, v, kind="efficient", eps=4.0) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_in_the_thousands_stay_finite(backend, dtype):
    q, k, v = ((3000 * x).astype(dtype) for x in qkv(1, 2, 6, 3))
    y, cache = linear_attention.forward(q, k, v, kind="efficient")
    grads = linear_attention.backward(np.ones_like(y), cache)
    assert np.isfinite(y).all() and all(np.isfinite(g).all() for g in grads)


def test_a_query_without_weight_is_nan_and_alone_so(backend):
    q, k, v = qkv(1, 1, 4, 3)
    q[0, 0, 2] = -1000
    with np.errstate(invalid="ignore"):
        y = attend(q, k, v)
        assert np.isfinite(attend(q, k, v, eps=1e-6)).all()
    assert (np.isnan(y[0, 0]).any(-1) == [False, False, True, False]).all()


def test_many_tokens(backend):
    """More than any block holds, and values wider than a vector."""
    for kind in ("elu", "efficient"):
        arrays = {"q": normal(1, 2, 300, 7), "k": normal(1, 2, 700, 7), "v": normal(1, 2, 700, 37)}
        case = check.Case(arrays, {"kind": kind, "eps": 0.0}, 3)
        check.operator(linear_attention, case, only=["parity", "adjoint", "batch"])


def test_c1_queries_keys_and_values_belong_together(refuses):
    x = np.zeros((2, 3, 4, 5))
    refuses(linear_attention, "C1", "q", x[0], x[0], x[0])
    refuses(linear_attention, "C1", "k", x, np.zeros((2, 3, 4, 6)), x)
    refuses(linear_attention, "C1", "k", x, np.zeros((2, 1, 4, 5)), x)
    refuses(linear_attention, "C1", "v", x, x, np.zeros((2, 3, 5, 5)))


def test_c2_there_is_a_key_and_a_channel(refuses):
    refuses(linear_attention, "C2", "k", np.zeros((1, 1, 2, 3)), np.zeros((1, 1, 0, 3)), np.zeros((1, 1, 0, 3)))
    refuses(linear_attention, "C2", "k", np.zeros((1, 1, 2, 0)), np.zeros((1, 1, 2, 0)), np.zeros((1, 1, 2, 3)))


def test_c3_kind_is_known(refuses):
    x = np.zeros((1, 1, 2, 3))
    refuses(linear_attention, "C3", "kind", x, x, x, kind="softmax")
    refuses(linear_attention, "C3", "kind", x, x, x, kind=None)


def test_c4_eps_is_a_finite_number(refuses):
    x = np.zeros((1, 1, 2, 3))
    for eps in (-1e-6, np.inf, np.nan, "small"):
        refuses(linear_attention, "C4", "eps", x, x, x, eps=eps)
