"""The checker is itself tested: false chains, counterexamples that hold, the arithmetic of the survival bound, exact numbers."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pyhybrid import backend, proofs
from pyhybrid.errors import UsageError
from pyhybrid.proofs import Counterexample, Proof, Step, _check, check
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._numbers import Log, Number


@pytest.fixture(autouse=True)
def reference():
    with backend.use("numpy"):
        yield


def world(draw, *, n=3):
    return World(a=draw("a", n), b=draw("b", n))


FAILS = Counterexample("minus instead of plus", world, {}, Step("a + b", lambda w: w.a + w.b), Step("a - b", lambda w: w.a - w.b))


def proof(*steps, degree=2, counterexamples=(FAILS,), **fields):
    chain = (Step("(a + b)²", lambda w: (w.a + w.b) * (w.a + w.b)), *steps)
    words = dict(name="square", title="t", statement="s", hypotheses=("h",), domain="d", source="s")
    given = words | dict(world=world, sizes=({}, {"n": 1}), small=({},), counterexamples=counterexamples)
    return Proof(steps=chain, degree=degree, **(given | fields))


EXPANDED = Step("a² + 2ab + b²", lambda w: w.a * w.a + 2 * w.a * w.b + w.b * w.b, "binomial theorem")
FORGOTTEN = Step("a² + b²", lambda w: w.a * w.a + w.b * w.b, "wrong: the middle term is lost")
FACTORED = Step("a² + b², again", lambda w: w.b * w.b + w.a * w.a, "addition commutes")


@pytest.mark.parametrize("mode", ["exact", "fractions", "symbolic"])
def test_a_false_step_is_found_where_it_stands(mode):
    verdict = check(proof(EXPANDED, FORGOTTEN, FACTORED), mode)
    assert [step.holds for step in verdict.steps] == [True, False, True]
    assert not verdict.holds
    assert verdict.steps[1].difference.place == (0,)


@pytest.mark.parametrize("mode", ["exact", "fractions", "symbolic"])
def test_a_true_chain_holds(mode):
    verdict = check(proof(EXPANDED), mode)
    assert verdict.holds and verdict.mode == mode


def test_a_step_that_is_false_at_one_size_only_is_found():
    only_one = Step("wrong for n = 1", lambda w: EXPANDED.value(w) + (1.0 if len(w.a) == 1 else 0.0), "r")
    assert not check(proof(only_one)).holds


def test_the_difference_names_first_place_both_values_and_how_many():
    left, right = np.arange(6.0).reshape(2, 3), np.array([[0.0, 1, 2], [3, 9, 9]])
    difference, worst = _check.compare(left, right)
    assert (difference.place, difference.left, difference.right, difference.count, difference.total, worst) == ((1, 1), 4, 9, 2, 6, 5)
    assert str(difference) == "at (1, 1) lhs 4 rhs 9 (2 of 6 entries differ)"


def test_shapes_must_agree_and_nothing_broadcasts():
    difference, _ = _check.compare(np.ones((2, 1)), np.ones((2, 3)))
    assert difference.place is None and str(difference) == "shapes: lhs (2, 1) rhs (2, 3)"


@pytest.mark.parametrize("bound", [None, 1e300])
def test_nan_equals_nothing(bound):
    assert _check.compare(np.array([np.nan]), np.array([np.nan]), bound)[0] is not None


def test_the_last_bit_is_enough_without_a_bound_and_admitted_with_one():
    x = np.array([1.0])
    assert _check.compare(x, np.nextafter(x, 2))[0] is not None
    assert _check.compare(x, np.nextafter(x, 2), 2.0**-52)[0] is None
    assert _check.compare(x, x + 2.0**-51, 2.0**-52)[0] is not None


def test_a_step_beyond_its_bound_fails_and_says_by_how_much():
    off = Step("a² + 2ab + b² + 1", lambda w: EXPANDED.value(w) + 1.0, "wrong by 1", lambda w: 0.5, "0.5")
    (step,) = check(proof(off)).steps
    assert (step.holds, step.worst, step.bound) == (False, 1.0, 0.5)
    assert check(proof(replace(off, bound=lambda w: 2.0))).holds
    assert not check(proof(replace(off, bound=lambda w: 2.0)), "fractions").holds, "bounds admit rounding, and fractions have none"


def test_a_counterexample_that_holds_is_reported():
    same = replace(FAILS, right=Step("b + a", lambda w: w.b + w.a))
    verdict = check(proof(EXPANDED, counterexamples=(FAILS, same)))
    assert [failure.fails for failure in verdict.failures] == [True, False]
    assert not verdict.holds
    assert "DOES NOT FAIL" in str(verdict)


def test_a_counterexample_within_the_bound_is_no_counterexample():
    assert not check(proof(EXPANDED, counterexamples=(replace(FAILS, bound=lambda w: 1e6),))).holds


def test_what_should_agree_next_to_a_counterexample_must_agree():
    wrong = replace(FAILS, agrees=(("the first entry", lambda w: w.a[:1], lambda w: w.b[:1]),))
    verdict = check(proof(EXPANDED, counterexamples=(wrong,)))
    assert not verdict.holds
    assert "the first entry: at (0,)" in verdict.failures[0].disagreement


@pytest.mark.parametrize("missing", [dict(sizes=()), dict(counterexamples=())])
def test_a_proof_without_sizes_or_counterexample_is_refused(missing):
    with pytest.raises(ValueError, match="needs two expressions"):
        proof(EXPANDED, **missing)


def test_a_step_without_reason_and_a_chain_of_one_are_refused():
    with pytest.raises(ValueError, match="a reason for every step"):
        proof(replace(EXPANDED, reason=""))
    with pytest.raises(ValueError, match="two expressions"):
        proof()


def test_survival_is_degree_over_values_to_the_power_of_draws():
    assert _check.survival(2, 9, 1) == 2 / 9
    assert _check.survival(3, 1000, 4) == pytest.approx((3e-3) ** 4)
    assert _check.survival(7, 5, 3) == 1.0
    limit = _check.largest_integer(2)
    assert limit == 2**18
    assert check(proof(EXPANDED), draws=5).survival == pytest.approx((2 / (2 * limit + 1)) ** 5)
    assert check(proof(EXPANDED), "symbolic").survival == 0.0
    assert check(proof(EXPANDED, degree=None)).survival is None


def test_survival_is_a_true_bound_for_a_polynomial_with_many_zeros():
    """(a)(a - 1) vanishes at 2 of the 2·limit + 1 integers, which is exactly d/|S|."""
    limit, d = 4, 2
    hits = [a for a in range(-limit, limit + 1) if a * (a - 1) == 0]
    assert len(hits) / (2 * limit + 1) == _check.survival(d, 2 * limit + 1, 1)


def test_draws_cover_both_ends_and_are_frozen():
    x = Draw("integers", [0], 2)("x", 1000)
    assert set(x) == {-2.0, -1.0, 0.0, 1.0, 2.0} and x.dtype == np.float64
    with pytest.raises(ValueError):
        x[0] = 1
    with pytest.raises(ValueError, match="kind"):
        Draw("reals", [0], 2)


def test_products_that_would_be_rounded_are_refused():
    too_many = Step("2^20·(a² + 2ab + b²)", lambda w: EXPANDED.value(w) * 2.0**20, "r")
    scaled = replace(proof(EXPANDED), steps=(too_many, replace(too_many, text="again")))
    with pytest.raises(ValueError, match=r"2\^53"):
        check(scaled)


def test_an_error_in_an_expression_leaves_the_backend_as_it_was():
    def wrong(w):
        raise ZeroDivisionError

    with backend.use("auto"):
        before = backend.active()
        with pytest.raises(ZeroDivisionError):
            check(proof(Step("1/0", wrong, "r")))
        assert backend.active() == before


def test_modes_and_names_are_checked():
    with pytest.raises(ValueError, match="mode must be one of"):
        check(proof(EXPANDED), "numeric")
    with pytest.raises(UsageError, match=r"conv_is_shift_and_sum\.odd"):
        proofs.find("conv_is_multiplication")
    with pytest.raises(UsageError):
        proofs.find("")


def test_find_prefers_the_whole_name_then_takes_beginnings():
    assert [p.name for p in proofs.find("conv_is_shift_and_sum.odd")] == ["conv_is_shift_and_sum.odd"]
    assert [p.name for p in proofs.find("shift_is_depthwise_conv")] == ["shift_is_depthwise_conv", "shift_is_depthwise_conv.stage_two"]
    assert len(proofs.find("conv_is")) == 4


def test_without_sympy_the_symbolic_mode_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sympy", None)
    with pytest.raises(UsageError, match=r"pip install 'pyhybrid\[symbolic\]'"):
        check(proof(EXPANDED), "symbolic")
    assert check(proof(EXPANDED), "fractions").holds


def test_logarithms_are_exact():
    a, b = Log(Fraction(3, 2)), Log(Fraction(5))
    assert (a + b).exp().value == Fraction(15, 2) and (a - b).exp().value == Fraction(3, 10)
    assert (-a).exp().value == Fraction(2, 3) and (Fraction(-2) * a).exp().value == Fraction(4, 9)
    assert (0 + a).value == a.value and (a * 2.0).value == Fraction(9, 4)
    assert max(a, b) is b and a < b and b >= a
    assert (1 - Number(Fraction(1, 3))).value == Fraction(2, 3) and Number(Fraction(4)).log().value == 4
    with pytest.raises(TypeError, match="only logarithms"):
        a + 1
    with pytest.raises(TypeError, match="not rational"):
        a * 0.5


def test_softmax_of_logarithms_is_exact():
    from pyhybrid.ops import softmax

    r = [Fraction(1, 2), Fraction(3), Fraction(5, 7)]
    a, _ = softmax.forward(np.array([Log(x) for x in r], object))
    assert [x.value for x in a] == [x / sum(r) for x in r]


def test_symbolic_equality_sees_through_quotients_and_powers():
    sympy = pytest.importorskip("sympy")
    x, y = sympy.symbols("x y", positive=True)
    assert _check.compare(np.array([x / (x + y) + y / (x + y)], object), np.array([1], object))[0] is None
    assert _check.compare(np.array([(x * y) ** sympy.Symbol("q")], object), np.array([x], object))[0] is not None


@pytest.mark.parametrize("kind", ["fractions", "symbols"])
def test_exact_draws_are_objects(kind):
    if kind == "symbols":
        pytest.importorskip("sympy")
    draw = Draw(kind, [0], 5)
    arrays = [draw("x", 2, 2), draw.real("v", 2, 2), draw.exponent("q", 2, 2), draw.log("k", 2, 2), draw.zeros(2, 2)]
    assert all(array.dtype == object and array.shape == (2, 2) for array in arrays)
    assert all(isinstance(entry, Log) for entry in arrays[3].flat)
    assert len({str(entry) for entry in arrays[0].flat}) > 1


def test_display_in_text_and_in_notebooks():
    shown = proofs.show("pointwise_commutes_with_shift")
    assert shown.holds
    text, html = str(shown), shown._repr_html_()
    assert "= K Shift(x, s, t)" in text and "ok" in text and "fails as it must" in text
    assert "<table" in html and "lambda w: times" in html and "✓" in html and "✗" not in html
    assert "color:#" in html and "background:transparent" in html and "<script" not in html
    (unchecked,) = proofs.find("pointwise_commutes_with_shift")
    assert "outside, K·0 = 0" in str(unchecked) and "<table" in unchecked._repr_html_()
    rejected = check(proof(FORGOTTEN))
    assert "FAIL" in str(rejected) and "not equal to the line above: at (0,)" in str(rejected) and "✗" in rejected._repr_html_()


def test_html_escapes_what_it_shows():
    angular = check(proof(replace(EXPANDED, text="a < b & c", reason="<b>")))
    assert "a &lt; b &amp; c" in angular._repr_html_() and "&lt;b&gt;" in angular._repr_html_()


def test_no_proof_needs_sympy_or_hypothesis_to_be_imported():
    import subprocess
    import sys

    code = ("import sys; from pyhybrid import proofs; proofs.every(); "
            "proofs.show('pointwise_commutes_with_shift'); print({'sympy', 'hypothesis', 'matplotlib'} & set(sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
