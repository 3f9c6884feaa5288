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

pub mod conv2d;
pub mod limits;
pub mod pointwise_conv;
pub mod positional_term;
pub mod reflection_pad;
pub mod shift;
pub mod softmax;
pub mod tap_projection;
pub mod unfold;
