"""Measures, bounds and the assertion."""

from fractions import Fraction

import numpy as np
import pytest

from pyhybrid import check
from pyhybrid.check import close


def test_a_measure_says_how_far_and_where():
    found = check.measure(np.array([[1.0, 2.0], [3.0, 4.5]]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert (found.absolute, found.relative, found.index, found.got, found.expected) == (0.5, 0.125, (1, 1), 4.5, 4.0)


@pytest.mark.parametrize(
    ("got", "expected", "fault"),
    [
        (np.zeros(2), np.zeros(3), "got shape (2,), expected shape (3,)"),
        (np.zeros((2, 1)), np.zeros((1, 2)), "got shape (2, 1), expected shape (1, 2)"),
        (np.zeros(2, np.float32), np.zeros(2), "got dtype float32, expected dtype float64"),
        (
            np.array([1, np.nan]),
            np.array([1.0, 1.0]),
            "NaN in 1 places, expected in 0; first at (1,): got nan, expected 1.0",
        ),
        (
            np.array([1.0, 1.0]),
            np.array([np.nan, 1]),
            "NaN in 0 places, expected in 1; first at (0,): got 1.0, expected nan",
        ),
        (
            np.array([np.inf]),
            np.array([1e300]),
            "inf in 1 places, expected in 0; first at (0,): got inf, expected 1e+300",
        ),
        (np.array([np.inf]), np.array([-np.inf]), "at (0,): got inf, expected -inf"),
        (
            np.array([np.nan, 1]),
            np.array([1, np.nan]),
            "NaN in 1 places, expected in 1; first at (0,): got nan, expected 1.0",
        ),
    ],
)
def test_what_cannot_be_compared_is_a_fault(got, expected, fault):
    found = check.measure(got, expected)
    assert found.fault == fault and found.absolute == np.inf
    assert not found.within(np.inf)
    with pytest.raises(AssertionError) as raised:
        check.assert_close(got, expected, "dx")
    assert str(raised.value) == f"dx: {fault}"


def test_equal_nan_and_inf_are_equal():
    a = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert check.measure(a, a.copy()).absolute == 0
    assert check.measure(a + np.array([0, 0, 0, 0.5]), a).absolute == 0.5


def test_empty_arrays_of_one_shape_agree():
    assert check.measure(np.zeros((0, 3)), np.zeros((0, 3))).absolute == 0
    assert check.measure(np.zeros((0, 3)), np.zeros((3, 0))).fault


def test_signed_zeros_and_byte_orders_are_equal():
    check.assert_close(np.array([-0.0]), np.array([0.0]), exact=True)
    check.assert_close(np.array([1.5], ">f8"), np.array([1.5]), exact=True)


def test_numbers_of_every_kind():
    assert check.measure(np.array([1 + 1j]), np.array([1 - 1j])).absolute == 2
    assert check.measure(np.array([Fraction(1, 3)]), np.array([Fraction(1, 3)])).absolute == 0
    assert check.measure(np.array([Fraction(1, 2)]), np.array([Fraction(1, 3)])).absolute == pytest.approx(1 / 6)
    assert check.measure(np.float64(2), 2.0).absolute == 0
    wide = np.array([1], np.longdouble) + np.finfo(np.longdouble).eps
    assert check.measure(wide, np.array([1], np.longdouble)).absolute == np.finfo(np.longdouble).eps


def test_the_text_names_what_where_got_expected_and_bound():
    with pytest.raises(AssertionError) as raised:
        check.assert_close(np.array([[1.0, 2.5]]), np.array([[1.0, 2.0]]), "dweight", kind="gradient")
    text = str(raised.value)
    assert (
        text == "dweight[0, 1]: got 2.5, expected 2.0; difference 0.5 (0.25 of the largest expected value), bound 2e-11"
    )


def test_the_bound_is_a_matter_of_dtype_and_kind():
    one = np.ones(1)
    assert check.bound(one.astype(np.float32)) > check.bound(one)
    assert check.bound(one, "gradient") > check.bound(one)
    assert check.bound(1000 * one) == 1000 * check.bound(one)
    assert check.bound(0 * one) == 0 and check.bound(0 * one, noise=1.0) == close.NOISE
    assert check.bound(one, dtype=np.float32) == check.bound(one.astype(np.float32))
    assert check.bound(np.array([1, np.inf, np.nan])) == check.bound(one)
    with pytest.raises(TypeError, match="no tolerance is defined for object arrays"):
        check.bound(np.array([Fraction(1)]))
    with pytest.raises(KeyError):
        check.bound(one, "feeling")


def test_exact_leaves_no_room():
    with pytest.raises(AssertionError, match="bound 0"):
        check.assert_close(np.array([np.nextafter(1.0, 2)]), np.array([1.0]), exact=True)
    assert check.assert_close(np.array([np.nextafter(1.0, 2)]), np.array([1.0])).absolute > 0


def test_rounding_changes_every_entry_by_a_fraction_of_itself():
    x = np.array([1e-8, 0.0, 1e8])
    moved = close.rounded(x, np.random.default_rng(0), 1e-3)
    assert moved[1] == 0 and (np.abs(moved - x)[[0, 2]] <= 1e-3 * x[[0, 2]]).all() and (moved != x)[[0, 2]].all()
    for other in (None, 3, "reflect", np.array([1, 2])):
        assert close.rounded(other, np.random.default_rng(0), 1e-3) is other
