"""Rows 8, 9, 10 and 11: wrong arguments are refused with a sentence that says what is wrong, before anything is computed or allocated.

The seam refuses before it chooses a body, so most of this does not run once per backend.
"""

import re

import numpy as np
import pytest
from faults import programs
from faults.harness import NAMES, example_case, in_child, operator, run, same_bits

from pyhybrid import backend as seam
from pyhybrid import check
from pyhybrid.errors import ConstraintError, describe

by_name = pytest.mark.parametrize("name", NAMES)
needs_core = pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
X = np.arange(30.0).reshape(1, 1, 5, 6)
ANY_SHAPE = ("elu_plus_one", "erf", "gelu", "relu", "sigmoid", "silu", "tanh")  # element by element

WRONG = {
    "float16": lambda a: a.astype(np.float16), "int64": lambda a: a.astype(np.int64), "uint8": lambda a: a.astype(np.uint8),
    "bool": lambda a: a > 0, "text": lambda a: a.astype(str), "date": lambda a: a.astype("M8[s]"), "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a), "str": lambda a: "array", "number": lambda a: 1.5, "numpy number": lambda a: np.float64(1.5),
    "masked": lambda a: np.ma.MaskedArray(a), "dictionary": lambda a: {"x": a}, "memoryview": lambda a: memoryview(np.ascontiguousarray(a)),
}  # fmt: skip


@by_name
@pytest.mark.parametrize("kind", WRONG)
def test_row_08_other_types_are_named_with_what_was_expected(name, kind):
    case = example_case(name)
    for argument, a in case.arrays.items():
        wrong = WRONG[kind](a)
        with pytest.raises(TypeError) as raised:
            case.with_(**{argument: wrong}).call(operator(name).forward)
        start = f"{name}: {argument} must be a NumPy array of float32, float64, complex or object numbers; got "
        assert str(raised.value).startswith(start) and describe(wrong) in str(raised.value)
    y, cache = case.call(operator(name).forward)
    with pytest.raises(TypeError, match=rf"^{name}: dy must be a NumPy array of float32, .*; got "):
        operator(name).backward(WRONG[kind](y), cache)


