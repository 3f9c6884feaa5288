"""The seam: which body runs, what it accepts as arrays, and the settings of the compiled kernels."""

import subprocess
import sys
import threading
import warnings
from fractions import Fraction

import numpy as np
import pytest

from pyhybrid import backend, check
from pyhybrid.errors import BackendUnavailable, ConstraintError
from pyhybrid.ops import conv2d, mixed_conv, pointwise_conv, regroup, shift, softmax

needs_core = pytest.mark.skipif(not backend.available(), reason="the compiled core is not installed")
X = np.arange(12.0).reshape(1, 1, 3, 4)
WEIGHT = np.ones((1, 1, 2, 2))


# Choosing.


@needs_core
def test_use_nests_and_restores():
    assert backend.active() == "rust"
    with backend.use("numpy"):
        assert backend.active() == "numpy"
        with backend.use("rust"):
            assert backend.active() == "rust"
            with backend.use("auto"):
                assert backend.active() == "rust"
        assert backend.active() == "numpy"
    assert backend.active() == "rust"


def test_use_restores_after_an_error():
    before = backend.active()
    with pytest.raises(RuntimeError, match="inside"), backend.use("numpy"):
        raise RuntimeError("inside")
    assert backend.active() == before


@needs_core
def test_every_thread_has_its_own_choice():
    seen, inside, leave = {}, threading.Event(), threading.Event()

    def other():
        seen["fresh"] = backend.active()
        with backend.use("numpy"):
            inside.set()
            leave.wait(10)
            seen["own"] = backend.active()

    with backend.use("rust"):
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(10)
        seen["here"] = backend.active()
        leave.set()
        thread.join()
    assert seen == {"fresh": "rust", "here": "rust", "own": "numpy"}


@pytest.mark.parametrize("setting", [backend.use, pytest.param(backend.threads, marks=needs_core)], ids=["use", "threads"])
def test_a_setting_without_a_block_says_that_it_does_nothing(setting):
    before, value = backend.active(), "numpy" if setting is backend.use else 1
    with pytest.warns(UserWarning, match=rf"sets nothing .* block: write `with backend.{setting.__name__}\({value!r}\):`") as seen:
        setting(value)
    assert backend.active() == before and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with setting(value):
            pass


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r'"auto", "numpy" or "rust"; got \'cuda\''), backend.use("cuda"):
        pass


def test_without_the_core_rust_is_unavailable_and_auto_is_numpy(monkeypatch):
    monkeypatch.setattr(backend, "_core", None)
    assert not backend.available() and backend.active() == "numpy"
    with pytest.raises(BackendUnavailable, match="not installed"), backend.use("rust"):
        pass
    for setting in (lambda: backend.set_threads(2), lambda: backend.set_simd("portable"), backend.core):
        with pytest.raises(BackendUnavailable):
            setting()
    with backend.use("auto"):
        assert shift.forward(X, offset=1)[0].shape == X.shape


def test_reference_is_always_the_numpy_body():
    assert conv2d.forward.reference is not conv2d.forward
    y, _ = conv2d.forward.reference(X.astype(int), WEIGHT.astype(int))  # integers pass: no seam in between
    assert y.dtype.kind == "i"


@needs_core
def test_the_compiled_body_really_runs(monkeypatch):
    """Tell the two apart by what only the NumPy body calls."""
    called = []
    monkeypatch.setattr(softmax, "largest", lambda x, axis: called.append(1) or x.real.max(axis, keepdims=True))
    with backend.use("rust"):
        softmax.forward(X)
    assert not called
    with backend.use("numpy"):
        softmax.forward(X)
    assert called


# What is an array.


@pytest.mark.parametrize(
    "value",
    [
        X.astype(np.float16),
        X.astype(int),
        X.astype(np.uint8),
        X > 1,
        np.ma.MaskedArray(X),
        X.tolist(),
        3.0,
        None,
        "x",
        X.astype("U4"),
        X.astype("datetime64[s]"),
    ],
    ids=lambda v: type(v).__name__ + getattr(getattr(v, "dtype", None), "name", ""),
)
def test_other_types_are_refused_by_name(backend, value):
    with pytest.raises(
        TypeError, match=r"conv2d: x must be a NumPy array of float32, float64, complex or object numbers; got "
    ):
        conv2d.forward(value, WEIGHT)
    with pytest.raises(TypeError, match=r"conv2d: weight must be a NumPy array"):
        conv2d.forward(X, value)
    y, cache = conv2d.forward(X, WEIGHT)
    with pytest.raises(TypeError, match=r"conv2d: dy must be a NumPy array"):
        conv2d.backward(value if not isinstance(value, np.ndarray) else value[:, :, :2, :3], cache)
    assert y.shape == (1, 1, 2, 3)


