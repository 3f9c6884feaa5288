"""Layers: gradients, modes, names and refusals."""

import copy

import numpy as np
import pytest
from nn.judge import judge, randomise

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import BatchNorm2d, Conv2d, DropPath, LayerNorm, Linear, Operator, Sequential, init
from pyhybrid.ops import gelu, max_pool2d


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(3, 4, 1), (2, 3, 4, 5)),
        (Conv2d(3, 4, 3, 2, 1), (2, 3, 5, 6)),
        (Conv2d(4, 6, (3, 1), (1, 2), (1, 0), groups=2, bias=False), (2, 4, 5, 6)),
        (Conv2d(3, 4, 1, 2, bias=False), (2, 3, 5, 6)),
        (Linear(5, 3), (2, 4, 5)),
        (Linear(5, 3, bias=False), (2, 5)),
        (LayerNorm(5), (2, 4, 5)),
        (LayerNorm(3, axis=1), (2, 3, 4, 5)),
        (BatchNorm2d(3), (4, 3, 2, 5)),
        (Sequential({"0": Conv2d(3, 4, 3, 1, 1), "1": BatchNorm2d(4), "2": Operator(gelu), "3": Operator(max_pool2d, kernel_size=2)}),
         (3, 3, 4, 6)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else "",
)  # fmt: skip
@pytest.mark.parametrize("training", [False, True])
def test_gradients(layer, shape, training, rng):
    judge(randomise(layer, rng), rng.standard_normal(shape), rng=rng, training=training)


def test_batch_norm_moves_its_statistics_in_training_only(rng, backend):
    layer, x = BatchNorm2d(2, momentum=0.25), rng.standard_normal((3, 2, 4, 5)) * 2 + 1
    layer.eval().forward(x)
    assert (layer.buffers["running_mean"] == 0).all() and layer.buffers["num_batches_tracked"] == 0
    layer.train().forward(x)
    values = x.transpose(1, 0, 2, 3).reshape(2, -1)
    np.testing.assert_allclose(layer.buffers["running_mean"], 0.25 * values.mean(1), rtol=1e-14)
    np.testing.assert_allclose(layer.buffers["running_var"], 0.75 + 0.25 * values.var(1, ddof=1), rtol=1e-14)
    assert isinstance(layer.state_dict()["num_batches_tracked"], np.ndarray)
    assert layer.buffers["num_batches_tracked"] == 1 and layer.buffers["num_batches_tracked"].dtype == np.int64


def test_batch_norm_refuses_to_train_on_single_values():
    layer = BatchNorm2d(2).train()
    before = layer.state_dict()
    with pytest.raises(ConstraintError, match="C6"):
        layer.forward(np.ones((1, 2, 1, 1)))
    assert all(np.array_equal(before[name], value) for name, value in layer.state_dict().items())


def test_modes_reach_all_children():
    net = Sequential({"0": Sequential({"norm": BatchNorm2d(2)}), "1": DropPath(0.5)})
    assert not any(module.training for _, module in net.named_modules())
    assert net.train() is net and all(module.training for _, module in net.named_modules())
    assert net.eval() is net and not any(module.training for _, module in net.named_modules())
    assert [name for name, _ in net.named_modules()] == ["", "0", "0.norm", "1"]


def test_drop_path_leaves_out_samples(rng):
    layer, x = DropPath(0.5, seed=1), np.ones((64, 2, 3), np.float32)
    assert layer.forward(x)[0] is x, "evaluation: the identity"
    y, cache = layer.train().forward(x)
    assert y.dtype == x.dtype and set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1, :1]).all(), "a sample is kept or left out as a whole"
    dx, _ = layer.backward(np.ones_like(y), cache)
    assert (dx == y).all()
    again, _ = DropPath(0.5, seed=1).train().forward(x)
    assert (again == y).all(), "the seed repeats it"
    y, _ = layer.eval().forward(x[:2], np.array([0.0, 3.0]))
    assert (y[0] == 0).all() and (y[1] == 3).all(), "factors from the caller"
    with pytest.raises(ConstraintError, match="one factor per sample"):
        layer.forward(x, np.ones(3))
    with pytest.raises(ConstraintError, match="rate"):
        DropPath(1.0)


def test_seeds():
    first, second = (Conv2d(3, 4, 3, seed=5).state_dict() for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    shared = np.random.default_rng(5)
    one, two = Conv2d(3, 4, 3, seed=shared), Conv2d(3, 4, 3, seed=shared)
    assert (one.params["weight"] != two.params["weight"]).all(), "one generator gives each layer its own weights"
    nothing = Linear(10**5, 10**5, seed=None)
    assert nothing.parameter_count() == 10**10 + 10**5, "counted without memory"


def test_starting_values(rng):
    shape = (200, 500)
    dtype = np.dtype(np.float32)
    drawn = init.truncated_normal(1.0, shape, dtype, rng, limit=1.5)
    assert drawn.dtype == dtype and np.abs(drawn).max() <= 1.5 and abs(float(drawn.mean())) < 0.02
    assert abs(float(init.normal(0.3, shape, dtype, rng).std()) - 0.3) < 0.01
    flat = init.uniform(0.2, shape, dtype, rng)
    assert np.abs(flat).max() <= 0.2 and abs(float(flat.std()) - 0.2 / 3**0.5) < 0.01
    with pytest.raises(ConstraintError, match="dtype"):
        Linear(2, 2, dtype=np.float16)
    with pytest.raises(ConstraintError, match="groups"):
        Conv2d(3, 4, 3, groups=2)


def test_layers_can_be_copied(rng):
    """The operator of a layer is a module of Python, which cannot be copied itself: the copy finds it by name."""
    net = Sequential({"0": Conv2d(3, 4, 3), "1": Operator(max_pool2d, kernel_size=2), "2": Operator(gelu)})
    x, twin = rng.standard_normal((1, 3, 8, 8)), copy.deepcopy(net)
    assert np.array_equal(net.forward(x)[0], twin.forward(x)[0])
    twin.named_params()["0.weight"][...] = 0
    assert not np.array_equal(net.forward(x)[0], twin.forward(x)[0])
