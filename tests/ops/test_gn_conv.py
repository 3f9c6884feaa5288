"""gnConv: the standard laws; its exact degree, its support, its reach, and what scaling does to it."""

from fractions import Fraction
from math import comb, factorial

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import conv2d, gate_chain, gn_conv, pointwise_conv

JUDGE = {"oracle": naive.gn_conv, "oracle_backward": naive.gn_conv_backward, "step": "complex"}


@given(cases.strategy("gn_conv"))
def test_standard(case):
    check.operator(gn_conv, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("gn_conv"))
def test_corners(case):
    check.operator(gn_conv, case, **JUDGE)


@given(cases.strategy("gn_conv"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(gn_conv, case, only=["special values"])


ORDERS = [1, 2, 3, 4, 5]
NAMES = gn_conv.Grads._fields


def exact(*shape, seed=0):
    """Python whole numbers from -3 to 3."""
    return np.random.default_rng([seed, *shape]).integers(-3, 4, shape).astype(object)


def sizes(order, C, inputs=None, outputs=None, k=3):
    """Shapes of all arrays of a gnConv of width C, by name; the map is 3 x 4."""
    C0, inputs, outputs = C // 2 ** (order - 1), inputs or C, outputs or C
    shapes = gate_chain.projections(C0, order)
    weights, rows = sum(O * I for O, I in shapes), sum(O for O, _ in shapes)
    every = [(1, inputs, 3, 4), (2 * C, inputs, 1, 1), (2 * C - C0, 1, k, k), (weights,), (outputs, C, 1, 1), (2 * C,), (2 * C - C0,),
             (rows,), (outputs,)]
    return dict(zip(NAMES, every, strict=True))


def drawn(order, C, *, biases=True, numbers=None, **shapes):
    random = np.random.default_rng(order)
    make = numbers or (lambda *shape: random.standard_normal(shape))
    made = {name: make(*shape) for name, shape in sizes(order, C, **shapes).items()}
    if order == 1:
        made["pws_weight"] = made["pws_bias"] = None
    return made if biases else {name: None if name.endswith("bias") else a for name, a in made.items()}


def value(arguments, order, scale=1, **changed):
    return gn_conv.forward(*{**arguments, **changed}.values(), order=order, scale=scale)[0]


@pytest.mark.parametrize("order", ORDERS)
def test_it_is_a_polynomial_of_degree_order_plus_1_exactly(order):
    """Over the rationals the difference of order n + 2 along a line is 0, that of order n + 1 is (n + 1)! times the part without biases."""
    C = 2 ** (order - 1)
    with_biases = drawn(order, C, numbers=exact)
    bare = {name: None if name.endswith("bias") else a for name, a in with_biases.items()}
    x, v, scale = with_biases["x"], exact(*with_biases["x"].shape, seed=1), Fraction(1, 3)
    line = [value(with_biases, order, scale, x=x + j * v) for j in range(order + 3)]
    difference = lambda m: sum((-1) ** (m - j) * comb(m, j) * line[j] for j in range(m + 1))
    top = factorial(order + 1) * value(bare, order, scale, x=v)
    assert not difference(order + 2).any() and (difference(order + 1) == top).all() and top.any()
    assert (value(bare, order, scale, x=2 * v) == 2 ** (order + 1) * value(bare, order, scale, x=v)).all(), "homogeneous"


@pytest.mark.parametrize("order", ORDERS)
def test_the_gradients_are_exact_over_the_rationals(order):
    """Along a line the loss is a polynomial, so its slope is Σ (-1)^(k-1) Δᵏ/k without an error; it must equal <gradient, v>."""
    C, scale = 2 ** (order - 1), Fraction(1, 3)
    arguments = drawn(order, C, numbers=exact)
    y, cache = gn_conv.forward(*arguments.values(), order=order, scale=scale)
    dy = exact(*y.shape, seed=2)
    for name, gradient in gn_conv.backward(dy, cache)._asdict().items():
        if gradient is None:
            continue
        v = exact(*gradient.shape, seed=3)
        line = [(dy * value(arguments, order, scale, **{name: arguments[name] + j * v})).sum() for j in range(order + 3)]
        slope = Fraction(0)
        for k in range(1, order + 3):
            slope += Fraction((-1) ** (k - 1), k) * sum((-1) ** (k - j) * comb(k, j) * line[j] for j in range(k + 1))
        assert (gradient * v).sum() == slope, name


@pytest.mark.parametrize("order", [1, 3, 5])
def test_support_is_preserved_and_the_reach_is_one_window_for_every_order(backend, order):
    arguments = drawn(order, 16, biases=False)
    x = arguments["x"].copy()
    x[:, :, 1, 2] = 0
    assert (value(arguments, order, x=x)[:, :, 1, 2] == 0).all(), "every monomial has a factor of its own pixel"
    wide = np.random.default_rng(1).standard_normal((1, 16, 9, 11))
    nudged = wide.copy()
    nudged[0, :, 4, 5] *= 2
    changed = (value(arguments, order, x=nudged) != value(arguments, order, x=wide)).any((0, 1))
    assert sorted(map(tuple, np.argwhere(changed))) == [(i, j) for i in (3, 4, 5) for j in (4, 5, 6)]


@pytest.mark.parametrize("order", ORDERS)
def test_euler_without_biases(backend, order):
    """<x, dx> = (n + 1) L, and every weight has the share of its degree."""
    arguments = drawn(order, 16, biases=False)
    y, cache = gn_conv.forward(*arguments.values(), order=order, scale=1 / 3)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    loss, noise = (dy * y).sum(), 1e-12 * np.abs(dy * y).sum()
    degrees = {"x": order + 1, "proj_in_weight": order + 1, "dwconv_weight": order, "pws_weight": order - 1, "proj_out_weight": 1}
    for name, gradient in gn_conv.backward(dy, cache)._asdict().items():
        if gradient is not None:
            share = np.array((arguments[name] * gradient).sum())
            check.assert_close(share, np.array(degrees[name] * loss), f"share of {name}", noise=noise)


def test_the_scale_enters_to_the_power_of_the_order(backend):
    """If the biases after the first gate are 0; powers of two, so not one bit differs."""
    arguments = {**drawn(3, 8), "pws_bias": None, "proj_out_bias": None}
    assert (value(arguments, 3, scale=0.5) == value(arguments, 3) / 8).all()


def test_p0_and_q0_may_exchange_a_factor(backend):
    arguments = drawn(2, 8)
    moved = {name: a.copy() for name, a in arguments.items()}
    for name, rows, factor in [("proj_in_weight", slice(0, 4), 4), ("proj_in_bias", slice(0, 4), 4), ("proj_in_weight", slice(4, 8), 0.25),
                               ("proj_in_bias", slice(4, 8), 0.25), ("dwconv_bias", slice(0, 4), 0.25)]:
        moved[name][rows] *= factor
    assert (value(moved, 2) == value(arguments, 2)).all()


def test_it_is_its_parts(backend):
    """The cache holds what lies between them."""
    arguments = drawn(3, 8, inputs=5, outputs=6)
    y, cache = gn_conv.forward(*arguments.values(), order=3, scale=0.5)
    projected, _ = pointwise_conv.forward(arguments["x"], arguments["proj_in_weight"], arguments["proj_in_bias"])
    q = projected[:, 2:].copy()
    filtered, _ = conv2d.forward(q, arguments["dwconv_weight"], arguments["dwconv_bias"], padding=1, groups=14)
    pn, chain = gate_chain.forward(projected[:, :2].copy(), filtered, arguments["pws_weight"], arguments["pws_bias"], order=3, scale=0.5)
    check.assert_close(y, pointwise_conv.forward(pn, arguments["proj_out_weight"], arguments["proj_out_bias"])[0], "y")
    for name, expected in {"p0": projected[:, :2], "q": q, "filtered": filtered, "u": chain.u}.items():
        check.assert_close(getattr(cache, name), expected, name)


X, IN, DW, PWS, OUT = (np.zeros(sizes(2, 4)[name]) for name in NAMES[:5])


def test_c1_x_is_a_batch_of_maps(refuses):
    for shape in [(4, 3, 3), (1, 4, 0, 3), (1, 4, 3, 0)]:
        refuses(gn_conv, "C1", "x", np.zeros(shape), IN, DW, PWS, OUT, order=2)


def test_c2_the_width_halves_order_minus_1_times(refuses):
    for order, shape in [(2, (6, 4, 1, 1)), (2, (8, 3, 1, 1)), (2, (0, 4, 1, 1)), (4, (8, 4, 1, 1)), (2, (8, 4)), (31, (8, 4, 1, 1))]:
        refuses(gn_conv, "C2", "proj_in_weight", X, np.zeros(shape), DW, PWS, OUT, order=order)


def test_c3_there_is_a_kernel_for_each_channel_of_q(refuses):
    for shape in [(8, 1, 3, 3), (6, 2, 3, 3), (6, 3, 3)]:
        refuses(gn_conv, "C3", "dwconv_weight", X, IN, np.zeros(shape), PWS, OUT, order=2)


def test_c4_kernels_are_odd(refuses):
    for kernel in [(2, 3), (3, 0)]:
        refuses(gn_conv, "C4", "dwconv_weight", X, IN, np.zeros((6, 1, *kernel)), PWS, OUT, order=2)


def test_c5_the_projection_out_reads_all_channels(refuses):
    for shape in [(4, 3, 1, 1), (4, 4, 3, 3), (4, 4)]:
        refuses(gn_conv, "C5", "proj_out_weight", X, IN, DW, PWS, np.zeros(shape), order=2)


def test_c6_the_projections_between_are_packed(refuses):
    for weight in [None, np.zeros(7), np.zeros((4, 2))]:
        refuses(gn_conv, "C6", "pws_weight", X, IN, DW, weight, OUT, order=2)


@pytest.mark.parametrize("name", ["proj_in_bias", "dwconv_bias", "pws_bias", "proj_out_bias"])
def test_c7_biases_have_a_value_per_output(refuses, name):
    arrays = dict(zip(NAMES, [X, IN, DW, PWS, OUT, *[None] * 4], strict=True))
    refuses(gn_conv, "C7", name, *{**arrays, name: np.zeros(3)}.values(), order=2)
    refuses(gn_conv, "C7", "proj_out_bias", X, IN, DW, PWS, None, None, None, None, np.zeros(4), order=2)


@pytest.mark.parametrize("scale", [np.inf, np.nan, "1", None])
def test_c8_scale_is_a_number(refuses, scale):
    refuses(gn_conv, "C8", "scale", X, IN, DW, PWS, OUT, order=2, scale=scale)
