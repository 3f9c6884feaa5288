"""Row 23: every instruction-set level gives the same results within the judges' bound, and the same bits where lanes are independent."""

import numpy as np
import pytest
from faults.harness import DTYPES, NAMES, SEED, busy, child, compiled, operator, pinned, run, same_bits

from pyhybrid import backend as seam
from pyhybrid import check

pytestmark = pytest.mark.skipif(not seam.available(), reason="the compiled core is not installed")
LEVELS: list[str] = seam.core().simd_levels() if seam.available() else []
WIDE = [level for level in LEVELS if level != "portable"]
by_name = pytest.mark.parametrize("name", NAMES)

# Results whose bits may differ between avx2 and avx512, and why. Everything else must not differ in a single bit.
_OVER_CHANNELS = "a sum over the channels of one sampled point, one lane per channel: as many partial sums as the level has lanes"
DIFFER: dict[tuple[str, str], str] = {
    ("deform_conv2d", "doffset"): _OVER_CHANNELS,
    ("deform_conv2d", "dmask"): _OVER_CHANNELS,
}


@pytest.fixture
def at_level():
    """`at_level(level)` chooses a level for the rest of the test."""
    before = seam.core().get_simd()
    yield seam.set_simd
    seam.set_simd(before)


@by_name
@pytest.mark.parametrize("level", LEVELS)
def test_row_23_every_level_agrees_with_the_reference(name, level, at_level):
    at_level(level)
    for seed in range(SEED, SEED + 2):
        case = pinned(name, seed, regime=("ordinary", "whole")[seed % 2], N=2, H=4, W=19, shape=(3, 19), axis=-1, size=(4, 19))
        check.operator(operator(name), case, only=["parity"])


@by_name
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_row_23_wide_levels_give_the_same_bits(name, dtype, at_level):
    if len(WIDE) < 2 or not compiled(name):
        pytest.skip("fewer than two vector levels on this processor, or no compiled kernel")
    for case in (busy(name, dtype), *(pinned(name, SEED + n, regime="ordinary", N=2, H=4, W=9 + n).astype(dtype) for n in range(3))):
        results = []
        for level in WIDE:
            at_level(level)
            results.append(run(name, case))
        first, second = ({output: a for output, a in result.items() if (name, output) not in DIFFER} for result in results[:2])
        same_bits(second, first, f"{name} at {WIDE[1]} and {WIDE[0]}, {case}")


def test_row_23_exceptions_are_few_and_have_reasons():
    assert all(name in NAMES and output[0] in "yd" and reason for (name, output), reason in DIFFER.items())
    assert not any(output == "y" for _, output in DIFFER)


@by_name
@pytest.mark.parametrize("level", LEVELS)
def test_row_23_every_level_repeats_itself_on_any_number_of_threads(name, level, at_level):
    if not compiled(name):
        pytest.skip(f"{name} has no compiled kernel")
    at_level(level)
    case = pinned(name, SEED, regime="ordinary", N=3, H=4, W=17, shape=(40, 17), axis=-1, size=(40, 17)).astype(np.float32)
    with seam.threads(1):
        expected = run(name, case)
    for count in (2, 5):
        with seam.threads(count):
            same_bits(run(name, case), expected, f"{name} at {level} on {count} threads")


PRINT_LEVEL = "from pyhybrid import backend; print(backend.core().get_simd())"


@pytest.mark.parametrize("level", [*LEVELS, ""])
def test_row_23_the_environment_chooses_the_level(level):
    done = child(PRINT_LEVEL, PYHYBRID_SIMD=level)
    assert (done.returncode, done.stdout, done.stderr) == (0, (level or LEVELS[-1]) + "\n", "")


@pytest.mark.parametrize("value", ["sse9", "AVX2"])
def test_row_23_an_unknown_level_in_the_environment_is_a_warning(value):
    """The import does not fail for it; the best level runs, and the warning lists what there is."""
    done = child(PRINT_LEVEL, PYHYBRID_SIMD=value)
    assert done.returncode == 0 and done.stdout.strip() == LEVELS[-1]
    assert "RuntimeWarning: PYHYBRID_SIMD ignored" in done.stderr and f'"{value}"' in done.stderr and ", ".join(LEVELS) in done.stderr


@pytest.mark.parametrize("level", ["mmx", "", "AVX2", None, 2])
def test_row_23_an_unknown_level_is_refused_and_changes_nothing(level):
    before = seam.core().get_simd()
    with pytest.raises(ValueError, match="simd level must be one of"):
        seam.set_simd(level)
    assert seam.core().get_simd() == before
