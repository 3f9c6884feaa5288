//! Scale-aware aggregation: the scales of a mixed convolution meet, first inside small groups of channels, then all of them.
//!
//! Shapes       x (N, C, H, W), head by head; proj0_weight (E, heads, 1, 1), proj0_bias, bn_weight, bn_bias (E,); proj1_weight
//!              (O, E, 1, 1), proj1_bias (O,); running mean and variance (E,) -> y (N, O, H, W), mean, var (E,); M = C/heads groups of R = E/M
//! Forward      (F1) p = x regrouped    (F2) e = proj0_weight·p + proj0_bias in M groups    (F3) u = batch norm of e    (F4) a = GELU(u)
//!              (F5) y = proj1_weight·a + proj1_bias
//! Backward     (B1) da, dproj1_weight, dproj1_bias    (B2) du    (B3) de, dbn_weight, dbn_bias, gradients of running statistics
//!              (B4) dproj0_weight = Σ de·p, dproj0_bias = Σ de    (B5) dp = proj0_weightᵀ·de    (B6) dx = dp in the order of x
//! Constraints  (C1) x is (N, C, H, W), C ≥ 1    (C2) heads divides C, C/heads divides E    (C3) (C4) (C5) the others fit
//!              (C6) training: at least one pixel    (C7) eps is finite and positive
//!
//! [`fused`] and [`backward`] keep the maps of E channels in registers and tiles. [`parts`] runs one step after the other; it serves where
//! numbers are not finite, since sums in another order would then be others.

mod backward;
mod fused;
mod parts;

use crate::batch_norm;
use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::{product, require_len};
use crate::pointwise_conv;
use crate::real::{Real, finite};
use crate::regroup;

/// The arrays of a call: their shapes or their elements.
#[derive(Clone, Copy)]
pub struct Arguments<A> {
    pub x: A,
    pub proj0_weight: A,
    pub proj0_bias: A,
    pub bn_weight: A,
    pub bn_bias: A,
    pub proj1_weight: A,
    pub proj1_bias: A,
    /// Running mean and variance; without them, training.
    pub running: Option<(A, A)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    channels: usize,
    heads: usize,
    groups: usize,
    expanded: usize,
    outputs: usize,
    size: (usize, usize),
    training: bool,
    eps: f64,
    order: regroup::Dims,
    expand: conv2d::Dims,
    norm: batch_norm::Dims,
    mix: pointwise_conv::Dims,
}

impl Dims {
    pub fn new(shapes: &Arguments<&[usize]>, eps: f64) -> Result<Dims, Error> {
        let Arguments { x, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, running } = *shapes;
        let (&[images, channels, height, width], &[expanded, heads, _, _]) = (x, proj0_weight) else {
            return Err(Error::Shape(format!(
                "(C1) (C2) x, proj0_weight: four axes expected, got shapes {x:?} and {proj0_weight:?}"
            )));
        };
        require(channels > 0 && heads > 0 && channels % heads == 0 && expanded % (channels / heads) == 0, || {
            format!(
                "(C2) proj0_weight: (E, heads, 1, 1) that fits {channels} channels expected, got shape {proj0_weight:?}"
            )
        })?;
        require(proj0_weight[2..] == [1, 1], || {
            format!("(C2) proj0_weight: (E, heads, 1, 1) expected, got shape {proj0_weight:?}")
        })?;
        let groups = channels / heads;
        product(x)?;
        let order = regroup::Dims::new(x, heads, 1, false)?;
        let one = (1, 1);
        let expand = conv2d::Dims::new(
            &[images, channels, height, width],
            &[expanded, heads, 1, 1],
            Some(proj0_bias),
            one,
            (0, 0),
            one,
            groups,
        );
        // A map without pixels has no window; its convolution is as empty as that of any other size.
        let expand = if height * width == 0 {
            require(proj0_bias == [expanded], || {
                format!("(C3) proj0_bias: ({expanded},) expected, got shape {proj0_bias:?}")
            })?;
            conv2d::Dims { groups, ..conv2d::Dims::pointwise(images, channels, expanded, 0)? }
        } else {
            expand?
        };
        let between = [images, expanded, height, width];
        product(&between)?;
        let mut vectors = vec![("bn_weight", bn_weight), ("bn_bias", bn_bias)];
        if let Some((mean, var)) = running {
            vectors.extend([("bn_running_mean", mean), ("bn_running_var", var)]);
        }
        let norm = batch_norm::Dims::new(&between, &vectors, running.is_none(), eps)?;
        let mix = pointwise_conv::Dims::new(&between, proj1_weight, Some(proj1_bias))?;
        let (size, training, outputs) = ((height, width), running.is_none(), mix.output()[1]);
        Ok(Dims { images, channels, heads, groups, expanded, outputs, size, training, eps, order, expand, norm, mix })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.mix.output()
    }

