"""What all loops share."""

from itertools import product

import numpy as np


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def box(*lengths):
    """All index tuples of a box."""
    return product(*map(range, lengths))


def like(*arrays):
    return tuple(None if a is None else np.zeros(a.shape) for a in arrays)
