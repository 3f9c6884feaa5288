"""Sampling between pixels and deformable convolution, for the proofs: the operators as functions, offsets, and sums spelled by index.

Offsets and positions are drawn in quarters of a pixel, so that every product with an integer stays exact in float64; on fractions and
symbols they are fractions. For each drawn offset a deformable convolution is a polynomial in the map, the weight and the mask.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from pyhybrid.ops import bilinear_sample, deform_conv2d
from pyhybrid.proofs._draw import Draw, World
from pyhybrid.proofs._notation import Array, Pair

__all__ = ["SOURCE", "Deform", "S", "by_pixels", "by_samples", "constant", "deformed", "numbers", "places", "plane", "quarters", "world"]

SOURCE = "Deformable convolution, arXiv 1703.06211, eqs. (1)-(4); with a mask arXiv 1811.11168, eq. (1)"


def numbers(draw: Draw, whole: Array, denominator: int = 1) -> Array:
    """whole / denominator: as float64, or as fractions where the other arrays are exact too."""
    if not draw.exact:
        return np.asarray(whole / denominator)
    array = np.empty(whole.shape, object)
    array.reshape(-1)[:] = [Fraction(int(n), denominator) for n in whole.flat]
    return array


def quarters(draw: Draw, *shape: int, low: float = -2, high: float = 2) -> Array:
    """Numbers from low to high in steps of 1/4."""
    return numbers(draw, draw.random.integers(int(4 * low), int(4 * high), shape, endpoint=True), 4)


def constant(draw: Draw, moved: tuple[float, float], N: int, taps: int, size: Pair) -> Array:
    """An offset (N, 2·taps, Ho, Wo) that moves every tap by (dy, dx), given in quarters at most."""
    pair = numbers(draw, np.array([int(4 * d) for d in moved]), 4)
    return np.ascontiguousarray(np.broadcast_to(np.tile(pair, taps)[:, None, None], (N, 2 * taps, *size)))


def size_of(H: int, W: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """Ho, Wo of a convolution."""
    Ho, Wo = ((n + 2 * p - d * (k - 1) - 1) // s + 1
              for n, k, s, p, d in zip((H, W), kernel, stride, padding, dilation, strict=True))
    return Ho, Wo


def world(draw: Draw, *, N: int, C: int, O: int, H: int, W: int, kernel: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0),
          dilation: Pair = (1, 1), groups: int = 1, offset_groups: int = 1, step: int = 4) -> World:
    """x, K, bias, mask m and offset D; D in multiples of 1/step."""
    Ho, Wo = size_of(H, W, kernel, stride, padding, dilation)
    points = offset_groups * kernel[0] * kernel[1]
    D = numbers(draw, draw.random.integers(-2 * step, 2 * step, (N, 2 * points, Ho, Wo), endpoint=True), step)
    config: dict[str, Any] = dict(stride=stride, padding=padding, dilation=dilation, groups=groups, offset_groups=offset_groups)
    return World(x=draw("x", N, C, H, W), K=draw("K", O, C // groups, *kernel), b=draw("b", O), m=draw("m", N, points, Ho, Wo), D=D,
                 none=numbers(draw, np.zeros((N, 2 * points, Ho, Wo), int)), one=numbers(draw, np.ones((N, points, Ho, Wo), int)),
                 config=config)


def Deform(x: Array, D: Array, K: Array, m: Array | None = None, b: Array | None = None, **config: Any) -> Array:
    """deform_conv2d(x, D, K, m, b, …)."""
    return deform_conv2d.forward(x, D, K, m, b, **config)[0]


def deformed(w: World) -> Array:
    """deform_conv2d(x, D, K, m) with the settings of the world."""
    return Deform(w.x, w.D, w.K, w.m, **w.config)


def S(x: Array, ys: Array, xs: Array) -> Array:
    """bilinear_sample(x, ys, xs)."""
    return bilinear_sample.forward(x, ys, xs)[0]


def plane(x: Array, row: int, column: int) -> Array:
    """Z[row, column]: a pixel of x (N, C, H, W) in all samples and channels, 0 outside the map."""
    H, W = x.shape[2:]
    inside = 0 <= row < H and 0 <= column < W
    return x[:, :, row, column] if inside else np.zeros_like(x[:, :, 0, 0])


def places(w: World, D: Array) -> tuple[Array, Array]:
    """ys, xs (N, K, Ho, Wo): i·s - p + k·d + D for the taps of one offset group, row by row."""
    (kh, kw), (Ho, Wo) = w.K.shape[2:], D.shape[2:]
    (sh, sw), (ph, pw), (dh, dw) = w.config["stride"], w.config["padding"], w.config["dilation"]
    k, i, j = np.ogrid[: kh * kw, :Ho, :Wo]
    moved = D.reshape(len(D), kh * kw, 2, Ho, Wo)
    return i * sh - ph + k // kw * dh + moved[:, :, 0], j * sw - pw + k % kw * dw + moved[:, :, 1]


def by_samples(w: World, D: Array, m: Array) -> Array:
    """Σ_ck K[o, c, k]·m[k]·S(x[c]; y_k, x_k), one offset group, any groups."""
    samples = S(w.x, *places(w, D)) * m[:, None]                                           # (N, C, K, Ho, Wo)
    G, O = w.config["groups"], len(w.K)
    parts = samples.reshape(len(w.x), G, -1, *samples.shape[2:])
    y = np.einsum("gock,ngckij->ngoij", w.K.reshape(G, O // G, w.K.shape[1], -1), parts)
    return y.reshape(len(w.x), O, *D.shape[2:])


def by_pixels(w: World, D: Array, m: Array) -> Array:
    """Σ_ck K[o, c, k]·m[k]·Z[c, y_k, x_k] for whole offsets, literally, one offset group: no interpolation."""
    ys, xs = places(w, D)
    G, O, (N, points, Ho, Wo) = w.config["groups"], len(w.K), ys.shape
    K = w.K.reshape(G, O // G, -1, points)
    y = np.zeros((N, G, O // G, Ho, Wo), w.x.dtype)
    for n, k, i, j in np.ndindex(ys.shape):
        pixel = plane(w.x[n : n + 1], int(ys[n, k, i, j]), int(xs[n, k, i, j])).reshape(G, -1, 1)
        y[n, :, :, i, j] += (K[:, :, :, k] @ pixel)[:, :, 0] * m[n, k, i, j]
    return y.reshape(N, O, Ho, Wo)
