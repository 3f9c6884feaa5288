"""Sampling between pixels, deformable and separable convolution, instance and group normalisation, one number at a time."""

import math

import numpy as np

from naive._indices import box, like, pair


def _hat(u, r):
    """Weight of pixel r for coordinate u."""
    return max(0.0, 1.0 - abs(u - r))


def _neighbours(y, x, H, W):
    """(row, column, weight, slope along y, slope along x) of the pixels that a point reads; slopes to the right."""
    for r in range(math.floor(y), math.floor(y) + 2):
        for q in range(math.floor(x), math.floor(x) + 2):
            if 0 <= r < H and 0 <= q < W:
                up, across = (-1 if r == math.floor(y) else 1), (-1 if q == math.floor(x) else 1)
                yield r, q, _hat(y, r) * _hat(x, q), up * _hat(x, q), across * _hat(y, r)


def bilinear_sample(x, ys, xs):
    N, C, H, W = x.shape
    s = np.zeros((N, C, *ys.shape[1:]))
    for n, *point in box(*ys.shape):
        for r, q, weight, _, _ in _neighbours(ys[(n, *point)], xs[(n, *point)], H, W):
            for c in range(C):
                s[(n, c, *point)] += weight * x[n, c, r, q]
    return s


def bilinear_sample_backward(ds, x, ys, xs):
    dx, dys, dxs = like(x, ys, xs)
    C, H, W = x.shape[1:]
    for n, *point in box(*ys.shape):
        for r, q, weight, along_y, along_x in _neighbours(ys[(n, *point)], xs[(n, *point)], H, W):
            for c in range(C):
                g = ds[(n, c, *point)]
                dx[n, c, r, q] += weight * g
                dys[(n, *point)] += along_y * x[n, c, r, q] * g
                dxs[(n, *point)] += along_x * x[n, c, r, q] * g
    return dx, dys, dxs


def _pixel(u, length, align_corners):
    """Pixel coordinate of the normalised one, and its slope."""
    slope = (length - 1) / 2 if align_corners else length / 2
    return slope * u + (length - 1) / 2, slope


def grid_sample(x, grid, *, align_corners=False):
    N, C, H, W = x.shape
    y = np.zeros((N, C, *grid.shape[1:3]))
    for n, i, j in box(*grid.shape[:3]):
        (b, _), (a, _) = _pixel(grid[n, i, j, 0], W, align_corners), _pixel(grid[n, i, j, 1], H, align_corners)
        for r, q, weight, _, _ in _neighbours(a, b, H, W):
            for c in range(C):
                y[n, c, i, j] += weight * x[n, c, r, q]
    return y


def grid_sample_backward(dy, x, grid, *, align_corners=False):
    dx, dgrid = like(x, grid)
    C, H, W = x.shape[1:]
    for n, i, j in box(*grid.shape[:3]):
        (b, wide), (a, high) = _pixel(grid[n, i, j, 0], W, align_corners), _pixel(grid[n, i, j, 1], H, align_corners)
        for r, q, weight, along_y, along_x in _neighbours(a, b, H, W):
            for c in range(C):
                dx[n, c, r, q] += weight * dy[n, c, i, j]
                dgrid[n, i, j, 0] += wide * along_x * x[n, c, r, q] * dy[n, c, i, j]
                dgrid[n, i, j, 1] += high * along_y * x[n, c, r, q] * dy[n, c, i, j]
    return dx, dgrid


def _reads(x, offset, weight, mask, config, shape):
    """(n, o, c', c, p, q, i, j, mask channel, dy channel, y, x) of every product of a deformable convolution."""
    (sh, sw), (ph, pw), (dh, dw) = (pair(config.get(k, v)) for k, v in (("stride", 1), ("padding", 0), ("dilation", 1)))
    G, Go = config.get("groups", 1), config.get("offset_groups", 1)
    N, O, Ho, Wo = shape
    C, (per_group, kh, kw) = x.shape[1], weight.shape[1:]
    for n, o, inner, p, q, i, j in box(N, O, per_group, kh, kw, Ho, Wo):
        c = o // (O // G) * per_group + inner
        m = c // (C // Go) * kh * kw + p * kw + q
        y = i * sh - ph + p * dh + offset[n, 2 * m, i, j]
        across = j * sw - pw + q * dw + offset[n, 2 * m + 1, i, j]
        yield n, o, inner, c, p, q, i, j, m, y, across


def deform_conv2d(x, offset, weight, mask=None, bias=None, **config):
    (H, W), (Ho, Wo) = x.shape[2:], offset.shape[2:]
    out = np.zeros((len(x), len(weight), Ho, Wo))
    if bias is not None:
        out += bias[:, None, None]
    for n, o, inner, c, p, q, i, j, m, y, across in _reads(x, offset, weight, mask, config, out.shape):
        factor = 1 if mask is None else mask[n, m, i, j]
        for a, b, share, _, _ in _neighbours(y, across, H, W):
            out[n, o, i, j] += weight[o, inner, p, q] * factor * share * x[n, c, a, b]
    return out


def deform_conv2d_backward(dy, x, offset, weight, mask=None, bias=None, **config):
    grads = like(x, offset, weight, mask, bias)
    dx, doffset, dweight, dmask, dbias = grads
    H, W = x.shape[2:]
    if bias is not None:
        for n, o, i, j in box(*dy.shape):
            dbias[o] += dy[n, o, i, j]
    for n, o, inner, c, p, q, i, j, m, y, across in _reads(x, offset, weight, mask, config, dy.shape):
        factor = 1 if mask is None else mask[n, m, i, j]
        smooth = not (config.get("kink") == "zero_outside" and (y <= -1 or across <= -1))
        through = dy[n, o, i, j] * weight[o, inner, p, q]
        for a, b, share, along_y, along_x in _neighbours(y, across, H, W):
            dweight[o, inner, p, q] += dy[n, o, i, j] * factor * share * x[n, c, a, b]
            dx[n, c, a, b] += through * factor * share
            if smooth:
                doffset[n, 2 * m, i, j] += through * factor * along_y * x[n, c, a, b]
                doffset[n, 2 * m + 1, i, j] += through * factor * along_x * x[n, c, a, b]
                if mask is not None:
                    dmask[n, m, i, j] += through * share * x[n, c, a, b]
    return grads


