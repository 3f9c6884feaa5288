"""Rows 1 and 2 of the fault table: NaN, infinities, the largest numbers, denormals and signed zeros mean what they do in the reference."""

import math

import numpy as np
import pytest
from faults.harness import DTYPES, NAMES, SEED, busy, compiled, operator, pinned, run, same_bits

from pyhybrid import backend as seam
from pyhybrid import check
from pyhybrid.check import cases

MOVES = ("shift", "reflection_pad", "unfold")  # y is a rearrangement of x
LINEAR = (
    "shift",
    "reflection_pad",
    "unfold",
    "shift_sum",
    "conv2d",
    "linear",
    "pointwise_conv",
    "tap_projection",
    "conv_decomposition",
    "shift_conv",
)
CHOOSE = ("relu", "max_pool2d")  # their gradient hands dy on or not: x itself is in no product
PLACES = ("ys", "xs", "grid", "offset")  # where sampling reads x: a NaN says nowhere, and dx gets nothing from there
by_name = pytest.mark.parametrize("name", NAMES)
needs_core = pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)


def tried(name, dtype):
    """A few ordinary cases with pixels; few where there are many arguments to try."""
    plain = [pinned(name, seed, regime="ordinary", N=2, offset=(0, 1)) for seed in range(SEED, SEED + (1 if name == "acmix" else 3))]
    return [case.astype(dtype) for case in [*plain, *cases.corners(name)[:3]] if all(a.size for a in case.arrays.values())]


def gated(name, case):
    """Whether dy is handed on or not, behind all that the operator computes: NaN lets it pass, so no gradient need be NaN."""
    return name in ("batch_norm_act", "mbconv_hidden") and case.config["activation"] == "relu"


def poisoned(case, argument, value):
    """The case with one entry of an argument replaced."""
    a = case.arguments[argument].copy()
    a.flat[case.random(4, len(argument)).integers(a.size)] = value
    return case.with_(**{argument: a})


def rust(name, case, dy=None):
    with seam.use("rust"), np.errstate(all="ignore"):  # a part that has no kernel yet runs its NumPy body
        return run(name, case, dy)


def reference(name, case, dy=None):
    with seam.use("numpy"), np.errstate(all="ignore"):
        return run(name, case, dy)


def places(name, got, expected, what):
    """NaN and both infinities stand where the reference has them."""
    for output, e in expected.items():
        g = got[output]
        for kind, test in (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)):
            wrong = test(g) != test(e)
            assert not wrong.any(), f"{name}, {what}: {output}{np.argwhere(wrong)[0]} is {g[wrong][0]}, expected {e[wrong][0]} ({kind})"


