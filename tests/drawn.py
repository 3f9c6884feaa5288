"""Arrays for tests of single operators: the same shape and seed, the same numbers."""

import numpy as np


def normal(*shape, seed=0):
    """Normal numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def whole(*shape, seed=0):
    """Whole numbers from -4 to 4: sums of products are exact."""
    return np.random.default_rng([seed, *shape]).integers(-4, 5, shape).astype(float)


def qkv(*shape):
    """Three different arrays of normal numbers."""
    return normal(*shape, seed=1), normal(*shape, seed=2), normal(*shape, seed=3)
