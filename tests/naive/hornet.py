"""Gated convolutions, filters in the frequency domain, interleaving and nearest resize, one number at a time."""

import math

import numpy as np

from naive._indices import box, like, pair


def _reads(shape, kernel):
    """(n, c, i, j, p, q, a, b): output pixel (i, j) reads pixel (a, b) of the same channel by tap (p, q)."""
    (N, C, H, W), (kh, kw) = shape, kernel
    for n, c, i, j, p, q in box(N, C, H, W, kh, kw):
        a, b = i + p - (kh - 1) // 2, j + q - (kw - 1) // 2
        if 0 <= a < H and 0 <= b < W:
            yield n, c, i, j, p, q, a, b


def _depthwise(q, weight, bias):
    f = np.zeros(q.shape)
    for n, c, i, j in box(*q.shape):
        f[n, c, i, j] = 0 if bias is None else bias[c]
    for n, c, i, j, s, t, a, b in _reads(q.shape, weight.shape[2:]):
        f[n, c, i, j] += weight[c, 0, s, t] * q[n, c, a, b]
    return f


def _depthwise_backward(df, q, weight, bias):
    dq, dweight, dbias = like(q, weight, bias)
    for n, c, i, j, s, t, a, b in _reads(q.shape, weight.shape[2:]):
        dq[n, c, a, b] += weight[c, 0, s, t] * df[n, c, i, j]
        dweight[c, 0, s, t] += q[n, c, a, b] * df[n, c, i, j]
    if bias is not None:
        for n, c, i, j in box(*df.shape):
            dbias[c] += df[n, c, i, j]
    return dq, dweight, dbias


def gated_conv(p, q, weight, bias=None):
    f, y = _depthwise(q, weight, bias), np.zeros(p.shape)
    for at in box(*p.shape):
        y[at] = p[at] * f[at]
    return y


def gated_conv_backward(dy, p, q, weight, bias=None):
    f, (dp, df) = _depthwise(q, weight, bias), like(p, p)
    for at in box(*p.shape):
        dp[at], df[at] = dy[at] * f[at], dy[at] * p[at]
    return (dp, *_depthwise_backward(df, q, weight, bias))


def _linear(vector, weight, bias):
    out = np.zeros(len(weight))
    for o, row in enumerate(weight):
        out[o] = 0 if bias is None else bias[o]
        for c, w in enumerate(row):
            out[o] += w * vector[c]
    return out


def _linear_backward(dout, vector, weight, dvector, dweight, dbias):
    """Adds to the three gradients."""
    for o, c in box(*weight.shape):
        dvector[c] += weight[o, c] * dout[o]
        dweight[o, c] += vector[c] * dout[o]
    if dbias is not None:
        for o in range(len(weight)):
            dbias[o] += dout[o]


def _matrices(C0, order):
    """(first weight, first bias, outputs, inputs) of every projection in the packed arrays."""
    at = row = 0
    for k in range(1, order):
        O, C = 2**k * C0, 2 ** (k - 1) * C0
        yield at, row, O, C
        at, row = at + O * C, row + O


def _steps(p0, gates, weight, bias, order, scale):
    """p_0 … p_n and u_0 … u_{n-1} of one pixel."""
    ps, us, first = [p0], [p0], 0
    plan = list(_matrices(len(p0), order))
    for k in range(order):
        if k:
            at, row, O, C = plan[k - 1]
            us.append(_linear(ps[k], weight[at : at + O * C].reshape(O, C), None if bias is None else bias[row : row + O]))
        width = len(us[k])
        ps.append(np.array([scale * gates[first + c] * us[k][c] for c in range(width)]))
        first += width
    return ps, us


def gate_chain(p0, filtered, weight=None, bias=None, *, order, scale=1):
    N, C0, H, W = p0.shape
    y = np.zeros((N, 2 ** (order - 1) * C0, H, W))
    for n, i, j in box(N, H, W):
        y[n, :, i, j] = _steps(p0[n, :, i, j], filtered[n, :, i, j], weight, bias, order, scale)[0][-1]
    return y


