//! MBConv's hidden maps: batch norm, activation, depthwise convolution, batch norm, activation.
//!
//! Shapes       x (N, C, H, W), in_weight (C,), in_bias (C,), weight (C, 1, kh, kw), out_weight (C,), out_bias (C,), statistics (C,) each
//!              -> y (N, C, Ho, Wo)
//! Forward      (F1) a = act(in_weight·x̂ + in_bias)    (F2) h = a * weight, each channel by itself
//!              (F3) y = act(out_weight·ĥ + out_bias); x̂ and ĥ as `batch_norm` makes them
//! Backward     (B1) dh, dout_weight, dout_bias = backward of (F3)    (B2) da, dweight = backward of (F2)
//!              (B3) dx, din_weight, din_bias = backward of (F1); a and h once more from x
//! Constraints  (C1) x is (N, C, H, W), C ≥ 1    (C2) weight is (C, 1, kh, kw)    (C3) the statistics are all given or none
//!
//! Channels do not meet. A task takes a few of them, in all images, through all steps while they are in the cache, with the kernels of
//! the operators that the steps are: the bits are those of one after the other, and memory sees x and y only.

use std::ops::Range;

use crate::batch_norm::{self, Saved};
use crate::batch_norm_act::{self, Activation};
use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Share;
use crate::planes::require_len;
use crate::real::Real;

type Pair = (usize, usize);

/// Elements of x in a task: with all that is made of them they fit into the second cache.
const TASK: usize = 1 << 15;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    before: batch_norm::Dims,
    conv: conv2d::Dims,
    after: batch_norm::Dims,
    training: bool,
    eps: f64,
}

impl Dims {
    /// `vectors` are the shapes of all that is (C,).
    pub fn new(
        x: &[usize],
        weight: &[usize],
        vectors: &[(&str, &[usize])],
        stride: Pair,
        padding: Pair,
        training: bool,
        eps: f64,
    ) -> Result<Dims, Error> {
        let channels = x.get(1).copied().unwrap_or(0);
        require(x.len() == 4 && channels > 0, || {
            format!("(C1) x: (N, C, H, W) with C >= 1 expected, got shape {x:?}")
        })?;
        require(weight.len() == 4 && weight[..2] == [channels, 1], || {
            format!("(C2) weight: ({channels}, 1, kh, kw) expected, got shape {weight:?}")
        })?;
        let before = batch_norm::Dims::new(x, vectors, training, eps)?;
        let conv = conv2d::Dims::new(x, weight, None, stride, padding, (1, 1), channels)?;
        let after = batch_norm::Dims::new(&conv.output(), &[], training, eps)?;
        Ok(Dims { before, conv, after, training, eps })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.conv.output()
    }

    /// The same for some of the channels.
    fn part(&self, channels: usize) -> Result<Dims, Error> {
        let conv2d::Dims { images, size, kernel, stride, padding, .. } = self.conv;
        let (x, weight) = ([images, channels, size.0, size.1], [channels, 1, kernel.0, kernel.1]);
        Dims::new(&x, &weight, &[], stride, padding, self.training, self.eps)
    }

    fn channels(&self) -> usize {
        self.conv.inputs
    }

    /// Elements of a plane of x and of y.
    fn planes(&self) -> Pair {
        (self.conv.size.0 * self.conv.size.1, self.conv.out_size.0 * self.conv.out_size.1)
    }

    /// Elements of x and of y for so many channels.
    fn lens(&self, channels: usize) -> Pair {
        let (plane, out_plane) = self.planes();
        (self.conv.images * channels * plane, self.conv.images * channels * out_plane)
    }

    /// Channels of a task.
    fn each(&self) -> usize {
        (TASK / self.lens(1).0.max(1)).clamp(1, self.channels())
    }

