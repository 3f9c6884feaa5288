"""Rows 13 to 16: other threads and other processes. Results have the same bits whoever else is at work, and nothing waits for ever."""

import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from faults import programs
from faults.harness import DTYPES, NAMES, SEED, busy, child, compiled, in_child, operator, pinned, run, same_bits

from pyhybrid import backend as seam
from pyhybrid import check

by_name = pytest.mark.parametrize("name", NAMES)
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
needs_core = pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")


def test_row_13_arrays_that_change_or_vanish_during_a_call_do_no_harm():
    """Values are then unspecified; memory stays valid, and the next call is right."""
    print(in_child(programs.change_arrays_during_calls))


@by_name
def test_row_14_eight_threads_at_once_compute_what_one_computes(name, backend):
    cases = [pinned(name, SEED + n, regime="ordinary", N=2, H=4, W=5) for n in range(3)]
    if backend == "rust":
        cases.append(busy(name, np.float32))
    expected = [run(name, case) for case in cases]
    start = threading.Barrier(8)

    def work(n):
        start.wait(30)
        return [run(name, cases[(n + m) % len(cases)]) for m in range(len(cases))]

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(contextvars.copy_context().run, work, n) for n in range(8)]
        for n, result in enumerate(results):
            for m, got in enumerate(result.result(timeout=60)):
                wanted = expected[(n + m) % len(cases)]
                if backend == "rust" and compiled(name):
                    same_bits(got, wanted, f"{name}, thread {n}")
                    continue
                for output, e in wanted.items():  # NumPy's matrix product does not promise bits
                    if not np.array_equal(got[output], e):
                        check.assert_close(got[output], e, output, kind="gradient", noise=float(np.finfo(e.dtype).eps))


@needs_core
def test_row_15_a_forked_child_computes_in_parallel_and_so_does_its_parent():
    print(in_child(programs.fork_after_parallel_calls))


@needs_core
def test_row_15_forking_while_another_thread_is_in_a_kernel():
    print(in_child(programs.fork_during_parallel_calls))


@needs_core
def test_row_15_a_pool_of_forked_workers():
    print(in_child(programs.multiprocessing_with_fork))


@needs_core
@by_dtype
@by_name
def test_row_16_the_number_of_threads_does_not_change_a_bit(name, dtype):
    if not compiled(name):
        pytest.skip(f"{name} has no compiled kernel")
    case = busy(name, dtype)
    with seam.use("rust"), seam.threads(1):
        expected = run(name, case)
    assert all(np.isfinite(a).all() and a.any() for a in expected.values())
    for count in (2, 3, 8, 1, 8):
        with seam.use("rust"), seam.threads(count):
            same_bits(run(name, case), expected, f"{name} on {count} threads")


# Statistics of the whole batch; no axis of images in front, or windows of them.
NOT_BY_IMAGE = ("batch_norm", "batch_norm_act", "mbconv_hidden", "softmax", "positional_term", "relative_bias", "scale_aware_aggregation",
                "window_partition", "window_reverse")
BY_IMAGE = {"drop_path": ("x", "mask"), "modulation": ("v", "modulator")}  # elsewhere: what has three images of more than three axes


@needs_core
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_BY_IMAGE])
def test_row_16_an_image_has_the_same_bits_alone_and_in_a_batch(name):
    """What the number of threads must not change, the place in the batch must not change either (but to batch_norm it is the batch)."""
    case = busy(name, np.float32)
    batched = BY_IMAGE.get(name) or [argument for argument, a in case.arrays.items() if a.shape[0] == 3 and a.ndim > 3]
    assert batched
    if not compiled(name):
        pytest.skip(f"{name} has no compiled kernel")
    with seam.use("rust"):
        whole, _ = case.call(operator(name).forward)
        for n in range(3):
            alone, _ = case.with_(**{argument: case.arguments[argument][n : n + 1] for argument in batched}).call(operator(name).forward)
            same_bits({"y": alone}, {"y": whole[n : n + 1]}, f"{name}, image {n}")


@needs_core
def test_row_16_changing_the_number_of_threads_during_calls_is_harmless():
    case = busy("softmax", np.float32)
    before, stop = seam.core().get_threads(), threading.Event()
    expected = run("softmax", case)

    def change():
        for n in range(10_000):
            seam.set_threads(1 + n % 9)
            if stop.wait(0.001):
                break

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(25):
            same_bits(run("softmax", case), expected, "softmax")
    finally:
        stop.set()
        changer.join(30)
        seam.set_threads(before)


@needs_core
def test_row_16_more_threads_than_processors_beside_a_busy_loop():
    """All processors spin in other processes: every call still comes to its end."""
    print(in_child(programs.compute_beside_busy_loops, min(4, os.cpu_count() or 1)))


# Settings.


@needs_core
@pytest.mark.parametrize("count", [0, -1, 1025, 2**70, 1.0, "2", None, True, [2], np.float64(2)])
def test_row_16_an_impossible_number_of_threads_is_refused_and_changes_nothing(count):
    before = seam.core().get_threads()
    with pytest.raises(ValueError, match="threads must be a whole number from 1 to 1024; got "):
        seam.set_threads(count)
    with pytest.raises(ValueError, match="threads must be"), seam.threads(count):
        pytest.fail("the block ran")
    assert seam.core().get_threads() == before


@needs_core
def test_row_16_the_threads_context_restores_after_an_error():
    before = seam.core().get_threads()
    with pytest.raises(KeyError), seam.threads(7):
        assert seam.core().get_threads() == 7
        raise KeyError
    assert seam.core().get_threads() == before


@needs_core
@pytest.mark.parametrize(("value", "count"), [("3", 3), ("1024", 1024), ("", None)])
def test_row_16_the_environment_sets_the_number_of_threads(value, count):
    done = child("from pyhybrid import backend; print(backend.core().get_threads(), backend.core().cpu_count())", PYHYBRID_THREADS=value)
    threads, processors = map(int, done.stdout.split())
    assert done.returncode == 0 and done.stderr == ""
    assert threads == (processors if count is None else count)


@needs_core
@pytest.mark.parametrize("value", ["0", "1025", "two", "99999999999999999999999"])
def test_row_16_an_unusable_environment_is_a_warning(value):
    done = child("from pyhybrid import backend; print(backend.core().get_threads(), backend.core().cpu_count())", PYHYBRID_THREADS=value)
    threads, processors = map(int, done.stdout.split())
    assert done.returncode == 0 and threads == processors
    assert "RuntimeWarning" in done.stderr and f"PYHYBRID_THREADS={value!r} ignored".replace("'", '"') in done.stderr
