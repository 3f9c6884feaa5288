"""Rows 5, 6, 7 and 12: where an array lies and how it is laid out never matters, inputs are never written, results are always fresh."""

from itertools import combinations

import numpy as np
import pytest
from faults import programs
from faults.harness import DTYPES, NAMES, SEED, aligned, compiled, example_case, in_child, operator, pinned, run, same_bits

from pyhybrid import backend as seam
from pyhybrid import check

by_name = pytest.mark.parametrize("name", NAMES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)


def reversed_(a):
    """Negative strides on every axis."""
    return a[(slice(None, None, -1),) * a.ndim].copy()[(slice(None, None, -1),) * a.ndim]


def permuted(a):
    """The axes lie in memory in another order: the first two and the last two exchanged."""
    order = [*range(a.ndim)[::-1]]
    return np.ascontiguousarray(a.transpose(order[1:] + order[:1])).transpose(np.argsort(order[1:] + order[:1]))


def gapped(a):
    """Every second, third, … element of a larger array, from an odd start."""
    large = np.full([2 * n + 3 for n in a.shape], np.nan, a.dtype)
    view = large[tuple(slice(1, 1 + 2 * n, 2) for n in a.shape)]
    view[...] = a
    return view


LAYOUTS = {"negative": reversed_, "Fortran": np.asfortranarray, "permuted": permuted, "gapped": gapped}


def laid_out(name, case, layout, what):
    """One run with every array laid out, results and gradients as on contiguous copies."""
    plain = case.copy()
    y, _ = plain.call(operator(name).forward)
    dy = case.cotangent(y.shape, y.dtype)
    expected = run(name, plain, dy)
    got = run(name, case.map(layout), layout(dy), cached=layout)
    if seam.active() == "rust" and compiled(name):
        same_bits(got, expected, what)
        return
    for output, e in expected.items():  # BLAS takes another path for another layout, and that is NumPy's affair
        check.assert_close(got[output], e, f"{what}: {output}", kind="gradient", noise=np.finfo(e.dtype).eps)


@by_name
@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_05_strides_do_not_matter(name, layout, backend):
    for n, dtype in enumerate(DTYPES):
        for case in (example_case(name), pinned(name, SEED + n, regime="ordinary", N=2, H=4, W=5)):
            changed = case.map(LAYOUTS[layout])
            assert all(np.array_equal(changed.arguments[argument], a) for argument, a in case.arrays.items())
            laid_out(name, case.astype(dtype), LAYOUTS[layout], f"{name}, {layout} strides, {case}")


@by_name
def test_row_05_broadcast_views_do_not_matter(name, backend):
    """Zero strides: each argument in turn, and dy, repeats its first entry along every axis but the last, then along all."""
    case = example_case(name)
    y, _ = case.call(operator(name).forward)
    for argument, a in case.arrays.items():
        for part in (a[(0,) * (a.ndim - 1)], a.flat[0]):
            view = np.broadcast_to(part, a.shape)
            assert np.ndim(part) or view.strides == (0,) * a.ndim
            laid_out(name, case.with_(**{argument: view}), lambda x: x, f"{name}, broadcast {argument}")
    view = np.broadcast_to(np.float64(0.75), y.shape)
    got, expected = run(name, case, view), run(name, case, view.copy())
    for output, e in expected.items():
        check.assert_close(got[output], e, f"{name}, broadcast dy: {output}", kind="gradient", noise=np.finfo(float).eps)


@by_dtype
@by_name
def test_row_06_read_only_inputs_are_accepted_and_unchanged(name, dtype, backend):
    def locked(a):
        a = a.copy()
        a.flags.writeable = False
        return a

    case = pinned(name, regime="ordinary", N=2, W=5, H=4).astype(dtype).map(locked)
    y, cache = case.call(operator(name).forward)
    dy = locked(case.cotangent(y.shape, dtype))
    cache = type(cache)(*(locked(v) if isinstance(v, np.ndarray) else v for v in cache))
    held = [*case.arrays.values(), dy, *(v for v in cache if isinstance(v, np.ndarray))]
    before = [a.tobytes() for a in held]
    grads = operator(name).backward(dy, cache)
    again, _ = case.call(operator(name).forward)
    assert [a.tobytes() for a in held] == before
    assert again.flags.writeable and all(g.flags.writeable for g in grads if g is not None)


