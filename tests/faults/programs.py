"""What the tests run in child processes (see `harness.in_child`), by row of the fault table. An exception or a crash fails the test."""

from __future__ import annotations

import ctypes
import faulthandler
import inspect
import mmap
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from faults.harness import DTYPES, NAMES, SEED, aligned, busy, compiled, example_case, operator, pinned, run, same_bits, wide
from numpy.lib.stride_tricks import as_strided

from pyhybrid import backend
from pyhybrid.arrays import plain
from pyhybrid.check.case import Case
from pyhybrid.errors import describe

Array = np.ndarray


# Rows 6 and 10: memory that must not be touched.


def read_from_a_read_only_file(path: str) -> None:
    for name in NAMES:
        for dtype in DTYPES:
            case = example_case(name).astype(dtype)
            _y, _cache = case.call(operator(name).forward)

            def mapped(a: Array) -> Array:
                aligned(a.shape, a.dtype)[...] = a
                a.tofile(path)
                page = np.memmap(path, a.dtype, "r", shape=a.shape)
                with open(path, "rb") as file:
                    assert file.read() == a.tobytes()
                return np.asarray(page)

            expected = run(name, case)
            for choice in ("numpy", "auto"):
                with backend.use(choice):
                    for argument, a in case.arrays.items():
                        page = mapped(a)
                        got = run(name, case.with_(**{argument: page}))
                        assert list(got) == list(expected) and page.tobytes() == a.tobytes()


def guarded(a: Array, end: bool) -> Array:
    """A copy of `a` that begins right behind an inaccessible page, or ends right before one."""
    page = mmap.PAGESIZE
    inner = max(1, -(-a.nbytes // page)) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = page + (inner - a.nbytes if end else 0)
    copy: Array = np.frombuffer(memory, a.dtype, a.size, offset).reshape(a.shape)
    copy[...] = a
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for guard in (start, start + page + inner):
        assert protect(guard, page, 0) == 0
    _KEPT.append(memory)
    return copy


_KEPT: list[mmap.mmap] = []  # unmapping is not what is tested


def run_between_guard_pages(level: str) -> None:
    backend.set_simd(level)
    backend.set_threads(2)
    widths = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33]
    for name in filter(compiled, NAMES):
        for n, width in enumerate(widths):
            channels = {"O": 1 + n % 7, "C": 1 + n % 5, "outer": 1 + n % 6, "inner": 1 + n % 5, "d": 1 + n % 6, "heads": 1 + n % 2}
            for dtype in DTYPES:
                case = wide(name, width, SEED + n, regime="ordinary", **channels).astype(dtype)
                y, _ = case.call(operator(name).forward)
                dy = case.cotangent(y.shape, dtype)
                expected = run(name, case, dy)
                for end in (True, False):
                    got = run(name, case.map(lambda a: guarded(a, end)), guarded(dy, end), cached=lambda a: guarded(a, end))  # noqa: B023
                    same_bits(got, expected, f"{name} between guard pages, {case}")
                del case
        print("between guard pages:", name)


def read_one_byte_too_far() -> None:
    a = guarded(np.zeros(5, np.uint8), end=True)
    assert a.tobytes() == bytes(5)
    ctypes.string_at(a.ctypes.data, 6)


# Rows 8 and 9: arguments that must be refused.


def parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(operator(name).forward).parameters.values())


