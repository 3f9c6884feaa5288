"""Maps (B, C, H, W) and tokens (B, H·W, C): the same numbers in two orders, pixel (i, j) being token i·W + j; and heads of tokens.

The number of tokens does not say which map they come from: 12 tokens are 3 x 4 pixels as well as 4 x 3. The size is an argument therefore.
Between the two lies the transpose of a table, of pixels and channels or of tokens and heads, for which there is an operator: `regroup`.
"""

from __future__ import annotations

import numpy as np

from pyhybrid.errors import ConstraintError
from pyhybrid.ops import regroup

__all__ = ["join_heads", "split_heads", "to_map", "to_tokens"]

Array = np.ndarray


def to_tokens(x: Array) -> Array:
    """Maps (B, C, H, W) as tokens (B, H·W, C), row by row. `to_map` undoes it, and each is the other's adjoint."""
    B, C, H, W = x.shape
    return regroup.forward(x.reshape(B, C * H * W), heads=C)[0].reshape(B, H * W, C)


def to_map(tokens: Array, size: tuple[int, int]) -> Array:
    """Tokens (B, H·W, C) as maps (B, C, H, W), `size` being (H, W)."""
    if tokens.ndim != 3 or tokens.shape[1] != size[0] * size[1]:
        raise ConstraintError(f"to_map: tokens must be (B, {size[0]}*{size[1]}, C), those of a map of {size[0]} x {size[1]}; "
                              f"got shape {tokens.shape}")
    B, T, C = tokens.shape
    return regroup.forward(tokens.reshape(B, T * C), heads=T)[0].reshape(B, C, *size)


def split_heads(tokens: Array, heads: int) -> Array:
    """Tokens (B, T, heads·d), head by head, as (B, heads, T, d). `join_heads` undoes it, and each is the other's adjoint."""
    B, T, C = tokens.shape
    runs = tokens.reshape(B, T * heads, C // heads)                                     # token by token
    return regroup.forward(runs, heads=max(T, 1))[0].reshape(B, heads, T, C // heads)


def join_heads(x: Array) -> Array:
    """(B, heads, T, d) as tokens (B, T, heads·d)."""
    B, heads, T, d = x.shape
    return regroup.forward(x.reshape(B, heads * T, d), heads=heads)[0].reshape(B, T, heads * d)