def _depthwise_size(x, depthwise_weight, padding):
    (H, W), (kh, kw) = x.shape[2:], depthwise_weight.shape[2:]
    ph, pw = (kh // 2, kw // 2) if padding is None else pair(padding)
    return ph, pw, H + 2 * ph - kh + 1, W + 2 * pw - kw + 1


def _filtered(x, depthwise_weight, depthwise_bias, padding):
    (N, C, H, W), (kh, kw) = x.shape, depthwise_weight.shape[2:]
    ph, pw, Ho, Wo = _depthwise_size(x, depthwise_weight, padding)
    u = np.zeros((N, C, Ho, Wo))
    for n, c, i, j in box(N, C, Ho, Wo):
        u[n, c, i, j] = 0 if depthwise_bias is None else depthwise_bias[c]
        for p, q in box(kh, kw):
            if 0 <= i + p - ph < H and 0 <= j + q - pw < W:
                u[n, c, i, j] += depthwise_weight[c, 0, p, q] * x[n, c, i + p - ph, j + q - pw]
    return u


def depthwise_separable_conv(x, depthwise_weight, pointwise_weight, depthwise_bias=None, pointwise_bias=None, *, padding=None):
    u = _filtered(x, depthwise_weight, depthwise_bias, padding)
    y = np.zeros((len(x), len(pointwise_weight), *u.shape[2:]))
    for n, o, i, j in box(*y.shape):
        y[n, o, i, j] = 0 if pointwise_bias is None else pointwise_bias[o]
        for c in range(x.shape[1]):
            y[n, o, i, j] += pointwise_weight[o, c, 0, 0] * u[n, c, i, j]
    return y


def depthwise_separable_conv_backward(dy, x, depthwise_weight, pointwise_weight, depthwise_bias=None, pointwise_bias=None, *,
                                      padding=None):
    u = _filtered(x, depthwise_weight, depthwise_bias, padding)
    grads = like(x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias)
    dx, ddepthwise, dpointwise, ddepthwise_bias, dpointwise_bias = grads
    ph, pw, _, _ = _depthwise_size(x, depthwise_weight, padding)
    for n, o, i, j in box(*dy.shape):
        g = dy[n, o, i, j]
        if pointwise_bias is not None:
            dpointwise_bias[o] += g
        for c in range(x.shape[1]):
            dpointwise[o, c, 0, 0] += g * u[n, c, i, j]
            du = g * pointwise_weight[o, c, 0, 0]
            if depthwise_bias is not None:
                ddepthwise_bias[c] += du
            for p, q in box(*depthwise_weight.shape[2:]):
                a, b = i + p - ph, j + q - pw
                if 0 <= a < x.shape[2] and 0 <= b < x.shape[3]:
                    ddepthwise[c, 0, p, q] += du * x[n, c, a, b]
                    dx[n, c, a, b] += du * depthwise_weight[c, 0, p, q]
    return grads


# x̂ of a list of numbers is u/√(Σu²/n + eps) with u the distance from the mean; the quotient rule, entry by entry.


def _standardised(values, eps):
    n = len(values)
    mean = math.fsum(values) / n
    distances = [v - mean for v in values]
    deviation = math.sqrt(math.fsum(u * u for u in distances) / n + eps)
    return distances, deviation


def group_norm(x, weight=None, bias=None, *, groups=1, eps=1e-5):
    y = np.zeros(x.shape)
    N, C, H, W = x.shape
    per_group = C // max(1, groups)
    for n, g in box(N, groups):
        members = [(n, g * per_group + c, i, j) for c, i, j in box(per_group, H, W)]
        distances, deviation = _standardised([x[m] for m in members], eps)
        for m, u in zip(members, distances, strict=True):
            y[m] = (1 if weight is None else weight[m[1]]) * u / deviation + (0 if bias is None else bias[m[1]])
    return y


def group_norm_backward(dy, x, weight=None, bias=None, *, groups=1, eps=1e-5):
    dx, dweight, dbias = like(x, weight, bias)
    N, C, H, W = x.shape
    per_group = C // max(1, groups)
    for n, g in box(N, groups):
        members = [(n, g * per_group + c, i, j) for c, i, j in box(per_group, H, W)]
        distances, deviation = _standardised([x[m] for m in members], eps)
        upstream = [dy[m] * (1 if weight is None else weight[m[1]]) for m in members]
        size = len(members)
        through_mean = math.fsum(upstream) / (size * deviation)
        through_deviation = math.fsum(v * u for v, u in zip(upstream, distances, strict=True)) / (size * deviation**3)
        for m, v, u in zip(members, upstream, distances, strict=True):
            dx[m] = v / deviation - through_mean - u * through_deviation
            if weight is not None:
                dweight[m[1]] += dy[m] * u / deviation
            if bias is not None:
                dbias[m[1]] += dy[m]
    return dx, dweight, dbias


def instance_norm(x, weight=None, bias=None, *, eps=1e-5):
    return group_norm(x, weight, bias, groups=x.shape[1], eps=eps)


def instance_norm_backward(dy, x, weight=None, bias=None, *, eps=1e-5):
    return group_norm_backward(dy, x, weight, bias, groups=x.shape[1], eps=eps)
