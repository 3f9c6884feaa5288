"""The Evolutionary Hybrid Network: which blocks modulate and which attend.

A strategy has a pattern per stage, in which S is a block of modulation and M one of attention. A pattern is repeated to the depth of its
stage; with a bar it is divided evenly, the part before the bar first (and the larger one if the depth is odd).
"""

from __future__ import annotations

from collections.abc import Sequence

from pyhybrid.errors import ConstraintError

__all__ = ["STRATEGIES", "block_kinds"]

STRATEGIES: dict[str, tuple[str, str, str, str]] = {
    "alternate": ("S", "S", "SM", "M"),         # the official code: stage 3 in turn, beginning with modulation
    "half": ("S", "S", "S|M", "M"),             # stage 3 first modulates, then attends
    "half_reversed": ("S", "S", "M|S", "M"),
    "sam": ("S", "S", "S", "S"),                # no attention at all
    "msa": ("S", "S", "M", "M"),                # attention from stage 3 on
    "msa_everywhere": ("M", "M", "M", "M"),     # whose first stage shows the quadratic cost
}
KIND = {"S": "sam", "M": "msa"}


def block_kinds(mix: str | Sequence[str], depths: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """The kind, "sam" or "msa", of every block of every stage: by the name of a strategy, or by a row such as "SSM" for each stage."""
    if isinstance(mix, str):
        if mix not in STRATEGIES:
            raise ConstraintError(f"SMT: mix must be one of {tuple(STRATEGIES)}, or a row of S and M per stage; got {mix!r}")
        if len(depths) != len(STRATEGIES[mix]):
            raise ConstraintError(f"SMT: mix {mix!r} is for four stages, and depths has {len(depths)}: give a row of S and M per stage")
        rows = [_fill(pattern, depth) for pattern, depth in zip(STRATEGIES[mix], depths, strict=True)]
    else:
        rows = list(mix)
    if [len(row) for row in rows] != list(depths) or any(set(row) - set(KIND) for row in rows):
        raise ConstraintError(f"SMT: mix must have a row of S and M for each stage, as long as its depth in {tuple(depths)}; got {mix!r}")
    return tuple(tuple(KIND[letter] for letter in row) for row in rows)


def _fill(pattern: str, depth: int) -> str:
    first, bar, second = pattern.partition("|")
    if bar:
        return first * (depth - depth // 2) + second * (depth // 2)
    return (pattern * depth)[:depth]
