"""SGD, AdamW and clipping against loops over single numbers, and the laws that they must obey."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyhybrid.train.optimisers import SGD, AdamW, clip, norm

SHAPES = {"weight": (2, 3), "bias": (3,), "kernel": (2, 1, 2, 2), "rate": (1,)}
STEPS = 4
seeds = st.integers(0, 2**32 - 1)
rates = st.floats(1e-4, 0.5)
decays = st.sampled_from([0.0, 0.01, 0.3])


def arrays(rng, dtype=np.float64):
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def naive_sgd(p, gradients, rate, momentum, decay):
    """One number through all steps."""
    v = 0.0
    for g in gradients:
        v = momentum * v + g + decay * p
        p = p - rate * v
    return p


def naive_adamw(p, gradients, rate, decay, b1=0.9, b2=0.999, eps=1e-8):
    """One number through all steps, m and v written out as sums over the past."""
    for t in range(1, len(gradients) + 1):
        past = gradients[:t]
        m = sum((1 - b1) * b1 ** (t - 1 - i) * g for i, g in enumerate(past)) / (1 - b1**t)
        v = sum((1 - b2) * b2 ** (t - 1 - i) * g**2 for i, g in enumerate(past)) / (1 - b2**t)
        p = p - rate * decay * p - rate * m / (sqrt(v) + eps)
    return p


def trained(optimiser, params, gradients, rate):
    p = {name: value.copy() for name, value in params.items()}
    for grads in gradients:
        optimiser.step(p, grads, rate)
    return p


@given(seeds, rates, decays, st.sampled_from(["sgd", "heavy", "adamw"]))
def test_every_number_moves_as_in_the_loops(seed, rate, decay, kind):
    rng = np.random.default_rng(seed)
    params, gradients = arrays(rng), [arrays(rng) for _ in range(STEPS)]
    momentum = {"sgd": 0.0, "heavy": 0.9}.get(kind)
    optimiser = AdamW(weight_decay=decay) if momentum is None else SGD(momentum, decay)
    after = trained(optimiser, params, gradients, rate)
    for name, shape in SHAPES.items():
        own = decay if len(shape) > 1 else 0.0
        for place in np.ndindex(shape):
            past = [float(grads[name][place]) for grads in gradients]
            start = float(params[name][place])
            expected = naive_adamw(start, past, rate, own) if momentum is None else naive_sgd(start, past, rate, momentum, own)
            assert after[name][place] == pytest.approx(expected, rel=1e-11, abs=1e-12), (name, place)


@given(seeds)
def test_adamw_does_not_see_the_scale_of_the_loss_but_its_decay_stays(seed):
    """m̂/√v̂ is the same for c·g; with decay in the gradient it would not be."""
    rng = np.random.default_rng(seed)
    params, gradients = arrays(rng), [arrays(rng) for _ in range(STEPS)]
    scaled = [{name: 1024 * g for name, g in grads.items()} for grads in gradients]
    one, other = (trained(AdamW(eps=0.0, weight_decay=0.1), params, each, 0.01) for each in (gradients, scaled))
    assert all(np.allclose(one[name], other[name], rtol=1e-12, atol=1e-13) for name in params)


def test_adamw_moves_by_the_learning_rate_at_first():
    p = {"weight": np.array([[5.0, -3.0]])}
    AdamW().step(p, {"weight": np.array([[1e-3, -7.0]])}, 0.5)
    assert np.allclose(p["weight"], [[4.5, -2.5]], rtol=0, atol=1e-5)


def test_sgd_keeps_going_downhill_by_its_momentum():
    """A constant gradient g: the velocity tends to g/(1 - μ)."""
    p, sgd = {"rate": np.zeros(1)}, SGD(momentum=0.5)
    for _ in range(60):
        sgd.step(p, {"rate": np.ones(1)}, 1.0)
    assert sgd.state["velocity.rate"] == pytest.approx(2.0)


@pytest.mark.parametrize("make", [lambda: SGD(weight_decay=0.1), lambda: AdamW(weight_decay=0.1)])
def test_steps_are_in_place_keep_the_precision_and_go_on_from_a_saved_state(make):
    rng = np.random.default_rng(5)
    params, gradients = arrays(rng, np.float32), [arrays(rng, np.float32) for _ in range(STEPS)]
    whole = trained(make(), params, gradients, 0.1)
    first = make()
    held = trained(first, params, gradients[:2], 0.1)
    second = make()
    second.state = {name: value.copy() for name, value in first.state.items()}
    same = dict(held)
    for grads in gradients[2:]:
        second.step(held, grads, 0.1)
    for name, value in held.items():
        assert value is same[name] and value.dtype == np.float32 and value.tobytes() == whole[name].tobytes()
    assert all(value.dtype in (np.float32, np.int64) for value in second.state.values())


@given(seeds, st.floats(0.1, 100))
def test_clipping_shortens_and_keeps_the_direction(seed, limit):
    grads = arrays(np.random.default_rng(seed))
    flat = np.concatenate([g.ravel() for g in grads.values()])
    length = norm(grads)
    clipped = clip(grads, length, limit)
    after = np.concatenate([g.ravel() for g in clipped.values()])
    assert length == pytest.approx(np.sqrt((flat * flat).sum()), rel=1e-14)
    assert norm(clipped) == pytest.approx(min(length, limit), rel=1e-12)
    assert np.allclose(after * length, flat * min(length, limit), rtol=1e-12)
    if length <= limit:
        assert (after == flat).all()


def test_the_length_does_not_overflow_in_single_precision():
    assert norm({"weight": np.full((2, 2), 1e30, np.float32)}) == pytest.approx(2e30)


@pytest.mark.parametrize("optimiser", [SGD(), AdamW()])
def test_gradients_that_do_not_fit_are_refused_and_nothing_moves(optimiser):
    p = {"a": np.ones(2), "b": np.ones((2, 2))}
    with pytest.raises(ValueError, match="only one of them has b, c"):
        optimiser.step(p, {"a": np.ones(2), "c": np.ones(2)}, 1.0)
    with pytest.raises(ValueError, match=r"gradient of b must have its shape \(2, 2\); got shape \(2,\)"):
        optimiser.step(p, {"a": np.ones(2), "b": np.ones(2)}, 1.0)
    assert all((value == 1).all() for value in p.values()) and not optimiser.state
