"""One small, readable input for every operator: what `pyhybrid step` and the lessons look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyhybrid.errors import UsageError

Array = np.ndarray


def example(operator: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays and configuration for `operator`; UsageError lists the operators if there is none of that name."""
    if operator not in EXAMPLES:
        raise UsageError(f"no operator named {operator!r}; there are {', '.join(EXAMPLES)}")
    shapes, config = EXAMPLES[operator]
    rng = np.random.default_rng(0)
    return {name: _draw(rng, shape) for name, shape in shapes.items()}, dict(config)


def _draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers from -2 to 2 in quarters: short to read, and exact in floating point."""
    return rng.integers(-8, 9, shape) / 4


_QKV = {"q": (1, 4, 4, 5), "k": (1, 4, 4, 5), "v": (1, 4, 4, 5)}
_FC = {"fc_weight": (9, 6, 1, 1), "dep_conv_weight": (4, 9, 3, 3)}
_PROJECTIONS = {f"conv{i}_{part}": shape for i in (1, 2, 3) for part, shape in (("weight", (4, 2, 1, 1)), ("bias", (4,)))}

EXAMPLES: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "acmix": ({"x": (1, 2, 4, 5), "rate1": (1,), "rate2": (1,), **_PROJECTIONS, **_FC, "conv_p_weight": (2, 2, 1, 1), "conv_p_bias": (2,)},
              {"heads": 2, "kernel_size": 3}),
    "conv2d": ({"x": (1, 2, 4, 5), "weight": (2, 2, 3, 3), "bias": (2,)}, {"padding": 1}),
    "conv_decomposition": ({"x": (1, 2, 4, 5), "weight": (2, 2, 3, 3)}, {}),
    "conv_path": ({**_QKV, **_FC}, {"heads": 2}),
    "local_attention": ({**_QKV, "pe": (2, 4, 5)}, {"heads": 2, "kernel_size": 3}),
    "pointwise_conv": ({"x": (1, 2, 3, 4), "weight": (3, 2, 1, 1), "bias": (3,)}, {}),
    "positional_term": ({"weight": (2, 2, 1, 1), "bias": (2,)}, {"size": (4, 5)}),
    "reflection_pad": ({"x": (1, 1, 3, 4)}, {"padding": 2}),
    "shift": ({"x": (1, 1, 4, 5)}, {"offset": (-1, 1)}),
    "shift_conv": ({"maps": (1, 1, 9, 4, 5), "weight": (2, 9, 3, 3), "bias": (2,)}, {"kernel_size": 3}),
    "shift_sum": ({"maps": (1, 9, 1, 4, 5)}, {"kernel_size": 3}),
    "softmax": ({"x": (3, 5)}, {}),
    "tap_projection": ({"x": (1, 2, 3, 4), "weight": (2, 2, 3, 3)}, {}),
    "unfold": ({"x": (1, 1, 4, 5)}, {"kernel_size": 3}),
}
