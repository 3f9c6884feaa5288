"""Pooling, window by window."""

import numpy as np

from naive._indices import box, like, pair


def _windows(shape, kernel_size, stride, padding, ceil_mode):
    """For both directions, the first and last-but-one pixel of every window, outside the map too."""
    kernel, padding = pair(kernel_size), pair(padding)
    stride = kernel if stride is None else pair(stride)
    for length, k, s, p in zip(shape[2:], kernel, stride, padding, strict=True):
        starts, start = [], -p
        while start + k <= length + p:      # inside the padded map
            starts.append(start)
            start += s
        # one more reaches beyond it; a window that ends with the padding leaves nothing over
        if ceil_mode and start < length and (start - s + k < length + p):
            starts.append(start)
        yield [(start, start + k) for start in starts]


def _pixels(x, rows, columns):
    """The pixels (a, b) of the map in one window, row by row."""
    return [(a, b) for a in range(*rows) for b in range(*columns) if 0 <= a < x.shape[2] and 0 <= b < x.shape[3]]


def _largest(x, n, c, rows, columns):
    """The first pixel with the largest number."""
    best = None
    for a, b in _pixels(x, rows, columns):
        if best is None or x[n, c, a, b] > x[n, c, best[0], best[1]]:
            best = a, b
    return best


def max_pool2d(x, *, kernel_size, stride=None, padding=0, ceil_mode=False):
    rows, columns = _windows(x.shape, kernel_size, stride, padding, ceil_mode)
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for n, c, i, j in box(*y.shape):
        a, b = _largest(x, n, c, rows[i], columns[j])
        y[n, c, i, j] = x[n, c, a, b]
    return y


def max_pool2d_backward(dy, x, *, kernel_size, stride=None, padding=0, ceil_mode=False):
    rows, columns = _windows(x.shape, kernel_size, stride, padding, ceil_mode)
    (dx,) = like(x)
    for n, c, i, j in box(*dy.shape):
        a, b = _largest(x, n, c, rows[i], columns[j])
        dx[n, c, a, b] += dy[n, c, i, j]
    return (dx,)


def _count(x, rows, columns, padding, count_include_pad):
    if not count_include_pad:
        return len(_pixels(x, rows, columns))
    (ph, pw), (H, W) = pair(padding), x.shape[2:]
    return sum(-ph <= a < H + ph and -pw <= b < W + pw for a in range(*rows) for b in range(*columns))


def avg_pool2d(x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    rows, columns = _windows(x.shape, kernel_size, stride, padding, ceil_mode)
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for n, c, i, j in box(*y.shape):
        total = sum(x[n, c, a, b] for a, b in _pixels(x, rows[i], columns[j]))
        y[n, c, i, j] = total / _count(x, rows[i], columns[j], padding, count_include_pad)
    return y


def avg_pool2d_backward(dy, x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    rows, columns = _windows(x.shape, kernel_size, stride, padding, ceil_mode)
    (dx,) = like(x)
    for n, c, i, j in box(*dy.shape):
        for a, b in _pixels(x, rows[i], columns[j]):
            dx[n, c, a, b] += dy[n, c, i, j] / _count(x, rows[i], columns[j], padding, count_include_pad)
    return (dx,)


def global_avg_pool(x):
    N, C, H, W = x.shape
    y = np.zeros((N, C))
    for n, c, a, b in box(N, C, H, W):
        y[n, c] += x[n, c, a, b] / (H * W)
    return y


def global_avg_pool_backward(dy, x):
    N, C, H, W = x.shape
    (dx,) = like(x)
    for n, c, a, b in box(N, C, H, W):
        dx[n, c, a, b] = dy[n, c] / (H * W)
    return (dx,)
