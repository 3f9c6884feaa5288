"""Maps and tokens: pixel (i, j) is token i·W + j, and each direction is the other's adjoint."""

import numpy as np
import pytest

from pyhybrid.errors import ConstraintError
from pyhybrid.nn import join_heads, split_heads, to_map, to_tokens


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_pixels_are_counted_row_by_row(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    tokens = to_tokens(x)
    assert tokens.shape == (2, 20, 3) and tokens.flags.c_contiguous
    for i in range(4):
        for j in range(5):
            assert (tokens[:, i * 5 + j] == x[:, :, i, j]).all()
    assert (to_map(tokens, (4, 5)) == x).all() and to_map(tokens, (4, 5)).flags.c_contiguous


def test_the_channels_of_a_head_are_neighbours(rng):
    tokens = rng.standard_normal((2, 4, 6))
    x = split_heads(tokens, 3)
    for head in range(3):
        assert (x[:, head] == tokens[..., 2 * head : 2 * head + 2]).all()
    assert x.flags.c_contiguous and (join_heads(x) == tokens).all()
    assert split_heads(tokens[:, :0], 3).shape == (2, 3, 0, 2) and join_heads(x[:, :, :0]).shape == (2, 0, 6)


def test_each_is_the_adjoint_of_the_other(rng):
    x, u = rng.integers(-9, 10, (2, 3, 4, 5)).astype(float), rng.integers(-9, 10, (2, 20, 3)).astype(float)
    assert (to_tokens(x) * u).sum() == (x * to_map(u, (4, 5))).sum()


def test_the_size_matters_and_is_checked(rng):
    tokens = rng.standard_normal((1, 12, 2))
    assert not np.array_equal(to_map(tokens, (3, 4)).reshape(-1, order="A"), to_map(tokens, (4, 3)).swapaxes(2, 3).reshape(-1))
    with pytest.raises(ConstraintError, match=r"tokens must be \(B, 5\*2, C\)"):
        to_map(tokens, (5, 2))
    with pytest.raises(ConstraintError, match="got shape"):
        to_map(tokens[0], (3, 4))


def test_empty_batches():
    assert split_heads(np.zeros((0, 4, 6)), 3).shape == (0, 3, 4, 2) and join_heads(np.zeros((0, 3, 4, 2))).shape == (0, 4, 6)
    assert to_tokens(np.zeros((0, 3, 2, 2))).shape == (0, 4, 3) and to_map(np.zeros((0, 4, 3)), (2, 2)).shape == (0, 3, 2, 2)
