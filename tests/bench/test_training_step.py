"""The benchmark of a training step: its peer computes the same network, and a step that does not fit says so."""

import numpy as np
import pytest

from pyhybrid import backend, cli
from pyhybrid.bench import training_step
from pyhybrid.papers.acmix import ResNet


def test_the_peer_computes_the_same_logits():
    torch = pytest.importorskip("torch")
    from pyhybrid.bench.torch_resnet import forward

    net = ResNet((1, 2), planes=(8, 16), stem=8, num_classes=4, seed=1).train()
    x = np.random.default_rng(0).standard_normal((2, 3, 48, 48))
    state = {name: torch.from_numpy(value) for name, value in net.state_dict().items()}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        theirs = forward(state, torch.from_numpy(x), net.layers, net.head).numpy()
    finally:
        torch.set_default_dtype(default)
    np.testing.assert_allclose(net.forward(x)[0], theirs, atol=1e-12)


def test_a_step_is_measured_in_a_process_of_its_own():
    found = training_step.measure("acmix_resnet26", 1, 64, "rust" if backend.available() else "numpy", threads=1)
    assert found.problem == "" and found.seconds > 0 and found.peak > 2**24


def test_a_step_that_does_not_fit_says_so():
    found = training_step.measure("acmix_resnet26", 8, 224, "numpy", limit=10**9, threads=1)
    assert found.problem == "does not fit"


def test_the_command_names_an_unknown_model(capsys):
    if not backend.available():
        pytest.skip("no compiled core")
    assert cli.main(["bench", "--training-step", "resnet"]) == 2
    assert "no model named" in capsys.readouterr().err
