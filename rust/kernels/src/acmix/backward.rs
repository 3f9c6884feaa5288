//! Backward of `acmix`: (B1) to (B6), a portion of the images at a time.

use super::{Arguments, Dims, Saved, check, path_arguments};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::planes::require_len;
use crate::real::Real;
use crate::{conv_path, local_attention, pointwise_conv, positional_term};

/// Elements of one elementwise task and of one partial sum of the rates' gradients.
const CHUNK: usize = 1 << 12;

pub fn backward<T: Real>(
    dy: &[T],
    arguments: &Arguments<&[T]>,
    saved: &Saved<&[T]>,
    gradients: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    check(arguments, d)?;
    let [x_len, q_len, y_len, lse_len] = [&d.x, &d.q, &d.y, &d.lse].map(|shape| Dims::len(&shape[1..]));
    require_len("dy", dy, d.y[0] * y_len)?;
    require_len("att", saved.att, dy.len())?;
    require_len("conv", saved.conv, dy.len())?;
    require_len("lse", saved.lse, d.lse[0] * lse_len)?;
    for projection in [saved.q, saved.k, saved.v] {
        require_len("q, k, v", projection, d.q[0] * q_len)?;
    }
    require_len("dx", gradients.x, arguments.x.len())?;
    require_len("drate1", gradients.rate1, 1)?;
    require_len("drate2", gradients.rate2, 1)?;
    gradients.rate1[0] = inner_product(dy, saved.att, exec)?; // (B1)
    gradients.rate2[0] = inner_product(dy, saved.conv, exec)?;

    let [w1, w2, w3] = gradients.weights;
    let [b1, b2, b3] = gradients.biases;
    let mut projections =
        [(Sum::new(w1)?, Sum::new(b1)?), (Sum::new(w2)?, Sum::new(b2)?), (Sum::new(w3)?, Sum::new(b3)?)];
    let (mut fc_weight, mut dep_conv_weight) = (Sum::new(gradients.fc_weight)?, Sum::new(gradients.dep_conv_weight)?);
    let mut fc_bias = gradients.fc_bias.map(Sum::new).transpose()?;
    let mut dep_conv_bias = gradients.dep_conv_bias.map(Sum::new).transpose()?;
    let mut pe = zeros(saved.pe.map_or(0, |pe| pe.len()))?;
    let mut dpe = Sum::new(&mut pe)?;

    let portion = d.portions[0].images;
    let (mut datt, mut dx_part) = (zeros(portion * y_len)?, zeros(portion * x_len)?);
    let [mut dq, mut dk, mut dv] = [zeros(portion * q_len)?, zeros(portion * q_len)?, zeros(portion * q_len)?];
    for first in (0..d.x[0]).step_by(portion) {
        let parts = &d.portions[usize::from(d.x[0] - first < portion)];
        let images = parts.images;
        let (dy, datt) = (cut(dy, first, images, y_len), &mut datt[..images * y_len]);
        let [q, k, v] = [saved.q, saved.k, saved.v].map(|x| cut(x, first, images, q_len));
        let [dq, dk, dv] = [&mut dq, &mut dk, &mut dv].map(|x| &mut x[..images * q_len]);
        let tasks = datt.chunks_mut(CHUNK).zip(dy.chunks(CHUNK));
        exec.for_each(dy.len() / 4, tasks, |(y, x)| exec.run(Scaled { factor: arguments.rate1[0], x, y }))?; // (B2)
        let inputs = local_attention::Inputs { q, k, v, pe: saved.pe };
        let pe = saved.pe.map(|_| &mut *dpe.part);
        let from_att = local_attention::Gradients { q: &mut *dq, k: &mut *dk, v: &mut *dv, pe };
        let lse = cut(saved.lse, first, images, lse_len);
        local_attention::backward(datt, inputs, lse, from_att, &parts.attention, exec)?; // (B3)
        let from_conv = conv_path::Arguments {
            q: &mut *dq,
            k: &mut *dk,
            v: &mut *dv,
            fc_weight: &mut *fc_weight.part,
            dep_conv_weight: &mut *dep_conv_weight.part,
            fc_bias: fc_bias.as_mut().map(|sum| &mut *sum.part),
            dep_conv_bias: dep_conv_bias.as_mut().map(|sum| &mut *sum.part),
        };
        let (path, rate2) = (path_arguments(arguments, [q, k, v]), arguments.rate2[0]);
        conv_path::backward_onto(dy, rate2, true, &path, from_conv, &parts.path, exec)?; // (B2) (B4)
        let (x, dx) = (cut(arguments.x, first, images, x_len), &mut gradients.x[first * x_len..][..images * x_len]);
        for (index, (dp, (weight, bias))) in [dq, dk, dv].into_iter().zip(&mut projections).enumerate() {
            let to = if index == 0 { &mut *dx } else { &mut dx_part[..images * x_len] };
            let (kernel, dbias) = (arguments.weights[index], Some(&mut *bias.part));
            pointwise_conv::backward(dp, x, kernel, to, &mut weight.part, dbias, &parts.projection, exec)?; // (B6)
            if index > 0 {
                let tasks = dx.chunks_mut(CHUNK).zip(dx_part.chunks(CHUNK));
                exec.for_each(x.len() / 4, tasks, |(y, x)| exec.run(Added { x, y }))?;
            }
        }
        for (weight, bias) in &mut projections {
            weight.take();
            bias.take();
        }
        fc_weight.take();
        dep_conv_weight.take();
        fc_bias.iter_mut().for_each(Sum::take);
        dep_conv_bias.iter_mut().for_each(Sum::take);
        dpe.take();
    }
    match (gradients.conv_p_weight, &d.term) {
        (Some(dweight), Some(term)) => {
            positional_term::backward(dpe.total, dweight, gradients.conv_p_bias, term, exec) // (B5)
        }
        _ => Ok(()),
    }
}

