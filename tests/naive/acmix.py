"""Convolution, its two stages, local attention and ACmix as loops."""

import math

import numpy as np

from naive._indices import box, like, pair

# Shift: y[i, j] = x[i+s, j+t] inside, 0 outside.


def shift(x, *, offset):
    (s, t), (H, W) = pair(offset), x.shape[-2:]
    y = np.zeros(x.shape)
    for i, j in box(H, W):
        if 0 <= i + s < H and 0 <= j + t < W:
            y[..., i, j] = x[..., i + s, j + t]
    return y


def shift_backward(dy, x, *, offset):
    (s, t), (H, W) = pair(offset), x.shape[-2:]
    (dx,) = like(x)
    for i, j in box(H, W):
        if 0 <= i + s < H and 0 <= j + t < W:
            dx[..., i + s, j + t] += dy[..., i, j]
    return (dx,)


# Convolution: y[n, o, i, j] = bias[o] + Σ_c Σ_pq weight[o, c, p, q] x[n, c', i·s + p·d - pad, j·s + q·d - pad],
# x = 0 outside.


def _conv_reads(x, weight, stride, padding, dilation, groups):
    """(n, o, i, j, c within the group, p, q, c', a, b) for every product that the convolution adds up."""
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    (N, _, H, W), (O, per_group, kh, kw) = x.shape, weight.shape
    Ho, Wo = (H + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (W + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    for n, o, i, j in box(N, O, Ho, Wo):
        group = o // (O // groups)
        for c, p, q in box(per_group, kh, kw):
            a, b = i * sh + p * dh - ph, j * sw + q * dw - pw
            if 0 <= a < H and 0 <= b < W:
                yield (n, o, i, j), (o, c, p, q), (n, group * per_group + c, a, b)


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    (N, _, H, W), (O, _, kh, kw) = x.shape, weight.shape
    y = np.zeros((N, O, (H + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (W + 2 * pw - dw * (kw - 1) - 1) // sw + 1))
    for to, by, source in _conv_reads(x, weight, stride, padding, dilation, groups):
        y[to] += weight[by] * x[source]
    return y if bias is None else y + bias[:, None, None]


def conv2d_backward(dy, x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    dx, dweight, dbias = like(x, weight, bias)
    for to, by, source in _conv_reads(x, weight, stride, padding, dilation, groups):
        dx[source] += weight[by] * dy[to]
        dweight[by] += x[source] * dy[to]
    if bias is not None:
        for n, o, i, j in box(*dy.shape):
            dbias[o] += dy[n, o, i, j]
    return dx, dweight, dbias


def pointwise_conv(x, weight, bias=None):
    return conv2d(x, weight, bias)


def pointwise_conv_backward(dy, x, weight, bias=None):
    return conv2d_backward(dy, x, weight, bias)


# Stage I: maps[n, p*kw+q, :, i, j] = K_pq x[n, :, i, j] + bias[p*kw+q].


def tap_projection(x, weight, bias=None):
    (N, C, H, W), (O, _, kh, kw) = x.shape, weight.shape
    maps = np.zeros((N, kh * kw, O, H, W))
    for n, p, q, o, i, j in box(N, kh, kw, O, H, W):
        for c in range(C):
            maps[n, p * kw + q, o, i, j] += weight[o, c, p, q] * x[n, c, i, j]
        if bias is not None:
            maps[n, p * kw + q, o, i, j] += bias[p * kw + q, o]
    return maps


def tap_projection_backward(dy, x, weight, bias=None):
    (N, C, H, W), (O, _, kh, kw) = x.shape, weight.shape
    dx, dweight, dbias = like(x, weight, bias)
    for n, p, q, o, i, j in box(N, kh, kw, O, H, W):
        g = dy[n, p * kw + q, o, i, j]
        for c in range(C):
            dx[n, c, i, j] += weight[o, c, p, q] * g
            dweight[o, c, p, q] += x[n, c, i, j] * g
        if bias is not None:
            dbias[p * kw + q, o] += g
    return dx, dweight, dbias


# Stage II: y[n, o, i, j] = Σ_pq maps[n, p*kw+q, o, s·i + p - ⌊kh/2⌋, s·j + q - ⌊kw/2⌋], 0 outside.


def _stage_two_reads(shape, kernel_size, stride):
    (kh, kw), (sh, sw), (N, _, O, H, W) = pair(kernel_size), pair(stride), shape
    for n, o, i, j, p, q in box(N, O, math.ceil(H / sh), math.ceil(W / sw), kh, kw):
        a, b = sh * i + p - kh // 2, sw * j + q - kw // 2
        if 0 <= a < H and 0 <= b < W:
            yield (n, o, i, j), (n, p * kw + q, o, a, b)


def shift_sum(maps, *, kernel_size, stride=1):
    (sh, sw), (N, _, O, H, W) = pair(stride), maps.shape
    y = np.zeros((N, O, math.ceil(H / sh), math.ceil(W / sw)))
    for to, source in _stage_two_reads(maps.shape, kernel_size, stride):
        y[to] += maps[source]
    return y


def shift_sum_backward(dy, maps, *, kernel_size, stride=1):
    (dmaps,) = like(maps)
    for to, source in _stage_two_reads(maps.shape, kernel_size, stride):
        dmaps[source] += dy[to]
    return (dmaps,)


# The two stages in one: y[:, i, j] = Σ_pq (K_pq x + bias[m]) at (s·i + p - ⌊kh/2⌋, s·j + q - ⌊kw/2⌋);
# outside the map there is nothing, no bias either.


def conv_decomposition(x, weight, bias=None, *, stride=1):
    return shift_sum(tap_projection(x, weight, bias), kernel_size=weight.shape[2:], stride=stride)


def conv_decomposition_backward(dy, x, weight, bias=None, *, stride=1):
    (sh, sw), (_, C, H, W), kh, kw = pair(stride), x.shape, *weight.shape[2:]
    dx, dweight, dbias = like(x, weight, bias)
    for n, o, i, j, p, q in box(*dy.shape, kh, kw):
        a, b = sh * i + p - kh // 2, sw * j + q - kw // 2
        if 0 <= a < H and 0 <= b < W:
            for c in range(C):
                dx[n, c, a, b] += weight[o, c, p, q] * dy[n, o, i, j]
                dweight[o, c, p, q] += x[n, c, a, b] * dy[n, o, i, j]
            if bias is not None:
                dbias[p * kw + q, o] += dy[n, o, i, j]
    return dx, dweight, dbias


# Shifts as kernels: out[o, i, j] = Σ_m Σ_uv D[o, m, u, v] maps[⌊o·d/O⌋, m, s·i + u - c, s·j + v - c];
# without D, Σ_m Shift(maps[e, m], p-c, q-c).


def _shift_conv_reads(maps, outputs, k, stride):
    (sh, sw), (N, d, _, H, W) = pair(stride), maps.shape
    for n, o, i, j in box(N, outputs, math.ceil(H / sh), math.ceil(W / sw)):
        e = o // (outputs // d)
        for m, u, v in box(k * k, k, k):
            a, b = sh * i + u - k // 2, sw * j + v - k // 2
            if 0 <= a < H and 0 <= b < W:
                yield (n, o, i, j), (o, m, u, v), (n, e, m, a, b)


def shift_conv(maps, weight=None, bias=None, *, kernel_size, stride=1):
    (sh, sw), k, (N, d, _, H, W) = pair(stride), kernel_size, maps.shape
    outputs = d if weight is None else len(weight)
    y = np.zeros((N, outputs, math.ceil(H / sh), math.ceil(W / sw)))
    for to, by, source in _shift_conv_reads(maps, outputs, k, stride):
        _, m, u, v = by
        if weight is not None:
            y[to] += weight[by] * maps[source]
        elif (u, v) == divmod(m, k):
            y[to] += maps[source]
    return y if bias is None else y + bias[:, None, None]


def shift_conv_backward(dy, maps, weight=None, bias=None, *, kernel_size, stride=1):
    dmaps, dweight, dbias = like(maps, weight, bias)
    for to, by, source in _shift_conv_reads(maps, dy.shape[1], kernel_size, stride):
        _, m, u, v = by
        if weight is not None:
            dmaps[source] += weight[by] * dy[to]
            dweight[by] += maps[source] * dy[to]
        elif (u, v) == divmod(m, kernel_size):
            dmaps[source] += dy[to]
    if bias is not None:
        for n, o, i, j in box(*dy.shape):
            dbias[o] += dy[n, o, i, j]
    return dmaps, dweight, dbias


# Softmax of each row, and its Jacobian a_m (δ_ml - a_l).


def softmax(x, *, axis=-1):
    a = np.zeros(x.shape)
    for index in box(*np.delete(x.shape, axis)):
        row = list(index)
        row.insert(axis % x.ndim, slice(None))
        values = x[tuple(row)]
        exponentials = [math.exp(value - max(values)) for value in values]
        a[tuple(row)] = [value / math.fsum(exponentials) for value in exponentials]
    return a


def softmax_backward(dy, x, *, axis=-1):
    a, (dx,) = softmax(x, axis=axis), like(x)
    for index in box(*np.delete(x.shape, axis)):
        row = list(index)
        row.insert(axis % x.ndim, slice(None))
        p, g = a[tuple(row)], dy[tuple(row)]
        for m, l in box(len(p), len(p)):
            dx[tuple(row)][l] += g[m] * p[m] * ((m == l) - p[l])
    return (dx,)


# Reflection: ρ(t) = -t for t < 0, 2(n-1) - t for t >= n, else t.


def rho(t, n):
    return -t if t < 0 else 2 * (n - 1) - t if t >= n else t


def reflection_pad(x, *, padding):
    (ph, pw), (H, W) = pair(padding), x.shape[-2:]
    y = np.zeros((*x.shape[:-2], H + 2 * ph, W + 2 * pw))
    for i, j in box(*y.shape[-2:]):
        y[..., i, j] = x[..., rho(i - ph, H), rho(j - pw, W)]
    return y


def reflection_pad_backward(dy, x, *, padding):
    (ph, pw), (H, W), (dx,) = pair(padding), x.shape[-2:], like(x)
    for i, j in box(*dy.shape[-2:]):
        dx[..., rho(i - ph, H), rho(j - pw, W)] += dy[..., i, j]
    return (dx,)


# Unfold: U[u*kw+v, i, j] = x[s·i + u, s·j + v].


def unfold(x, *, kernel_size, stride=1):
    (kh, kw), (sh, sw), (H, W) = pair(kernel_size), pair(stride), x.shape[-2:]
    U = np.zeros((*x.shape[:-2], kh * kw, (H - kh) // sh + 1, (W - kw) // sw + 1))
    for u, v, i, j in box(kh, kw, *U.shape[-2:]):
        U[..., u * kw + v, i, j] = x[..., sh * i + u, sw * j + v]
    return U


def unfold_backward(dy, x, *, kernel_size, stride=1):
    (kh, kw), (sh, sw), (dx,) = pair(kernel_size), pair(stride), like(x)
    for u, v, i, j in box(kh, kw, *dy.shape[-2:]):
        dx[..., sh * i + u, sw * j + v] += dy[..., u * kw + v, i, j]
    return (dx,)


# Position: pe[e, i, j] = weight[e, 0] (-1 + 2j/(W-1)) + weight[e, 1] (-1 + 2i/(H-1)) + bias[e];
# an axis of length 1 is at -1.


def coordinate(t, n):
    return -1 if n == 1 else -1 + 2 * t / (n - 1)


def positional_term(weight, bias=None, *, size):
    H, W = pair(size)
    pe = np.zeros((len(weight), H, W))
    for e, i, j in box(*pe.shape):
        pe[e, i, j] = weight[e, 0, 0, 0] * coordinate(j, W) + weight[e, 1, 0, 0] * coordinate(i, H)
        pe[e, i, j] += 0 if bias is None else bias[e]
    return pe


def positional_term_backward(dy, weight, bias=None, *, size):
    H, W = pair(size)
    dweight, dbias = like(weight, bias)
    for e, i, j in box(*dy.shape):
        dweight[e, 0, 0, 0] += dy[e, i, j] * coordinate(j, W)
        dweight[e, 1, 0, 0] += dy[e, i, j] * coordinate(i, H)
        if bias is not None:
            dbias[e] += dy[e, i, j]
    return dweight, dbias


# Local attention, one query at a time: the list of neighbours it sees, its scores, their softmax, the weighted values.


def _neighbours(i, j, size, kernel_size, border):
    """(a, b) or None (a zero) for every tap that takes part in the softmax of the query at pixel (i, j)."""
    (H, W), r = size, kernel_size // 2
    for u, v in box(kernel_size, kernel_size):
        a, b = i + u - r, j + v - r
        inside = 0 <= a < H and 0 <= b < W
        if border == "reflect":
            yield rho(a, H), rho(b, W)
        elif inside:
            yield a, b
        elif border == "zero":
            yield None


def _scores(q, k, pe, n, h, i, j, near, d, scale):
    """E[m][e] = k[e at tap m] + pe[e, i, j] - pe[e at tap m] and the scores S[m] = scale · Σ_e q[e, i, j] E[m][e]."""
    E = []
    for place in near:
        row = []
        for e in range(d):
            key = 0.0 if place is None else k[(n, h * d + e, *place)]
            there = 0.0 if pe is None or place is None else pe[(e, *place)]
            row.append(key + (0.0 if pe is None else pe[e, i, j] - there))
        E.append(row)
    return E, [scale * sum(q[n, h * d + e, i, j] * row[e] for e in range(d)) for row in E]


def _weights(scores):
    top = max(scores)
    exponentials = [math.exp(score - top) for score in scores]
    return [value / math.fsum(exponentials) for value in exponentials]


def local_attention(q, k, v, pe=None, *, heads, kernel_size=7, stride=1, border="reflect", scale=None):
    (N, C, H, W), (sh, sw), d = q.shape, pair(stride), q.shape[1] // heads
    scale = max(d, 1) ** -0.5 if scale is None else scale
    o = np.zeros((N, C, math.ceil(H / sh), math.ceil(W / sw)))
    for n, h, i, j in box(N, heads, *o.shape[2:]):
        near = list(_neighbours(sh * i, sw * j, (H, W), kernel_size, border))
        _, scores = _scores(q, k, pe, n, h, sh * i, sw * j, near, d, scale)
        for weight, place in zip(_weights(scores), near, strict=True):
            for e in range(d):
                o[n, h * d + e, i, j] += 0.0 if place is None else weight * v[(n, h * d + e, *place)]
    return o


def local_attention_backward(dy, q, k, v, pe=None, *, heads, kernel_size=7, stride=1, border="reflect", scale=None):
    (N, _, H, W), (sh, sw), d = q.shape, pair(stride), q.shape[1] // heads
    scale = max(d, 1) ** -0.5 if scale is None else scale
    dq, dk, dv, dpe = like(q, k, v, pe)
    for n, h, i, j in box(N, heads, *dy.shape[2:]):
        y, x = sh * i, sw * j
        near = list(_neighbours(y, x, (H, W), kernel_size, border))
        E, scores = _scores(q, k, pe, n, h, y, x, near, d, scale)
        a = _weights(scores)
        do = [dy[n, h * d + e, i, j] for e in range(d)]
        da = [0.0 if p is None else sum(do[e] * v[(n, h * d + e, *p)] for e in range(d)) for p in near]
        mean = sum(weight * g for weight, g in zip(a, da, strict=True))
        for m, place in enumerate(near):
            dscore = a[m] * (da[m] - mean)
            for e in range(d):
                dq[n, h * d + e, y, x] += scale * dscore * E[m][e]
                dE = scale * dscore * q[n, h * d + e, y, x]
                if pe is not None:
                    dpe[e, y, x] += dE
                if place is not None:
                    dk[(n, h * d + e, *place)] += dE
                    dv[(n, h * d + e, *place)] += a[m] * do[e]
                    if pe is not None:
                        dpe[(e, *place)] -= dE
    return dq, dk, dv, dpe


# Convolution path: F[e, m] = Σ_t fc[m, t] P[t, e], t = n for head n of q, heads + n of k, 2·heads + n of v;
# then the shifts as kernels, in d groups.


def _mixed(q, k, v, fc_weight, fc_bias, heads):
    N, C, H, W = q.shape
    d, taps = C // heads, len(fc_weight)
    F = np.zeros((N, d, taps, H, W))
    for n, e, m, i, j in box(*F.shape):
        F[n, e, m, i, j] = 0.0 if fc_bias is None else fc_bias[m]
        for part, x in enumerate((q, k, v)):
            for h in range(heads):
                F[n, e, m, i, j] += fc_weight[m, part * heads + h, 0, 0] * x[n, h * d + e, i, j]
    return F


def _channel(o, C, heads, channel_order):
    """Where output channel o = e*heads + n of the grouped convolution goes."""
    e, n = divmod(o, heads)
    return o if channel_order == "official" else n * (C // heads) + e


def conv_path(
    q, k, v, fc_weight, dep_conv_weight, fc_bias=None, dep_conv_bias=None, *, heads, stride=1, channel_order="official"
):
    F = _mixed(q, k, v, fc_weight, fc_bias, heads)
    c = shift_conv(F, dep_conv_weight, dep_conv_bias, kernel_size=dep_conv_weight.shape[-1], stride=stride)
    y = np.zeros(c.shape)
    for o in range(c.shape[1]):
        y[:, _channel(o, c.shape[1], heads, channel_order)] = c[:, o]
    return y


def conv_path_backward(
    dy,
    q,
    k,
    v,
    fc_weight,
    dep_conv_weight,
    fc_bias=None,
    dep_conv_bias=None,
    *,
    heads,
    stride=1,
    channel_order="official",
):
    C = q.shape[1]
    d, size = C // heads, dep_conv_weight.shape[-1]
    F = _mixed(q, k, v, fc_weight, fc_bias, heads)
    dc = np.zeros(dy.shape)
    for o in range(C):
        dc[:, o] = dy[:, _channel(o, C, heads, channel_order)]
    dF, dD, dD_bias = shift_conv_backward(dc, F, dep_conv_weight, dep_conv_bias, kernel_size=size, stride=stride)
    dq, dk, dv, dfc, dfc_bias = like(q, k, v, fc_weight, fc_bias)
    for n, e, m, i, j in box(*dF.shape):
        g = dF[n, e, m, i, j]
        for part, (x, dx) in enumerate(((q, dq), (k, dk), (v, dv))):
            for h in range(heads):
                dx[n, h * d + e, i, j] += fc_weight[m, part * heads + h, 0, 0] * g
                dfc[m, part * heads + h, 0, 0] += x[n, h * d + e, i, j] * g
        if fc_bias is not None:
            dfc_bias[m] += g
    return dq, dk, dv, dfc, dD, dfc_bias, dD_bias


# The block: y = rate1 · attention + rate2 · convolution, both of the same three projections.


def _block(x, w1, b1, w2, b2, w3, b3, conv_p_weight, conv_p_bias):
    q, k, v = (conv2d(x, w, b) for w, b in ((w1, b1), (w2, b2), (w3, b3)))
    pe = None if conv_p_weight is None else positional_term(conv_p_weight, conv_p_bias, size=x.shape[2:])
    return q, k, v, pe


def acmix(
    x,
    rate1,
    rate2,
    w1,
    b1,
    w2,
    b2,
    w3,
    b3,
    fc_weight,
    dep_conv_weight,
    conv_p_weight=None,
    conv_p_bias=None,
    fc_bias=None,
    dep_conv_bias=None,
    *,
    heads,
    kernel_size=7,
    stride=1,
    border="reflect",
    channel_order="official",
):
    q, k, v, pe = _block(x, w1, b1, w2, b2, w3, b3, conv_p_weight, conv_p_bias)
    attention = local_attention(q, k, v, pe, heads=heads, kernel_size=kernel_size, stride=stride, border=border)
    path = {"heads": heads, "stride": stride, "channel_order": channel_order}
    return rate1[0] * attention + rate2[0] * conv_path(
        q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, **path
    )


def acmix_backward(
    dy,
    x,
    rate1,
    rate2,
    w1,
    b1,
    w2,
    b2,
    w3,
    b3,
    fc_weight,
    dep_conv_weight,
    conv_p_weight=None,
    conv_p_bias=None,
    fc_bias=None,
    dep_conv_bias=None,
    *,
    heads,
    kernel_size=7,
    stride=1,
    border="reflect",
    channel_order="official",
):
    q, k, v, pe = _block(x, w1, b1, w2, b2, w3, b3, conv_p_weight, conv_p_bias)
    attend = {"heads": heads, "kernel_size": kernel_size, "stride": stride, "border": border}
    path = {"heads": heads, "stride": stride, "channel_order": channel_order}
    convolution = (q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias)
    drate1 = np.array([(dy * local_attention(q, k, v, pe, **attend)).sum()])
    drate2 = np.array([(dy * conv_path(*convolution, **path)).sum()])
    *datt, dpe = local_attention_backward(rate1[0] * dy, q, k, v, pe, **attend)
    *dconv, dfc, dD, dfc_bias, dD_bias = conv_path_backward(rate2[0] * dy, *convolution, **path)
    dp = (None, None)
    if conv_p_weight is not None:
        dp = positional_term_backward(dpe, conv_p_weight, conv_p_bias, size=x.shape[2:])
    dx, projections = np.zeros(x.shape), []
    for a, c, w, b in zip(datt, dconv, (w1, w2, w3), (b1, b2, b3), strict=True):
        part, dw, db = conv2d_backward(a + c, x, w, b)
        dx += part
        projections += [dw, db]
    return dx, drate1, drate2, *projections, dfc, dD, *dp, dfc_bias, dD_bias
