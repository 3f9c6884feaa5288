"""MBConv's hidden maps: the standard laws; the same as its three operators one after the other, to the bit, and nothing kept between."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import batch_norm_act, conv2d, mbconv_hidden

JUDGE = {"oracle": naive.mbconv_hidden, "oracle_backward": naive.mbconv_hidden_backward, "step": "complex"}
C = 5
STEPS = [{}, {"stride": 2}, {"stride": (2, 1), "padding": (0, 2)}]


def arguments(evaluation=False, kernel=(3, 3), size=(9, 8)):
    vectors = [normal(C) for _ in range(4)]
    statistics = [normal(C), normal(C) ** 2, normal(C), normal(C) ** 2] if evaluation else []
    return [normal(2, C, *size), *vectors[:2], normal(C, 1, *kernel), *vectors[2:], *statistics]


@given(cases.strategy("mbconv_hidden"))
def test_standard(case):
    check.operator(mbconv_hidden, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("mbconv_hidden"))
def test_corners(case):
    check.operator(mbconv_hidden, case, **JUDGE)


@given(cases.strategy("mbconv_hidden"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    """But for one product: of whole numbers h can equal its mean, and infinity times 0 or times a rounding error is a matter of order."""
    results = check.laws(mbconv_hidden, case, only=["special values"])
    by_order = "whole values" in repr(case)
    broken = [r.detail for r in results if not r.passed and not (by_order and "inf in out_weight" in r.detail)]
    assert results and not broken, f"{case!r}: {broken}"


@pytest.mark.parametrize("activation", batch_norm_act.ACTIVATIONS)
@pytest.mark.parametrize("evaluation", [False, True])
@pytest.mark.parametrize("steps", STEPS)
def test_the_same_bits_as_one_after_the_other(backend, steps, evaluation, activation):
    x, w1, b1, weight, w2, b2, *statistics = arguments(evaluation)
    norm = {"eps": 1e-3, "activation": activation}
    y, cache = mbconv_hidden.forward(x, w1, b1, weight, w2, b2, *statistics, **norm, **steps)
    a, on_x = batch_norm_act.forward(x, w1, b1, *statistics[:2], **norm)
    h, on_a = conv2d.forward(a, weight, groups=C, **{"padding": 1, **steps})
    expected, on_h = batch_norm_act.forward(h, w2, b2, *statistics[2:], **norm)
    assert (y == expected).all()
    kept = zip(cache[-4:], (on_x.mean, on_x.var, on_h.mean, on_h.var), strict=True)
    assert all((found == own).all() for found, own in kept)
    dy = normal(*y.shape)
    dh = batch_norm_act.backward(dy, on_h)
    da = conv2d.backward(dh.x, on_a)
    dx = batch_norm_act.backward(da.x, on_x)
    one_by_one = [*dx[:3], da.weight, *dh[1:3], *dx[3:], *dh[3:]]
    for name, found, own in zip(mbconv_hidden.Grads._fields, mbconv_hidden.backward(dy, cache), one_by_one, strict=True):
        assert (found is None and own is None) or (found == own).all(), name


def test_nothing_of_the_size_of_the_maps_is_kept_but_x(backend):
    x, *others = arguments()
    y, cache = mbconv_hidden.forward(x, *others)
    assert y.shape == x.shape and [value is x for value in cache if getattr(value, "shape", None) == x.shape] == [True]


@pytest.mark.parametrize("shape", [(2, 0, 4, 4), (C, 4, 4), (C, 4), ()])
def test_c1_maps_with_channels(refuses, shape):
    refuses(mbconv_hidden, "C1", "x", np.zeros(shape), *arguments()[1:])


@pytest.mark.parametrize("shape", [(C, C, 3, 3), (2 * C, 1, 3, 3), (C, 1, 3), (1, 1, 3, 3)])
def test_c2_one_kernel_per_channel(refuses, shape):
    x, w1, b1, _, *others = arguments()
    refuses(mbconv_hidden, "C2", "weight", x, w1, b1, np.zeros(shape), *others)


@pytest.mark.parametrize("missing", range(4))
def test_c3_all_statistics_or_none(refuses, missing):
    given = arguments(evaluation=True)
    given[6 + missing] = None
    refuses(mbconv_hidden, "C3", "in_mean", *given)
    refuses(mbconv_hidden, "C3", "out_var", *(a if k < 6 or k == 6 + missing else None for k, a in enumerate(arguments(evaluation=True))))


def test_all_else_is_refused_by_its_parts():
    x, *others = arguments()
    changes = [("batch_norm", "C2", 1, np.ones(6)), ("batch_norm", "C2", 4, np.ones(C - 1)), ("conv2d", "C5", 3, np.ones((C, 1, 9, 12)))]
    for operator, label, place, array in changes:
        given = [x, *others]
        given[place] = array
        with pytest.raises(ValueError, match=rf"{operator} \({label}\)"):
            mbconv_hidden.forward(*given)
    with pytest.raises(ValueError, match=r"batch_norm_act \(C1\)"):
        mbconv_hidden.forward(x, *others, activation="tanh")
