"""Complex step, central difference, Jacobians and the adjoint test on functions whose derivative is known."""

import numpy as np
import pytest

from pyhybrid import check
from pyhybrid.check import gradient

X = np.array([[0.3, -1.2], [2.0, 0.7]])
V = np.array([[1.0, -0.5], [0.25, 2.0]])


def test_the_complex_step_is_exact_to_rounding():
    check.assert_close(check.complex_step(np.exp, X, V), np.exp(X) * V, "exp'")
    check.assert_close(check.complex_step(lambda x: x @ x, X, V), X @ V + V @ X, "(x²)'")


def test_the_central_difference_has_about_ten_digits():
    found = check.measure(check.central_difference(np.exp, X, V), np.exp(X) * V)
    assert 1e-13 < found.relative < 1e-9


def test_a_function_that_drops_the_imaginary_part_is_not_analytic():
    assert gradient.analytic(lambda x: x * x, X, V)
    assert not gradient.analytic(np.abs, X, V)
    assert not gradient.analytic(lambda x: x.real**2, X, V)
    assert not gradient.analytic(lambda x: x * x + np.abs(x), X, V)
    assert not gradient.analytic(lambda x: np.asarray(x, float), X, V)
    assert not gradient.analytic(lambda x: np.maximum(x, 0) if x.dtype.kind == "f" else 1 / 0, X, V)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_analytic_at_every_scale(scale):
    """A softmax of tiny numbers hardly moves, one of huge numbers hardly stands still."""

    def softmax(x):
        e = np.exp(x - x.real.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    assert gradient.analytic(softmax, X * scale, V * scale)
    assert gradient.analytic(lambda x: x * x, X * scale, V * scale)
    assert not gradient.analytic(np.abs, X * scale, V * scale)


@pytest.mark.parametrize("step", ["complex", "central", None])
def test_jacobian_of_a_product(step):
    A = np.arange(6.0).reshape(3, 2)
    J = check.jacobian(lambda x: A @ x, X, step=step)
    assert J.shape == (3, 2, 2, 2)
    expected = np.einsum("oi,pj->opij", A, np.eye(2))
    check.assert_close(J, expected, "J", kind="difference")


def test_the_claimed_jacobian_has_a_row_per_cotangent():
    A = np.arange(6.0).reshape(3, 2)
    rows, nothing = gradient.pull_back(lambda dy: (A.T @ dy, None), np.zeros(3))
    check.assert_close(rows, A, "J", exact=True)
    assert nothing is None


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match='"complex" or "central"'):
        gradient.directional(np.exp, X, V, step="forward")


def test_adjoint_of_a_matrix_and_of_its_transpose():
    A, u = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([2.0, -3.0])
    x = np.array([1.0, -2.0, 0.5])
    right = check.adjoint(lambda x: A @ x, A.T @ u, x, u)
    assert right.difference == 0 and right.scale > 0
    wrong = check.adjoint(lambda x: A @ x, 2 * A.T @ u, x, u)
    assert wrong.difference > 1
    affine = check.adjoint(lambda x: A @ x + 7, A.T @ u, x, u)
    assert affine.difference == 0
