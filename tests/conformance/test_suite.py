"""The suite accepts a correct stranger and rejects each kind of wrong one by the right law."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pyhybrid import check, ops
from pyhybrid.conformance import suite
from pyhybrid.errors import UsageError


def conv(x, weight, bias=None, **config):
    """A convolution by another route: one einsum per window position."""
    (sh, sw), (ph, pw), (dh, dw) = (np.broadcast_to(config.get(key, default), 2)
                                    for key, default in (("stride", 1), ("padding", 0), ("dilation", 1)))
    groups = config.get("groups", 1)
    shape = ops.conv2d.output_shape(x, weight, bias, **config)
    N, (O, D, kh, kw) = len(x), weight.shape
    xp = np.pad(x, [(0, 0), (0, 0), (ph, ph), (pw, pw)])
    y = np.zeros(shape, np.result_type(x, weight))
    for i in range(shape[2]):
        for j in range(shape[3]):
            window = xp[:, :, i * sh : i * sh + dh * (kh - 1) + 1 : dh, j * sw : j * sw + dw * (kw - 1) + 1 : dw]
            y[:, :, i, j] = np.einsum(
                "ngcpq,gocpq->ngo", window.reshape(N, groups, D, kh, kw), weight.reshape(groups, O // groups, D, kh, kw)
            ).reshape(N, O)
    return y if bias is None else y + bias[:, None, None]


def conv_gradient(dy, x, weight, bias=None, **config):
    return ops.conv2d.backward(dy, ops.conv2d.forward(x, weight, bias, **config)[1])


def broken(verdict):
    return {row.law for row in verdict.rows if row.failed}


def test_correct_operator():
    verdict = suite.judge(conv, conv_gradient, like="conv2d")
    assert verdict.passed, str(verdict)
    assert {"value", "oracle gradient", "derivative", "adjoint"} <= {row.law for row in verdict.rows}
    assert verdict.cases == 12 and all(row.measure <= row.bound for row in verdict.rows)


def test_without_gradient_the_laws_of_gradients_are_named_as_not_judged():
    verdict = suite.judge(conv, like=ops.conv2d, count=6)
    assert verdict.passed, str(verdict)
    assert {"oracle gradient", "derivative", "adjoint"} <= set(verdict.not_judged)
    assert "not judged: " in str(verdict) and "derivative" in str(verdict)


@pytest.mark.parametrize(
    ("forward", "law"),
    [
        (lambda *a, **c: -conv(*a, **c), "value"),
        (lambda *a, **c: conv(*a, **c) * (1 + 1e-7), "value"),
        (lambda *a, **c: conv(*a, **c)[..., :-1], "form"),
        (lambda *a, **c: conv(*a, **c).astype(np.float64), "form"),
        (lambda x, w, b=None, **c: conv(x, w[..., ::-1, ::-1], b, **c), "value"),      # true convolution
        (lambda *a, **c: 1 / 0, "value"),
    ],
)
def test_wrong_forward(forward, law):
    verdict = suite.judge(forward, like="conv2d", count=6)
    assert not verdict.passed and law in broken(verdict)


@pytest.mark.parametrize("law", ["oracle gradient", "derivative"])
def test_wrong_sign_of_one_gradient(law):
    def gradient(*a, **c):
        grads = conv_gradient(*a, **c)
        return grads._replace(weight=-grads.weight)

    verdict = suite.judge(conv, gradient, like="conv2d", count=6)
    assert law in broken(verdict)
    (row,) = (row for row in verdict.rows if row.law == law)
    assert "dweight" in row.first and "Case(" in row.first


def test_accumulating_gradient():
    total = {}

    def gradient(*a, **c):
        for name, grad in conv_gradient(*a, **c)._asdict().items():
            if grad is not None:
                total[name] = total[name] + grad if name in total and total[name].shape == grad.shape else grad
        return total

    assert not suite.judge(conv, gradient, like="conv2d", count=6).passed


def test_operator_that_writes_into_its_input():
    def forward(x, *a, **c):
        y = conv(x, *a, **c)
        x[...] = 0
        return y

    assert "unchanged" in broken(suite.judge(forward, like="conv2d", count=6))


def test_skipped_laws_and_own_cases():
    case = check.Case({"x": np.arange(12.0).reshape(1, 1, 3, 4)}, {"offset": (1, 0)})

    def shift(x, offset):
        return ops.shift.forward(x, offset=offset)[0]

    verdict = suite.judge(shift, like="shift", cases=[case], skip=["memory"])
    assert verdict.passed, str(verdict)
    assert verdict.cases == 1 and "memory" in verdict.not_judged


def test_nothing_judged_is_no_pass():
    assert not suite.judge(conv, like="conv2d", cases=[]).passed


def test_json():
    verdict = suite.judge(lambda *a, **c: conv(*a, **c) * np.inf, like="conv2d", count=4)
    data = json.loads(verdict.to_json())
    assert data["operator"] == "conv2d" and data["passed"] is False
    assert [row["measure"] for row in data["rows"] if row["law"] == "value"] == [None]


def test_operator_without_ready_made_cases():
    import types

    with pytest.raises(UsageError, match="no ready-made cases"):
        suite.judge(conv, like=types.SimpleNamespace(__name__="pyhybrid.ops.other"))
