"""Relative, local and linear attention, the resized table, the parts of MBConv, and CoAtNet's two functions as loops."""

import math

import numpy as np

from naive._indices import box, like, pair
from naive.acmix import conv2d, conv2d_backward, pointwise_conv, pointwise_conv_backward
from naive.normalisation import batch_norm_act, batch_norm_act_backward

# Attention with a bias of the displacement (i, j) of the key as seen from the query, for the keys that the window lets in:
# z_u = scale · Σ_c q[t, c] k[u, c], + bias if "pre"; a = the softmax of z; m = a, + bias if "post"; o[t] = Σ_u m_u v[u].


def _tokens(size):
    """(t, i, j) for every token."""
    return list(zip(range(pair(size)[0] * pair(size)[1]), *zip(*box(*pair(size)), strict=True), strict=True))


def _everything(size, sign):
    """For each query t, its keys u with the entry of the table that the pair reads."""
    h, w = pair(size)
    for t, i, j in _tokens(size):
        step = 1 if sign == "query - key" else -1
        yield t, [(u, step * (i - a) + h - 1, step * (j - b) + w - 1) for u, a, b in _tokens(size)]


def _nearby(size, radius):
    for t, i, j in _tokens(size):
        near = [(u, i - a, j - b) for u, a, b in _tokens(size) if abs(i - a) <= radius and abs(j - b) <= radius]
        yield t, [(u, a + radius, b + radius) for u, a, b in near]


def _weights(q, k, table, b, n, t, keys, form, scale):
    width = q.shape[3]
    scale = max(width, 1) ** -0.5 if scale is None else scale
    z = [scale * sum(q[b, n, t, c] * k[b, n, u, c] for c in range(width)) for u, _, _ in keys]
    bias = [table[n, i, j] for _, i, j in keys]
    if form == "pre":
        z = [score + more for score, more in zip(z, bias, strict=True)]
    exponentials = [math.exp(score - max(z)) for score in z]
    a = [value / math.fsum(exponentials) for value in exponentials]
    return scale, a, [weight + more for weight, more in zip(a, bias, strict=True)] if form == "post" else a


def _attend(q, k, v, table, queries, form, scale):
    o = np.zeros(v.shape)
    for t, keys in queries:
        for b, n in box(*q.shape[:2]):
            _, _, m = _weights(q, k, table, b, n, t, keys, form, scale)
            for (u, _, _), weight in zip(keys, m, strict=True):
                for c in range(v.shape[3]):
                    o[b, n, t, c] += weight * v[b, n, u, c]
    return o


def _attend_backward(dy, q, k, v, table, queries, form, scale):
    dq, dk, dv, dtable = like(q, k, v, table)
    for t, keys in queries:
        for b, n in box(*q.shape[:2]):
            factor, a, m = _weights(q, k, table, b, n, t, keys, form, scale)
            dm = [sum(dy[b, n, t, c] * v[b, n, u, c] for c in range(v.shape[3])) for u, _, _ in keys]
            mean = math.fsum(weight * g for weight, g in zip(a, dm, strict=True))
            for (u, i, j), weight, mixed, g in zip(keys, a, m, dm, strict=True):
                dz = weight * (g - mean)
                dtable[n, i, j] += dz if form == "pre" else g
                for c in range(v.shape[3]):
                    dv[b, n, u, c] += mixed * dy[b, n, t, c]
                for c in range(q.shape[3]):
                    dq[b, n, t, c] += factor * dz * k[b, n, u, c]
                    dk[b, n, u, c] += factor * dz * q[b, n, t, c]
    return dq, dk, dv, dtable


def relative_attention(q, k, v, table, *, size, form="pre", sign="query - key", scale=None):
    return _attend(q, k, v, table, _everything(size, sign), form, scale)


def relative_attention_backward(dy, q, k, v, table, *, size, form="pre", sign="query - key", scale=None):
    return _attend_backward(dy, q, k, v, table, _everything(size, sign), form, scale)


def local_relative_attention(q, k, v, table, *, size, radius, form="pre", scale=None):
    return _attend(q, k, v, table, _nearby(size, radius), form, scale)


def local_relative_attention_backward(dy, q, k, v, table, *, size, radius, form="pre", scale=None):
    return _attend_backward(dy, q, k, v, table, _nearby(size, radius), form, scale)


# Linear attention, as the attention that it is: the weight of key u is Σ_c Q[t, c] K[u, c], over the sum of all of them plus eps
# for "elu". Features: e^t or t + 1; a softmax of the query over its channels, of the key over the positions.


def _feature(t):
    return t + 1 if t > 0 else math.exp(t)


def _softmax(values):
    exponentials = [math.exp(value - max(values)) for value in values]
    return [value / math.fsum(exponentials) for value in exponentials]


