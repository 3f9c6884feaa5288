"""The learning rate over a run: a straight line up, then half a cosine down.

Forward      (F1) t < w:  η = peak·(t + 1)/w: small first steps, while the statistics of norms and optimiser are still those of the start
             (F2) t >= w: η = floor + (peak - floor)·½(1 + cos(π·(t - w)/(T - w)))
Source       (F1) "Accurate, Large Minibatch SGD", arXiv 1706.02677, section 2.2; (F2) SGDR, arXiv 1608.03983, eq. (5), without restarts
"""

from __future__ import annotations

from math import cos, pi

__all__ = ["learning_rate"]


def learning_rate(step: int, *, peak: float, warmup: int, total: int, floor: float = 0.0) -> float:
    """η of step t = 0 … T-1 of `total` T steps, the first `warmup` w of which rise. `ValueError` outside."""
    if not 0 <= step < total:
        raise ValueError(f"step must be from 0 to total - 1 = {total - 1}; got {step}")
    if not 0 <= warmup <= total:
        raise ValueError(f"warmup must be from 0 to total = {total} steps; got {warmup}")
    if step < warmup:
        return peak * (step + 1) / warmup                                                            # (F1)
    return floor + (peak - floor) * 0.5 * (1 + cos(pi * (step - warmup) / (total - warmup)))         # (F2)
