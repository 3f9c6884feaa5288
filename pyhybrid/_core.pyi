"""The compiled kernels. The operators of `pyhybrid.ops` call them through the seam; arrays are C-contiguous float32 or float64."""

from collections.abc import Sequence
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
    "add_backward",
    "add_forward",
    "aggregation_backward",
    "aggregation_forward",
    "attention_backward",
    "attention_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_act_backward",
    "batch_norm_act_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "bilinear_sample_backward",
    "bilinear_sample_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv_decomposition_backward",
    "conv_decomposition_forward",
    "conv_path_backward",
    "conv_path_forward",
    "cpu_count",
    "deform_conv2d_backward",
    "deform_conv2d_forward",
    "depthwise_separable_conv_backward",
    "depthwise_separable_conv_forward",
    "drop_path_backward",
    "drop_path_forward",
    "elu_plus_one_backward",
    "elu_plus_one_forward",
    "erf_backward",
    "erf_forward",
    "fma_rate",
    "gate_chain_backward",
    "gate_chain_forward",
    "gated_conv_backward",
    "gated_conv_forward",
    "gelu_backward",
    "gelu_forward",
    "get_simd",
    "get_threads",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "global_filter_backward",
    "global_filter_forward",
    "gn_conv_backward",
    "gn_conv_forward",
    "grid_sample_backward",
    "grid_sample_forward",
    "group_norm_backward",
    "group_norm_forward",
    "instance_norm_backward",
    "instance_norm_forward",
    "interleave_backward",
    "interleave_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "layer_scale_backward",
    "layer_scale_forward",
    "linear_attention_backward",
    "linear_attention_forward",
    "linear_backward",
    "linear_forward",
    "local_attention_backward",
    "local_attention_forward",
    "local_relative_attention_backward",
    "local_relative_attention_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "mbconv_hidden_backward",
    "mbconv_hidden_forward",
    "mixed_conv_backward",
    "mixed_conv_forward",
    "modulation_backward",
    "modulation_forward",
    "pointwise_conv_backward",
    "pointwise_conv_forward",
    "positional_term_backward",
    "positional_term_forward",
    "read_rate",
    "reflection_pad_backward",
    "reflection_pad_forward",
    "regroup_backward",
    "regroup_forward",
    "relative_attention_backward",
    "relative_attention_forward",
    "relative_bias_backward",
    "relative_bias_forward",
    "relu_backward",
    "relu_forward",
    "resize_bilinear_backward",
    "resize_bilinear_forward",
    "resize_nearest_backward",
    "resize_nearest_forward",
    "roll_backward",
    "roll_forward",
    "scale_aware_aggregation_backward",
    "scale_aware_aggregation_forward",
    "set_simd",
    "set_threads",
    "shift_backward",
    "shift_conv_backward",
    "shift_conv_forward",
    "shift_forward",
    "shift_sum_backward",
    "shift_sum_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "simd_levels",
    "softmax_backward",
    "softmax_forward",
    "spectrum_resize_backward",
    "spectrum_resize_forward",
    "squeeze_excite_backward",
    "squeeze_excite_conv_backward",
    "squeeze_excite_conv_forward",
    "squeeze_excite_forward",
    "tanh_backward",
    "tanh_forward",
    "tap_projection_backward",
    "tap_projection_forward",
    "unfold_backward",
    "unfold_forward",
    "window_partition_backward",
    "window_partition_forward",
    "window_reverse_backward",
    "window_reverse_forward",
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
def add_forward(a: _Array, b: _Array) -> tuple[_Array, ...]: ...
def add_backward(dy: _Array, a: _Array, b: _Array) -> tuple[_Array, ...]: ...
def aggregation_forward(weight: _Array, v: _Array, kernel_size: int, stride: _Pair) -> tuple[_Array, ...]: ...
def aggregation_backward(dy: _Array, weight: _Array, v: _Array, kernel_size: int, stride: _Pair) -> tuple[_Array, ...]: ...
def attention_forward(q: _Array, k: _Array, v: _Array, bias: _Array | None, scale: float | None) -> tuple[_Array, ...]: ...
def attention_backward(
    dy: _Array, q: _Array, k: _Array, v: _Array, bias: _Array | None, scale: float | None, lse: _Array
) -> tuple[_Array | None, ...]: ...
def avg_pool2d_forward(
    x: _Array, kernel_size: _Pair, stride: _Pair | None, padding: _Pair, ceil_mode: bool, count_include_pad: bool
) -> tuple[_Array, ...]: ...
def avg_pool2d_backward(
    dy: _Array, x: _Array, kernel_size: _Pair, stride: _Pair | None, padding: _Pair, ceil_mode: bool, count_include_pad: bool
) -> tuple[_Array, ...]: ...
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
def erf_forward(x: _Array) -> tuple[_Array, ...]: ...
def erf_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
def gelu_forward(x: _Array, approximate: str) -> tuple[_Array, ...]: ...
def gelu_backward(dy: _Array, x: _Array, approximate: str) -> tuple[_Array, ...]: ...
def global_avg_pool_forward(x: _Array) -> tuple[_Array, ...]: ...
def global_avg_pool_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
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
def max_pool2d_forward(x: _Array, kernel_size: _Pair, stride: _Pair | None, padding: _Pair, ceil_mode: bool) -> tuple[_Array, ...]: ...
def max_pool2d_backward(
    dy: _Array, x: _Array, kernel_size: _Pair, stride: _Pair | None, padding: _Pair, ceil_mode: bool
) -> tuple[_Array, ...]: ...
def pointwise_conv_forward(x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array, ...]: ...
def pointwise_conv_backward(dy: _Array, x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array | None, ...]: ...
def positional_term_forward(weight: _Array, bias: _Array | None, size: _Pair) -> tuple[_Array, ...]: ...
def positional_term_backward(dpe: _Array, weight: _Array, bias: _Array | None, size: _Pair) -> tuple[_Array | None, ...]: ...
def reflection_pad_forward(x: _Array, padding: _Pair) -> tuple[_Array, ...]: ...
def reflection_pad_backward(dy: _Array, x: _Array, padding: _Pair) -> tuple[_Array, ...]: ...
def relative_bias_forward(table: _Array, size: _Pair) -> tuple[_Array, ...]: ...
def relative_bias_backward(dy: _Array, table: _Array, size: _Pair) -> tuple[_Array, ...]: ...
def relu_forward(x: _Array) -> tuple[_Array, ...]: ...
def relu_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
def roll_forward(x: _Array, offset: _Pair) -> tuple[_Array, ...]: ...
def roll_backward(dy: _Array, x: _Array, offset: _Pair) -> tuple[_Array, ...]: ...
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
def sigmoid_forward(x: _Array) -> tuple[_Array, ...]: ...
def sigmoid_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
def silu_forward(x: _Array) -> tuple[_Array, ...]: ...
def silu_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
def linear_forward(x: _Array, weight: _Array, bias: _Array | None, channels_first: bool) -> tuple[_Array, ...]: ...
def linear_backward(
    dy: _Array, x: _Array, weight: _Array, bias: _Array | None, channels_first: bool
) -> tuple[_Array | None, ...]: ...
def layer_norm_forward(x: _Array, weight: _Array | None, bias: _Array | None, axis: int, eps: float) -> tuple[_Array, ...]: ...
def layer_norm_backward(
    dy: _Array, x: _Array, weight: _Array | None, bias: _Array | None, axis: int, eps: float, m: _Array, r: _Array
) -> tuple[_Array | None, ...]: ...
def batch_norm_forward(
    x: _Array, weight: _Array, bias: _Array, running_mean: _Array | None, running_var: _Array | None, eps: float
) -> tuple[_Array, ...]: ...
def batch_norm_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    bias: _Array,
    running_mean: _Array | None,
    running_var: _Array | None,
    eps: float,
    mean: _Array,
    var: _Array,
) -> tuple[_Array | None, ...]: ...
def batch_norm_act_forward(
    x: _Array, weight: _Array, bias: _Array, running_mean: _Array | None, running_var: _Array | None, eps: float, activation: str
) -> tuple[_Array, ...]: ...
def batch_norm_act_backward(
    dy: _Array,
    x: _Array,
    weight: _Array,
    bias: _Array,
    running_mean: _Array | None,
    running_var: _Array | None,
    eps: float,
    activation: str,
    mean: _Array,
    var: _Array,
) -> tuple[_Array | None, ...]: ...
def linear_attention_forward(q: _Array, k: _Array, v: _Array, kind: str, eps: float) -> tuple[_Array, ...]: ...
def linear_attention_backward(dy: _Array, q: _Array, k: _Array, v: _Array, kind: str, eps: float) -> tuple[_Array, ...]: ...
def local_relative_attention_forward(
    q: _Array, k: _Array, v: _Array, table: _Array, size: _Pair, radius: int, form: str, scale: float | None
) -> tuple[_Array, ...]: ...
def local_relative_attention_backward(
    dy: _Array, q: _Array, k: _Array, v: _Array, table: _Array, size: _Pair, radius: int, form: str, scale: float | None, lse: _Array
) -> tuple[_Array, ...]: ...
def relative_attention_forward(
    q: _Array, k: _Array, v: _Array, table: _Array, size: _Pair, form: str, sign: str, scale: float | None
) -> tuple[_Array, ...]: ...
def relative_attention_backward(
    dy: _Array, q: _Array, k: _Array, v: _Array, table: _Array, size: _Pair, form: str, sign: str, scale: float | None, lse: _Array
) -> tuple[_Array, ...]: ...
def resize_bilinear_forward(x: _Array, size: _Pair, align_corners: bool) -> tuple[_Array, ...]: ...
def resize_bilinear_backward(dy: _Array, x: _Array, size: _Pair, align_corners: bool) -> tuple[_Array, ...]: ...
def squeeze_excite_conv_forward(
    x: _Array,
    reduce_weight: _Array,
    expand_weight: _Array,
    weight: _Array,
    reduce_bias: _Array | None,
    expand_bias: _Array | None,
    bias: _Array | None,
    activation: str,
) -> tuple[_Array, ...]: ...
def squeeze_excite_conv_backward(
    dy: _Array,
    x: _Array,
    reduce_weight: _Array,
    expand_weight: _Array,
    weight: _Array,
    reduce_bias: _Array | None,
    expand_bias: _Array | None,
    bias: _Array | None,
    activation: str,
    u: _Array,
) -> list[_Array | None]: ...
def squeeze_excite_forward(
    x: _Array,
    reduce_weight: _Array,
    expand_weight: _Array,
    reduce_bias: _Array | None,
    expand_bias: _Array | None,
    activation: str,
) -> tuple[_Array, ...]: ...
def squeeze_excite_backward(
    dy: _Array,
    x: _Array,
    reduce_weight: _Array,
    expand_weight: _Array,
    reduce_bias: _Array | None,
    expand_bias: _Array | None,
    activation: str,
    u: _Array,
) -> tuple[_Array | None, ...]: ...
def elu_plus_one_forward(x: _Array) -> tuple[_Array, ...]: ...
def elu_plus_one_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
def tanh_forward(x: _Array) -> tuple[_Array, ...]: ...
def tanh_backward(dy: _Array, x: _Array) -> tuple[_Array, ...]: ...
def softmax_forward(x: _Array, axis: int) -> tuple[_Array, ...]: ...
def softmax_backward(dy: _Array, axis: int, a: _Array) -> tuple[_Array, ...]: ...
def tap_projection_forward(x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array, ...]: ...
def tap_projection_backward(dmaps: _Array, x: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array | None, ...]: ...
def unfold_forward(x: _Array, kernel_size: _Pair, stride: _Pair) -> tuple[_Array, ...]: ...
def unfold_backward(dy: _Array, x: _Array, kernel_size: _Pair, stride: _Pair) -> tuple[_Array, ...]: ...
def window_partition_forward(x: _Array, window: _Pair) -> tuple[_Array, ...]: ...
def window_partition_backward(dy: _Array, x: _Array, window: _Pair) -> tuple[_Array, ...]: ...
def window_reverse_forward(windows: _Array, window: _Pair, size: _Pair) -> tuple[_Array, ...]: ...
def window_reverse_backward(dy: _Array, windows: _Array, window: _Pair, size: _Pair) -> tuple[_Array, ...]: ...
def bilinear_sample_forward(x: _Array, ys: _Array, xs: _Array) -> tuple[_Array, ...]: ...
def bilinear_sample_backward(dy: _Array, x: _Array, ys: _Array, xs: _Array) -> tuple[_Array, ...]: ...
def grid_sample_forward(x: _Array, grid: _Array, align_corners: bool) -> tuple[_Array, ...]: ...
def grid_sample_backward(dy: _Array, x: _Array, grid: _Array, align_corners: bool) -> tuple[_Array, ...]: ...
def deform_conv2d_forward(
    x: _Array,
    offset: _Array,
    weight: _Array,
    mask: _Array | None,
    bias: _Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    offset_groups: int,
    kink: str,
) -> tuple[_Array, ...]: ...
def deform_conv2d_backward(
    dy: _Array,
    x: _Array,
    offset: _Array,
    weight: _Array,
    mask: _Array | None,
    bias: _Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    offset_groups: int,
    kink: str,
) -> tuple[_Array | None, ...]: ...
def depthwise_separable_conv_forward(
    x: _Array,
    depthwise_weight: _Array,
    pointwise_weight: _Array,
    depthwise_bias: _Array | None,
    pointwise_bias: _Array | None,
    padding: _Pair | None,
) -> tuple[_Array, ...]: ...
def depthwise_separable_conv_backward(
    dy: _Array,
    x: _Array,
    depthwise_weight: _Array,
    pointwise_weight: _Array,
    depthwise_bias: _Array | None,
    pointwise_bias: _Array | None,
    padding: _Pair | None,
    u: _Array,
) -> tuple[_Array | None, ...]: ...
def group_norm_forward(x: _Array, weight: _Array | None, bias: _Array | None, groups: int, eps: float) -> tuple[_Array, ...]: ...
def group_norm_backward(
    dy: _Array,
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    groups: int,
    eps: float,
    m: _Array,
    r: _Array,
) -> tuple[_Array | None, ...]: ...
def instance_norm_forward(x: _Array, weight: _Array | None, bias: _Array | None, eps: float) -> tuple[_Array, ...]: ...
def instance_norm_backward(
    dy: _Array,
    x: _Array,
    weight: _Array | None,
    bias: _Array | None,
    eps: float,
    m: _Array,
    r: _Array,
) -> tuple[_Array | None, ...]: ...
def interleave_forward(a: _Array, b: _Array) -> tuple[_Array, ...]: ...
def interleave_backward(dy: _Array, a: _Array, b: _Array) -> tuple[_Array, ...]: ...
def resize_nearest_forward(x: _Array, size: _Pair) -> tuple[_Array, ...]: ...
def resize_nearest_backward(dy: _Array, x: _Array, size: _Pair) -> tuple[_Array, ...]: ...
def spectrum_resize_forward(weight: _Array, size: _Pair) -> tuple[_Array, ...]: ...
def spectrum_resize_backward(dy: _Array, weight: _Array, size: _Pair) -> tuple[_Array, ...]: ...
def global_filter_forward(x: _Array, weight: _Array) -> tuple[_Array, ...]: ...
def global_filter_backward(dy: _Array, x: _Array, weight: _Array) -> tuple[_Array, ...]: ...
def gated_conv_forward(p: _Array, q: _Array, weight: _Array, bias: _Array | None) -> tuple[_Array, ...]: ...
def gated_conv_backward(
    dy: _Array, p: _Array, q: _Array, weight: _Array, bias: _Array | None, f: _Array
) -> tuple[_Array | None, ...]: ...
def gate_chain_forward(
    p0: _Array,
    filtered: _Array,
    weight: _Array | None,
    bias: _Array | None,
    order: int,
    scale: float,
) -> tuple[_Array, ...]: ...
def gate_chain_backward(
    dy: _Array,
    p0: _Array,
    filtered: _Array,
    weight: _Array | None,
    bias: _Array | None,
    order: int,
    scale: float,
    u: _Array,
) -> tuple[_Array | None, ...]: ...
def gn_conv_forward(
    x: _Array,
    proj_in_weight: _Array,
    dwconv_weight: _Array,
    pws_weight: _Array | None,
    proj_out_weight: _Array | None,
    proj_in_bias: _Array | None,
    dwconv_bias: _Array | None,
    pws_bias: _Array | None,
    proj_out_bias: _Array | None,
    order: int,
    scale: float,
) -> tuple[_Array, ...]: ...
def gn_conv_backward(
    dy: _Array,
    x: _Array,
    proj_in_weight: _Array,
    dwconv_weight: _Array,
    pws_weight: _Array | None,
    proj_out_weight: _Array | None,
    proj_in_bias: _Array | None,
    dwconv_bias: _Array | None,
    pws_bias: _Array | None,
    proj_out_bias: _Array | None,
    order: int,
    scale: float,
    p0: _Array,
    q: _Array,
    filtered: _Array,
    u: _Array,
) -> tuple[_Array | None, ...]: ...
def drop_path_forward(x: _Array, mask: _Array, rate: float) -> tuple[_Array, ...]: ...
def drop_path_backward(dy: _Array, x: _Array, mask: _Array, rate: float) -> tuple[_Array, ...]: ...
def layer_scale_forward(x: _Array, gamma: _Array, axis: int) -> tuple[_Array, ...]: ...
def layer_scale_backward(dy: _Array, x: _Array, gamma: _Array, axis: int) -> tuple[_Array, ...]: ...
def mbconv_hidden_forward(
    x: _Array,
    in_weight: _Array,
    in_bias: _Array,
    weight: _Array,
    out_weight: _Array,
    out_bias: _Array,
    in_mean: _Array | None,
    in_var: _Array | None,
    out_mean: _Array | None,
    out_var: _Array | None,
    eps: float,
    activation: str,
    stride: _Pair,
    padding: _Pair,
) -> tuple[_Array, ...]: ...
def mbconv_hidden_backward(
    dy: _Array,
    x: _Array,
    in_weight: _Array,
    in_bias: _Array,
    weight: _Array,
    out_weight: _Array,
    out_bias: _Array,
    in_mean: _Array | None,
    in_var: _Array | None,
    out_mean: _Array | None,
    out_var: _Array | None,
    eps: float,
    activation: str,
    stride: _Pair,
    padding: _Pair,
    mean_x: _Array,
    var_x: _Array,
    mean_h: _Array,
    var_h: _Array,
) -> list[_Array | None]: ...
def mixed_conv_forward(x: _Array, weight: _Array, bias: _Array | None, kernel_sizes: Sequence[int]) -> tuple[_Array, ...]: ...
def mixed_conv_backward(
    dy: _Array, x: _Array, weight: _Array, bias: _Array | None, kernel_sizes: Sequence[int]
) -> tuple[_Array | None, ...]: ...
def modulation_forward(v: _Array, modulator: _Array) -> tuple[_Array, ...]: ...
def modulation_backward(dy: _Array, v: _Array, modulator: _Array) -> tuple[_Array, ...]: ...
def regroup_forward(x: _Array, heads: int, axis: int, inverse: bool) -> tuple[_Array, ...]: ...
def regroup_backward(dy: _Array, x: _Array, heads: int, axis: int, inverse: bool) -> tuple[_Array, ...]: ...
def scale_aware_aggregation_forward(
    x: _Array,
    proj0_weight: _Array,
    proj0_bias: _Array,
    bn_weight: _Array,
    bn_bias: _Array,
    proj1_weight: _Array,
    proj1_bias: _Array,
    bn_running_mean: _Array | None,
    bn_running_var: _Array | None,
    eps: float,
) -> tuple[_Array, ...]: ...
def scale_aware_aggregation_backward(
    dy: _Array,
    x: _Array,
    proj0_weight: _Array,
    proj0_bias: _Array,
    bn_weight: _Array,
    bn_bias: _Array,
    proj1_weight: _Array,
    proj1_bias: _Array,
    bn_running_mean: _Array | None,
    bn_running_var: _Array | None,
    eps: float,
    mean: _Array,
    var: _Array,
) -> list[_Array | None]: ...