def _features(q, k, kind):
    Q, K = like(q, k)
    if kind == "elu":
        for x, features in ((q, Q), (k, K)):
            for index in box(*x.shape):
                features[index] = _feature(x[index])
        return Q, K
    for b, n, t in box(*q.shape[:3]):
        Q[b, n, t] = _softmax(list(q[b, n, t]))
    for b, n, c in box(*k.shape[:2], k.shape[3]):
        K[b, n, :, c] = _softmax(list(k[b, n, :, c]))
    return Q, K


def _linear_weights(Q, K, b, n, t, kind, eps):
    products = [math.fsum(Q[b, n, t, c] * K[b, n, u, c] for c in range(Q.shape[3])) for u in range(K.shape[2])]
    total = math.fsum(products) + eps if kind == "elu" else 1.0
    return total, [product / total for product in products]


def linear_attention(q, k, v, *, kind="elu", eps=0.0):
    Q, K = _features(q, k, kind)
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for b, n, t in box(*q.shape[:3]):
        _, w = _linear_weights(Q, K, b, n, t, kind, eps)
        for u, c in box(*v.shape[2:]):
            y[b, n, t, c] += w[u] * v[b, n, u, c]
    return y


def linear_attention_backward(dy, q, k, v, *, kind="elu", eps=0.0):
    Q, K = _features(q, k, kind)
    dq, dk, dv, dQ, dK = like(q, k, v, Q, K)
    for b, n, t in box(*q.shape[:3]):
        total, w = _linear_weights(Q, K, b, n, t, kind, eps)
        dw = [math.fsum(dy[b, n, t, c] * v[b, n, u, c] for c in range(v.shape[3])) for u in range(len(w))]
        mean = math.fsum(g * weight for g, weight in zip(dw, w, strict=True)) if kind == "elu" else 0.0
        for u in range(len(w)):
            for c in range(v.shape[3]):
                dv[b, n, u, c] += w[u] * dy[b, n, t, c]
            dproduct = (dw[u] - mean) / total
            for c in range(q.shape[3]):
                dQ[b, n, t, c] += dproduct * K[b, n, u, c]
                dK[b, n, u, c] += dproduct * Q[b, n, t, c]
    if kind == "elu":
        for x, dx, dfeature in ((q, dq, dQ), (k, dk, dK)):
            for index in box(*x.shape):
                dx[index] = dfeature[index] * (1.0 if x[index] > 0 else math.exp(x[index]))
        return dq, dk, dv
    for b, n, t in box(*q.shape[:3]):
        dq[b, n, t] = _softmax_backward(Q[b, n, t], dQ[b, n, t])
    for b, n, c in box(*k.shape[:2], k.shape[3]):
        dk[b, n, :, c] = _softmax_backward(K[b, n, :, c], dK[b, n, :, c])
    return dq, dk, dv


def _softmax_backward(a, da):
    mean = math.fsum(weight * g for weight, g in zip(a, da, strict=True))
    return [weight * (g - mean) for weight, g in zip(a, da, strict=True)]


# Bilinear resize: y[i, j] = Σ over the four pixels around the point where (i, j) lies, weighted by nearness.


def _around(i, old, new, align_corners):
    """(index, weight) of the two pixels around position i of an axis."""
    if align_corners:
        s = i * (old - 1) / (new - 1) if new > 1 else 0.0
    else:
        s = max((i + 0.5) * old / new - 0.5, 0.0)
    a = min(math.floor(s), old - 1)
    return (a, 1 - (s - a)), (min(a + 1, old - 1), s - a)


def _resize_reads(x, size, align_corners):
    h, w = pair(size)
    for i, j in box(h, w):
        for a, top in _around(i, x.shape[-2], h, align_corners):
            for b, left in _around(j, x.shape[-1], w, align_corners):
                yield (i, j), (a, b), top * left


def resize_bilinear(x, *, size, align_corners=False):
    y = np.zeros((*x.shape[:-2], *pair(size)))
    for (i, j), (a, b), weight in _resize_reads(x, size, align_corners):
        y[..., i, j] += weight * x[..., a, b]
    return y


def resize_bilinear_backward(dy, x, *, size, align_corners=False):
    (dx,) = like(x)
    for (i, j), (a, b), weight in _resize_reads(x, size, align_corners):
        dx[..., a, b] += weight * dy[..., i, j]
    return (dx,)


# Squeeze and excitation: y[n, c] = x[n, c] · σ(Σ_r V2[c, r] act(Σ_c' V1[r, c'] mean(x[n, c']) + b1[r]) + b2[c]).


def _sigma(t):
    return 1 / (1 + math.exp(-t)) if t > -700 else 0.0


def _act(t, activation):
    """Value and slope."""
    if activation == "relu":
        return (t, 1.0) if t > 0 else (0.0, 0.0)
    if activation == "silu":
        return t * _sigma(t), _sigma(t) * (1 + t * _sigma(-t))
    below = 0.5 * math.erfc(-t / math.sqrt(2))
    return t * below, below + t * math.exp(-t * t / 2) / math.sqrt(2 * math.pi)


