"""Somebody else's operators go through the same replay, and wrong ones are rejected for the right array."""

from __future__ import annotations

import numpy as np
import pytest

from pyhybrid.conformance import replay
from pyhybrid.ops import acmix, shift


def arguments(inputs, params, config):
    weights = {name.replace(".", "_"): value for name, value in params.items()}
    sizes = {"heads": config["head"], "kernel_size": config["kernel_att"], "stride": config["stride"]}
    return acmix.forward(inputs["x"], **weights, **sizes)


def block(inputs, params, config):
    return arguments(inputs, params, config)[0]


def block_gradient(inputs, params, config, cotangents):
    grads = acmix.backward(cotangents["y"], arguments(inputs, params, config)[1])
    return {"input.x": grads.x} | {f"param.{name}": getattr(grads, name.replace(".", "_")) for name in params}


@pytest.fixture
def case(golden):
    return golden / "acmix" / "acmix_k5_s2.npz"


def test_correct_implementation(case):
    report = replay(case, implementation={"acmix": (block, block_gradient)})
    assert report.passed, str(report)
    assert report.rows[0].arrays == 14 and report.rows[0].backend == "given" and report.rows[0].gradients


def test_without_gradient_the_report_says_so(case):
    report = replay(case, implementation={"acmix": block})
    assert report.passed and report.rows[0].arrays == 1 and not report.rows[0].gradients
    assert "outputs only, no gradients compared: 1 case" in str(report)
    assert replay(case, implementation={"acmix": lambda *a: {"y": block(*a)}}).passed


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (lambda *a: -block(*a), "output.y: relative error"),
        (lambda *a: block(*a)[:1], "output.y: has shape"),
        (lambda *a: block(*a).astype(complex), "complex128, not real numbers"),
        (lambda *a: {"z": block(*a)}, "output.y: was not computed"),
        (lambda *a: {"y": block(*a), "z": block(*a)}, "output.z: is not recorded"),
        (lambda *a: None, "output.y: is NoneType"),
        (lambda *a: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_wrong_outputs(case, output, words):
    report = replay(case, implementation={"acmix": output})
    assert not report.passed and words in str(report)


@pytest.mark.parametrize(
    "name", ["input.x", "param.rate1", "param.conv2.bias", "param.dep_conv.weight", "param.conv_p.bias"]
)
def test_wrong_gradients(case, name):
    def wrong(*a):
        return block_gradient(*a) | {name: block_gradient(*a)[name] + 1e-4}

    def absent(*a):
        return {key: grad for key, grad in block_gradient(*a).items() if key != name}

    report = replay(case, implementation={"acmix": (block, wrong)})
    assert [f.partition(":")[0] for f in report.rows[0].failures] == [f"grad.{name}"]
    assert f"grad.{name}: was not computed" in str(replay(case, implementation={"acmix": (block, absent)}))


def test_accumulating_or_destructive_implementation_does_not_reach_the_recorded_arrays(case):
    def destructive(inputs, params, config):
        y = block(inputs, params, config)
        for array in (*inputs.values(), *params.values()):
            array[...] = 0
        config.clear()
        return y

    assert replay(case, implementation={"acmix": (destructive, block_gradient)}).passed


def test_operator_that_was_not_given(golden):
    report = replay(golden / "acmix" / "shift_all9.npz", implementation={"acmix": block})
    assert "not understood: operator 'shift' is not in the implementation" in str(report)


def test_shift_of_the_wrong_sign(golden):
    def opposite(inputs, params, config):
        return np.stack([shift.forward(inputs["f"], offset=(-s, -t))[0] for s, t in config["offsets"]])

    assert not replay(golden / "acmix" / "shift_all9.npz", implementation={"shift": opposite}).passed