@by_name
def test_row_08_none_is_refused_where_an_array_is_needed(name):
    case = example_case(name)
    required = [p.name for p in programs.parameters(name) if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    for argument in required:
        with pytest.raises(TypeError, match=rf"^{name}: {argument} must be a NumPy array .*; got NoneType None"):
            case.with_(**{argument: None}).call(operator(name).forward)


@by_name
@pytest.mark.parametrize("order", [">f4", ">f8"])
def test_row_08_big_endian_numbers_are_accepted(name, order, backend):
    case = example_case(name)
    native = np.dtype(order).newbyteorder("=")
    y, _ = case.astype(native).call(operator(name).forward)
    dy = case.cotangent(y.shape, native)
    got, expected = run(name, case.astype(order), dy.astype(order)), run(name, case.astype(native), dy)
    for output, e in expected.items():
        check.assert_close(got[output], e, f"{output} of {name}", kind="gradient", dtype=False, noise=np.finfo(native).eps)


def misfits(a):
    """The array with another rank, or one axis longer or shorter."""
    yield a[None]
    if a.ndim:
        yield a[0, ...]
        yield a[(0,) * a.ndim + (...,)]
        yield a.reshape(-1, 1, 1, 1, 1, 1)
    for axis in range(a.ndim):
        longer = np.concatenate([a, a.take([0], axis)], axis)
        yield longer
        yield longer.take(range(a.shape[axis] - 1), axis)


@by_name
def test_row_08_shapes_that_do_not_fit_are_named_with_rule_and_shape(name):
    """Either the shape is legal, and then the result has the shape announced, or a sentence quotes the rule and what came."""
    case = example_case(name)
    refused = 0
    for argument, a in case.arrays.items():
        for misfit in misfits(a):
            changed = case.with_(**{argument: misfit})
            try:
                y, _ = changed.call(operator(name).forward)
            except ValueError as error:
                refused += 1
                assert isinstance(error, ConstraintError), f"{changed}: {error!r}"
                assert re.match(r"\w+ \(C\d\): .+; got .+", str(error)), f"{changed}: {error}"
                shapes = f"{a.dtype} array of shape {misfit.shape}"
                assert shapes in str(error) or name == "acmix", f"{changed}: {error} does not tell {argument} = {shapes}"
            else:
                assert y.shape == changed.call(operator(name).output_shape)
    assert refused or name in ANY_SHAPE


@by_name
def test_row_08_a_gradient_of_another_shape_is_refused(name):
    case = example_case(name)
    y, cache = case.call(operator(name).forward)
    for misfit in misfits(y):
        if misfit.shape != y.shape:
            with pytest.raises(ValueError, match=rf"^{name}: dy must have the output's shape {re.escape(str(y.shape))}; got dy = "):
                operator(name).backward(misfit, cache)


@by_name
def test_row_08_a_call_that_fails_leaves_its_arguments_alone(name):
    case = example_case(name).copy()
    before = {argument: a.tobytes() for argument, a in case.arrays.items()}
    last = list(case.arrays)[-1]
    with pytest.raises(TypeError):
        case.with_(**{last: "wrong"}).call(operator(name).forward)
    assert {argument: a.tobytes() for argument, a in case.arrays.items()} == before


def test_row_08_a_cache_that_was_tampered_with_never_crashes():
    """Saved arrays of another shape or dtype: an error, or (only the values differ) a result of the right shapes."""
    print(in_child(programs.tamper_with_caches))


@needs_core
@pytest.mark.parametrize("part", range(2))
def test_row_08_direct_misuse_of_the_core_raises_ordinary_errors(part):
    """Every function of the compiled module with wrong arguments of all kinds, without the checks of the seam."""
    print(in_child(programs.misuse_the_core, part, 2, seconds=120))


def test_row_09_huge_extents_are_refused_before_anything_is_allocated():
    """Zero-stride arrays need no memory, so any extent can come: ValueError where no array of that size exists, otherwise MemoryError."""
    print(in_child(programs.huge_extents))


def test_row_09_huge_sizes_in_the_configuration_are_refused(backend):
    """Configuration that asks for more memory than there is address space."""
    huge = 2**31 - 1
    calls = {
        "positional_term": ((np.ones((2, 2, 1, 1)),), [{"size": (huge, huge)}]),
        "conv2d": ((X, np.ones((1, 1, 1, 1))), [{"padding": huge}, {"padding": (huge, 0), "stride": 2**31}]),
        "reflection_pad": ((X,), [{"padding": huge}, {"padding": (0, 2**62)}, {"padding": 10**30}]),
        "unfold": ((X,), [{"kernel_size": huge}, {"kernel_size": 2, "stride": 10**30}]),
        "shift_sum": ((np.ones((1, 9, 1, 3, 3)),), [{"kernel_size": huge}, {"kernel_size": (2**16, 2**16)}]),
        "local_attention": ((X, X, X), [{"heads": 1, "kernel_size": huge}, {"heads": huge}, {"heads": 10**30}]),
    }
    for name, (arrays, configs) in calls.items():
        for config in configs:
            with pytest.raises(ValueError, match=r"must be a whole number from|more than 2|C[0-9]"):
                operator(name).forward(*arrays, **config)


WITH_STRIDE = [name for name in NAMES if "stride" in [p.name for p in programs.parameters(name)]]


SIZED = ("aggregation", "deform_conv2d")  # weights or offsets have the size of the output


@pytest.mark.parametrize("name", [name for name in WITH_STRIDE if name not in SIZED])
def test_row_09_the_largest_steps_are_legal(name, backend):
    """A stride beyond the map leaves its first row and column; nothing overflows on the way."""
    case = example_case(name)
    small, large = ({**case.config, "stride": stride} for stride in (64, 2**31 - 1))
    y, cache = operator(name).forward(*case.arguments.values(), **small)
    z, other = operator(name).forward(*case.arguments.values(), **large)
    assert y.shape[-2:] == (1, 1)
    dy = case.cotangent(y.shape)
    same_bits({"y": z}, {"y": y}, name)
    first, second = operator(name).backward(dy, cache), operator(name).backward(dy, other)
    for argument in case.arrays:
        same_bits({argument: getattr(second, argument)}, {argument: getattr(first, argument)}, name)


# Offsets.


@pytest.mark.parametrize("far", [2**31 - 1, -(2**31), 10**6, 7, -6])
def test_row_10_shifting_by_more_than_the_map_gives_zeros(far, backend):
    for offset in (far, (far, 0), (0, far), (far, -far if -(2**31) <= -far < 2**31 else far)):
        y, cache = operator("shift").forward(X, offset=offset)
        assert y.shape == X.shape and not y.any()
        assert not operator("shift").backward(X, cache).x.any()


@pytest.mark.parametrize("far", [2**31, -(2**31) - 1, 2**62, -(2**63), 2**64, 10**30, -(10**30)])
def test_row_10_offsets_beyond_the_limit_are_refused(far, backend):
    for offset in (far, (far, 0), (0, far)):
        with pytest.raises(ValueError, match=rf"offset must be a whole number from -2147483648 to 2147483647; got {far}"):
            operator("shift").forward(X, offset=offset)


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), 1.5, "1", None, np.float32(2), True, (1, 1.0), np.datetime64("2000")])
def test_row_10_offsets_that_are_no_whole_numbers_are_refused(offset, backend):
    with pytest.raises(TypeError, match="offset must be a whole number; got"):
        operator("shift").forward(X, offset=offset)