/// `images` of an array with `len` elements each.
fn cut<T>(x: &[T], first: usize, images: usize, len: usize) -> &[T] {
    &x[first * len..][..images * len]
}

/// A gradient that sums over images, and the part of some of them.
struct Sum<'a, T> {
    total: &'a mut [T],
    part: Buffer<T>,
}

impl<'a, T: Real> Sum<'a, T> {
    fn new(total: &'a mut [T]) -> Result<Self, Error> {
        total.fill(T::ZERO);
        let part = zeros(total.len())?;
        Ok(Sum { total, part })
    }

    fn take(&mut self) {
        for (sum, &x) in self.total.iter_mut().zip(self.part.iter()) {
            *sum += x;
        }
    }
}

/// Σ x·y: partial sums of `CHUNK` elements, then neighbours pair by pair.
fn inner_product<T: Real>(x: &[T], y: &[T], exec: &Exec) -> Result<T, Error> {
    let mut parts = zeros::<T>(x.len().div_ceil(CHUNK).max(1))?;
    let tasks = parts.iter_mut().zip(x.chunks(CHUNK).zip(y.chunks(CHUNK)));
    exec.for_each(x.len() / 4, tasks, |(part, (x, y))| *part = exec.run(Dot { x, y }))?;
    let mut len = parts.len();
    while len > 1 {
        for k in 0..len / 2 {
            parts[k] = parts[2 * k] + parts[2 * k + 1];
        }
        if len % 2 == 1 {
            parts[len / 2] = parts[len - 1];
        }
        len = len.div_ceil(2);
    }
    Ok(parts[0])
}

struct Dot<'a, T> {
    x: &'a [T],
    y: &'a [T],
}

impl<T: Real> Task for Dot<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        lanes::dot::<T, I>(self.x, self.y)
    }
}

/// y += x
struct Added<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Added<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        lanes::add_assign::<T, I>(self.x, self.y);
    }
}

/// y = factor·x
struct Scaled<'a, T> {
    factor: T,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Scaled<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (n, lanes, factor) = (self.y.len(), V::<T, I>::LANES, V::<T, I>::splat(self.factor));
        let (x, mut k) = (&self.x[..n], 0);
        while k + lanes <= n {
            (factor * V::<T, I>::load(&x[k..])).store(&mut self.y[k..]);
            k += lanes;
        }
        (factor * V::<T, I>::load_partial(&x[k..], n - k)).store_partial(&mut self.y[k..], n - k);
    }
}
