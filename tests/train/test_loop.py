"""The loop: it learns, repeats itself bit for bit, resumes as if it had never stopped, and stops when numbers stop being numbers."""

import json

import numpy as np
import pytest
from train.synthetic import settings, stripes

from pyhybrid import backend
from pyhybrid.errors import UsageError
from pyhybrid.nn import DropPath, Linear, Operator, Sequential
from pyhybrid.ops import global_avg_pool
from pyhybrid.papers import TINY, build
from pyhybrid.train import checkpoint, loop
from pyhybrid.train.data import Scaling
from pyhybrid.train.loop import Diverged, Run, measure
from pyhybrid.train.settings import Settings

SIZES = {"hornet_tiny": 32}       # the least it takes; the others are tried at 16 pixels


def bits(run):
    """Everything that a run has learnt, as bytes."""
    state = {**run.model.state_dict(), **{f"optimiser {name}": value for name, value in run.optimiser.state.items()}}
    return {name: value.tobytes() for name, value in state.items()}, [
        {key: value for key, value in entry.items() if key != "seconds"} for entry in run.history]


def finished(run, epochs=None):
    while not run.finished and (epochs is None or len(run.history) < epochs):
        run.epoch()
    return run


def test_it_learns_what_can_be_learnt():
    run = finished(Run.begin(settings(epochs=10, rotate=0.0, shear=0.0, learning_rate=0.01), stripes(16)))
    assert run.history[-1]["held_out_accuracy"] == 1.0 and run.history[-1]["loss"] < 0.6 < run.history[0]["loss"]
    assert [entry["epoch"] for entry in run.history] == list(range(1, 11)) and run.history[-1]["learning_rate"] < 1e-3


@pytest.mark.parametrize("name", TINY)
def test_every_tiny_model_takes_a_step_with_every_gradient(name):
    run = Run.begin(settings(model=name, image_size=32, epochs=1, warmup=0.0), stripes(5, 32))
    before = {key: value.copy() for key, value in run.model.named_params().items()}
    run.epoch()
    still = [key for key, value in run.model.named_params().items() if (value == before[key]).all()]
    assert not still, f"parameters that did not move: {still}"
    assert run.model.parameter_count() < 500_000


@pytest.mark.parametrize(
    ("optimiser", "model", "drop_path", "stops"),
    [("adamw", "acmix_tiny", 0.0, (1, 2)), ("sgd", "coatnet_tiny", 0.3, (1, 2)), ("adamw", "das_resnet_tiny", 0.0, (1,)),
     ("adamw", "smt_tiny", 0.3, (1,)), ("sgd", "hornet_tiny", 0.3, (1,))],
)
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path, backend, optimiser, model, drop_path, stops):
    pytest.importorskip("safetensors.numpy")
    size, epochs = SIZES.get(model, 16), stops[-1] + 1
    images = stripes(5, size)
    chosen = settings(model=model, optimiser=optimiser, drop_path=drop_path, batch=5, image_size=size, epochs=epochs)
    whole = finished(Run.begin(chosen, images))
    for stop in stops:
        checkpoint.save(tmp_path, finished(Run.begin(chosen, images), stop).checkpoint())
        resumed = Run.resume(checkpoint.load(tmp_path), images)
        assert len(resumed.history) == stop
        assert bits(finished(resumed)) == bits(whole)


def test_the_number_of_threads_changes_no_bit():
    if not backend.available():
        pytest.skip("the compiled core is not installed")
    for name in TINY:
        found, size = [], SIZES.get(name, 16)
        for threads in (1, 2, 3):
            with backend.use("rust"), backend.threads(threads):
                found.append(bits(finished(Run.begin(settings(model=name, epochs=1, batch=9, image_size=size), stripes(4, size)))))
        assert found[0] == found[1] == found[2], name


def test_the_seed_and_nothing_else_decides():
    one, same, other = (finished(Run.begin(settings(epochs=1, seed=seed), stripes(6))) for seed in (4, 4, 5))
    np.random.default_rng(0).random(3)
    assert bits(one) == bits(same) != bits(other)
    assert Run.begin(settings(seed=4), stripes(6)).held.digest() != Run.begin(settings(seed=5), stripes(6)).held.digest()


