"""Small random changes that leave an image what it is: turned, sheared, zoomed and shifted a little, and mirrored where that is harmless.

Each image of a batch is read through an affine map of its own. With (u, v) from -1 to 1 across the image,

    (M1) A = R(α)·S(σ)/ζ, R a rotation, S a horizontal shear, ζ a zoom; every other image with `flip` has its u negated
    (M2) the new image at (u, v) is the old one at A·(u, v) + (t_u, t_v), between pixels by bilinear sampling, black outside

All numbers are uniform within ± their strength, ζ within its logarithm. A digit must not be mirrored, so `flip` is off by default.
Source: "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis" (ICDAR 2003), section 2; sampling as in
Spatial transformer networks, arXiv 1506.02025, eqs. (1), (3) and (5).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyhybrid.ops import grid_sample

__all__ = ["Strength", "affine_maps", "augment"]

Array = np.ndarray


class Strength(NamedTuple):
    """How much an image may change. All zeros, and no flip, leave it as it is."""

    rotate: float = 0.0     # degrees
    shear: float = 0.0      # shift of the top edge against the centre, in half image heights
    zoom: float = 0.0       # 0.1: from 1/1.1 to 1.1 times as large
    shift: float = 0.0      # of the image's extent
    flip: bool = False      # mirror every other image, left to right


def augment(images: Array, strength: Strength, rng: np.random.Generator) -> Array:
    """Images (N, C, H, W) of floats, changed; a fixed amount is drawn from `rng` for each, whatever the strength."""
    A, t = affine_maps(len(images), strength, rng)
    if strength == Strength():
        return images
    H, W = images.shape[2:]
    u, v = ((2 * np.arange(n) + 1) / n - 1 for n in (W, H))                        # centres of the pixels
    old_u = A[:, 0, 0, None, None] * u + A[:, 0, 1, None, None] * v[:, None] + t[:, 0, None, None]      # (M2), (N, H, W)
    old_v = A[:, 1, 0, None, None] * u + A[:, 1, 1, None, None] * v[:, None] + t[:, 1, None, None]
    grid = np.stack([old_u, old_v], -1).astype(images.dtype)
    y, _ = grid_sample.forward(images, grid)
    return y


def affine_maps(count: int, strength: Strength, rng: np.random.Generator) -> tuple[Array, Array]:
    """A (count, 2, 2) and t (count, 2) of (M1), in float64."""
    drawn = rng.uniform(-1, 1, (6, count))
    angle, shear = np.deg2rad(strength.rotate) * drawn[0], strength.shear * drawn[1]
    zoom = (1 + strength.zoom) ** drawn[2]
    c, s, one, zero = np.cos(angle), np.sin(angle), np.ones(count), np.zeros(count)
    R = np.array([[c, -s], [s, c]]).transpose(2, 0, 1)
    S = np.array([[one, shear], [zero, one]]).transpose(2, 0, 1)
    A = R @ S / zoom[:, None, None]                                                # (M1)
    A[:, :, 0] *= np.where(strength.flip & (drawn[5] < 0), -1.0, 1.0)[:, None]
    return A, 2 * strength.shift * drawn[3:5].T
