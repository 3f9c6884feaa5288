"""The benchmark of a training step: who takes part, and that a step that does not fit says so."""

import importlib.util

import pytest

from pyhybrid import backend, cli
from pyhybrid.bench import training_step


def test_a_step_is_measured_in_a_process_of_its_own():
    found = training_step.measure("acmix_resnet26", 1, 64, "rust" if backend.available() else "numpy", threads=1, seconds=0.2)
    assert found.problem == "" and found.seconds >= found.least > 0 and found.peak > 2**24


@pytest.mark.parametrize(("model", "peer"), [("hornet_tiny", "torch channels last"), ("smt_tiny", "torch"), ("acmix_tiny", "torch unfold")])
def test_a_step_in_pytorch_is_measured_too(model, peer):
    pytest.importorskip("torch")
    assert peer in training_step.contenders(model)
    found = training_step.measure(model, 2, 32, peer, threads=1)
    assert found.problem == "" and found.seconds > 0 and found.peak > 2**24


@pytest.mark.parametrize("model", ["das_resnet50", "coatnet_tiny", "acmix_swin_t"])
def test_a_network_without_a_formula_is_measured_in_our_backends_alone(model):
    assert training_step.contenders(model) == ["rust", "numpy"]


def test_without_pytorch_there_are_our_backends_alone(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert training_step.contenders("smt_t") == ["rust", "numpy"]


def test_a_step_that_does_not_fit_says_so():
    found = training_step.measure("acmix_resnet26", 8, 224, "numpy", limit=10**9, threads=1)
    assert found.problem == "does not fit"


def test_the_command_names_an_unknown_model(capsys):
    if not backend.available():
        pytest.skip("no compiled core")
    assert cli.main(["bench", "--training-step", "resnet"]) == 2
    assert "no model named" in capsys.readouterr().err
