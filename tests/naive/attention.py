"""Attention over all tokens, its relative bias, windows of a map, and aggregation as loops."""

import math

import numpy as np

from naive._indices import box, like, pair
from naive.acmix import rho

# Attention: z_u = scale · Σ_c q[t, c] k[u, c] + bias[b mod P, head or 0, t, u]; the softmax of z; the weighted values.


def _attention_weights(q, k, bias, scale, b, n, t):
    width = q.shape[3]
    scale = max(width, 1) ** -0.5 if scale is None else scale
    z = [scale * sum(q[b, n, t, c] * k[b, n, u, c] for c in range(width)) for u in range(k.shape[2])]
    if bias is not None:
        period, heads = bias.shape[:2]
        z = [score + bias[b % period, n if heads > 1 else 0, t, u] for u, score in enumerate(z)]
    exponentials = [math.exp(score - max(z)) for score in z]
    return scale, [value / math.fsum(exponentials) for value in exponentials]


def attention(q, k, v, bias=None, *, scale=None):
    o = np.zeros((*q.shape[:3], v.shape[3]))
    for b, n, t in box(*q.shape[:3]):
        _, a = _attention_weights(q, k, bias, scale, b, n, t)
        for u, c in box(*v.shape[2:]):
            o[b, n, t, c] += a[u] * v[b, n, u, c]
    return o


def attention_backward(dy, q, k, v, bias=None, *, scale=None):
    dq, dk, dv, dbias = like(q, k, v, bias)
    keys, width = k.shape[2:]
    for b, n, t in box(*q.shape[:3]):
        factor, a = _attention_weights(q, k, bias, scale, b, n, t)
        da = [sum(dy[b, n, t, c] * v[b, n, u, c] for c in range(v.shape[3])) for u in range(keys)]
        mean = math.fsum(weight * g for weight, g in zip(a, da, strict=True))
        for u in range(keys):
            dz = a[u] * (da[u] - mean)
            for c in range(v.shape[3]):
                dv[b, n, u, c] += a[u] * dy[b, n, t, c]
            for c in range(width):
                dq[b, n, t, c] += factor * dz * k[b, n, u, c]
                dk[b, n, u, c] += factor * dz * q[b, n, t, c]
            if bias is not None:
                dbias[b % len(bias), n if bias.shape[1] > 1 else 0, t, u] += dz
    return dq, dk, dv, dbias


# Relative bias: bias[n, t, u] = table[row of the displacement from token u to token t, n].


def _displacements(size):
    """(t, u, row): the displacements (-(h-1), -(w-1)), ..., (h-1, w-1) are counted row by row."""
    h, w = pair(size)
    rows = {step: row for row, step in enumerate((i, j) for i in range(1 - h, h) for j in range(1 - w, w))}
    for t, u in box(h * w, h * w):
        yield t, u, rows[t // w - u // w, t % w - u % w]


def relative_bias(table, *, size):
    h, w = pair(size)
    bias = np.zeros((table.shape[1], h * w, h * w))
    for t, u, row in _displacements(size):
        for n in range(table.shape[1]):
            bias[n, t, u] = table[row, n]
    return bias


def relative_bias_backward(dy, table, *, size):
    (dtable,) = like(table)
    for t, u, row in _displacements(size):
        for n in range(table.shape[1]):
            dtable[row, n] += dy[n, t, u]
    return (dtable,)


# Windows: pixel (i, j) of image n lies in window (i // wh, j // ww) and is there the pixel (i % wh, j % ww).


def _homes(shape, window):
    """((n, i, j), (window, token)) for every pixel."""
    (N, H, W, _), (wh, ww) = shape, pair(window)
    for n, i, j in box(N, H, W):
        number = n * (H // wh) * (W // ww) + (i // wh) * (W // ww) + j // ww
        yield (n, i, j), (number, i % wh * ww + j % ww)


def window_partition(x, *, window):
    (N, H, W, C), (wh, ww) = x.shape, pair(window)
    windows = np.zeros((N * (H // wh) * (W // ww), wh * ww, C))
    for pixel, token in _homes(x.shape, window):
        windows[token] = x[pixel]
    return windows


def window_partition_backward(dy, x, *, window):
    (dx,) = like(x)
    for pixel, token in _homes(x.shape, window):
        dx[pixel] += dy[token]
    return (dx,)


def window_reverse(windows, *, window, size):
    (wh, ww), (H, W) = pair(window), pair(size)
    x = np.zeros((len(windows) // ((H // wh) * (W // ww)), H, W, windows.shape[2]))
    for pixel, token in _homes(x.shape, window):
        x[pixel] = windows[token]
    return x


def window_reverse_backward(dy, windows, *, window, size):
    (dwindows,) = like(windows)
    for pixel, token in _homes(dy.shape, window):
        dwindows[token] += dy[pixel]
    return (dwindows,)


# Roll: y[n, i, j] = x[n, (i - s) mod H, (j - t) mod W].


def roll(x, *, offset):
    (s, t), (N, H, W, _), y = pair(offset), x.shape, np.zeros(x.shape)
    for n, i, j in box(N, H, W):
        y[n, i, j] = x[n, (i - s) % H, (j - t) % W]
    return y


def roll_backward(dy, x, *, offset):
    (s, t), (N, H, W, _), (dx,) = pair(offset), x.shape, like(x)
    for n, i, j in box(N, H, W):
        dx[n, (i - s) % H, (j - t) % W] += dy[n, i, j]
    return (dx,)


# Aggregation: y[c, i, j] = Σ_uv weight[c mod Cw, u*k + v, i, j] v[c, ρ(s·i + u - ⌊k/2⌋), ρ(s·j + v - ⌊k/2⌋)].


def _aggregation_reads(weight, v, kernel_size, stride):
    (sh, sw), (N, C, H, W), r = pair(stride), v.shape, kernel_size // 2
    for n, c, i, j, a, b in box(N, C, *weight.shape[3:], kernel_size, kernel_size):
        source = (n, c, rho(sh * i + a - r, H), rho(sw * j + b - r, W))
        yield (n, c, i, j), (n, c % weight.shape[1], a * kernel_size + b, i, j), source


def aggregation(weight, v, *, kernel_size, stride=1):
    y = np.zeros((*v.shape[:2], *weight.shape[3:]))
    for to, by, source in _aggregation_reads(weight, v, kernel_size, stride):
        y[to] += weight[by] * v[source]
    return y


def aggregation_backward(dy, weight, v, *, kernel_size, stride=1):
    dweight, dv = like(weight, v)
    for to, by, source in _aggregation_reads(weight, v, kernel_size, stride):
        dweight[by] += v[source] * dy[to]
        dv[source] += weight[by] * dy[to]
    return dweight, dv