def test_a_matrix_is_refused(backend):
    with pytest.raises(TypeError, match="softmax: x must be"), pytest.warns(PendingDeprecationWarning):
        softmax.forward(np.matrix([[1.0, 2.0]]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_has_the_dtype_of_the_arguments(backend, dtype):
    y, cache = conv2d.forward(X.astype(dtype), WEIGHT.astype(dtype))
    grads = conv2d.backward(np.ones_like(y), cache)
    assert y.dtype == grads.x.dtype == grads.weight.dtype == dtype


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_big_endian_numbers_are_numbers(backend, dtype):
    native = np.dtype(dtype).newbyteorder("=")
    y, cache = conv2d.forward(X.astype(dtype), WEIGHT.astype(dtype))
    expected, plain = conv2d.forward(X.astype(native), WEIGHT.astype(native))
    check.assert_close(y.astype(native), expected, "y", exact=True)
    grads = conv2d.backward(y, cache)
    check.assert_close(grads.x.astype(native), conv2d.backward(expected, plain).x, "dx", exact=True)


def test_complex_numbers_go_to_the_reference(backend):
    y, _ = conv2d.forward(X + 1j, WEIGHT)
    assert y.dtype == np.complex128
    check.assert_close(y, conv2d.forward(X, WEIGHT)[0] + 4j, "y", exact=True)


def test_fractions_stay_exact(backend):
    third = np.array([[[[Fraction(1, 3)] * 3] * 3]], object)
    y, cache = conv2d.forward(third, third[..., :2, :2])
    assert y[0, 0, 0, 0] == Fraction(4, 9) and isinstance(y[0, 0, 0, 0], Fraction)
    grads = conv2d.backward(np.array([[[[Fraction(1)] * 2] * 2]], object), cache)
    assert grads.x[0, 0, 1, 1] == Fraction(4, 3)


def test_mixed_precision_goes_to_the_reference(backend):
    y, _ = conv2d.forward(X.astype(np.float32), WEIGHT)
    assert y.dtype == np.float64


def test_long_doubles_keep_their_digits(backend):
    x = np.array([[1, 1e-18]], np.longdouble)
    y, _ = shift.forward(x, offset=0)
    assert y.dtype == np.longdouble and (y == x).all()


def test_read_only_and_odd_strides_are_accepted(backend):
    x = np.arange(24.0).reshape(1, 1, 4, 6)[:, :, ::-1, ::2]
    x.flags.writeable = False
    y, _ = conv2d.forward(x, WEIGHT[..., ::-1])
    check.assert_close(y, conv2d.forward(x.copy(), WEIGHT)[0], "y", exact=True)


def test_a_broadcast_view_is_an_array_like_any_other(backend):
    x = np.broadcast_to(np.array(2.0), (1, 1, 3, 4))
    check.assert_close(conv2d.forward(x, WEIGHT)[0], np.full((1, 1, 2, 3), 8.0), "y", exact=True)


@needs_core
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_results_of_the_core_begin_on_a_cache_line(dtype):
    """NumPy's own arrays begin anywhere in a line: 1 of 4 would pass, 1 of 65536 all of these."""
    x = np.zeros((1, 3, 37, 53), dtype)
    with backend.use("rust"):
        results = [softmax.forward(x)[0] for _ in range(8)]
    assert [y.ctypes.data % 64 for y in results] == [0] * 8
    assert all(y.flags.c_contiguous and y.flags.writeable and y.flags.aligned and y.shape == x.shape for y in results)


# What is checked before anything runs.


def test_an_output_beyond_the_address_space_is_refused_before_it_is_allocated(backend):
    huge = np.broadcast_to(np.array(1.0), (2**29, 1, 2**30, 1))
    with pytest.raises(ValueError, match=r"more than 2\*\*63 bytes"):
        pointwise_conv.forward(huge, np.ones((4, 1, 1, 1)))


def test_a_call_that_does_not_fit_the_signature_shows_it(backend):
    with pytest.raises(TypeError, match=r"conv2d: .*strides.*; the call is forward\(x: "):
        conv2d.forward(X, WEIGHT, strides=2)
    with pytest.raises(TypeError, match=r"conv2d: .*weight.*; the call is forward"):
        conv2d.forward(X)


def test_the_cache_must_be_the_operators_own(backend):
    _, cache = shift.forward(X, offset=1)
    with pytest.raises(TypeError, match=r"conv2d: cache must be the Cache that conv2d.forward returned; got Cache\("):
        conv2d.backward(X, cache)
    with pytest.raises(TypeError, match="shift: cache must be"):
        shift.backward(X, tuple(cache))


@pytest.mark.parametrize("operator", [conv2d, softmax, shift], ids=lambda o: o.__name__)
def test_dy_must_have_the_shape_of_the_output(backend, operator):
    calls = {conv2d: ((X, WEIGHT), {}), softmax: ((X,), {}), shift: ((X,), {"offset": 1})}
    arrays, config = calls[operator]
    y, cache = operator.forward(*arrays, **config)
    for shape in ((), y.shape[1:], (*y.shape[:-1], y.shape[-1] + 1), y.shape[::-1]):
        with pytest.raises(ValueError, match=r"dy must have the output's shape .*; got dy = float64 array of shape"):
            operator.backward(np.zeros(shape), cache)


@pytest.mark.parametrize("stride", [0, -1, (1, 0), (1, 2, 3), 2**31, ()])
def test_sizes_out_of_range_are_refused_by_name(backend, stride):
    with pytest.raises(ValueError, match="stride must be a whole number"):
        conv2d.forward(X, WEIGHT, stride=stride)


@pytest.mark.parametrize("stride", [1.0, "1", None, True, (1, 2.0), np.float64(1)])
def test_sizes_that_are_no_whole_numbers_are_refused_by_name(backend, stride):
    with pytest.raises(TypeError, match="stride must be a whole number"):
        conv2d.forward(X, WEIGHT, stride=stride)


def test_options_of_the_wrong_kind_name_operator_and_argument(backend):
    x, weight = np.ones((1, 2, 3, 3)), np.ones((1, 34))
    for call, message in (
        (lambda: regroup.forward(x, heads=0), r"^regroup: heads must be a whole number from 1 .*; got 0$"),
        (lambda: regroup.forward(x, heads=2, inverse="no"), r"^regroup: inverse must be True or False; got 'no'$"),
        (lambda: mixed_conv.forward(x, weight, kernel_sizes=(-3, 5)), r"^mixed_conv: kernel_sizes must be a whole number from 1"),
        (lambda: mixed_conv.forward(x, weight, kernel_sizes=np.array([3, 5])), r"^mixed_conv \(C2\): kernel_sizes is a tuple or list"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


@pytest.mark.parametrize("stride", [np.int64(2), np.array(2), [2, 2], (np.int32(2), 2)])
def test_sizes_may_be_numpy_integers_and_lists(backend, stride):
    y, cache = conv2d.forward(X, WEIGHT, stride=stride)
    check.assert_close(y, conv2d.forward(X, WEIGHT, stride=2)[0], "y", exact=True)
    assert conv2d.backward(np.ones_like(y), cache).x.shape == X.shape


def test_a_broken_constraint_is_a_value_error_that_quotes_the_rule(backend):
    with pytest.raises(
        ConstraintError, match=r"conv2d \(C1\): x is \(N, C, H, W\); got x = float64 array of shape \(3, 4\)"
    ) as raised:
        conv2d.forward(X[0, 0], WEIGHT)
    assert isinstance(raised.value, ValueError)


# Settings of the compiled kernels.


@needs_core
def test_threads_is_a_setting_of_the_process_and_restored():
    before = backend.core().get_threads()
    with backend.threads(3):
        assert backend.core().get_threads() == 3
        with backend.threads(1):
            assert backend.core().get_threads() == 1
        assert backend.core().get_threads() == 3
    assert backend.core().get_threads() == before


@needs_core
@pytest.mark.parametrize("count", [0, -1, 1025, 1.0, "2", None, True])
def test_an_impossible_number_of_threads_is_refused(count):
    with pytest.raises(ValueError, match="threads must be a whole number from 1 to 1024"):
        backend.set_threads(count)


@needs_core
def test_an_unknown_simd_level_is_refused():
    with pytest.raises(ValueError, match=r"simd level must be one of .*; got 'mmx'"):
        backend.set_simd("mmx")


@needs_core
def test_every_simd_level_can_be_chosen():
    before = backend.core().get_simd()
    try:
        for level in backend.core().simd_levels():
            backend.set_simd(level)
            assert backend.core().get_simd() == level
    finally:
        backend.set_simd(before)


def test_the_package_imports_and_runs_without_the_core():
    """A fresh interpreter that cannot import pyhybrid._core."""
    program = """
import sys
sys.modules["pyhybrid._core"] = None
import numpy as np
from pyhybrid import backend
from pyhybrid.ops import softmax
assert not backend.available() and backend.active() == "numpy"
a, cache = softmax.forward(np.zeros((2, 4)))
assert (a == 0.25).all() and (softmax.backward(a, cache).x == 0).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
