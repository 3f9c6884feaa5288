"""One judge for every layer: its backward against differences of its forward, and the compiled kernels against the NumPy bodies."""

import numpy as np

from pyhybrid import backend, check


def judge(layer, x, *arguments, rng, training=False, step=2.0**-20):
    """Gradients of <dy, y> for x and all parameters along random directions; then the same values on both backends."""
    layer.train(training)
    start = layer.state_dict()

    def run(x, state):
        layer.load_state_dict(state)
        return layer.forward(x, *arguments)

    with backend.use("numpy"):
        y, cache = run(x, start)
        dy = rng.standard_normal(y.shape)
        dx, grads = layer.backward(dy, cache)
        assert list(sorted(grads)) == sorted(layer.named_params()), "one gradient per parameter"
        assert all(grads[name].shape == value.shape for name, value in layer.named_params().items())
        for name, gradient in {"x": dx, **grads}.items():
            direction = rng.standard_normal(gradient.shape)

            def along(t, name=name, direction=direction):
                moved = x + t * direction if name == "x" else x
                state = start if name == "x" else {**start, name: start[name] + t * direction}
                return float((run(moved, state)[0] * dy).sum())

            # Richardson: two central differences, the error of the step squared taken out.
            once, twice = ((along(h) - along(-h)) / (2 * h) for h in (step, 2 * step))
            expected, got = (4 * once - twice) / 3, float((gradient * direction).sum())
            scale = np.abs(gradient * direction).sum() + np.abs(y * dy).sum()
            assert abs(got - expected) <= 1e-7 * scale, f"{name}: backward {got}, difference {expected}"
    if backend.available():
        with backend.use("rust"):
            y2, cache2 = run(x, start)
            dx2, grads2 = layer.backward(dy, cache2)
        check.assert_close(y2, y, "y")
        largest = max(float(np.abs(g).max(initial=0)) for g in (dx, *grads.values()))
        for name, gradient in {"x": dx, **grads}.items():
            got = dx2 if name == "x" else grads2[name]
            check.assert_close(got, gradient, name, kind="gradient", noise=largest * 1e-14)
    layer.load_state_dict(start)


def randomise(layer, rng):
    """No zeros and ones left among the parameters; running variances positive."""
    state, learnt = layer.state_dict(), set(layer.named_params())
    for name, value in state.items():
        if name in learnt:
            state[name] = rng.standard_normal(value.shape) * 0.5
        elif name.endswith("running_var"):
            state[name] = rng.uniform(0.5, 2, value.shape)
        elif name.endswith("running_mean"):
            state[name] = rng.standard_normal(value.shape)
    layer.load_state_dict(state)
    return layer