def _gate(x, V1, V2, b1, b2, activation, n):
    C, R = V2.shape
    u = [math.fsum(x[n, c].flat) / (x.shape[2] * x.shape[3]) for c in range(C)]
    t = [math.fsum(V1[r, c] * u[c] for c in range(C)) + (0 if b1 is None else b1[r]) for r in range(R)]
    z = [_act(value, activation) for value in t]
    return u, z, [math.fsum(V2[c, r] * z[r][0] for r in range(R)) + (0 if b2 is None else b2[c]) for c in range(C)]


def squeeze_excite(x, reduce_weight, expand_weight, reduce_bias=None, expand_bias=None, *, activation="silu"):
    y = np.zeros(x.shape)
    for n in range(len(x)):
        _, _, e = _gate(x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation, n)
        for c, i, j in box(*x.shape[1:]):
            y[n, c, i, j] = x[n, c, i, j] * _sigma(e[c])
    return y


def squeeze_excite_backward(dy, x, reduce_weight, expand_weight, reduce_bias=None, expand_bias=None, *, activation="silu"):
    dx, dV1, dV2, db1, db2 = like(x, reduce_weight, expand_weight, np.zeros(len(reduce_weight)), np.zeros(len(expand_weight)))
    (N, C, H, W), R = x.shape, len(reduce_weight)
    for n in range(N):
        u, z, e = _gate(x, reduce_weight, expand_weight, reduce_bias, expand_bias, activation, n)
        du = [0.0] * C
        de = [sum(dy[n, c, i, j] * x[n, c, i, j] for i, j in box(H, W)) * _sigma(e[c]) * _sigma(-e[c]) for c in range(C)]
        for r in range(R):
            dt = sum(de[c] * expand_weight[c, r] for c in range(C)) * z[r][1]
            db1[r] += dt
            for c in range(C):
                dV2[c, r] += de[c] * z[r][0]
                dV1[r, c] += dt * u[c]
                du[c] += dt * reduce_weight[r, c]
        for c, i, j in box(C, H, W):
            dx[n, c, i, j] = dy[n, c, i, j] * _sigma(e[c]) + du[c] / (H * W)
        for c in range(C):
            db2[c] += de[c]
    return dx, dV1, dV2, None if reduce_bias is None else db1, None if expand_bias is None else db2


# Functions of one number.


def elu_plus_one(x):
    y = np.zeros(x.shape)
    for i in box(*x.shape):
        y[i] = _feature(x[i])
    return y


def elu_plus_one_backward(dy, x):
    (dx,) = like(x)
    for i in box(*x.shape):
        dx[i] = dy[i] if x[i] > 0 else dy[i] * math.exp(x[i])
    return (dx,)


def tanh(x):
    y = np.zeros(x.shape)
    for i in box(*x.shape):
        y[i] = math.tanh(x[i])
    return y


def tanh_backward(dy, x):
    (dx,) = like(x)
    for i in box(*x.shape):
        dx[i] = dy[i] / math.cosh(x[i]) ** 2
    return (dx,)


# What MBConv does to its hidden maps: y = act(norm(h)), h = a * weight by channel, a = act(norm(x)).


def mbconv_hidden(*arrays, stride=1, padding=1, **config):
    _, h = _hidden(arrays, stride, padding, config)
    return batch_norm_act(h, *arrays[4:6], *arrays[8:], **config)


def mbconv_hidden_backward(dy, *arrays, stride=1, padding=1, **config):
    a, h = _hidden(arrays, stride, padding, config)
    dh, *after = batch_norm_act_backward(dy, h, *arrays[4:6], *arrays[8:], **config)
    da, dweight, _ = conv2d_backward(dh, a, arrays[3], stride=stride, padding=padding, groups=a.shape[1])
    dx, *before = batch_norm_act_backward(da, *arrays[:3], *arrays[6:8], **config)
    return dx, *before[:2], dweight, *after[:2], *before[2:], *after[2:]


def _hidden(arrays, stride, padding, config):
    a = batch_norm_act(*arrays[:3], *arrays[6:8], **config)
    return a, conv2d(a, arrays[3], stride=stride, padding=padding, groups=a.shape[1])


# y = weight · (x ⊙ gate) + bias at every pixel.


def squeeze_excite_conv(x, reduce_weight, expand_weight, weight, reduce_bias=None, expand_bias=None, bias=None, **config):
    return pointwise_conv(squeeze_excite(x, reduce_weight, expand_weight, reduce_bias, expand_bias, **config), weight, bias)


def squeeze_excite_conv_backward(dy, x, reduce_weight, expand_weight, weight, reduce_bias=None, expand_bias=None, bias=None, **config):
    network = (reduce_weight, expand_weight, reduce_bias, expand_bias)
    dgated, dweight, dbias = pointwise_conv_backward(dy, squeeze_excite(x, *network, **config), weight, bias)
    dx, dreduce, dexpand, *dbiases = squeeze_excite_backward(dgated, x, *network, **config)
    return dx, dreduce, dexpand, dweight, *dbiases, dbias