@needs_core
@pytest.mark.parametrize("far", [2**62, -(2**63), 2**63 - 1, -(2**31) - 1])
def test_row_10_the_core_itself_takes_any_offset(far):
    (y,) = seam.core().shift_forward(X, (far, far))
    assert not y.any()


def test_row_11_the_border_is_open_or_closed_as_in_the_reference(backend):
    """Offsets of exactly the extent, one less, and the same backwards: the last row that is still inside, then nothing."""
    H, W = X.shape[2:]
    for s in (-H, -H + 1, -1, 0, 1, H - 1, H):
        for t in (-W, -W + 1, -1, 0, 1, W - 1, W):
            y, cache = operator("shift").forward(X, offset=(s, t))
            expected, dx = np.zeros_like(X), np.zeros_like(X)
            for i in range(H):
                for j in range(W):
                    if 0 <= i + s < H and 0 <= j + t < W:
                        expected[..., i, j], dx[..., i + s, j + t] = X[..., i + s, j + t], X[..., i, j]
            same_bits({"y": y, "dx": operator("shift").backward(X, cache).x}, {"y": expected, "dx": dx}, f"shift by {s}, {t}")


def test_row_11_windows_that_just_fit_and_just_do_not(backend):
    """Padding one less than the extent, a kernel as large as the padded map, a window of twice the map minus one."""
    H, W = X.shape[2:]
    assert operator("reflection_pad").forward(X, padding=(H - 1, W - 1))[0].shape == (1, 1, 3 * H - 2, 3 * W - 2)
    assert operator("unfold").forward(X, kernel_size=(H, W))[0].shape == (1, 1, H * W, 1, 1)
    assert operator("conv2d").forward(X, np.ones((1, 1, H + 2, W + 2)), padding=1)[0].shape == (1, 1, 1, 1)
    assert operator("local_attention").forward(X, X, X, heads=1, kernel_size=2 * H - 1)[0].shape == X.shape
    for name, arrays, config in (
        ("reflection_pad", (X,), {"padding": (H, 0)}), ("unfold", (X,), {"kernel_size": (H + 1, W)}),
        ("conv2d", (X, np.ones((1, 1, H + 3, 1))), {"padding": 1}), ("local_attention", (X, X, X), {"heads": 1, "kernel_size": 2 * H + 1}),
    ):  # fmt: skip
        with pytest.raises(ConstraintError):
            operator(name).forward(*arrays, **config)
