"""Layers that run as one give what they give one by one: values, gradients under every name, running statistics."""

import numpy as np
import pytest

from pyhybrid.nn import BatchNorm2d, Conv2d, Operator, Sequential
from pyhybrid.nn.chain import OfSeveral
from pyhybrid.ops import gelu, relu, silu, tanh
from pyhybrid.papers.coatnet import SqueezeExcite

rng = np.random.default_rng(3)
X, DY = rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((2, 4, 6, 5))


def network(**changes):
    """Norm, activation, depthwise convolution, norm, activation between two other convolutions; some of them exchanged."""
    layers = {"first": Conv2d(4, 4, 1, seed=1), "norm": BatchNorm2d(4, 1e-3), "act": Operator(gelu),
              "depthwise": Conv2d(4, 4, 3, 1, 1, groups=4, bias=False, seed=2), "norm2": BatchNorm2d(4, 1e-3), "act2": Operator(gelu),
              "last": Conv2d(4, 4, 1, seed=3)}  # fmt: skip
    net = Sequential(layers | changes)
    net.load_state_dict({name: rng.random(a.shape) + 0.5 if a.dtype.kind == "f" else a for name, a in net.state_dict().items()})
    return net


def one_by_one(net, x, dy):
    """Every layer by itself, in a plain loop."""
    caches, grads = [], {}
    for layer in net.children.values():
        x, cache = layer.forward(x)
        caches.append(cache)
    for (name, layer), cache in zip(reversed(net.children.items()), reversed(caches), strict=True):
        dy, own = layer.backward(dy, cache)
        grads |= {f"{name}.{key}": value for key, value in own.items()}
    return x, dy, grads


def together(net):
    """The operators that ran for several layers."""
    _, caches = net.forward(X)
    return [type(entry.cache).__module__.rpartition(".")[2] for entry in caches if isinstance(entry, OfSeveral)]


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] == value).all(), name


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("window", [(3, 1, 1), (5, 2, (2, 0))])  # kernel size, stride, padding
@pytest.mark.parametrize("act", [gelu, silu, relu])
def test_together_they_give_the_same_bits(backend, act, window, training):
    depthwise = Conv2d(4, 4, *window, groups=4, bias=False, seed=2)
    net = network(act=Operator(act), act2=Operator(act), depthwise=depthwise).train(training)
    start = net.state_dict()
    y, cache = net.forward(X)
    dy = rng.standard_normal(y.shape)
    dx, grads = net.backward(dy, cache)
    moved = net.state_dict()
    net.load_state_dict(start)
    expected_y, expected_dx, expected = one_by_one(net, X, dy)
    assert (y == expected_y).all() and (dx == expected_dx).all() and grads.keys() == net.named_params().keys()
    same(grads, expected)
    same(moved, net.state_dict())
    assert (moved["norm2.running_var"] == start["norm2.running_var"]).all() != training


def test_what_runs_together(backend):
    both = ["batch_norm_act", "batch_norm_act"]
    assert together(network()) == ["mbconv_hidden"]
    assert together(network(depthwise=Conv2d(4, 4, 3, 2, 1, groups=4, bias=False))) == ["mbconv_hidden"]
    assert together(network(depthwise=Conv2d(4, 4, 3, 1, 1, groups=4))) == both  # its bias has no place there
    assert together(network(depthwise=Conv2d(4, 4, 3, 1, 1, groups=2, bias=False))) == both
    assert together(network(norm2=BatchNorm2d(4, 1e-2))) == both  # one eps serves both norms
    assert together(network(act2=Operator(relu))) == both and together(network(act2=Operator(tanh))) == ["batch_norm_act"]
    assert together(network(act=Operator(gelu, approximate="tanh"))) == ["batch_norm_act"]
    half = network().train()
    half.children["norm2"].eval()
    assert together(half) == both


@pytest.mark.parametrize("name", ["norm", "act", "depthwise", "norm2", "act2"])
def test_a_layer_that_somebody_watches_runs_by_itself(name):
    net, seen = network(), []
    layer = net.children[name]
    expected, _ = net.forward(X)
    layer.forward = lambda x: (seen.append(x.shape), type(layer).forward(layer, x))[1]
    y, cache = net.forward(X)
    assert seen == [X.shape] and np.allclose(y, expected, rtol=1e-12) and "mbconv_hidden" not in together(net)
    assert net.backward(DY, cache)[1].keys() == net.named_params().keys()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels", [4, 40])  # fewer outputs than pixels, and more
def test_the_gate_and_the_convolution_behind_it(backend, channels, bias):
    net = Sequential({"gate": SqueezeExcite(4, 2, seed=1), "shrink": Conv2d(4, channels, 1, bias=bias, seed=2)})
    y, cache = net.forward(X)
    dy = rng.standard_normal(y.shape)
    dx, grads = net.backward(dy, cache)
    expected_y, expected_dx, expected = one_by_one(net, X, dy)
    assert together(net) == ["squeeze_excite_conv"] and grads.keys() == expected.keys() == net.named_params().keys()
    for name, found, own in [("y", y, expected_y), ("x", dx, expected_dx), *((key, grads[key], expected[key]) for key in expected)]:
        assert np.allclose(found, own, rtol=1e-11, atol=1e-12), name


def test_a_gate_before_anything_else_runs_by_itself():
    for behind in (Conv2d(4, 4, 3), Conv2d(4, 4, 1, 2), Conv2d(4, 4, 1, groups=2), BatchNorm2d(4), Operator(gelu)):
        assert together(Sequential({"gate": SqueezeExcite(4, 2), "behind": behind})) == []
    assert together(Sequential({"gate": SqueezeExcite(4, 2)})) == []
