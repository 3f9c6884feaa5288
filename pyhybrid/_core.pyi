"""The compiled kernels. The operators of `pyhybrid.ops` call them through the seam; arrays are C-contiguous float32 or float64."""

from typing import Any

import numpy as np

_Array = np.ndarray[Any, np.dtype[Any]]
_Pair = int | tuple[int, int]

__version__: str
__all__ = [
    "__version__",
    "_panic_for_test",
    "acmix_backward",
    "acmix_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv_decomposition_backward",
    "conv_decomposition_forward",
    "conv_path_backward",
    "conv_path_forward",
    "cpu_count",
    "fma_rate",
    "get_simd",
    "get_threads",
    "local_attention_backward",
    "local_attention_forward",
    "pointwise_conv_backward",
    "pointwise_conv_forward",
    "positional_term_backward",
    "positional_term_forward",
    "read_rate",
    "reflection_pad_backward",
    "reflection_pad_forward",
    "set_simd",
    "set_threads",
    "shift_backward",
    "shift_conv_backward",
    "shift_conv_forward",
    "shift_forward",
    "shift_sum_backward",
    "shift_sum_forward",
    "simd_levels",
    "softmax_backward",
    "softmax_forward",
    "tap_projection_backward",
    "tap_projection_forward",
    "unfold_backward",
    "unfold_forward",
]

def cpu_count() -> int: ...
def get_threads() -> int: ...
def set_threads(n: int) -> None: ...
def simd_levels() -> list[str]: ...
def get_simd() -> str: ...
def set_simd(name: str) -> None: ...
def fma_rate() -> float: ...
def read_rate() -> float: ...
def _panic_for_test() -> None: ...

def acmix_forward(
    x: _Array,
    rate1: _Array,
    rate2: _Array,
    conv1_weight: _Array,
    conv1_bias: _Array,
    conv2_weight: _Array,
    conv2_bias: _Array,
    conv3_weight: _Array,
    conv3_bias: _Array,
    fc_weight: _Array,
    dep_conv_weight: _Array,
    conv_p_weight: _Array | None,
    conv_p_bias: _Array | None,
    fc_bias: _Array | None,
    dep_conv_bias: _Array | None,
    heads: int,
    kernel_size: int,
    stride: _Pair,
    border: str,
    channel_order: str,
) -> tuple[_Array | None, ...]: ...
def acmix_backward(
    dy: _Array,
    x: _Array,
    rate1: _Array,
    rate2: _Array,
    conv1_weight: _Array,
    conv1_bias: _Array,
    conv2_weight: _Array,
    conv2_bias: _Array,
    conv3_weight: _Array,
    conv3_bias: _Array,
    fc_weight: _Array,
    dep_conv_weight: _Array,
    conv_p_weight: _Array | None,
    conv_p_bias: _Array | None,
    fc_bias: _Array | None,
    dep_conv_bias: _Array | None,
    heads: int,
    kernel_size: int,
    stride: _Pair,
    border: str,
    channel_order: str,
    q: _Array,
    k: _Array,
    v: _Array,
    pe: _Array | None,
    lse: _Array,
    att: _Array,
    conv: _Array,
) -> tuple[_Array | None, ...]: ...
def conv2d_forward(
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
) -> tuple[_Array, ...]: ...
def conv2d_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    bias: _Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
) -> tuple[_Array | None, ...]: ...
def conv_decomposition_forward(x: _Array, weight: _Array, bias: _Array | None, stride: _Pair) -> tuple[_Array, ...]: ...
def conv_decomposition_backward(dy: _Array, x: _Array, weight: _Array, bias: _Array | None, stride: _Pair) -> tuple[_Array | None, ...]: ...
def conv_path_forward(
    q: _Array,
    k: _Array,
    v: _Array,
    fc_weight: _Array,
    dep_conv_weight: _Array,
    fc_bias: _Array | None,
    dep_conv_bias: _Array | None,
    heads: int,
    stride: _Pair,
    channel_order: str,
) -> tuple[_Array, ...]: ...
def conv_path_backward(
    dy: _Array,
    q: _Array,
    k: _Array,
    v: _Array,
    fc_weight: _Array,
    dep_conv_weight: _Array,
    fc_bias: _Array | None,
    dep_conv_bias: _Array | None,
    heads: int,
    stride: _Pair,
    channel_order: str,
) -> tuple[_Array | None, ...]: ...
def local_attention_forward(
    q: _Array,
    k: _Array,
    v: _Array,
    pe: _Array | None,
    heads: int,
    kernel_size: int,
    stride: _Pair,
    border: str,
    scale: float | None,
) -> tuple[_Array, ...]: ...
def local_attention_backward(
    dy: _Array,
    q: _Array,
    k: _Array,
    v: _Array,
    pe: _Array | None,
    heads: int,
    kernel_size: int,
    stride: _Pair,
    border: str,
    scale: float | None,
    lse: _Array,
) -> tuple[_Array | None, ...]: ...
def pointwise_conv_forward(x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array, ...]: ...
def pointwise_conv_backward(dy: _Array, x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array | None, ...]: ...
def positional_term_forward(weight: _Array, bias: _Array | None, size: _Pair) -> tuple[_Array, ...]: ...
def positional_term_backward(dpe: _Array, weight: _Array, bias: _Array | None, size: _Pair) -> tuple[_Array | None, ...]: ...
def reflection_pad_forward(x: _Array, padding: _Pair) -> tuple[_Array, ...]: ...
def reflection_pad_backward(dy: _Array, x: _Array, padding: _Pair) -> tuple[_Array, ...]: ...
def shift_forward(x: _Array, offset: _Pair) -> tuple[_Array, ...]: ...
def shift_backward(dy: _Array, x: _Array, offset: _Pair) -> tuple[_Array, ...]: ...
def shift_conv_forward(maps: _Array, weight: _Array | None, bias: _Array | None, kernel_size: int, stride: _Pair) -> tuple[_Array, ...]: ...
def shift_conv_backward(
    dy: _Array,
    maps: _Array,
    weight: _Array | None,
    bias: _Array | None,
    kernel_size: int,
    stride: _Pair,
) -> tuple[_Array | None, ...]: ...
def shift_sum_forward(maps: _Array, kernel_size: _Pair, stride: _Pair) -> tuple[_Array, ...]: ...
def shift_sum_backward(dy: _Array, maps: _Array, kernel_size: _Pair, stride: _Pair) -> tuple[_Array, ...]: ...
def softmax_forward(x: _Array, axis: int) -> tuple[_Array, ...]: ...
def softmax_backward(dy: _Array, axis: int, a: _Array) -> tuple[_Array, ...]: ...
def tap_projection_forward(x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array, ...]: ...
def tap_projection_backward(dmaps: _Array, x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array | None, ...]: ...
def unfold_forward(x: _Array, kernel_size: _Pair, stride: _Pair) -> tuple[_Array, ...]: ...
def unfold_backward(dy: _Array, x: _Array, kernel_size: _Pair, stride: _Pair) -> tuple[_Array, ...]: ...