    /// R, expanded channels of a group.
    fn rows(&self) -> usize {
        self.expanded / self.groups
    }

    fn pixels(&self) -> usize {
        self.size.0 * self.size.1
    }

    fn check<T>(&self, a: &Arguments<&[T]>, y: &[T], mean: &[T], var: &[T]) -> Result<(), Error> {
        require_len("x", a.x, self.images * self.channels * self.pixels())?;
        require_len("y", y, self.images * self.outputs * self.pixels())?;
        require_len("proj0_weight", a.proj0_weight, self.expanded * self.heads)?;
        require_len("proj1_weight", a.proj1_weight, self.outputs * self.expanded)?;
        require_len("proj1_bias", a.proj1_bias, self.outputs)?;
        let vectors = [
            ("proj0_bias", a.proj0_bias),
            ("bn_weight", a.bn_weight),
            ("bn_bias", a.bn_bias),
            ("mean", mean),
            ("var", var),
        ];
        for (name, vector) in vectors {
            require_len(name, vector, self.expanded)?;
        }
        Ok(())
    }
}

/// `mean` and `var` are overwritten in training; in evaluation they hold the running statistics.
pub fn forward<T: Real>(
    a: &Arguments<&[T]>,
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(a, y, mean, var)?;
    if fused::serves(a, mean, var, d) {
        return fused::forward(a, y, mean, var, d, exec);
    }
    parts::forward(a, y, mean, var, d, exec)
}

/// All gradients; the last two are those of the running statistics.
pub struct Gradients<'a, T> {
    pub x: &'a mut [T],
    pub proj0_weight: &'a mut [T],
    pub proj0_bias: &'a mut [T],
    pub bn_weight: &'a mut [T],
    pub bn_bias: &'a mut [T],
    pub proj1_weight: &'a mut [T],
    pub proj1_bias: &'a mut [T],
    pub running: Option<(&'a mut [T], &'a mut [T])>,
}

pub fn backward<T: Real>(
    dy: &[T],
    a: &Arguments<&[T]>,
    (mean, var): (&[T], &[T]),
    gradients: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(a, dy, mean, var)?;
    for (name, found, expected) in [
        ("dx", gradients.x.len(), a.x.len()),
        ("dproj0_weight", gradients.proj0_weight.len(), a.proj0_weight.len()),
        ("dproj0_bias", gradients.proj0_bias.len(), d.expanded),
        ("dbn_weight", gradients.bn_weight.len(), d.expanded),
        ("dbn_bias", gradients.bn_bias.len(), d.expanded),
        ("dproj1_weight", gradients.proj1_weight.len(), a.proj1_weight.len()),
        ("dproj1_bias", gradients.proj1_bias.len(), d.outputs),
    ] {
        require(found == expected, || format!("{name} has {found} elements, expected {expected}"))?;
    }
    if fused::serves(a, mean, var, d) && finite(mean) && finite(var) {
        return backward::backward(dy, a, (mean, var), gradients, d, exec);
    }
    parts::backward(dy, a, (mean, var), gradients, d, exec)
}

#[cfg(test)]
mod tests;
