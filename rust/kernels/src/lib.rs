//! Hybrid convolution/attention operators on plain slices, forward and backward. No Python here: `bindings` converts.
//!
//! An operator file holds its equations, a `Dims` that proves the sizes, `forward`, `backward` and a test against literal loops.

pub mod error;
pub mod exec;
pub mod lanes;
pub mod planes;
pub mod pool;
pub mod real;
#[cfg(test)]
mod testing;

pub mod acmix;
pub mod aggregation;
pub mod attention;
pub mod avg_pool2d;
pub mod batch_norm;
pub mod bilinear_sample;
pub mod conv2d;
pub mod conv_decomposition;
pub mod conv_path;
pub mod deform_conv2d;
pub mod depthwise;
pub mod depthwise_separable_conv;
mod elementwise;
pub mod elu_plus_one;
pub mod erf;
pub mod gelu;
pub mod gemm;
pub mod global_avg_pool;
pub mod grid_sample;
pub mod group_norm;
pub mod instance_norm;
pub mod layer_norm;
pub mod limits;
pub mod linear;
pub mod linear_attention;
pub mod local_attention;
pub mod local_relative_attention;
pub mod max_pool2d;
mod pieces;
pub mod pointwise_conv;
pub mod positional_term;
pub mod reflection_pad;
pub mod relative_attention;
pub mod relative_bias;
pub mod relu;
pub mod resize_bilinear;
pub mod roll;
mod sampling;
pub mod shift;
pub mod shift_conv;
pub mod shift_sum;
pub mod sigmoid;
pub mod silu;
pub mod softmax;
pub mod squeeze_excite;
mod sums;
pub mod tanh;
pub mod tap_projection;
mod tap_sum;
pub mod unfold;
pub mod window_partition;
pub mod window_reverse;
mod windows;
