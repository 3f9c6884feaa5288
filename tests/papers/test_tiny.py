"""The small models: gradients of the whole networks, the same on both backends; what is listed."""

import numpy as np
import pytest

from pyhybrid import backend, check, cli
from pyhybrid.papers import TINY, build


@pytest.fixture
def rng():
    return np.random.default_rng(53)


@pytest.mark.parametrize("name", TINY)
def test_gradients_of_the_whole_network(rng, name):
    """On batch statistics, along one random direction in which the image and every parameter have a part of the same size."""
    net = build(name, image_size=32, num_classes=3, dtype=np.float64).train()
    # Not the start itself: there biases are zero, and a gate samples at whole coordinates, where it has a kink.
    start = {key: value + 0.02 * rng.standard_normal(value.shape) for key, value in net.named_params().items()}
    buffers = {key: value for key, value in net.state_dict().items() if key not in start}
    x, dy = rng.standard_normal((3, 3, 32, 32)), rng.standard_normal((3, 3))
    step = {key: np.zeros_like(value) for key, value in {"x": x, **start}.items()}

    def run(t=0.0):
        net.load_state_dict(buffers | {key: value + t * step[key] for key, value in start.items()})
        return net.forward(x + t * step["x"])

    def gradients():
        y, cache = run()
        dx, grads = net.backward(dy, cache)
        assert sorted(grads) == sorted(start)
        return y, {"x": dx, **grads}

    with backend.use("numpy"):
        y, grads = gradients()
        for key, gradient in grads.items():
            direction = rng.standard_normal(gradient.shape)
            size = float(np.abs(gradient * direction).sum())
            if size > 1e-6:     # zero in theory: a bias before batch norm, or of all keys
                step[key] = direction / size
        h = 2.0**-20
        once, twice = (float(((run(t)[0] - run(-t)[0]) * dy).sum()) / (2 * t) for t in (h, 2 * h))
    expected, got = (4 * once - twice) / 3, sum(float((gradient * step[key]).sum()) for key, gradient in grads.items())
    assert abs(got - expected) <= 1e-6 * len(step), f"backward {got}, difference {expected}"
    if backend.available():
        with backend.use("rust"):
            y2, grads2 = gradients()
        check.assert_close(y2, y, "y")
        largest = max(float(np.abs(gradient).max()) for gradient in grads.values())
        for key, gradient in grads.items():
            check.assert_close(grads2[key], gradient, key, kind="gradient", noise=largest * 1e-13)


def test_every_paper_has_one_and_they_are_listed(capsys):
    assert [name.partition("_")[0] for name in TINY] == ["acmix", "coatnet", "das", "smt", "hornet"]
    assert cli.main(["models"]) == 0
    assert f"small models for small images, to train on a laptop: {', '.join(TINY)}\n" in capsys.readouterr().out