def gate_chain_backward(dy, p0, filtered, weight=None, bias=None, *, order, scale=1):
    grads = like(p0, filtered, weight, bias)
    dp0, dfiltered, dweight, dbias = grads
    (N, C0, H, W), plan = p0.shape, list(_matrices(p0.shape[1], order))
    for n, i, j in box(N, H, W):
        ps, us = _steps(p0[n, :, i, j], filtered[n, :, i, j], weight, bias, order, scale)
        dp = dy[n, :, i, j].copy()
        for k in reversed(range(order)):
            first, du = (2**k - 1) * C0, np.zeros(2**k * C0)
            for c in range(2**k * C0):
                dfiltered[n, first + c, i, j] = scale * dp[c] * us[k][c]
                du[c] = scale * dp[c] * filtered[n, first + c, i, j]
            dp = du
            if k:
                at, row, O, C = plan[k - 1]
                dp = np.zeros(C)
                matrix, dmatrix = (a[at : at + O * C].reshape(O, C) for a in (weight, dweight))
                _linear_backward(du, ps[k], matrix, dp, dmatrix, None if bias is None else dbias[row : row + O])
        dp0[n, :, i, j] = dp
    return grads


def _pointwise(x, weight, bias):
    y = np.zeros((len(x), len(weight), *x.shape[2:]))
    for n, i, j in box(len(x), *x.shape[2:]):
        y[n, :, i, j] = _linear(x[n, :, i, j], weight[:, :, 0, 0], bias)
    return y


def _pointwise_backward(dy, x, weight, bias):
    dx, dweight, dbias = like(x, weight, bias)
    for n, i, j in box(len(x), *x.shape[2:]):
        _linear_backward(dy[n, :, i, j], x[n, :, i, j], weight[:, :, 0, 0], dx[n, :, i, j], dweight[:, :, 0, 0], dbias)
    return dx, dweight, dbias


def _parts(x, proj_in_weight, dwconv_weight, proj_in_bias, dwconv_bias, order):
    projected, C0 = _pointwise(x, proj_in_weight, proj_in_bias), len(proj_in_weight) // 2**order
    return projected[:, :C0], projected[:, C0:], _depthwise(projected[:, C0:], dwconv_weight, dwconv_bias)


def gn_conv(x, proj_in_weight, dwconv_weight, pws_weight=None, proj_out_weight=None, proj_in_bias=None, dwconv_bias=None, pws_bias=None,
            proj_out_bias=None, *, order, scale=1):
    p0, _, f = _parts(x, proj_in_weight, dwconv_weight, proj_in_bias, dwconv_bias, order)
    pn = gate_chain(p0, f, pws_weight, pws_bias, order=order, scale=scale)
    return pn if proj_out_weight is None else _pointwise(pn, proj_out_weight, proj_out_bias)


def gn_conv_backward(dy, x, proj_in_weight, dwconv_weight, pws_weight=None, proj_out_weight=None, proj_in_bias=None, dwconv_bias=None,
                     pws_bias=None, proj_out_bias=None, *, order, scale=1):
    p0, q, f = _parts(x, proj_in_weight, dwconv_weight, proj_in_bias, dwconv_bias, order)
    dpn, dout, dout_bias = dy, None, None
    if proj_out_weight is not None:
        pn = gate_chain(p0, f, pws_weight, pws_bias, order=order, scale=scale)
        dpn, dout, dout_bias = _pointwise_backward(dy, pn, proj_out_weight, proj_out_bias)
    dp0, df, dpws, dpws_bias = gate_chain_backward(dpn, p0, f, pws_weight, pws_bias, order=order, scale=scale)
    dq, ddw, ddw_bias = _depthwise_backward(df, q, dwconv_weight, dwconv_bias)
    dx, din, din_bias = _pointwise_backward(np.concatenate([dp0, dq], 1), x, proj_in_weight, proj_in_bias)
    return dx, din, ddw, dpws, dout, din_bias, ddw_bias, dpws_bias, dout_bias