def limit_memory(megabytes: float) -> None:
    """The address space may grow by this much from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + int(megabytes * 2**20), hard))


def _misfits(a: Array) -> Iterator[Any]:
    yield from (
        a[None],
        a.reshape(-1),
        a[..., :0],
        np.concatenate([a, a], -1),
        a.astype(np.float32 if a.dtype == np.float64 else np.float64),
    )
    yield from (np.zeros((0,) * a.ndim, a.dtype), np.zeros((), a.dtype), a.astype(np.float16), a.astype(object), a.astype(complex))
    yield from (np.broadcast_to(a.flat[0] if a.size else a.dtype.type(0), (*a.shape, 3)), None, 1, "a")


def tamper_with_caches() -> None:
    limit_memory(2000)
    for name in NAMES:
        module = operator(name)
        tried = refused = 0
        for case in (example_case(name), pinned(name, N=2, H=4, W=5)):
            y, cache = case.call(module.forward)
            dy = case.cotangent(y.shape)
            expected = module.backward(dy, cache)
            numbers = [-1, 0, 10**6, 2**31 - 1, 2**70, (1, 2, 3), "x", None, 1.5]
            for field, value in zip(cache._fields, cache, strict=True):
                for wrong in _misfits(value) if isinstance(value, np.ndarray) else numbers:
                    tried += 1
                    try:
                        grads = module.backward(dy, cache._replace(**{field: wrong}))
                    except (TypeError, ValueError, AttributeError, IndexError, MemoryError, OverflowError):
                        refused += 1
                    else:
                        assert type(grads) is type(expected)
        print(f"{name}: {refused} of {tried} refused")
        assert refused > tried // 4


def misuse_the_core(part: int, parts: int) -> None:
    """Wrong arguments in one or two places of an otherwise good call; a good result or an ordinary error are both answers."""
    limit_memory(1500)
    core = backend.core()
    functions = [n for n in sorted(dir(core)) if callable(getattr(core, n)) and n[0] != "_" and not n.endswith("_rate")]
    before = core.get_threads(), core.get_simd()
    outcomes: dict[str, int] = {}
    for function in functions[part::parts]:
        random = np.random.default_rng([SEED, len(function)])
        operation, _, direction = function.rpartition("_")
        for n in range(240 if operation in NAMES else 60):
            good = _good_arguments(operation, direction, n) if operation in NAMES else []
            arguments = [*good]
            for _ in range(int(random.integers(0, 3))):
                if arguments:
                    place = int(random.integers(len(arguments)))
                    arguments[place] = _wrong(arguments[place], random)
            change = random.integers(12)
            if change == 0:
                arguments = arguments[:-1]
            elif change == 1:
                arguments = [*arguments, _wrong(None, random)]
            try:
                result = getattr(core, function)(*arguments)
            except (TypeError, ValueError, OverflowError, MemoryError) as error:
                assert str(error) or isinstance(error, MemoryError)
                outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
            except BaseException as error:
                raise AssertionError(f"{function}({', '.join(map(describe, arguments))}) raised {error!r}") from error
            else:
                outcomes["result"] = outcomes.get("result", 0) + 1
                assert isinstance(result, tuple | list) or operation not in NAMES, f"{function} returned {describe(result)}"
    core.set_threads(before[0]), core.set_simd(before[1])
    print(outcomes)
    assert min(outcomes.get(kind, 0) for kind in ("TypeError", "ValueError", "result")) > 20, outcomes


def _good_arguments(operation: str, direction: str, n: int) -> list[Any]:
    """What the seam would hand to the core."""
    case = example_case(operation) if n % 2 else pinned(operation, SEED + n, N=2)
    case = case.astype(DTYPES[n % 3 == 0])
    config = [case.config.get(p.name, p.default) for p in parameters(operation) if p.kind is p.KEYWORD_ONLY]
    if direction == "forward":
        return [*map(plain, case.arguments.values()), *config]
    y, cache = case.call(operator(operation).forward)
    return [case.cotangent(y.shape, y.dtype), *map(plain, cache)]


def _wrong(value: Any, random: np.random.Generator) -> Any:
    """Something else in place of a good argument: usually near it, sometimes anything."""
    numbers = [0, 1, 2, 3, -1, -2, 7, 2**31 - 1, 2**31, -(2**31), 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 2**70, -(2**70)]
    anything = [
        None,
        1.5,
        float("nan"),
        "reflect",
        "x",
        "",
        b"x",
        [],
        (),
        (1,),
        (1, 2, 3),
        (2, "a"),
        (2**70, 1),
        {},
        True,
        object(),
        np.float64(2),
    ]
    number = numbers[random.integers(len(numbers))]
    if isinstance(value, np.ndarray) and value.dtype in DTYPES and value.size < 10_000 and random.random() < 0.8:
        other = np.float64 if value.dtype == np.float32 else np.float32
        shape = [max(0, extent + int(random.integers(-1, 2))) for extent in value.shape]
        options = [
            lambda: np.zeros(shape, value.dtype), lambda: np.zeros([*shape, int(random.integers(0, 3))], value.dtype),
            lambda: value.reshape(-1), lambda: np.zeros((), value.dtype), lambda: np.empty((0, *value.shape[1:]), value.dtype),
            lambda: np.empty((0, *(2 ** int(random.integers(0, 20)) for _ in value.shape[1:])), value.dtype),
            lambda: as_strided(np.zeros(1, value.dtype), [2 ** int(random.integers(0, 40)), *value.shape[1:]], [0] * value.ndim),
            lambda: np.flip(value), lambda: np.asfortranarray(value), lambda: np.broadcast_to(value.dtype.type(1), value.shape),
            lambda: aligned(value.shape, value.dtype, int(random.integers(1, 64))), lambda: value.astype(other),
            lambda: value.astype(value.dtype.newbyteorder()), lambda: np.full(value.shape, 2.0, np.float16),
            lambda: np.full(value.shape, 2, np.int32), lambda: value.astype(complex), lambda: value.astype(object),
            lambda: value.astype(bool), lambda: np.ma.MaskedArray(value), lambda: value.tolist(),
        ]  # fmt: skip
        return options[random.integers(len(options))]()
    if random.random() < 0.6:
        return (number, numbers[random.integers(len(numbers))]) if random.random() < 0.4 else number
    return anything[random.integers(len(anything))]


def huge_extents() -> None:
    limit_memory(300)
    for name in NAMES:
        _huge_extents(name)


def _huge_extents(name: str) -> None:
    """One axis after the other, and all at once, repeated 2**26 to 2**62 times without memory. Empty arrays too, for what is compiled:
    the NumPy bodies loop over kernel taps, and run as long as there are taps."""
    case = example_case(name)
    outcomes: dict[str, int] = {}
    for argument, a in case.arrays.items():
        for axes in [*((axis,) for axis in range(a.ndim)), tuple(range(a.ndim))]:
            for extent in (2**26, 2**31, 2**40, 2**62):
                shape = [extent if axis in axes else n for axis, n in enumerate(a.shape)]
                for empty in (False, True) if compiled(name) else (False,):
                    if empty:
                        shape[0] = 0
                    try:
                        huge = as_strided(np.zeros(1), shape, [0] * a.ndim)
                    except ValueError:
                        continue  # NumPy itself has no array of that size
                    start = time.monotonic()
                    try:
                        case.with_(**{argument: huge}).call(operator(name).forward)
                    except (ValueError, MemoryError) as error:
                        kind = "MemoryError" if isinstance(error, MemoryError) else "ValueError"
                    else:
                        assert empty, f"{name} computed {argument} of shape {shape}"
                        kind = "empty"
                    outcomes[kind] = outcomes.get(kind, 0) + 1
                    seconds = time.monotonic() - start
                    assert seconds < 5, f"{name}: {argument} of shape {shape} took {seconds:.1f} s and ended with {kind}"
    print(name, outcomes)
    assert outcomes.get("ValueError", 0) + outcomes.get("MemoryError", 0) > 0


# Rows 13 to 16: threads and processes.


def workers() -> int:
    """Threads of the compiled pool that live in this process."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("pyhybrid") for name in names)


