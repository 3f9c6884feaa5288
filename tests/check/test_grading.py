"""Learners' functions through the same door: exact, approximate or wrong; and other people's functions as operators."""

import naive
import numpy as np
import pytest

from pyhybrid import check
from pyhybrid.check import Case, cases
from pyhybrid.ops import conv2d, softmax


def softmax_backward(dy, cache):
    return cache.a * (dy - (cache.a * dy).sum(cache.axis, keepdims=True))


def test_the_same_bits_are_exact(capsys):
    result = check.grade(softmax_backward, "softmax")
    assert result.verdict == "exact" and result.passed and result.worst == {"dx": 0}
    first, second, _ = capsys.readouterr().out.split("\n")
    assert first == f"exact: every bit agrees ({result.tried} cases)"
    assert second == "  dx: largest difference 0.0e+00 of the largest value"


def test_another_order_of_summing_is_approximate(capsys):
    def with_jacobian(dy, cache):
        a, g = (np.moveaxis(x, cache.axis, -1) for x in (cache.a, dy))
        J = a[..., :, None] * (np.eye(a.shape[-1]) - a[..., None, :])
        return np.moveaxis((g[..., None, :] @ J)[..., 0, :], -1, cache.axis)

    result = check.grade(with_jacobian, softmax)
    assert result.verdict == "approximate" and result.passed
    assert capsys.readouterr().out.startswith("approximate: equal up to rounding")


def test_a_forgotten_term_is_wrong_and_the_first_failing_case_is_shown(capsys):
    result = check.grade(lambda dy, cache: {"dx": cache.a * dy}, "softmax")
    assert result.verdict == "wrong" and not result.passed
    said = capsys.readouterr().out
    assert "wrong: not the same function" in said and "first failing case (" in said and "expected" in said


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (lambda dy, cache: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda dy, cache: None, "dx is None, expected float64"),
        (lambda dy, cache: (dy, dy), "got 2 gradients; wanted are 1: x"),
        (lambda dy, cache: {"dz": dy}, "there is no argument z; gradients are wanted for x"),
        (lambda dy, cache: dy[:1, :1], "got shape"),
        (lambda dy, cache: np.float32(1) * softmax_backward(dy, cache).astype(np.float32), "got dtype float32"),
        (lambda dy, cache: np.multiply(dy, 0, out=dy), "read-only"),
    ],
)
def test_every_mistake_is_said_in_words(student, said):
    result = check.grade(student, "softmax", show=False)
    assert result.verdict == "wrong" and said in result.first


def test_a_gradient_that_piles_up_is_wrong():
    total = [0]

    def student(dy, cache):
        total[0] = (
            total[0] + softmax_backward(dy, cache) if np.shape(total[0]) == dy.shape else softmax_backward(dy, cache)
        )
        return total[0]

    assert check.grade(student, "softmax", show=False).verdict == "wrong"


def test_part_of_the_gradients_can_be_asked_for():
    def bias_only(dy, cache):
        return {"bias": None if cache.bias is None else dy.sum((0, 2, 3))}

    assert check.grade(bias_only, "conv2d", only=["bias"], show=False).verdict == "exact"
    assert check.grade(conv2d.backward.reference, "conv2d", only=["bias", "x"], show=False).verdict == "exact"
    assert check.grade(bias_only, "conv2d", show=False).verdict == "wrong"
    wrong = check.grade(lambda dy, cache: {"bias": dy.sum((0, 2, 3))}, "conv2d", only=["bias"], show=False)
    assert "expected None" in wrong.first


@pytest.mark.parametrize("name", sorted(cases.CASES))
def test_every_operator_passes_its_own_exam(name):
    operator = __import__("importlib").import_module(f"pyhybrid.ops.{name}")
    assert check.grade(operator.backward.reference, name, show=False).verdict == "exact"
    assert check.grade(operator.forward.reference, name, "forward", show=False).verdict == "exact"


def test_the_naive_loops_pass_forward():
    assert check.grade(naive.conv2d, "conv2d", "forward", show=False).verdict in ("exact", "approximate")


def test_a_forward_without_the_maximum_overflows():
    def careless(x, *, axis=-1):
        with np.errstate(all="ignore"):
            return np.exp(x) / np.exp(x).sum(axis, keepdims=True)

    result = check.grade(careless, "softmax", "forward", show=False)
    assert result.verdict == "wrong" and "NaN in" in result.first


def test_plain_functions_are_compared_on_given_cases():
    case = Case({"a": np.arange(6.0).reshape(2, 3), "b": np.arange(12.0).reshape(3, 4)})
    assert (
        check.grade(lambda a, b: np.einsum("ij,jk->ik", a, b), np.matmul, cases=[case], show=False).verdict == "exact"
    )
    assert check.grade(lambda a, b: (a @ b).T, np.matmul, cases=[case], show=False).verdict == "wrong"
    pair = check.grade(lambda a, b: (a @ b, a + 1), lambda a, b: (a @ b, a), cases=[case], show=False)
    assert pair.verdict == "wrong"
    assert check.grade(lambda a, b: (a @ b, a), lambda a, b: (a @ b, a), cases=[case], show=False).verdict == "exact"
    with pytest.raises(ValueError, match="pass cases="):
        check.grade(np.dot, np.matmul)
    with pytest.raises(ValueError, match='"forward" or "backward"'):
        check.grade(np.dot, "conv2d", "sideways")
    with pytest.raises(ModuleNotFoundError):
        check.grade(np.dot, "warp")


def test_somebody_elses_function_becomes_an_operator():
    candidate = check.adapt(naive.conv2d, naive.conv2d_backward, like=conv2d, name="theirs")
    for case in cases.seeded("conv2d", 4):
        check.operator(candidate, case, naive.conv2d, oracle_backward=naive.conv2d_backward, exact=False, skip=["form"])


def test_somebody_elses_wrong_function_is_rejected():
    def no_stride(x, weight, bias=None, *, stride=1, **config):
        return naive.conv2d(x, weight, bias, **config)

    candidate = check.adapt(no_stride, like=conv2d, name="theirs")
    strided = next(case for case in cases.corners("conv2d") if case.config["stride"] == 2 and case.arrays["x"].size)
    with pytest.raises(AssertionError, match=r"(?s)theirs breaks value.* got shape"):
        check.operator(candidate, strided, naive.conv2d)