@needs_core
@by_dtype
@by_name
def test_row_01_nan_is_where_the_reference_has_it(name, dtype):
    for case in tried(name, dtype):
        for argument in case.arrays:
            bad = poisoned(case, argument, np.nan)
            places(name, rust(name, bad), reference(name, bad), f"NaN in {argument} of {case}")
        y, _ = case.call(operator(name).forward)
        dy = case.cotangent(y.shape, dtype)
        if dy.size:
            dy.flat[dy.size // 2] = np.nan
            places(name, rust(name, case, dy), reference(name, case, dy), f"NaN in dy of {case}")


@by_name
def test_row_01_nan_reaches_all_that_depends_on_it(name, backend):
    """Without the reference: an entry of the result that moves with an entry of the input is NaN if that is NaN."""
    seen = 0
    for case in tried(name, np.float64):
        plain = run(name, case)
        for argument in case.arrays:
            a = case.arguments[argument]
            scale = float(np.abs(a).max()) or 1.0
            index = case.random(4, len(argument)).integers(a.size)
            moved, bad = run(name, poisoned(case, argument, a.flat[index] + scale)), run(name, poisoned(case, argument, np.nan))
            for output, before in plain.items():
                if (output == "dx" and (name in CHOOSE or argument in PLACES)) or (output != "y" and gated(name, case)):
                    continue
                depends = moved[output] != before
                seen += int(depends.sum())
                assert np.isnan(bad[output][depends]).all(), f"{name}: a NaN in {argument} is lost on the way to {output} of {case}"
    assert seen


@needs_core
@by_dtype
@by_name
def test_row_02_infinity_gives_what_the_reference_gives(name, dtype):
    for case in tried(name, dtype):
        for n, argument in enumerate(case.arrays):
            value = -np.inf if n % 2 else np.inf
            bad = poisoned(case, argument, value)
            places(name, rust(name, bad), reference(name, bad), f"{value} in {argument} of {case}")


@needs_core
@by_dtype
@by_name
def test_row_02_the_largest_numbers_stay_numbers(name, dtype):
    """Where the reference does not overflow, neither does the kernel, up to the largest finite number."""
    compared = 0
    for case in tried(name, dtype)[:3]:
        for n, argument in enumerate(case.arrays):
            values = (np.finfo(dtype).max, -np.finfo(dtype).max, dtype(10.0) ** (np.finfo(dtype).maxexp // 4))
            for value in values if len(case.arrays) == 1 else (values[n % 2], values[2]):
                bad = poisoned(case, argument, value)
                got, expected = rust(name, bad), reference(name, bad)
                if not all(np.isfinite(e).all() for e in expected.values()):
                    continue  # products of products: which of them overflows first is not promised
                for output, e in expected.items():
                    assert np.isfinite(got[output]).all(), f"{output} of {name} with {value} in {argument} of {case}"
                    if name in LINEAR:
                        check.assert_close(got[output], e, f"{output} of {name} with {value} in {argument}", kind="gradient")
                    compared += 1
    assert compared


@by_dtype
@pytest.mark.parametrize("name", LINEAR)
def test_row_02_denormals_are_not_flushed_to_zero(name, dtype, backend):
    """Whole numbers times the smallest denormal: products and sums are exact, so y and the gradients scale exactly."""
    tiny = np.finfo(dtype).smallest_subnormal
    assert tiny / 2 == 0 < tiny
    checked = 0
    for seed in range(SEED, SEED + 4):
        case = pinned(name, seed, regime="whole", N=2, bias=False, offset=(0, 1), W=4).astype(dtype)
        first = case.linear[0]
        y, _ = case.call(operator(name).forward)
        small, _ = case.with_(**{first: case.arguments[first] * tiny}).call(operator(name).forward)
        assert (small == y * tiny).all(), f"{name} {case}"
        checked += int((small != 0).sum())
        dy = case.cotangent(y.shape, dtype)
        grads, small_grads = run(name, case, dy), run(name, case, dy * tiny)
        assert (small_grads[f"d{first}"] == grads[f"d{first}"] * tiny).all(), f"{name} {case}"
    assert checked


@by_dtype
def test_row_02_attention_and_positions_keep_denormals(dtype, backend):
    tiny = np.finfo(dtype).smallest_subnormal
    v = (np.random.default_rng(0).integers(1, 100, (1, 4, 5, 6)) * tiny).astype(dtype)
    o, _ = operator("local_attention").forward(np.zeros_like(v), np.zeros_like(v), v, heads=2, kernel_size=3, border="zero")
    expected, _ = operator("local_attention").forward.reference(
        np.zeros(v.shape), np.zeros(v.shape), v / tiny, heads=2, kernel_size=3, border="zero"
    )
    assert (np.abs(o / tiny - expected) <= 9).all() and (o[expected > 9] > 0).all()  # nine products, each rounded to a whole denormal
    weight = np.array([[4, 8], [2, 0]], dtype).reshape(2, 2, 1, 1)
    pe, _ = operator("positional_term").forward(weight * tiny, size=(3, 5))
    expected, _ = operator("positional_term").forward.reference(weight, size=(3, 5))
    assert (pe == expected * tiny).all() and (pe != 0).any()


@by_dtype
def test_row_02_logits_far_apart_underflow_gradually(dtype, backend):
    """exp of a difference that is denormal in the result: weights between the smallest normal number and zero."""
    lowest = math.log(float(np.finfo(dtype).smallest_normal))
    x = np.array([[0.0, lowest - 3.0, lowest - 6.0, -np.inf]], dtype)
    a, _ = operator("softmax").forward(x)
    assert 0 < a[0, 2] < a[0, 1] < np.finfo(dtype).smallest_normal and a[0, 3] == 0 and a[0, 0] == 1
    check.assert_close(a[0, 1], np.exp(x[0, 1]), "denormal weight", kind="difference")


@by_dtype
@pytest.mark.parametrize("name", MOVES)
def test_row_02_moving_keeps_every_bit(name, dtype, backend):
    """Signed zeros, denormals, infinities and NaN payloads pass unchanged."""
    words = {np.float32: (np.uint32, 0x7FC0BEEF, 0x80000000), np.float64: (np.uint64, 0x7FF8BEEF00000000, 0x8000000000000000)}
    unsigned, payload, minus_zero = words[dtype]
    for seed in range(SEED, SEED + 6):
        case = pinned(name, seed, regime="ordinary")
        bits = np.random.default_rng(seed).choice(np.array([payload, minus_zero, 1, 2], unsigned), case.arguments["x"].shape)
        y, _ = case.with_(x=bits.view(dtype)).call(operator(name).forward)
        expected, _ = case.with_(x=bits.view(dtype)).call(operator(name).forward.reference)
        assert (y.view(unsigned) == expected.view(unsigned)).all()


@by_name
def test_row_02_floating_point_control_is_left_alone(name, backend):
    """Denormals, rounding to nearest and silent division in this thread are as before a call that several threads share."""

    def behaviour():
        tiny, third = np.float32(1e-38), np.float32(1) / np.float32(3)
        up, down = np.float32(1) + np.float32(2.0**-24), np.float32(1) + np.float32(1.5 * 2.0**-24)
        return tiny / np.float32(64), np.float64(1e-308) / 16, np.float64(5e-324) * 1, third, -third, up, down

    before = behaviour()
    assert all(before[:3])
    run(name, busy(name, np.float32))
    assert behaviour() == before


@pytest.mark.skipif(not compiled("softmax"), reason="the compiled core is not installed")
def test_row_02_workers_do_not_flush_denormals_either():
    """The same on every thread of the pool: enough rows for all of them."""
    x = (np.arange(1, 200_001).reshape(40, 5000) % 97 * np.finfo(np.float32).smallest_subnormal).astype(np.float32)
    with seam.use("rust"), seam.threads(4):
        dx = operator("softmax").backward(x, operator("softmax").Cache(-1, np.ones_like(x))).x
        moved, _ = operator("shift").forward(x, offset=0)
        summed, _ = operator("shift_sum").forward(np.stack([x, x])[None, :, None], kernel_size=(1, 2))
    same_bits({"x": moved}, {"x": x}, "shift by nothing")
    assert (dx == x - x.sum(1, keepdims=True)).all() and (dx != 0).any()
    expected, _ = operator("shift_sum").forward.reference(np.stack([x, x])[None, :, None], kernel_size=(1, 2))
    assert (summed == expected).all()
