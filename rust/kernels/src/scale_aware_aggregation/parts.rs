//! The aggregation step by step, with the kernels of its parts.

use super::{Arguments, Dims, Gradients};
use crate::batch_norm::{self, Saved};
use crate::conv2d;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gelu::{self, Form};
use crate::pointwise_conv;
use crate::real::Real;
use crate::regroup;

/// Elements of a map of all expanded channels.
fn between(d: &Dims) -> usize {
    d.images * d.expanded * d.pixels()
}

/// p and e.
fn expand<T: Real>(a: &Arguments<&[T]>, d: &Dims, exec: &Exec) -> Result<(Buffer<T>, Buffer<T>), Error> {
    let (mut p, mut e) = (zeros(a.x.len())?, zeros(between(d))?);
    regroup::forward(a.x, &mut p, &d.order, exec)?; // (F1)
    conv2d::forward(&p, a.proj0_weight, Some(a.proj0_bias), &mut e, &d.expand, exec)?; // (F2)
    Ok((p, e))
}

pub fn forward<T: Real>(
    a: &Arguments<&[T]>,
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (_, mut e) = expand(a, d, exec)?;
    let mut u = zeros(e.len())?;
    batch_norm::forward(&e, a.bn_weight, a.bn_bias, &mut u, mean, var, &d.norm, exec)?; // (F3)
    gelu::forward(&u, &mut e, &Form::new("none")?, exec)?; // (F4)
    pointwise_conv::forward(&e, a.proj1_weight, Some(a.proj1_bias), y, &d.mix, exec) // (F5)
}

pub fn backward<T: Real>(
    dy: &[T],
    a: &Arguments<&[T]>,
    (mean, var): (&[T], &[T]),
    g: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let ((p, e), form) = (expand(a, d, exec)?, Form::new("none")?);
    let (mut u, mut act, mut da) = (zeros(e.len())?, zeros(e.len())?, zeros(e.len())?);
    let (mut fixed_mean, mut fixed_var) = (zeros(d.expanded)?, zeros(d.expanded)?);
    fixed_mean.copy_from_slice(mean);
    fixed_var.copy_from_slice(var);
    let fixed = d.norm.fixed();
    batch_norm::forward(&e, a.bn_weight, a.bn_bias, &mut u, &mut fixed_mean, &mut fixed_var, &fixed, exec)?;
    gelu::forward(&u, &mut act, &form, exec)?;
    let Gradients { x: dx, proj0_weight, proj0_bias, bn_weight, bn_bias, proj1_weight, proj1_bias, running } = g;
    pointwise_conv::backward(dy, &act, a.proj1_weight, &mut da, proj1_weight, Some(proj1_bias), &d.mix, exec)?; // (B1)
    gelu::backward(&da, &u, &mut act, &form, exec)?; // (B2), du in the place of a
    let saved = Saved { dy: &act[..], x: &e[..], weight: a.bn_weight, mean, var };
    let gradients = batch_norm::Gradients { dx: &mut da, dweight: bn_weight, dbias: bn_bias, running };
    batch_norm::backward(saved, gradients, &d.norm, exec)?; // (B3), de in the place of da
    let mut dp = zeros(p.len())?;
    conv2d::backward(&da, &p, a.proj0_weight, &mut dp, proj0_weight, Some(proj0_bias), &d.expand, exec)?; // (B4) (B5)
    regroup::backward(&dp, dx, &d.order, exec) // (B6)
}
