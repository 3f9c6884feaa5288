"""Counting: the cost of an operator is the number of products that its definition names, and nothing is computed for it."""

import importlib

import numpy as np
import pytest

import pyhybrid.ops
from pyhybrid.check import cases
from pyhybrid.counting import Macs, counting, placeholder
from pyhybrid.errors import ConstraintError
from pyhybrid.ops import conv2d, local_attention, softmax

COSTLY = {name for name in pyhybrid.ops.__all__ if hasattr(importlib.import_module(f"pyhybrid.ops.{name}"), "macs")}
# Operators that multiply nothing by a weight and no two arrays: they move, add, compare, scale, or apply a function.
FREE = {
    "add", "avg_pool2d", "batch_norm", "batch_norm_act", "bilinear_sample", "drop_path", "elu_plus_one", "erf", "gelu", "global_avg_pool",
    "grid_sample", "group_norm", "instance_norm", "interleave", "layer_norm", "layer_scale", "max_pool2d", "modulation", "reflection_pad",
    "regroup", "relative_bias", "relu", "resize_bilinear", "resize_nearest", "roll", "shift", "shift_sum", "sigmoid", "silu",
    "softmax", "spectrum_resize", "tanh", "unfold", "window_partition", "window_reverse",
}  # fmt: skip


def test_every_operator_says_what_it_costs_or_is_free():
    assert COSTLY | FREE >= set(pyhybrid.ops.__all__) and not COSTLY & FREE


@pytest.mark.parametrize("name", pyhybrid.ops.__all__)
def test_counting_gives_the_shape_of_the_real_output_and_computes_nothing(name):
    module = importlib.import_module(f"pyhybrid.ops.{name}")
    for case in cases.seeded(name, 4):
        y, cache = case.call(module.forward)
        with counting() as calls:
            counted, kept = case.call(module.forward)
        assert [call.operator for call in calls] == [name], "one call, whatever it is made of"
        assert counted.shape == y.shape == calls[0].shape and counted.dtype == y.dtype and not counted.any()
        assert counted.size <= 1 or set(counted.strides) == {0}, "no memory"
        assert type(kept) is type(cache)
        assert calls[0].macs.weights >= 0 and calls[0].macs.products >= 0


def by_definition(name, case):
    """Products counted one by one, by running the definition on numbers that count their multiplications."""

    class Number:
        products = 0

        def __mul__(self, other):
            Number.products += 1
            return self

        __rmul__ = __mul__

        def __add__(self, other):
            return self

        __radd__ = __add__

    def numbers(a):
        made = np.empty(a.shape, object)
        made.ravel()[:] = [Number() for _ in range(a.size)]
        return made

    module = importlib.import_module(f"pyhybrid.ops.{name}")
    with np.errstate(all="ignore"):
        case.map(numbers).call(module.forward.reference)
    return Number.products


@pytest.mark.parametrize("name", ["pointwise_conv", "tap_projection", "linear"])
def test_the_count_is_that_of_the_multiplications_that_run(name):
    module = importlib.import_module(f"pyhybrid.ops.{name}")
    case = next(case for case in cases.seeded(name, 8) if all(a.size for a in case.arrays.values()))
    assert by_definition(name, case) == case.call(module.macs).total


def test_formulas():
    x, weight = np.zeros((2, 6, 5, 7)), np.zeros((4, 3, 3, 1))
    assert conv2d.macs(x, weight, groups=2, padding=(1, 0), stride=2) == Macs(weights=2 * 4 * 3 * 4 * 9)
    q = np.zeros((2, 6, 5, 7))
    assert local_attention.macs(q, q, q, heads=3, kernel_size=5, stride=2) == Macs(products=2 * 25 * 2 * 6 * 3 * 4)


def test_constraints_are_checked_while_counting():
    with counting(), pytest.raises(ConstraintError, match="C2"):
        conv2d.forward(placeholder((1, 3, 4, 4)), placeholder((2, 2, 3, 3)))


def test_counting_nests_and_ends():
    x = np.ones(3)
    with counting() as outer:
        softmax.forward(x)
        with counting() as inner:
            softmax.forward(x)
        softmax.forward(x)
    assert len(inner) == 1 and len(outer) == 2
    assert softmax.forward(x)[0].sum() == 1, "computed again"


def test_macs_add_up():
    assert sum([Macs(1, 2), Macs(3, 4)], Macs()) == Macs(4, 6) and Macs(4, 6).total == 10
    with pytest.raises(TypeError):
        Macs() + 1
