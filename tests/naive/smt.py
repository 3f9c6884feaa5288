"""Mixed convolution, regrouping, aggregation of scales and modulation, layer scale and stochastic depth, one number at a time."""

import math

import numpy as np

from naive._indices import box, like

# y = gamma of the channel · x; y = x · mask of the sample / (1 - rate).


def layer_scale(x, gamma, *, axis=-1):
    y = np.zeros(x.shape)
    for index in box(*x.shape):
        y[index] = gamma[index[axis]] * x[index]
    return y


def layer_scale_backward(dy, x, gamma, *, axis=-1):
    dx, dgamma = like(x, gamma)
    for index in box(*x.shape):
        dx[index] = gamma[index[axis]] * dy[index]
        dgamma[index[axis]] += dy[index] * x[index]
    return dx, dgamma


def drop_path(x, mask, *, rate=0.0):
    y = np.zeros(x.shape)
    for index in box(*x.shape):
        y[index] = x[index] * mask[index[0]] / (1 - rate)
    return y


def drop_path_backward(dy, x, mask, *, rate=0.0):
    dx, dmask = like(x, mask)
    for index in box(*x.shape):
        dx[index] = dy[index] * mask[index[0]] / (1 - rate)
        dmask[index[0]] += dy[index] * x[index] / (1 - rate)
    return dx, dmask


# The channel that channel c of the regrouped array is taken from: sigma(c) = (c mod N)·M + floor(c/N), and its inverse.


def _taken_from(c, C, heads, inverse):
    groups = C // heads
    return (c % groups) * heads + c // groups if inverse else (c % heads) * groups + c // heads


def regroup(x, *, heads, axis=1, inverse=False):
    y = np.zeros(x.shape)
    for index in box(*x.shape):
        source = list(index)
        source[axis] = _taken_from(index[axis], x.shape[axis], heads, inverse)
        y[index] = x[tuple(source)]
    return y


def regroup_backward(dy, x, *, heads, axis=1, inverse=False):
    (dx,) = like(x)
    for index in box(*x.shape):
        source = list(index)
        source[axis] = _taken_from(index[axis], x.shape[axis], heads, inverse)
        dx[tuple(source)] += dy[index]
    return (dx,)


# Depthwise, channel t·M + i with kernel t: every read of a pixel inside the map.


def _reads(x, kernel_sizes):
    """(image, channel, row, column, row read, column read, i, column of the weight) of every product."""
    N, C, H, W = x.shape
    M = C // len(kernel_sizes)
    for n, c, a, b in box(N, C, H, W):
        t, i = divmod(c, M)
        k, first = kernel_sizes[t], sum(size**2 for size in kernel_sizes[:t])
        for p, q in box(k, k):
            r, s = a + p - k // 2, b + q - k // 2
            if 0 <= r < H and 0 <= s < W:
                yield n, c, a, b, r, s, i, first + p * k + q


def mixed_conv(x, weight, bias=None, *, kernel_sizes=(3, 5, 7, 9)):
    y = np.zeros(x.shape)
    if bias is not None:
        for n, c, a, b in box(*x.shape):
            y[n, c, a, b] = bias[c]
    for n, c, a, b, r, s, i, tap in _reads(x, kernel_sizes):
        y[n, c, a, b] += weight[i, tap] * x[n, c, r, s]
    return y


def mixed_conv_backward(dy, x, weight, bias=None, *, kernel_sizes=(3, 5, 7, 9)):
    dx, dweight, dbias = like(x, weight, bias)
    if bias is not None:
        for n, c, a, b in box(*x.shape):
            dbias[c] += dy[n, c, a, b]
    for n, c, a, b, r, s, i, tap in _reads(x, kernel_sizes):
        dweight[i, tap] += dy[n, c, a, b] * x[n, c, r, s]
        dx[n, c, r, s] += weight[i, tap] * dy[n, c, a, b]
    return dx, dweight, dbias


def modulation(v, modulator):
    z = np.zeros(v.shape)
    W = modulator.shape[3]
    for n, c, i, j in box(*modulator.shape):
        z[n, i * W + j, c] = modulator[n, c, i, j] * v[n, i * W + j, c]
    return z


