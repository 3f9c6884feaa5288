"""A constant fractional offset is an ordinary convolution whose kernel is the interpolated one, a row and a column larger."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.proofs import _deformable
from pyhybrid.proofs._deformable import SOURCE, Deform, S, by_samples, constant, places, plane
from pyhybrid.proofs._draw import Draw, World, changed
from pyhybrid.proofs._notation import Array, Conv
from pyhybrid.proofs._proof import Counterexample, Proof, Step


def world(draw: Draw, *, moved: tuple[float, float], **sizes: Any) -> World:
    w = _deformable.world(draw, **sizes)
    varied = w.D
    w.D = constant(draw, moved, len(w.x), w.K.shape[2] * w.K.shape[3], w.D.shape[2:])
    w.varied = np.where(np.arange(w.D.shape[3]) == 0, varied, w.D)                         # other offsets in the first column
    a, b = w.D[0, :2, 0, 0]
    w.B = np.array([[(1 - a) * (1 - b), (1 - a) * b], [a * (1 - b), a * b]])
    return w


def plain(w: World) -> Array:
    return Deform(w.x, w.D, w.K, **w.config)


def interpolated(w: World) -> Array:
    """K * B (O, C, kh+1, kw+1): (K * B)_uv = Σ_rs B_rs K_{u-r, v-s}."""
    O, C, kh, kw = w.K.shape
    kernel = np.zeros((O, C, kh + 1, kw + 1), w.K.dtype)
    for r, s in np.ndindex(2, 2):
        kernel[:, :, r : r + kh, s : s + kw] += w.B[r, s] * w.K
    return kernel


def four_neighbours(w: World) -> Array:
    """Σ_pq K_pq Σ_rs B_rs Z[i+p-ph+r, j+q-pw+s]."""
    return literal(w, [(p, q, r, s, w.K[:, :, p, q] * w.B[r, s]) for p, q, r, s in np.ndindex(*w.K.shape[2:], 2, 2)])


def larger_kernel(w: World) -> Array:
    """Σ_uv (K * B)_uv Z[i+u-ph, j+v-pw]."""
    kernel = interpolated(w)
    return literal(w, [(u, v, 0, 0, kernel[:, :, u, v]) for u, v in np.ndindex(*kernel.shape[2:])])


def literal(w: World, terms: list[tuple[int, int, int, int, Array]]) -> Array:
    ph, pw = w.config["padding"]
    y = np.zeros((len(w.x), len(w.K), *w.D.shape[2:]), w.x.dtype)
    for i, j in np.ndindex(y.shape[2:]):
        for p, q, r, s, matrix in terms:
            y[:, :, i, j] += plane(w.x, i + p - ph + r, j + q - pw + s) @ matrix.T
    return y


def convolved(w: World) -> Array:
    ph, pw = w.config["padding"]
    return Conv(w.x, interpolated(w), padding=(ph + 1, pw + 1))[..., 1:, 1:]


def image_first(w: World) -> Array:
    """The image interpolated at (i + a, j + b) within its frame, then the convolution."""
    i, j = np.ogrid[: w.x.shape[2], : w.x.shape[3]]
    a, b = w.D[0, :2, 0, 0]
    grid = [np.broadcast_to(u, (len(w.x), *w.x.shape[2:])) for u in (i + a, j + b)]
    return Conv(S(w.x, *map(np.ascontiguousarray, grid)), w.K, padding=w.config["padding"])


def clamped(w: World) -> Array:
    """The border rule of the first release: 0 outside 0 <= y < H, and within the last half-open row its own value instead of the blend."""
    H, W = w.x.shape[2:]
    ys, xs = places(w, w.D)
    held = S(w.x, np.clip(ys, 0, H - 1), np.clip(xs, 0, W - 1))
    inside = ((ys >= 0) & (ys < H) & (xs >= 0) & (xs < W))[:, None]
    return np.einsum("ock,nckij->noij", w.K.reshape(*w.K.shape[:2], -1), np.where(inside, held, 0))


OUTSIDE = dict(N=1, C=2, O=2, H=5, W=5, kernel=(3, 3), padding=(1, 1), moved=(0.25, 0.5))
MOVED = Step("deform_conv2d(x, (a, b), K)", plain)
LARGER = Step("conv2d(x, K * B, padding = p+1)[1:, 1:]", convolved)
PROOF = Proof(
    name="fractional_offset_interpolates_the_kernel",
    title="A constant fractional offset is a convolution with the interpolated kernel",
    statement="deform_conv2d(x, (a, b) everywhere, K, padding = p) = conv2d(x, K * B, padding = p+1)[1:, 1:], "
              "B = [(1-a)(1-b), (1-a)b; a(1-b), ab], (K * B)_uv = Σ_rs B_rs K_{u-r, v-s}",
    hypotheses=("the offset is the same at every tap and pixel", "0 <= a, b < 1: a whole part is a shift (whole_offsets_move_the_image)",
                "zeros continue the map, also in the blend: the band -1 < y < 0 fades to 0", "stride 1"),
    domain="any sizes, kernel and padding; every output, the border included; so it low-passes what the plain kernel would see",
    source=SOURCE,
    world=world,
    sizes=(dict(N=2, C=2, O=3, H=4, W=5, kernel=(3, 3), padding=(1, 1), moved=(0.25, 0.5)),
           dict(N=1, C=3, O=2, H=5, W=4, kernel=(2, 3), padding=(0, 2), moved=(0.75, 0)),
           dict(N=1, C=1, O=2, H=1, W=2, kernel=(3, 1), padding=(2, 1), moved=(0.5, 0.75))),
    small=(dict(N=1, C=1, O=2, H=2, W=2, kernel=(2, 1), padding=(1, 1), moved=(0.25, 0.5)),),
    degree=2,
    steps=(
        MOVED,
        Step("Σ_pq K_pq S(x; i+p-ph+a, j+q-pw+b)", lambda w: by_samples(w, w.D, w.one), "deform_conv2d (F1)-(F4) without a mask"),
        Step("Σ_pq K_pq Σ_rs B_rs Z[i+p-ph+r, j+q-pw+s]", four_neighbours,
             "bilinear_sample (F1)-(F3): 0 <= a, b < 1 are the fractions, and they are the same at every tap"),
        Step("Σ_uv (K * B)_uv Z[i+u-ph, j+v-pw]", larger_kernel, "re-index u = p+r, v = q+s"),
        Step("conv2d(x, K * B, padding = p+1)[1:, 1:]", convolved,
             "conv2d (F1)-(F3): with padding p+1, output (i+1, j+1) reads x[i+u-ph, j+v-pw]")),
    counterexamples=(
        Counterexample("the image interpolated first, within its frame: the band at -1 < y < 0 is cut off", world,
                       OUTSIDE | dict(moved=(0.75, 0.5)), MOVED, Step("conv2d(S(x; i+a, j+b), K)", image_first),
                       agrees=(("the outputs whose taps stay away from the first row and column", lambda w: plain(w)[..., 1:, 1:],
                                lambda w: image_first(w)[..., 1:, 1:]),)),
        Counterexample("the border rule of the first release, 0 for y < 0 and no blend after the last row", world, OUTSIDE,
                       Step("deform_conv2d by that rule", clamped), LARGER,
                       agrees=(("where no tap comes near the border", lambda w: clamped(w)[..., 1:-2, 1:-2],
                                lambda w: convolved(w)[..., 1:-2, 1:-2]),
                               ("everywhere, for whole offsets", lambda w: clamped(still(w)), lambda w: plain(still(w))))),
        Counterexample("an offset that differs from output to output is no convolution", world, OUTSIDE,
                       Step("deform_conv2d(x, D, K)", lambda w: Deform(w.x, w.varied, w.K, **w.config)), LARGER,
                       agrees=(("the columns whose offset is (a, b)", lambda w: Deform(w.x, w.varied, w.K, **w.config)[..., 1:],
                                lambda w: convolved(w)[..., 1:]),)),
    ),
)


def still(w: World) -> World:
    return changed(w, D=w.none)


PROOFS = (PROOF,)
