"""Two optimisers, and the clipping of gradients before them. Both change the parameters in place and hold their state by parameter name.

Weights decay, other parameters do not: an array with one axis is a bias, the scale of a norm or a rate, and shrinking it regularises
nothing. `decays` is that rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

__all__ = ["OPTIMISERS", "SGD", "AdamW", "Optimiser", "clip", "decays", "norm"]

Array = np.ndarray
Arrays = Mapping[str, Array]


@dataclass
class SGD:
    """Stochastic gradient descent with momentum.

    (S1) g = gradient + λ·p    (S2) v = μ·v + g, v = 0 before the first step    (S3) p = p - η·v

    λ is `weight_decay`, μ `momentum`, η `learning_rate`. Source: "On the importance of initialization and momentum in deep learning"
    (ICML 2013), eqs. (1)-(2), with η outside the velocity, as frameworks have it: with a constant η the steps are the same.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    state: dict[str, Array] = field(default_factory=dict)

    def step(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change every array of `params` by its gradient, both keyed by name, in place."""
        check(params, grads)
        for name, p in params.items():
            decay = self.weight_decay if decays(p) else 0.0
            g = grads[name] + decay * p                                              # (S1)
            v = self.momentum * self.state.get(f"velocity.{name}", 0.0) + g          # (S2)
            p -= learning_rate * v                                                   # (S3)
            self.state[f"velocity.{name}"] = v


@dataclass
class AdamW:
    """Adam with decoupled weight decay.

    (A1) m = β₁·m + (1 - β₁)·g    (A2) v = β₂·v + (1 - β₂)·g²    both 0 before the first step t = 1
    (A3) m̂ = m/(1 - β₁ᵗ), v̂ = v/(1 - β₂ᵗ): m and v start at 0 and would be too small at first
    (A4) p = p - η·λ·p - η·m̂/(√v̂ + ε): the decay does not pass through the division by √v̂

    g is the gradient, λ `weight_decay`, η `learning_rate`. Source: "Decoupled Weight Decay Regularization", arXiv 1711.05101, algorithm 2,
    with η also on the decay, as frameworks have it.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    state: dict[str, Array] = field(default_factory=dict)

    def step(self, params: Arrays, grads: Arrays, learning_rate: float) -> None:
        """Change every array of `params` by its gradient, both keyed by name, in place."""
        check(params, grads)
        b1, b2 = self.betas
        t = int(self.state.get("steps", 0)) + 1
        for name, p in params.items():
            g = grads[name]
            m = b1 * self.state.get(f"mean.{name}", 0.0) + (1 - b1) * g                          # (A1)
            v = b2 * self.state.get(f"square.{name}", 0.0) + (1 - b2) * (g * g)                  # (A2)
            m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)                                      # (A3)
            decay = self.weight_decay if decays(p) else 0.0
            p -= learning_rate * decay * p + learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)      # (A4)
            self.state |= {f"mean.{name}": m, f"square.{name}": v}
        self.state["steps"] = np.asarray(t)


Optimiser = SGD | AdamW
OPTIMISERS: dict[str, type[SGD] | type[AdamW]] = {"sgd": SGD, "adamw": AdamW}


def decays(p: Array) -> bool:
    """Whether weight decay applies to this parameter."""
    return p.ndim > 1


def norm(grads: Arrays) -> float:
    """The length of all gradients taken as one vector, summed in float64."""
    return sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in grads.values()))


def clip(grads: Arrays, length: float, limit: float) -> dict[str, Array]:
    """The gradients, whose `norm` is `length`, all shortened by one factor if that is above `limit`. Their direction remains.

    Source: "On the difficulty of training recurrent neural networks", arXiv 1211.5063, algorithm 1.
    """
    factor = limit / length if length > limit else 1.0
    return {name: g * factor for name, g in grads.items()}


def check(params: Arrays, grads: Arrays) -> None:
    """`ValueError` unless there is one gradient of the right shape for every parameter."""
    if params.keys() != grads.keys():
        odd = sorted(params.keys() ^ grads.keys())
        raise ValueError(f"params and grads must have the same names; only one of them has {', '.join(odd)}")
    for name, p in params.items():
        if grads[name].shape != p.shape:
            raise ValueError(f"the gradient of {name} must have its shape {p.shape}; got shape {grads[name].shape}")