def test_drop_path_draws_from_the_epoch_and_measuring_draws_nothing():
    model = build("coatnet_tiny", image_size=16, num_classes=3, drop_path_rate=0.5)
    rng = np.random.default_rng(0)
    before = [layer for _, layer in model.named_modules() if isinstance(layer, DropPath)]
    loop.draw_drop_path_from(model, rng)
    drops = [layer for _, layer in model.named_modules() if isinstance(layer, DropPath)]
    assert all(layer is same for layer, same in zip(drops, before, strict=True))
    assert [layer.rate for layer in drops] == sorted(layer.rate for layer in drops) and drops[-1].rate == 0.5
    measure(model, stripes(2), Scaling((0.5,) * 3, (0.3,) * 3))
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    model.train().forward(np.zeros((2, 3, 16, 16), np.float32))
    assert rng.bit_generator.state != np.random.default_rng(0).bit_generator.state


def test_batch_norm_sees_the_batches_of_training_and_nothing_else():
    run = finished(Run.begin(settings(batch=6), stripes(6)), 2)
    assert run.steps == 2 and run.model.state_dict()["bn1.num_batches_tracked"] == 4
    assert not run.model.training and np.abs(run.model.state_dict()["bn1.running_mean"]).max() > 0


def test_every_epoch_and_purpose_has_a_generator_of_its_own(monkeypatch):
    run, real, seeds = Run.begin(settings(seed=6), stripes(6)), np.random.default_rng, []
    monkeypatch.setattr(np.random, "default_rng", lambda seed=None: (seeds.append(seed), real(seed))[1])
    finished(run)
    assert [seed for seed in seeds if isinstance(seed, tuple)] == [(6, epoch, purpose) for epoch in range(3) for purpose in range(3)]


class Fixed:
    """A model whose logits are the mean colours: class 0 is red."""

    def eval(self):
        return self

    def forward(self, x):
        return x.mean((2, 3)), None


def test_measuring_counts_every_image_once():
    images = stripes(1)
    pixels = np.zeros((5, 3, 4, 4), np.uint8)
    labels = np.array([0, 1, 2, 2, 1])
    for n, colour in enumerate((0, 1, 2, 0, 1)):
        pixels[n, colour] = 255
    found = measure(Fixed(), images._replace(pixels=pixels, labels=labels), Scaling((0.0,) * 3, (1.0,) * 3), batch=2)
    assert (found.confusion == [[1, 0, 0], [0, 2, 0], [1, 0, 1]]).all() and found.accuracy == 0.8
    expected = (4 * np.log(np.e + 2) - 4 + np.log(np.e + 2)) / 5
    assert found.loss == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_is_not_finite_ends_the_run_before_the_step(monkeypatch):
    run = finished(Run.begin(settings(), stripes(6)), 1)
    weight = run.model.named_params()["layer1.0.conv1.weight"]
    weight[0] = np.nan
    before = bits(run)
    with pytest.raises(Diverged, match=r"loss is not finite any more in epoch 2, batch 1 \(loss nan\).*--learning-rate"):
        run.epoch()
    after = bits(run)
    params = run.model.named_params()
    assert all(before[0][name] == after[0][name] for name in params) and len(run.history) == 1


def test_a_gradient_that_is_not_finite_ends_the_run(monkeypatch):
    run = Run.begin(settings(), stripes(6))
    real = run.model.backward

    def spoilt(dy, cache):
        dx, grads = real(dy, cache)
        grads["fc.bias"][1] = np.inf
        return dx, grads

    run.model.__dict__["backward"] = spoilt
    with pytest.raises(Diverged, match="gradient is not finite any more in epoch 1, batch 1"):
        run.epoch()


def test_progress_tells_the_means_so_far():
    told = []
    run = Run.begin(settings(batch=6), stripes(6))
    entry = run.epoch(told.append)
    assert [(each.step, each.steps) for each in told] == [(1, run.steps), (2, run.steps)][: run.steps] and run.steps == 2
    assert (told[-1].loss, told[-1].accuracy) == (entry["loss"], entry["accuracy"])
    json.dumps(run.history)