def modulation_backward(dz, v, modulator):
    dv, dmodulator = like(v, modulator)
    W = modulator.shape[3]
    for n, c, i, j in box(*modulator.shape):
        dv[n, i * W + j, c] = modulator[n, c, i, j] * dz[n, i * W + j, c]
        dmodulator[n, c, i, j] = v[n, i * W + j, c] * dz[n, i * W + j, c]
    return dv, dmodulator


# The aggregation, output channel r of the first projection: it reads channel i = r // R of every head. What a channel of the batch
# norm does to its values goes through every pair of them, as does the gradient.


def _below(z):
    """The chance that a standard normal number is below z."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _source(r, t, E, C, heads):
    """Channel of x that row r of the first projection reads for head t."""
    M = C // heads
    return t * M + r // (E // M)


def _expanded(x, weight, bias):
    N, C, H, W = x.shape
    E, heads = weight.shape[:2]
    e = np.zeros((N, E, H, W))
    for n, r, i, j in box(*e.shape):
        terms = [weight[r, t, 0, 0] * x[n, _source(r, t, E, C, heads), i, j] for t in range(heads)]
        e[n, r, i, j] = math.fsum([*terms, bias[r]])
    return e


def _statistics(e, running_mean, running_var, eps):
    """Mean and deviation of every channel."""
    for r in range(e.shape[1]):
        values = [e[n, r, i, j] for n, i, j in box(len(e), *e.shape[2:])]
        if running_mean is None:
            mean = math.fsum(values) / len(values)
            yield mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values) + eps)
        else:
            yield running_mean[r], math.sqrt(running_var[r] + eps)


def scale_aware_aggregation(x, w0, b0, gamma, beta, w1, b1, running_mean=None, running_var=None, *, eps=1e-5):
    e = _expanded(x, w0, b0)
    norms = list(_statistics(e, running_mean, running_var, eps))
    y = np.zeros((len(x), len(w1), *x.shape[2:]))
    for n, o, i, j in box(*y.shape):
        y[n, o, i, j] = b1[o]
        for r, (mean, deviation) in enumerate(norms):
            u = gamma[r] * (e[n, r, i, j] - mean) / deviation + beta[r]
            y[n, o, i, j] += w1[o, r, 0, 0] * u * _below(u)
    return y


def scale_aware_aggregation_backward(dy, x, w0, b0, gamma, beta, w1, b1, running_mean=None, running_var=None, *, eps=1e-5):
    grads = like(x, w0, b0, gamma, beta, w1, b1, running_mean, running_var)
    dx, dw0, db0, dgamma, dbeta, dw1, db1, dmean, dvar = grads
    e = _expanded(x, w0, b0)
    (E, heads), (N, C, H, W) = w0.shape[:2], x.shape
    pixels = list(box(N, H, W))
    for o, (n, i, j) in ((o, pixel) for o in range(len(w1)) for pixel in pixels):
        db1[o] += dy[n, o, i, j]
    for r, (mean, deviation) in enumerate(_statistics(e, running_mean, running_var, eps)):
        hat = [(e[n, r, i, j] - mean) / deviation for n, i, j in pixels]
        dhat = []
        for (n, i, j), value in zip(pixels, hat, strict=True):
            u = gamma[r] * value + beta[r]
            bell = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
            du = 0
            for o in range(len(w1)):
                dw1[o, r, 0, 0] += dy[n, o, i, j] * u * _below(u)
                du += w1[o, r, 0, 0] * dy[n, o, i, j] * (_below(u) + u * bell)
            dgamma[r] += du * value
            dbeta[r] += du
            dhat.append(gamma[r] * du)
        for l, (n, i, j) in enumerate(pixels):
            if running_mean is None:
                terms = []
                for m in range(len(pixels)):
                    terms += [dhat[m] * ((m == l) - 1 / len(pixels)) / deviation, -dhat[m] * hat[m] * hat[l] / (len(pixels) * deviation)]
                de = math.fsum(terms)
            else:
                de = dhat[l] / deviation
                dmean[r] -= dhat[l] / deviation
                dvar[r] -= dhat[l] * hat[l] / (2 * deviation**2)
            db0[r] += de
            for t in range(heads):
                c = _source(r, t, E, C, heads)
                dw0[r, t, 0, 0] += de * x[n, c, i, j]
                dx[n, c, i, j] += de * w0[r, t, 0, 0]
    return grads