def change_arrays_during_calls() -> None:
    stop = threading.Event()
    shared = {name: busy(name, np.float32).copy() for name in NAMES}

    def spoil() -> None:
        random = np.random.default_rng(1)
        while not stop.is_set():
            for case in shared.values():
                for a in case.arrays.values():
                    part = a.reshape(-1)[:: int(random.integers(1, 9))]
                    part[...] = random.choice([np.nan, np.inf, -np.inf, 0.0, 1e38, -1e-45, 1.0], part.size)

    def replace() -> None:
        while not stop.is_set():
            for name in NAMES:
                shared[name] = busy(name, np.float32).copy()  # the old arrays may die while a kernel reads them

    others = [threading.Thread(target=spoil), threading.Thread(target=replace)]
    with np.errstate(all="ignore"):
        for thread in others:
            thread.start()
        try:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                for name in NAMES:
                    run(name, shared[name])
        finally:
            stop.set()
            for thread in others:
                thread.join(30)
    for name in NAMES:
        assert all(np.isfinite(a).all() for a in run(name, busy(name)).values())


def _parallel() -> dict[str, dict[str, Array]]:
    return {name: run(name, busy(name, np.float32)) for name in NAMES if compiled(name)}


def _in_fork(expected: dict[str, dict[str, Array]], *, seconds: int = 10) -> int:
    """Fork; the child computes everything on several threads within `seconds` and compares the bits. Returns its process id."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        faulthandler.register(signal.SIGALRM, chain=True)  # tells where, then the signal ends the process
        signal.alarm(seconds)
        for name, wanted in expected.items():
            same_bits(run(name, busy(name, np.float32)), wanted, f"{name} in a forked child")
        status = 0 if workers() == backend.core().get_threads() - 1 else 3
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _expect_success(process: int) -> None:
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, "the child had no threads of its own" if code == 3 else f"the forked child ended with status {code}"


def fork_after_parallel_calls() -> None:
    backend.set_threads(3)
    expected = _parallel()
    assert workers() == 2, f"{workers()} workers"
    for _ in range(2):
        _expect_success(_in_fork(expected))
        for name, wanted in expected.items():
            same_bits(run(name, busy(name, np.float32)), wanted, f"{name} in the parent")
    first, second = _in_fork(expected), _in_fork(expected)
    _expect_success(first)
    _expect_success(second)


def fork_during_parallel_calls() -> None:
    backend.set_threads(2)
    expected = {name: run(name, busy(name, np.float32)) for name in ("softmax", "shift")}
    stop = threading.Event()

    def work() -> None:
        count = 0
        while not stop.is_set():
            backend.set_threads(2 + count % 2)  # now and then the pool is built anew
            run("softmax", busy("softmax", np.float32))
            count += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for n in range(6):
            time.sleep(0.003 * n)
            _, status = os.waitpid(_in_fork(expected), 0)
            assert os.waitstatus_to_exitcode(status) in (0, 3)  # 3: correct, but with another number of threads than at the end
    finally:
        stop.set()
        thread.join(30)


def _softmax_bytes(seed: int) -> bytes:
    signal.alarm(10)
    (a, _) = operator("softmax").forward(np.random.default_rng(seed).standard_normal((301, 517)).astype(np.float32))
    return a.tobytes()


def multiprocessing_with_fork() -> None:
    backend.set_threads(3)
    expected = [_softmax_bytes(seed) for seed in range(6)]
    signal.alarm(0)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map_async(_softmax_bytes, range(6)).get(timeout=20) == expected
    assert [_softmax_bytes(seed) for seed in range(6)] == expected


def compute_beside_busy_loops(count: int) -> None:
    """Twice as many busy processes as processors, and eight threads: slower, but not for ever."""
    spin = "import time\nend = time.monotonic() + 50\nwhile time.monotonic() < end: pass"
    spinners = [subprocess.Popen([sys.executable, "-S", "-c", spin]) for _ in range(2 * count)]
    try:
        expected = _parallel()
        for threads in (8, 2):
            backend.set_threads(threads)
            for name, wanted in expected.items():
                same_bits(run(name, busy(name, np.float32)), wanted, f"{name} beside busy loops")
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


# Rows 17 to 21: events during a call.


def _some(*shape: int) -> Array:
    return np.full(shape, 0.5, np.float32)


def _long(name: str, n: int) -> tuple[tuple[Array | None, ...], dict[str, Any]]:
    """Arguments for a call of about a second on one thread, times `n`, in little memory."""
    arguments: dict[str, Callable[[], tuple[tuple[Array | None, ...], dict[str, Any]]]] = {
        "conv2d": lambda: ((_some(8 * n, 64, 56, 56), _some(64, 64, 11, 11), None), {"padding": 5}),
        "tap_projection": lambda: ((_some(8 * n, 1024, 28, 28), _some(64, 1024, 7, 7), None), {}),
        "pointwise_conv": lambda: ((_some(6 * n, 1024, 64, 64), _some(1024, 1024, 1, 1), None), {}),
        "conv_decomposition": lambda: ((_some(8 * n, 128, 56, 56), _some(64, 128, 7, 7), None), {}),
        "local_attention": lambda: (([_some(16 * n, 64, 56, 56)] * 3 + [None]), {"heads": 4, "kernel_size": 31}),
        "conv_path": lambda: ([_some(24 * n, 64, 56, 56)] * 3 + [_some(49, 12, 1, 1), _some(64, 49, 7, 7), None, None], {"heads": 4}),
        "shift_conv": lambda: ((_some(8 * n, 16, 49, 56, 56), _some(256, 49, 7, 7), None), {"kernel_size": 7}),
        "acmix": lambda: ((_some(3 * n, 64, 56, 56), _some(1), _some(1), *(_some(64, 64, 1, 1), _some(64)) * 3, _some(9, 12, 1, 1),
                           _some(64, 9, 3, 3), None, None, None, None), {"heads": 4, "kernel_size": 31}),
    }  # fmt: skip
    return arguments[name]()


LONG = ("conv2d", "tap_projection", "pointwise_conv", "conv_decomposition", "local_attention", "conv_path", "shift_conv", "acmix")
PROMISED, SLACK = 0.1, 0.4  # seconds; the slack is for a machine on which others compute


def interrupt_a_long_call(name: str) -> None:
    backend.set_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module = operator(name)
    run(name, example_case(name))
    for direction in ("forward", "backward"):
        delays: list[float] = []
        scale = 1
        while len(delays) < 3 and not (len(delays) == 2 and max(delays) < PROMISED):
            assert scale <= 16, f"{name} {direction} is too quick to be interrupted: {delays}"
            arrays, config = _long(name, scale)
            call = _backward_call(module, arrays, config) if direction == "backward" else lambda: module.forward(*arrays, **config)  # noqa: B023
            if (delay := _interrupted_after(call)) is None:
                scale *= 2
            else:
                delays.append(delay)
        print(f"{name} {direction}: raised after {', '.join(f'{1000 * delay:.0f}' for delay in delays)} ms")
        # One of them may have met a moment in which the machine stood still.
        assert min(delays) <= PROMISED and sorted(delays)[1] <= PROMISED + SLACK, f"{name} {direction}: {delays}"
    expected = run(name, example_case(name))
    same_bits(run(name, example_case(name)), expected, "the next call")


def _interrupted_after(call: Callable[[], Any]) -> float | None:
    """Seconds from a Ctrl-C, sent while `call` runs, to its KeyboardInterrupt; None if the call was over before, or not begun yet."""
    sent: list[float] = []
    running = False

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.1, interrupt)
    try:
        timer.start()  # on a machine that stands still, the signal comes before this returns
        running = True
        call()
        running = False
        timer.cancel()
        timer.join()
        time.sleep(0.001)  # a signal that came too late is raised here
    except KeyboardInterrupt:
        return time.monotonic() - sent[0] if running else None
    return None


def _backward_call(module: Any, arrays: tuple[Array | None, ...], config: dict[str, Any]) -> Callable[[], Any]:
    """backward on a made-up cache: its values do not matter, so no forward of seconds has to come first."""
    defaults = {p.name: p.default for p in inspect.signature(module.forward).parameters.values()}
    given = {**defaults, **dict(zip(module.Grads._fields, arrays, strict=True)), **config}
    y = _some(*module.output_shape(*arrays, **config))
    saved: dict[str, Any] = {"a": y, "att": y, "conv": y}
    if "lse" in module.Cache._fields:
        saved["lse"] = np.full((y.shape[0], given["heads"], *y.shape[2:]), 100, np.float32)
        saved.update({letter: _some(y.shape[0], y.shape[1], *y.shape[2:]) for letter in "qkv"}, pe=None)
    cache = module.Cache(**{f: given[f] if f in given else saved[f] for f in module.Cache._fields})
    return lambda: module.backward(y, cache)


def first_call_without_imports() -> None:
    """What is imported late can be interrupted, or fail for want of memory, in the middle of a user's first call."""
    core = backend.core()
    x = np.ones((2, 3))
    assert (x == x).all()  # NumPy's own late imports are done
    for module in [name for name in sys.modules if name.startswith("numpy.")]:
        sys.modules[module] = None  # type: ignore[assignment]  # importing it is an ImportError from here on
    (y,) = core.shift_forward(x, 0)
    assert (y == x).all()