def test_other_data_and_other_weights_are_not_resumed():
    run = finished(Run.begin(settings(), stripes(6)), 1)
    with pytest.raises(UsageError, match="data are not those that this run was begun with"):
        Run.resume(run.checkpoint(), stripes(6, seed=9))
    held = run.checkpoint()
    held.weights.pop("fc.bias")
    with pytest.raises(UsageError, match=r"does not fit acmix_tiny: .*missing keys: fc\.bias"):
        Run.resume(held, stripes(6))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "acmix_tin"}, r"no model named 'acmix_tin' \(did you mean acmix_tiny\?\)"),
        ({"model": "hornet_tiny"}, "hornet_tiny cannot take images of 16 pixels: .*at least 32"),
        ({"model": "acmix_swin_t"}, "acmix_swin_t cannot take images of 16 pixels: "),
        ({"image_size": 4}, "acmix_tiny cannot take images of 4 pixels: "),
        ({"drop_path": 0.1}, "acmix_tiny has no drop path; got --drop-path 0.1"),
    ],
)
def test_models_that_cannot_be_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        Run.begin(settings(**given), stripes(3))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("epochs", 0, "at least 1"), ("epochs", 2.0, "a whole number"), ("batch", 1, "at least 2"), ("batch", True, "a whole number"),
        ("optimiser", "adam", "one of sgd, adamw"), ("learning_rate", 0.0, "above 0"), ("learning_rate", float("nan"), "a finite number"),
        ("warmup", 4.0, "from 0 to the number of epochs, 3"), ("momentum", 1.0, "below 1"), ("weight_decay", -1.0, "at least 0"),
        ("label_smoothing", 1.0, "below 1"), ("drop_path", 1.0, "below 1"), ("clip", -1.0, "at least 0"), ("held_out", 1.0, "below 1"),
        ("held_out", 0.0, "above 0"), ("seed", -1, "at least 0"), ("zoom", "much", "a finite number"), ("flip", 1, "true or false"),
        ("image_size", 0, "at least 1"), ("rotate", 181.0, "180 degrees"), ("shear", 2.0, "from 0 to 1"), ("shift", 2.0, "from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(name, value, rule):
    with pytest.raises(UsageError, match=rf"^--{name.replace('_', '-')} must be .*{rule}.*; got "):
        settings(**{name: value})


def test_settings_come_back_from_json_and_nothing_is_ignored():
    chosen = settings(flip=True, learning_rate=1 / 3)
    assert Settings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    for held in ({**chosen.to_json(), "colour": 1}, {"model": "acmix_tiny"}, []):
        with pytest.raises(UsageError, match="settings that are missing or unknown: "):
            Settings.from_json(held)


def test_a_batch_norm_free_model_of_two_layers_follows_the_gradient(monkeypatch):
    """Plain descent on a linear model over mean colours is logistic regression: the step is -η·(p - q)ᵀ·mean colour/N."""
    linear = Linear(3, 3, bias=False, dtype=np.float32, seed=0)
    model = Sequential({"pool": Operator(global_avg_pool), "fc": linear})
    monkeypatch.setattr(loop, "make_model", lambda settings, classes: model)
    run = Run.begin(settings(optimiser="sgd", momentum=0.0, weight_decay=0.0, warmup=0.0, label_smoothing=0.0, clip=0.0, epochs=1, batch=18,
                             rotate=0.0, shear=0.0, zoom=0.0, shift=0.0, learning_rate=0.5), stripes(8))
    start = linear.params["weight"].astype(float).copy()
    mean = run.scaling.apply(run.trained.pixels.astype(np.float32) / np.float32(255)).astype(float).mean((2, 3))
    p = np.exp(mean @ start.T)
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(p)), run.trained.labels] -= 1
    assert len(p) == 18
    run.epoch()
    assert np.allclose(linear.params["weight"], start - 0.5 * p.T @ mean / len(p), atol=1e-6)
