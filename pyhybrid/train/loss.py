"""Cross-entropy with label smoothing: how many nats the labels come as a surprise, and what each logit should do about it.

Shapes       logits z (N, K), labels (N,) whole numbers 0 … K-1 -> loss, a float: the mean over the batch
Forward      (F1) q = (1 - ε)·onehot(label) + ε/K    (F2) log p = z - max z - log Σ exp(z - max z)    (F3) loss = -1/N Σ q·log p
Backward     (B1) dz = (p - q)/N: ∂log p_k/∂z_l = δ_kl - p_l, and the q of an image sum to 1
Constraints  (C1) logits are (N, K) with at least one image and one class
             (C2) labels are N whole numbers from 0 to K-1
             (C3) smoothing ε is at least 0 and below 1
Smooth       everywhere
Source       label smoothing: "Rethinking the Inception Architecture", arXiv 1512.00567, section 7
"""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np

from pyhybrid.errors import require

__all__ = ["Cache", "backward", "forward"]

Array = np.ndarray


class Cache(NamedTuple): p: Array; q: Array       # both (N, K): what the model says, what it should say


def forward(logits: Array, labels: Array, *, smoothing: float = 0.0) -> tuple[float, Cache]:
    """The loss and what `backward` needs. A NaN among the logits makes it NaN."""
    require(logits.ndim == 2 and logits.size > 0, "C1", logits=logits)
    N, K = logits.shape
    whole = labels.shape == (N,) and labels.dtype.kind in "iu"
    require(whole and labels.min() >= 0 and labels.max() < K, "C2", labels=labels, logits=logits)
    require(isinstance(smoothing, Real) and 0 <= smoothing < 1, "C3", smoothing=smoothing)
    q = np.full_like(logits, smoothing / K)
    q[np.arange(N), labels] += 1 - smoothing                             # (F1)
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))      # (F2)
    loss = -float((q * log_p).sum()) / N                                 # (F3)
    return loss, Cache(np.exp(log_p), q)


def backward(cache: Cache) -> Array:
    """dz (N, K), the gradient of the loss by the logits."""
    p, q = cache
    return (p - q) / len(p)                                              # (B1)
