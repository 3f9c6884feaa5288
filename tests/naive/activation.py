"""What acts on every number by itself, one number at a time."""

import math

import numpy as np


def _each(function, *arrays):
    y = np.zeros(arrays[0].shape)
    for index in np.ndindex(y.shape):
        y[index] = function(*(float(a[index]) for a in arrays))
    return y


def _bell(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _below(x):
    """Chance that a standard normal number is below x."""
    return math.erfc(-x / math.sqrt(2)) / 2


def _logistic(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _argument(x):
    """2u of the approximation by tanh; ½(1 + tanh u) = σ(2u)."""
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def erf(x):
    return _each(math.erf, x)


def erf_backward(dy, x):
    return (_each(lambda d, v: d * 2 / math.sqrt(math.pi) * math.exp(-v * v), dy, x),)


def gelu(x, *, approximate="none"):
    return _each(lambda v: v * (_below(v) if approximate == "none" else _logistic(_argument(v))), x)


def gelu_backward(dy, x, *, approximate="none"):
    def exact(d, v):
        return d * (_below(v) + v * _bell(v))

    def by_tanh(d, v):
        inner = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * v**2)
        return d * (_logistic(_argument(v)) + v * _logistic(_argument(v)) * _logistic(-_argument(v)) * inner)

    return (_each(exact if approximate == "none" else by_tanh, dy, x),)


def relu(x):
    return _each(lambda v: max(v, 0.0), x)


def relu_backward(dy, x):
    return (_each(lambda d, v: d if v > 0 else 0.0, dy, x),)


def sigmoid(x):
    return _each(_logistic, x)


def sigmoid_backward(dy, x):
    return (_each(lambda d, v: d * _logistic(v) * _logistic(-v), dy, x),)


def silu(x):
    return _each(lambda v: v * _logistic(v), x)


def silu_backward(dy, x):
    return (_each(lambda d, v: d * (_logistic(v) + v * _logistic(v) * _logistic(-v)), dy, x),)


def add(a, b):
    return _each(lambda a, b: a + b, a, b)


def add_backward(dy, a, b):
    return _each(lambda dy: dy, dy), _each(lambda dy: dy, dy)