def signal_handlers_during_calls() -> None:
    """A handler that raises ends the call with its exception; one that returns lets the call finish with the right result."""

    class Alarm(Exception):
        pass

    def raises(*_: Any) -> None:
        raise Alarm

    case = Case({"x": np.random.default_rng(SEED).standard_normal((15_000, 1000), np.float32)}, {"axis": -1})
    with backend.threads(1):
        expected, _ = case.call(operator("softmax").forward)
        ticks: list[int] = []
        signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        y, _ = case.call(operator("softmax").forward)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert ticks
        same_bits({"y": y}, {"y": expected}, "a call during which a handler ran")
        signal.signal(signal.SIGALRM, raises)
        for _ in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            try:
                for _ in range(10):
                    case.call(operator("softmax").forward)
            except Alarm:
                break
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            raise AssertionError("the handler's exception never came")
        same_bits({"y": case.call(operator("softmax").forward)[0]}, {"y": expected}, "the call after it")


def run_out_of_memory(part: int, parts: int) -> None:
    backend.set_threads(2)
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    warm = {name: run(name, example_case(name)) for name in NAMES}  # what libraries allocate once
    for name in NAMES[part::parts]:
        case = busy(name, np.float64)
        expected = run(name, case)
        refused = {"forward": 0, "backward": 0}
        y, cache = case.call(operator(name).forward)
        dy = case.cotangent(y.shape)
        limits = [*(0.05 * n for n in range(20)), 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16]
        for megabytes in limits:
            for direction in refused:
                held = _all_free_memory()
                limit_memory(megabytes)
                try:
                    if direction == "forward":
                        case.call(operator(name).forward)
                    else:
                        operator(name).backward(dy, cache)
                except MemoryError:
                    refused[direction] += 1
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, unlimited)
                del held
        print(f"{name}: of {len(limits)} limits were too small {refused}")
        assert refused["forward"] and (refused["backward"] or name == "positional_term"), f"{name} never ran out of memory: {refused}"
        same_bits(run(name, case), expected, f"{name} after running out of memory")
        same_bits(run(name, example_case(name)), warm[name], f"{name} after running out of memory")


