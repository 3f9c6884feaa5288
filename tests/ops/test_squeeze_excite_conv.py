"""Squeeze and excitation before a pointwise convolution: the standard laws; the same as the two one after the other."""

import naive
import numpy as np
import pytest
from drawn import normal
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import pointwise_conv, squeeze_excite, squeeze_excite_conv

JUDGE = {"oracle": naive.squeeze_excite_conv, "oracle_backward": naive.squeeze_excite_conv_backward, "step": "complex"}


def arguments(N=2, C=6, R=3, O=5, size=(4, 5), biases=True):
    of_gate = (normal(R), normal(C)) if biases else (None, None)
    return [normal(N, C, *size), normal(R, C), normal(C, R), normal(O, C, 1, 1), *of_gate, normal(O) if biases else None]


@given(cases.strategy("squeeze_excite_conv"))
def test_standard(case):
    check.operator(squeeze_excite_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("squeeze_excite_conv"))
def test_corners(case):
    check.operator(squeeze_excite_conv, case, **JUDGE)


@given(cases.strategy("squeeze_excite_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(squeeze_excite_conv, case, only=["special values"])


@pytest.mark.parametrize("case", [case for case in cases.corners("squeeze_excite_conv") if case.arrays["x"].size])
def test_nan_and_inf_in_every_corner(case):
    """Where the kernel would exchange sums over pixels and over outputs as well."""
    check.operator(squeeze_excite_conv, case, only=["special values"])


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("O", [3, 20, 21, 40])
def test_as_one_after_the_other(backend, O, biases):
    """The kernel of each image, or the gated maps: more outputs than the 20 pixels decide for the latter."""
    x, V1, V2, weight, b1, b2, bias = arguments(O=O, biases=biases)
    y, cache = squeeze_excite_conv.forward(x, V1, V2, weight, b1, b2, bias, activation="gelu")
    gated, on_gate = squeeze_excite.forward(x, V1, V2, b1, b2, activation="gelu")
    expected, on_conv = pointwise_conv.forward(gated, weight, bias)
    dy = normal(*y.shape)
    grads, of_conv = squeeze_excite_conv.backward(dy, cache), pointwise_conv.backward(dy, on_conv)
    of_gate = squeeze_excite.backward(of_conv.x, on_gate)
    one_by_one = [*of_gate[:3], of_conv.weight, *of_gate[3:], of_conv.bias]
    check.assert_close(y, expected, "y")
    for name, found, own in zip(grads._fields, grads, one_by_one, strict=True):
        assert (found is None) == (own is None)
        if own is not None:
            check.assert_close(found, own, f"d{name}")


def test_an_open_gate_leaves_the_convolution(backend):
    x, V1, V2, weight, b1, _, bias = arguments()
    y, _ = squeeze_excite_conv.forward(x, V1, 0 * V2, weight, b1, np.full(6, 50.0), bias)
    check.assert_close(y, pointwise_conv.forward(x, weight, bias)[0], "y")


def test_nothing_of_the_size_of_the_maps_is_kept_but_x(backend):
    x, *others = arguments()
    _, cache = squeeze_excite_conv.forward(x, *others)
    assert [value is x for value in cache if getattr(value, "size", 0) >= x.size] == [True]


@pytest.mark.parametrize("shape", [(5, 7, 1, 1), (5, 6, 3, 3), (5, 6), (5, 6, 1, 2), ()])
def test_c1_a_kernel_of_one_tap_on_all_channels(refuses, shape):
    x, V1, V2, _, *biases = arguments()
    refuses(squeeze_excite_conv, "C1", "weight", x, V1, V2, np.zeros(shape), *biases[:2])


@pytest.mark.parametrize("shape", [(6,), (1,), (5, 1)])
def test_c2_one_bias_per_output(refuses, shape):
    refuses(squeeze_excite_conv, "C2", "bias", *arguments()[:-1], np.zeros(shape))


def test_all_else_is_refused_by_squeeze_excite():
    empty = np.zeros((2, 6, 0, 4))
    for label, place, array in [("C1", 0, empty[0]), ("C2", 1, np.zeros((3, 5))), ("C3", 4, np.zeros(4)), ("C4", 0, empty)]:
        given = arguments()
        given[place] = array
        with pytest.raises(ValueError, match=rf"squeeze_excite \({label}\)"):
            squeeze_excite_conv.forward(*given)
