"""Augmentation: maps whose effect on pixels is known exactly, and what is drawn."""

import numpy as np
import pytest

from pyhybrid.train import augment as module
from pyhybrid.train.augment import Strength, affine_maps, augment


class Extreme:
    """A generator whose every number is the same."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high, shape):
        return np.full(shape, self.value)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 3, 6, 6))


def test_no_strength_is_the_identity(images):
    assert augment(images, Strength(), np.random.default_rng(0)) is images


def test_m1_m2_a_quarter_turn_is_exact(images):
    """Old (u, v) = R(90°)(u, v): the new pixel at the right edge is read at the bottom edge."""
    turned = augment(images, Strength(rotate=90), Extreme(1.0))
    assert np.allclose(turned, np.rot90(images, 1, (2, 3)), atol=1e-12)
    assert not np.allclose(turned, np.rot90(images, -1, (2, 3)), atol=1e-3)


def test_m2_a_shift_by_whole_pixels_is_exact_and_black_comes_in(images):
    """t = 2·(1/6): the map moves by one pixel to the upper left."""
    shifted = augment(images, Strength(shift=1 / 6), Extreme(1.0))
    assert np.allclose(shifted[:, :, :-1, :-1], images[:, :, 1:, 1:], atol=1e-12)
    assert np.allclose(shifted[:, :, -1], 0, atol=1e-12) and np.allclose(shifted[:, :, :, -1], 0, atol=1e-12)


def test_m1_half_of_the_images_are_mirrored(images):
    strength = Strength(flip=True)
    assert np.allclose(augment(images, strength, Extreme(-1.0)), images[..., ::-1], atol=1e-12)
    assert np.allclose(augment(images, strength, Extreme(1.0)), images, atol=1e-12)
    A, _ = affine_maps(2000, strength, np.random.default_rng(0))
    assert 0.45 < (A[:, 0, 0] < 0).mean() < 0.55


def test_m1_zoom_enlarges_about_the_centre_and_shear_moves_edges():
    A, t = affine_maps(1, Strength(zoom=1.0), Extreme(1.0))
    assert np.allclose(A[0], np.eye(2) / 2) and (t == 0).all()       # twice as large: the image spans half the old one
    A, _ = affine_maps(1, Strength(shear=0.5), Extreme(1.0))
    assert np.allclose(A[0], [[1, 0.5], [0, 1]])


def test_every_image_has_numbers_of_its_own_and_within_the_strength():
    strength = Strength(rotate=20, shear=0.2, zoom=0.3, shift=0.1)
    A, t = affine_maps(500, strength, np.random.default_rng(1))
    area = np.linalg.det(A)                                          # rotation and shear keep areas
    assert len(np.unique(area)) == 500 and area.min() >= 1 / 1.3**2 - 1e-12 and area.max() <= 1.3**2 + 1e-12
    angle = np.rad2deg(np.arctan2(A[:, 1, 0], A[:, 0, 0]))
    assert np.abs(angle).max() <= 20 and np.abs(angle).max() > 19
    assert np.abs(t).max() <= 0.2 and np.abs(t).max() > 0.19


def test_the_amount_drawn_does_not_depend_on_the_strength(images):
    rests = []
    for strength in (Strength(), Strength(rotate=5), Strength(1, 1, 1, 1, True)):
        rng = np.random.default_rng(3)
        augment(images, strength, rng)
        rests.append(rng.random())
    assert len(set(rests)) == 1


def test_the_precision_is_kept_and_the_images_are_not_changed(images, backend):
    given = images.astype(np.float32)
    before = given.copy()
    assert augment(given, Strength(rotate=10), np.random.default_rng(0)).dtype == np.float32
    assert (given == before).all() and module.__doc__