def test_row_06_a_read_only_page_of_a_file_is_never_written(tmp_path):
    """The processor itself refuses a write there: it would end the child."""
    in_child(programs.read_from_a_read_only_file, str(tmp_path / "numbers"))


@by_dtype
@by_name
def test_row_07_misaligned_addresses_give_the_same_bits(name, dtype, backend):
    """Every distance from a cache line, in bytes; on the NumPy backend those that are multiples of 16."""
    case = pinned(name, regime="ordinary", N=1, H=4, W=5, shape=(2, 17)).astype(dtype)
    rust = seam.active() == "rust" and compiled(name)

    def at(offset):
        def place(a):
            copy = aligned(a.shape, a.dtype, offset)
            copy[...] = a
            assert copy.size == 0 or copy.ctypes.data % 64 == offset
            return copy

        return place

    y, _ = case.call(operator(name).forward)
    dy = case.cotangent(y.shape, y.dtype)
    expected = run(name, case.map(at(0)), at(0)(dy), cached=at(0))
    for offset in range(1, 64) if rust else (16, 32, 1):
        got = run(name, case.map(at(offset)), at(offset)(dy), cached=at(offset))
        if rust:
            same_bits(got, expected, f"{name}, {offset} bytes behind a cache line")
        else:
            for output, e in expected.items():
                check.assert_close(got[output], e, output, kind="gradient", noise=np.finfo(e.dtype).eps)


@by_name
def test_row_12_results_share_memory_with_nothing(name, backend):
    """Neither with an argument, nor with what is saved, nor with one another, so that a caller may overwrite any of them."""
    module = operator(name)
    for case in (example_case(name), *(pinned(name, SEED + n, N=2, ph=0, pw=0, offset=0, kernel_size=1, stride=1) for n in range(3))):
        y, cache = case.call(module.forward)
        dy = case.cotangent(y.shape, y.dtype)
        grads = module.backward(dy, cache)
        fresh = {"y": y, **{f"d{f}": g for f, g in zip(grads._fields, grads, strict=True) if g is not None}}
        saved = {
            f"cache.{f}": v for f, v in zip(cache._fields, cache, strict=True) if isinstance(v, np.ndarray) and f not in case.arguments
        }
        given = {**case.arrays, "dy": dy}
        for field, value in zip(cache._fields, cache, strict=True):
            assert field not in case.arguments or value is case.arguments[field], f"{name}: cache.{field} is not the argument"
        for (a, left), (b, right) in combinations({**fresh, **saved}.items(), 2):
            assert not np.shares_memory(left, right), f"{name}: {a} and {b} share memory, {case}"
        for a, left in {**fresh, **saved}.items():
            for b, right in given.items():
                assert not np.shares_memory(left, right), f"{name}: {a} and the argument {b} share memory, {case}"
            repeats = [n for n, stride in zip(left.shape, left.strides, strict=True) if n > 1 and stride == 0]
            assert not left.size or (left.flags.writeable and not repeats), f"{name}: {a} repeats itself in memory"


@pytest.mark.parametrize("name", ["local_attention", "conv_path"])
def test_row_12_one_array_may_be_several_arguments(name, backend):
    """Self-attention on the bare map: q, k and v are one object; its three gradients are three arrays."""
    case = example_case(name)
    same = case.with_(k=case.arguments["q"], v=case.arguments["q"])
    same_bits(run(name, same), run(name, same.copy()), name)


@by_name
def test_row_12_the_gradient_may_be_an_argument_again(name, backend):
    """dy may be an array that the cache holds: y itself, or an argument of the right shape."""
    case = example_case(name)
    y, cache = case.call(operator(name).forward)
    for a in (y, *(v for v in cache if isinstance(v, np.ndarray) and v.shape == y.shape)):
        aliased, apart = operator(name).backward(a, cache), operator(name).backward(a.copy(), cache)
        same_bits(
            {f: g for f, g in aliased._asdict().items() if g is not None},
            {f: g for f, g in apart._asdict().items() if g is not None},
            name,
        )


@pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
@pytest.mark.parametrize("level", seam.core().simd_levels() if seam.available() else [])
def test_row_10_no_kernel_reads_beside_its_arrays(level):
    """Inputs between guard pages: reading one byte before the start or behind the end ends the child."""
    print(in_child(programs.run_between_guard_pages, level))


@pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
def test_row_10_the_guard_pages_are_guarding():
    with pytest.raises(AssertionError, match="ended with status -11"):
        in_child(programs.read_one_byte_too_far)
