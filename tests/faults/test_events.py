"""Rows 17 to 21: what may happen during a call, and the call after it: Ctrl-C, no memory, a bug in a kernel, a small stack, the end."""

import tomllib

import numpy as np
import pytest
from faults import programs
from faults.harness import NAMES, PACKAGE, busy, compiled, in_child, operator, run, same_bits

from pyhybrid import backend as seam

pytestmark = pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
MANIFEST = PACKAGE.parent / "rust" / "Cargo.toml"


@pytest.mark.parametrize("name", programs.LONG)
def test_row_17_ctrl_c_ends_a_long_call_at_once(name):
    """Raised within 100 ms, forward and backward, on a machine with time to spare; the bound leaves room for one that has none."""
    if not compiled(name):
        pytest.skip(f"{name} has no compiled kernel")
    print(in_child(programs.interrupt_a_long_call, name, seconds=120))


def test_row_17_the_first_call_imports_nothing_that_could_be_interrupted():
    print(in_child(programs.first_call_without_imports))


def test_row_17_a_signal_handler_of_the_program_is_called_and_heeded():
    print(in_child(programs.signal_handlers_during_calls))


@pytest.mark.parametrize("part", range(2))
def test_row_18_without_memory_every_operator_raises_memory_error(part):
    """The address space may grow by less and less: every allocation of every call is refused once, and nothing aborts."""
    print(in_child(programs.run_out_of_memory, part, 2))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_row_19_a_panic_in_a_kernel_is_an_exception_and_the_pool_lives_on(count):
    case = busy("softmax", np.float32)
    with seam.threads(count):
        expected = run("softmax", case)
        for _ in range(20):
            with pytest.raises(RuntimeError, match="internal error: panic for a test"):
                seam.core()._panic_for_test()
            same_bits(run("softmax", case), expected, f"softmax after a panic on {count} threads")


def test_row_19_panics_on_several_threads_at_once():
    print(in_child(programs.panic_from_many_threads))


def test_row_19_panics_unwind_in_what_is_shipped():
    """`abort` would end the interpreter; the project file must say it, for every profile that could override it."""
    if not MANIFEST.exists():
        pytest.skip("the Rust sources are not here")
    profiles = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))["profile"]
    assert profiles["release"]["panic"] == "unwind"
    assert all(profile.get("panic", "unwind") == "unwind" for profile in profiles.values())


def test_row_20_a_stack_of_64_kilobytes_is_enough():
    """Work space lies on the heap; on one thread everything runs on the caller's small stack."""
    print(in_child(programs.run_on_a_small_stack))


@pytest.mark.parametrize("idle", [True, False], ids=["idle workers", "a call in a daemon thread"])
def test_row_21_the_interpreter_ends_while_workers_live(idle):
    print(in_child(programs.end_with_workers, idle))


def test_every_operator_has_a_kernel_that_these_tests_exercise():
    """A list of what still runs its NumPy body, so that the rows above cannot pass for want of a kernel."""
    missing = [name for name in NAMES if not compiled(name)]
    if missing:
        pytest.skip(f"no compiled kernel yet: {', '.join(missing)}")
    assert all(hasattr(operator(name).forward, "reference") for name in NAMES)