    fn check<T>(&self, x: &[T], parameters: &Parameters<T>, y: &[T]) -> Result<(), Error> {
        let (len, out_len) = self.lens(self.channels());
        require_len("x", x, len)?;
        require_len("y", y, out_len)?;
        require_len("weight", parameters.weight, self.channels() * self.conv.taps())?;
        parameters.norms.as_flattened().iter().try_for_each(|vector| require_len("a norm", vector, self.channels()))
    }

    /// What an activation and a batch norm of x and y cost one thread, in nanoseconds.
    fn cost(&self) -> usize {
        let (len, out_len) = self.lens(self.channels());
        2 * (len + out_len)
    }
}

/// What the operator is applied to besides x.
#[derive(Clone, Copy)]
pub struct Parameters<'a, T> {
    /// Weight and bias of the norm before the convolution and of the one after it.
    pub norms: [[&'a [T]; 2]; 2],
    pub weight: &'a [T],
    pub activation: Activation,
}

impl<T> Parameters<'_, T> {
    /// Those of some channels.
    fn of(&self, channels: Range<usize>, d: &Dims) -> Self {
        let taps = d.conv.taps();
        let norms = self.norms.map(|norm| norm.map(|vector| &vector[channels.clone()]));
        Parameters { norms, weight: &self.weight[channels.start * taps..channels.end * taps], ..*self }
    }
}

/// `statistics`, mean and var for each norm, are overwritten in training and read in evaluation.
pub fn forward<T: Real>(
    x: &[T],
    parameters: &Parameters<T>,
    y: &mut [T],
    statistics: [[&mut [T]; 2]; 2],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, parameters, y)?;
    let (each, (len, out_len), all) = (d.each(), d.lens(d.each()), (d.conv.images, d.channels()));
    let [before, after] = statistics.map(|norm| chunks(norm, each));
    let tasks = Share::new(y, all.0, all.1, d.planes().1).by_rows(each).zip(before.zip(after));
    let space = || Ok(([zeros(len)?, zeros(len)?], [zeros(out_len)?, zeros(out_len)?]));
    exec.try_for_each_with(d.cost(), tasks, space, |(inner, outer), (mut share, ([mean, var], [mean_h, var_h]))| {
        let (own, alone) = (share.rows(), &Exec::new(1, exec.level(), &|| false));
        let (p, d) = (parameters.of(own.clone(), d), &d.part(own.len())?);
        let ([before, after], act, (len, out_len)) = (p.norms, p.activation, d.lens(own.len()));
        let ([own_x, a], [h, y]) = (first(inner, len), first(outer, out_len));
        gather(x, &own, all, own_x);
        batch_norm_act::forward(own_x, before[0], before[1], a, mean, var, act, &d.before, alone)?; // (F1)
        conv2d::forward(a, p.weight, None, h, &d.conv, alone)?; // (F2)
        batch_norm_act::forward(h, after[0], after[1], y, mean_h, var_h, act, &d.after, alone)?; // (F3)
        scatter(y, all.0, &mut share);
        Ok(())
    })
}

