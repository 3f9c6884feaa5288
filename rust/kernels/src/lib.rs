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
pub mod conv2d;
pub mod conv_decomposition;
pub mod conv_path;
pub mod depthwise;
pub mod gemm;
pub mod limits;
pub mod local_attention;
mod pieces;
pub mod pointwise_conv;
pub mod positional_term;
pub mod reflection_pad;
pub mod shift;
pub mod shift_conv;
pub mod shift_sum;
pub mod softmax;
pub mod tap_projection;
mod tap_sum;
pub mod unfold;