def _all_free_memory() -> list[bytearray]:
    """What the allocator has kept for reuse, taken away: blocks of halving sizes for as long as the process need not grow."""
    held = []
    limit = resource.getrlimit(resource.RLIMIT_AS)
    for size in (2**n for n in range(26, 11, -1)):
        limit_memory(0)
        try:
            for _ in range(200):
                held.append(bytearray(size))
        except MemoryError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limit)
    return held


def panic_from_many_threads() -> None:
    backend.set_threads(4)
    expected = run("softmax", busy("softmax", np.float32))
    outcomes = []

    def work() -> None:
        for _ in range(5):
            try:
                backend.core()._panic_for_test()
            except RuntimeError as error:
                outcomes.append(str(error))
            same_bits(run("softmax", busy("softmax", np.float32)), expected, "softmax beside panics")
        outcomes.append("done")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert outcomes.count("done") == 6 and len(outcomes) == 36, outcomes


def run_on_a_small_stack() -> None:
    """On the caller's thread alone, then with workers, whose stacks are the pool's."""
    names = [name for name in NAMES if compiled(name)]
    cases = {(name, dtype): busy(name, dtype) for name in names for dtype in DTYPES}
    expected = {key: run(key[0], case) for key, case in cases.items()}
    threading.stack_size(64 * 1024)
    for count in (1, 3):
        backend.set_threads(count)
        for key, case in cases.items():
            got: dict[str, Array] = {}
            thread = threading.Thread(target=lambda: got.update(run(key[0], case)))  # noqa: B023
            thread.start()
            thread.join(50)
            same_bits(got, expected[key], f"{key[0]} on a stack of 64 KiB, {count} threads")


def end_with_workers(idle: bool) -> None:
    """The interpreter ends with status 0 although the pool's threads are there, and within a second of the last statement."""
    backend.set_threads(4)
    case = busy("softmax", np.float32)
    run("softmax", case)
    for _ in range(200):        # a thread takes its name when it first runs
        if workers() == 3:
            break
        time.sleep(0.01)
    assert workers() == 3
    if not idle:

        def work() -> None:
            while True:
                run("softmax", case)

        for _ in range(2):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
    faulthandler.dump_traceback_later(5, exit=True)