def _waves(H, W):
    """(u, v, a, b, cosine, sine) with the share of frequency (u, v) at pixel (a, b) of the inverse transform."""
    for u, v, a, b in box(H, W // 2 + 1, H, W):
        columns = 1 if v == 0 or 2 * v == W else 2
        angle = 2 * math.pi * ((u * a % H) / H + (v * b % W) / W)
        yield u, v, a, b, columns * math.cos(angle) / (H * W), columns * math.sin(angle) / (H * W)


def _periodic_kernel(weight, H, W):
    """The kernel whose circular convolution the filter is."""
    kernel = np.zeros((len(weight), H, W))
    for u, v, a, b, cosine, sine in _waves(H, W):
        for c in range(len(weight)):
            kernel[c, a, b] += weight[c, u, v, 0] * cosine - weight[c, u, v, 1] * sine
    return kernel


def global_filter(x, weight):
    N, C, H, W = x.shape
    y, kernel = np.zeros(x.shape), _periodic_kernel(weight, H, W)
    for n, c, i, j, a, b in box(N, C, H, W, H, W):
        y[n, c, i, j] += kernel[c, a, b] * x[n, c, (i - a) % H, (j - b) % W]
    return y


def global_filter_backward(dy, x, weight):
    N, C, H, W = x.shape
    dx, dweight = like(x, weight)
    kernel = _periodic_kernel(weight, H, W)
    dkernel = np.zeros(kernel.shape)
    for n, c, i, j, a, b in box(N, C, H, W, H, W):
        dx[n, c, (i - a) % H, (j - b) % W] += kernel[c, a, b] * dy[n, c, i, j]
        dkernel[c, a, b] += x[n, c, (i - a) % H, (j - b) % W] * dy[n, c, i, j]
    for u, v, a, b, cosine, sine in _waves(H, W):
        for c in range(C):
            dweight[c, u, v, 0] += dkernel[c, a, b] * cosine
            dweight[c, u, v, 1] -= dkernel[c, a, b] * sine
    return dx, dweight


def _shares(old, new):
    """(new position, old position, share) along one axis whose ends stay ends."""
    for i in range(new):
        place = i * (old - 1) / (new - 1) if new > 1 else 0.0
        for a in range(old):
            if (share := max(0.0, 1 - abs(place - a))) > 0:
                yield i, a, share


def spectrum_resize(weight, *, size):
    (C, h, w, _), (H, V) = weight.shape, pair(size)
    y = np.zeros((C, H, V, 2))
    for (u, a, s), (v, b, t) in ((row, column) for row in _shares(h, H) for column in _shares(w, V)):
        for c, e in box(C, 2):
            y[c, u, v, e] += s * t * weight[c, a, b, e]
    return y


def spectrum_resize_backward(dy, weight, *, size):
    (C, h, w, _), (H, V) = weight.shape, pair(size)
    (dweight,) = like(weight)
    for (u, a, s), (v, b, t) in ((row, column) for row in _shares(h, H) for column in _shares(w, V)):
        for c, e in box(C, 2):
            dweight[c, a, b, e] += s * t * dy[c, u, v, e]
    return (dweight,)


def interleave(a, b):
    N, D, H, W = a.shape
    y = np.zeros((N, 2 * D, H, W))
    for n, c, i, j in box(N, 2 * D, H, W):
        y[n, c, i, j] = (b if c % 2 else a)[n, c // 2, i, j]
    return y


def interleave_backward(dy, a, b):
    da, db = like(a, b)
    for n, c, i, j in box(*dy.shape):
        (db if c % 2 else da)[n, c // 2, i, j] = dy[n, c, i, j]
    return da, db


def _copied(old, new):
    """The old position of every new one: the largest whose left edge is not beyond it."""
    return [max(a for a in range(old) if a * new <= i * old) for i in range(new)]


def resize_nearest(x, *, size):
    (H, W), (h, w) = x.shape[-2:], pair(size)
    y = np.zeros((*x.shape[:-2], h, w))
    for i, a in enumerate(_copied(H, h)):
        for j, b in enumerate(_copied(W, w)):
            y[..., i, j] = x[..., a, b]
    return y


def resize_nearest_backward(dy, x, *, size):
    (H, W), (h, w) = x.shape[-2:], pair(size)
    (dx,) = like(x)
    for i, a in enumerate(_copied(H, h)):
        for j, b in enumerate(_copied(W, w)):
            dx[..., a, b] += dy[..., i, j]
    return (dx,)
