"""The operators, one module each: `y, cache = NAME.forward(...)`, `grads = NAME.backward(dy, cache)`."""

from pyhybrid.ops import (
    acmix,
    conv2d,
    conv_decomposition,
    conv_path,
    local_attention,
    pointwise_conv,
    positional_term,
    reflection_pad,
    shift,
    shift_conv,
    shift_sum,
    softmax,
    tap_projection,
    unfold,
)

__all__ = [
    "acmix",
    "conv2d",
    "conv_decomposition",
    "conv_path",
    "local_attention",
    "pointwise_conv",
    "positional_term",
    "reflection_pad",
    "shift",
    "shift_conv",
    "shift_sum",
    "softmax",
    "tap_projection",
    "unfold",
]
