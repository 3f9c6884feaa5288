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
    "add": ({"a": (2, 3), "b": (2, 3)}, {}),
    "aggregation": ({"weight": (1, 1, 9, 3, 4), "v": (1, 2, 3, 4)}, {"kernel_size": 3}),
    "attention": ({"q": (1, 2, 4, 2), "k": (1, 2, 4, 2), "v": (1, 2, 4, 2), "bias": (1, 2, 4, 4)}, {}),
    "avg_pool2d": ({"x": (1, 1, 4, 5)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    "batch_norm": ({"x": (2, 2, 3, 4), "weight": (2,), "bias": (2,)}, {}),
    "batch_norm_act": ({"x": (2, 2, 3, 4), "weight": (2,), "bias": (2,)}, {"activation": "silu"}),
    "bilinear_sample": ({"x": (1, 1, 3, 4), "ys": (1, 4), "xs": (1, 4)}, {}),
    "conv2d": ({"x": (1, 2, 4, 5), "weight": (2, 2, 3, 3), "bias": (2,)}, {"padding": 1}),
    "conv_decomposition": ({"x": (1, 2, 4, 5), "weight": (2, 2, 3, 3)}, {}),
    "conv_path": ({**_QKV, **_FC}, {"heads": 2}),
    "deform_conv2d": (
        {"x": (1, 1, 3, 4), "offset": (1, 18, 3, 4), "weight": (1, 1, 3, 3), "mask": (1, 9, 3, 4), "bias": (1,)},
        {"padding": 1},
    ),
    "depthwise_separable_conv": ({"x": (1, 2, 3, 4), "depthwise_weight": (2, 1, 3, 3), "pointwise_weight": (3, 2, 1, 1)}, {}),
    "drop_path": ({"x": (3, 4), "mask": (3,)}, {"rate": 0.5}),
    "elu_plus_one": ({"x": (2, 4)}, {}),
    "erf": ({"x": (2, 4)}, {}),
    "gate_chain": ({"p0": (1, 1, 2, 3), "filtered": (1, 3, 2, 3), "weight": (2,), "bias": (2,)}, {"order": 2, "scale": 0.5}),
    "gated_conv": ({"p": (1, 2, 3, 4), "q": (1, 2, 3, 4), "weight": (2, 1, 3, 3), "bias": (2,)}, {}),
    "gelu": ({"x": (2, 4)}, {}),
    "global_avg_pool": ({"x": (1, 2, 2, 3)}, {}),
    "global_filter": ({"x": (1, 1, 3, 4), "weight": (1, 3, 3, 2)}, {}),
    "gn_conv": (
        {"x": (1, 2, 3, 4), "proj_in_weight": (4, 2, 1, 1), "dwconv_weight": (3, 1, 3, 3), "pws_weight": (2,),
         "proj_out_weight": (2, 2, 1, 1)},
        {"order": 2, "scale": 0.5},
    ),
    "grid_sample": ({"x": (1, 1, 3, 4), "grid": (1, 2, 3, 2)}, {}),
    "group_norm": ({"x": (1, 2, 2, 3), "weight": (2,), "bias": (2,)}, {}),
    "instance_norm": ({"x": (1, 2, 2, 3), "weight": (2,), "bias": (2,)}, {}),
    "interleave": ({"a": (1, 2, 2, 3), "b": (1, 2, 2, 3)}, {}),
    "layer_norm": ({"x": (3, 5), "weight": (5,), "bias": (5,)}, {}),
    "layer_scale": ({"x": (3, 5), "gamma": (5,)}, {}),
    "linear": ({"x": (3, 4), "weight": (2, 4), "bias": (2,)}, {}),
    "linear_attention": ({"q": (1, 1, 4, 2), "k": (1, 1, 4, 2), "v": (1, 1, 4, 2)}, {}),
    "local_attention": ({**_QKV, "pe": (2, 4, 5)}, {"heads": 2, "kernel_size": 3}),
    "local_relative_attention": (
        {"q": (1, 1, 12, 2), "k": (1, 1, 12, 2), "v": (1, 1, 12, 2), "table": (1, 3, 3)},
        {"size": (3, 4), "radius": 1},
    ),
    "max_pool2d": ({"x": (1, 1, 4, 5)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    "mbconv_hidden": (
        {"x": (2, 2, 3, 4), "in_weight": (2,), "in_bias": (2,), "weight": (2, 1, 3, 3), "out_weight": (2,), "out_bias": (2,)},
        {"activation": "silu"},
    ),
    "mixed_conv": ({"x": (1, 4, 4, 5), "weight": (2, 34), "bias": (4,)}, {"kernel_sizes": (3, 5)}),
    "modulation": ({"v": (1, 6, 2), "modulator": (1, 2, 2, 3)}, {}),
    "pointwise_conv": ({"x": (1, 2, 3, 4), "weight": (3, 2, 1, 1), "bias": (3,)}, {}),
    "positional_term": ({"weight": (2, 2, 1, 1), "bias": (2,)}, {"size": (4, 5)}),
    "reflection_pad": ({"x": (1, 1, 3, 4)}, {"padding": 2}),
    "regroup": ({"x": (1, 6, 2)}, {"heads": 3}),
    "relative_attention": ({"q": (1, 1, 6, 2), "k": (1, 1, 6, 2), "v": (1, 1, 6, 2), "table": (1, 3, 5)}, {"size": (2, 3)}),
    "relative_bias": ({"table": (9, 2)}, {"size": 2}),
    "relu": ({"x": (2, 4)}, {}),
    "resize_bilinear": ({"x": (1, 3, 5)}, {"size": (5, 7)}),
    "resize_nearest": ({"x": (1, 3, 5)}, {"size": (5, 7)}),
    "roll": ({"x": (1, 4, 5, 1)}, {"offset": (-1, 1)}),
    "scale_aware_aggregation": (
        {"x": (2, 4, 2, 3), "proj0_weight": (4, 2, 1, 1), **{name: (4,) for name in ("proj0_bias", "bn_weight", "bn_bias")},
         "proj1_weight": (3, 4, 1, 1), "proj1_bias": (3,)},
        {},
    ),
    "shift": ({"x": (1, 1, 4, 5)}, {"offset": (-1, 1)}),
    "shift_conv": ({"maps": (1, 1, 9, 4, 5), "weight": (2, 9, 3, 3), "bias": (2,)}, {"kernel_size": 3}),
    "shift_sum": ({"maps": (1, 9, 1, 4, 5)}, {"kernel_size": 3}),
    "sigmoid": ({"x": (2, 4)}, {}),
    "silu": ({"x": (2, 4)}, {}),
    "softmax": ({"x": (3, 5)}, {}),
    "spectrum_resize": ({"weight": (1, 3, 3, 2)}, {"size": (5, 4)}),
    "squeeze_excite": ({"x": (1, 4, 2, 3), "reduce_weight": (2, 4), "expand_weight": (4, 2), "reduce_bias": (2,), "expand_bias": (4,)}, {}),
    "squeeze_excite_conv": (
        {"x": (2, 3, 3, 4), "reduce_weight": (2, 3), "expand_weight": (3, 2), "weight": (2, 3, 1, 1), "reduce_bias": (2,),
         "expand_bias": (3,), "bias": (2,)},
        {},
    ),
    "tanh": ({"x": (2, 4)}, {}),
    "tap_projection": ({"x": (1, 2, 3, 4), "weight": (2, 2, 3, 3)}, {}),
    "unfold": ({"x": (1, 1, 4, 5)}, {"kernel_size": 3}),
    "window_partition": ({"x": (1, 4, 6, 1)}, {"window": (2, 3)}),
    "window_reverse": ({"windows": (4, 6, 1)}, {"window": (2, 3), "size": (4, 6)}),
}
