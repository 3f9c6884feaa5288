"""The salient feature detection score of the DAS paper: how much of what a heat map marks lies on the object.

The paper describes it in words only. W is a heat map in [0, 1], R the region of the object, B = R together with the pixels outside R that
the map marks as salient, and

    sfd = Σ_R h(W) / Σ_B h(W),      h an antilogarithm, "as values are compressed between 0 and 1"

With any h > 0 it lies in (0, 1] for an object that is there, and is 1 if and only if nothing outside it is salient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pyhybrid.errors import ConstraintError, choose, describe

__all__ = ["REDUCTIONS", "SCALES", "SFD", "sfd"]

Array = np.ndarray
SCALES: dict[str, Callable[[Array], Array]] = {
    "antilog10": lambda w: 10.0**w,                             # 10^w: a pixel of weight 0 still counts 1
    "exp": lambda w: np.exp(w),
    "identity": lambda w: w,
    "neglog": lambda w: -np.log(np.maximum(1 - w, 1e-6)),       # the antilogarithm's inverse direction: -ln(1 - w), held before infinity
}
REDUCTIONS = ("sum", "mean")


class SFD(NamedTuple):
    """The score, and what it is a quotient of."""
    score: float
    region: float           # the sum (or mean) over R
    union: float            # the sum (or mean) over B
    salient: Array          # (H, W), the pixels outside R that belong to B


def sfd(heat: Array, region: Array, *, threshold: float = 0.5, scale: str = "antilog10", reduce: str = "sum",
        salient: Array | None = None) -> SFD:
    """Score of a heat map (H, W) with values in [0, 1] for the object mask `region` (H, W), nonzero on the object.

    Outside R a pixel is salient if its weight is greater than `threshold`, or where the mask `salient` says so. reduce="mean" divides
    the sums by the numbers of pixels; it can exceed 1, which the paper's range does not allow. If the sum over B is 0 the score is NaN.
    """
    heat, region = np.asarray(heat), np.asarray(region)
    if not all(a.dtype.kind in "biuf" and not np.isnan(a).any() for a in (heat, region)) or not threshold == threshold:
        raise ConstraintError("sfd: heat, region and threshold must be real numbers without NaN; "
                              f"got {describe(heat)}, {describe(region)} and {threshold!r}")
    inside = region != 0
    if heat.ndim != 2 or inside.shape != heat.shape or (salient is not None and np.shape(salient) != heat.shape):
        raise ConstraintError(f"sfd: heat, region and salient must be maps (H, W) of one size; got {describe(heat)}, {describe(region)} "
                              f"and {describe(salient)}")
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ConstraintError("sfd: heat must hold values from 0 to 1; normalise it first")
    choose("sfd", "scale", scale, SCALES)
    choose("sfd", "reduce", reduce, REDUCTIONS)
    marked = ~inside & ((heat > threshold) if salient is None else np.asarray(salient) != 0)
    weights, union = SCALES[scale](heat.astype(np.float64)), inside | marked
    totals = (weights[mask].sum() / (max(mask.sum(), 1) if reduce == "mean" else 1) for mask in (inside, union))
    over_region, over_union = map(float, totals)
    return SFD(over_region / over_union if over_union else float("nan"), over_region, over_union, marked)
