"""The linear map of tokens, layer and batch normalisation, one number at a time."""

import math

import numpy as np

from naive._indices import box, like
from naive.activation import gelu, gelu_backward, relu, relu_backward, silu, silu_backward

# y[t, o] = Σ_c weight[o, c] x[t, c] + bias[o]; with channels_first it stands at y[o, t], t the last of a token's indices.


def _place(token, o, channels_first):
    return (*token[:-1], o, token[-1]) if channels_first else (*token, o)


def linear(x, weight, bias=None, *, channels_first=False):
    O, C = weight.shape
    y = np.zeros((*x.shape[:-2], O, x.shape[-2]) if channels_first else (*x.shape[:-1], O))
    for token in box(*x.shape[:-1]):
        for o in range(O):
            at = _place(token, o, channels_first)
            y[at] = 0 if bias is None else bias[o]
            for c in range(C):
                y[at] += weight[o, c] * x[(*token, c)]
    return y


def linear_backward(dy, x, weight, bias=None, *, channels_first=False):
    dx, dweight, dbias = like(x, weight, bias)
    for token in box(*x.shape[:-1]):
        for o in range(len(weight)):
            g = dy[_place(token, o, channels_first)]
            if bias is not None:
                dbias[o] += g
            for c in range(x.shape[-1]):
                dweight[o, c] += g * x[(*token, c)]
                dx[(*token, c)] += g * weight[o, c]
    return dx, dweight, dbias


# x̂ of a list of numbers, and what dx̂ of each does to every x of the list: by the quotient rule, entry by entry.


def _normalised(values, eps):
    n = len(values)
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / n + eps)
    return mean, deviation, [(v - mean) / deviation for v in values]


def _through_statistics(gradients, values, eps):
    """dx_l = Σ_m dx̂_m ∂x̂_m/∂x_l with ∂mean/∂x_l = 1/n and ∂deviation/∂x_l = (x_l - mean)/(n deviation)."""
    n, (mean, deviation, _) = len(values), _normalised(values, eps)
    dx = []
    for l in range(n):
        terms = []
        for m in range(n):
            numerator = (m == l) - 1 / n
            terms.append(gradients[m] * numerator / deviation)
            terms.append(-gradients[m] * (values[m] - mean) * (values[l] - mean) / (n * deviation**3))
        dx.append(math.fsum(terms))
    return dx


def _rows(x, axis):
    """The index of every row along an axis."""
    for index in box(*np.delete(x.shape, axis)):
        row = list(index)
        row.insert(axis % x.ndim, slice(None))
        yield tuple(row)


def layer_norm(x, weight=None, bias=None, *, axis=-1, eps=1e-5):
    y = np.zeros(x.shape)
    for row in _rows(x, axis):
        _, _, x_hat = _normalised(x[row], eps)
        for k, value in enumerate(x_hat):
            y[row][k] = (1 if weight is None else weight[k]) * value + (0 if bias is None else bias[k])
    return y


def layer_norm_backward(dy, x, weight=None, bias=None, *, axis=-1, eps=1e-5):
    dx, dweight, dbias = like(x, weight, bias)
    for row in _rows(x, axis):
        _, _, x_hat = _normalised(x[row], eps)
        upstream = []
        for k, g in enumerate(dy[row]):
            upstream.append(g if weight is None else weight[k] * g)
            if weight is not None:
                dweight[k] += g * x_hat[k]
            if bias is not None:
                dbias[k] += g
        dx[row] = _through_statistics(upstream, x[row], eps)
    return dx, dweight, dbias


def _channel(x, c):
    """All indices of a channel."""
    return [(n, c, *place) for n in range(len(x)) for place in box(*x.shape[2:])]


def batch_norm(x, weight, bias, running_mean=None, running_var=None, *, eps=1e-5):
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        indices = _channel(x, c)
        if running_mean is None:
            mean, deviation, _ = _normalised([x[i] for i in indices], eps)
        else:
            mean, deviation = running_mean[c], math.sqrt(running_var[c] + eps)
        for i in indices:
            y[i] = weight[c] * (x[i] - mean) / deviation + bias[c]
    return y


def batch_norm_backward(dy, x, weight, bias, running_mean=None, running_var=None, *, eps=1e-5):
    grads = like(x, weight, bias, running_mean, running_var)
    dx, dweight, dbias, dmean, dvar = grads
    for c in range(x.shape[1]):
        indices = _channel(x, c)
        values = [x[i] for i in indices]
        if running_mean is None:
            mean, deviation, _ = _normalised(values, eps)
            for i, g in zip(indices, _through_statistics([weight[c] * dy[i] for i in indices], values, eps), strict=True):
                dx[i] = g
        else:
            mean, deviation = running_mean[c], math.sqrt(running_var[c] + eps)
            for i in indices:
                dx[i] = weight[c] * dy[i] / deviation
                dmean[c] -= weight[c] * dy[i] / deviation
                dvar[c] -= weight[c] * dy[i] * (x[i] - mean) / (2 * deviation**3)
        for i in indices:
            dweight[c] += dy[i] * (x[i] - mean) / deviation
            dbias[c] += dy[i]
    return grads


# y = act(z), z = batch_norm of x.

ACTIVATIONS = {"gelu": (gelu, gelu_backward), "relu": (relu, relu_backward), "silu": (silu, silu_backward)}


def batch_norm_act(*arrays, eps=1e-5, activation="gelu"):
    return ACTIVATIONS[activation][0](batch_norm(*arrays, eps=eps))


def batch_norm_act_backward(dy, *arrays, eps=1e-5, activation="gelu"):
    (dz,) = ACTIVATIONS[activation][1](dy, batch_norm(*arrays, eps=eps))
    return batch_norm_backward(dz, *arrays, eps=eps)