pub struct Gradients<'a, T> {
    pub x: &'a mut [T],
    pub norms: [[&'a mut [T]; 2]; 2],
    pub weight: &'a mut [T],
    /// Of the running mean and var of both norms, which only evaluation has.
    pub running: Option<[[&'a mut [T]; 2]; 2]>,
}

pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    parameters: &Parameters<T>,
    statistics: [[&[T]; 2]; 2],
    gradients: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, parameters, dy)?;
    d.check(gradients.x, parameters, dy)?;
    let (each, (len, out_len), all) = (d.each(), d.lens(d.each()), (d.conv.images, d.channels()));
    let Gradients { x: dx, mut norms, weight: dweight, running } = gradients;
    let [before, after] = norms.each_mut().map(|norm| chunks(norm.each_mut().map(|vector| &mut **vector), each));
    let shares = Share::new(dx, all.0, all.1, d.planes().0).by_rows(each);
    let tasks = shares.zip(dweight.chunks_mut(each * d.conv.taps())).zip(before.zip(after));
    let space = || {
        let kept = [zeros(each)?, zeros(each)?];
        let inner = [zeros(len)?, zeros(len)?, zeros(len)?, zeros(len)?];
        Ok((inner, [zeros(out_len)?, zeros(out_len)?, zeros(out_len)?], kept))
    };
    exec.try_for_each_with(2 * d.cost(), tasks, space, |(inner, outer, kept), ((mut share, dweight), (to, to_h))| {
        let (own, alone) = (share.rows(), &Exec::new(1, exec.level(), &|| false));
        let (p, d) = (parameters.of(own.clone(), d), &d.part(own.len())?);
        let ([before, after], act, (len, out_len)) = (p.norms, p.activation, d.lens(own.len()));
        let ([own_x, a, da, slope], [dy_own, h, dh]) = (first(inner, len), first(outer, out_len));
        let [[mean, var], [mean_h, var_h]] = statistics.map(|norm| norm.map(|vector| &vector[own.clone()]));
        gather(dy, &own, all, dy_own);
        gather(x, &own, all, own_x);
        let [kept_mean, kept_var] = first(kept, own.len());
        kept_mean.copy_from_slice(mean);
        kept_var.copy_from_slice(var);
        let fixed = d.before.fixed();
        batch_norm::forward(own_x, before[0], before[1], a, kept_mean, kept_var, &fixed, alone)?;
        act.value_and_slope(a, slope, alone); // (F1) again
        conv2d::forward(a, p.weight, None, h, &d.conv, alone)?; // (F2) again
        let saved = Saved { dy: dy_own, x: h, weight: after[0], mean: mean_h, var: var_h };
        batch_norm_act::backward(saved, after[1], norm_gradients(dh, to_h), act, &d.after, alone)?; // (B1)
        conv2d::backward(dh, a, p.weight, da, dweight, None, &d.conv, alone)?; // (B2)
        act.pull(da, slope, alone);
        let saved = Saved { dy: slope, x: own_x, weight: before[0], mean, var };
        batch_norm::backward(saved, norm_gradients(a, to), &d.before, alone)?; // (B3)
        scatter(a, all.0, &mut share);
        Ok(())
    })?;
    for (k, running) in running.into_iter().flatten().enumerate() {
        let [dweight, dbias] = &norms[k];
        d.before.running_gradients(parameters.norms[k][0], statistics[k][1], (dweight, dbias), running);
    }
    Ok(())
}

fn norm_gradients<'a, T>(dx: &'a mut [T], [dweight, dbias]: [&'a mut [T]; 2]) -> batch_norm::Gradients<'a, T> {
    batch_norm::Gradients { dx, dweight, dbias, running: None }
}

/// Two vectors cut alike.
fn chunks<T>([a, b]: [&mut [T]; 2], each: usize) -> impl Iterator<Item = [&mut [T]; 2]> {
    a.chunks_mut(each).zip(b.chunks_mut(each)).map(|(a, b)| [a, b])
}

/// The first elements of every buffer.
fn first<T, const N: usize>(buffers: &mut [Buffer<T>; N], len: usize) -> [&mut [T]; N] {
    buffers.each_mut().map(|buffer| &mut buffer[..len])
}

/// The channels `own` of all images of x, one image after the other.
fn gather<T: Real>(x: &[T], own: &Range<usize>, (images, all): Pair, to: &mut [T]) {
    let plane = x.len() / (images * all).max(1);
    for n in 0..images {
        let from = &x[(n * all + own.start) * plane..(n * all + own.end) * plane];
        to[n * from.len()..(n + 1) * from.len()].copy_from_slice(from);
    }
}

/// Channels that were gathered to their places.
fn scatter<T: Real>(from: &[T], images: usize, share: &mut Share<T>) {
    let rows = share.rows();
    let plane = from.len() / (images * rows.len()).max(1);
    for (at, from) in from.chunks_exact(plane.max(1)).enumerate() {
        let (n, c) = (at / rows.len(), at % rows.len());
        share.from_column(n * plane).row(rows.start + c, 0..plane).copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests;
