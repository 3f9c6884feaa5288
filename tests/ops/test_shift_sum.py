"""Stage II: the standard laws; a single map is a single shift."""

import naive
import numpy as np
import pytest
from hypothesis import given

from pyhybrid import check
from pyhybrid.check import cases
from pyhybrid.ops import shift, shift_sum

JUDGE = {"oracle": naive.shift_sum, "oracle_backward": naive.shift_sum_backward, "step": "complex"}


@given(cases.strategy("shift_sum"))
def test_standard(case):
    check.operator(shift_sum, case, **JUDGE)


@pytest.mark.parametrize("case", cases.corners("shift_sum"))
def test_corners(case):
    check.operator(shift_sum, case, **JUDGE)


@given(cases.strategy("shift_sum"))
def test_nan_and_inf_go_where_the_reference_sends_them(case):
    check.operator(shift_sum, case, only=["special values"])


@pytest.mark.parametrize("kernel_size", [(3, 3), (2, 4), (1, 5)])
def test_the_map_of_one_tap_is_shifted_by_its_position(backend, kernel_size):
    kh, kw = kernel_size
    for p, q in naive.box(kh, kw):
        maps = np.zeros((1, kh * kw, 2, 5, 4))
        maps[:, p * kw + q] = np.arange(1.0, 41).reshape(2, 5, 4)
        y, _ = shift_sum.forward(maps, kernel_size=kernel_size)
        moved, _ = shift.forward(maps[:, p * kw + q], offset=(p - kh // 2, q - kw // 2))
        check.assert_close(y, moved, f"tap {p, q}", exact=True)


def test_c1_one_map_per_tap(refuses):
    refuses(shift_sum, "C1", "maps", np.zeros((1, 8, 2, 3, 3)), kernel_size=3)
    refuses(shift_sum, "C1", "maps", np.zeros((9, 2, 3, 3)), kernel_size=3)
