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
//! the operators that the steps are: the bits are those of one after the other, and memory sees x and y only. The norms read x and dy
//! where they are and write y and dx to their places.

use std::ops::Range;

use crate::batch_norm::{self, Behind, Channels, Identity, Saved};
use crate::batch_norm_act::{self, Activation};
use crate::conv2d;
use crate::depthwise;
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Share;
use crate::planes::require_len;
use crate::real::Real;

type Pair = (usize, usize);

/// Elements of x in a task: with all that is made of them they fit into the second cache. Tests have several tasks for a thread.
const TASK: usize = if cfg!(test) { 1 << 7 } else { 1 << 15 };

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
    let (each, images, (plane, out_plane), (len, out_len)) = (d.each(), d.conv.images, d.planes(), d.lens(d.each()));
    let [before, after] = statistics.map(|norm| chunks(norm, each));
    let tasks = Share::of_result(y, images, d.channels(), out_plane).by_rows(each).zip(before.zip(after));
    let skip = exec.threads() * each; // threads take tasks in turns, if all goes evenly
    let space = || Ok(([zeros(len)?], [zeros(out_len)?], d.before.space()?, d.after.space()?, None));
    exec.try_for_each_with(d.cost(), tasks, space, |(inner, outer, on_x, on_h, wide), (mut y, (of_x, of_h))| {
        let (own, alone) = (y.rows(), &Exec::new(1, exec.level(), &|| false));
        let (p, part, act) = (parameters.of(own.clone(), d), d.part(own.len())?, parameters.activation);
        let (len, out_len) = d.lens(own.len());
        let ([a], [h]) = (first(inner, len), first(outer, out_len));
        let (x, next) = (Channels::new(x, own.start, &d.before), Channels::new(x, own.start + skip, &d.before));
        let mut to = Share::new(a, images, own.len(), plane);
        batch_norm_act::forward_rows(x, p.norms[0], None, &mut to, of_x, act, &d.before, on_x, alone); // (F1)
        depthwise::forward_in(wide, a, p.weight, h, &part.conv, alone)?; // (F2)
        let h = Channels::new(h, 0, &part.after);
        batch_norm_act::forward_rows(h, p.norms[1], Some(next), &mut y, of_h, act, &d.after, on_h, alone); // (F3)
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
    let (each, images, (plane, out_plane), (len, out_len)) = (d.each(), d.conv.images, d.planes(), d.lens(d.each()));
    let Gradients { x: dx, mut norms, weight: dweight, running } = gradients;
    let [before, after] = norms.each_mut().map(|norm| chunks(norm.each_mut().map(|vector| &mut **vector), each));
    let shares = Share::of_result(dx, images, d.channels(), plane).by_rows(each);
    let tasks = shares.zip(dweight.chunks_mut(each * d.conv.taps())).zip(before.zip(after));
    let skip = exec.threads() * each; // as above
    let space = || {
        let inner = [zeros(len)?, zeros(len)?, zeros(len)?];
        let norms = (d.before.space()?, d.before.backward_space(false)?, d.after.backward_space(true)?);
        Ok((inner, [zeros(out_len)?, zeros(out_len)?], norms, [zeros(each)?, zeros(each)?], (None, None)))
    };
    exec.try_for_each_with(2 * d.cost(), tasks, space, |space, ((mut dx, dweight), (to_x, to_h))| {
        let (inner, outer, (again, on_x, on_h), kept, (wide, gradients)) = space;
        let (own, alone) = (dx.rows(), &Exec::new(1, exec.level(), &|| false));
        let (p, part, act) = (parameters.of(own.clone(), d), d.part(own.len())?, parameters.activation);
        let [[weight, _], [weight_h, bias_h]] = p.norms;
        let [[mean, var], [mean_h, var_h]] = statistics.map(|norm| norm.map(|vector| &vector[own.clone()]));
        let (len, out_len) = d.lens(own.len());
        let ([a, da, slope], [h, dh]) = (first(inner, len), first(outer, out_len));
        let (x, next) = (Channels::new(x, own.start, &d.before), Channels::new(x, own.start + skip, &d.before));
        let dy = Channels::new(dy, own.start, &d.after);
        let fixed = first(kept, own.len());
        fixed[0].copy_from_slice(mean);
        fixed[1].copy_from_slice(var);
        let mut to = Share::new(a, images, own.len(), plane);
        batch_norm::forward_rows(
            None::<Behind<T, Identity>>,
            x,
            p.norms[0],
            &mut to,
            fixed,
            &d.before.fixed(),
            again,
            alone,
        );
        act.value_and_slope(a, slope, alone); // (F1) again
        depthwise::forward_in(wide, a, p.weight, h, &part.conv, alone)?; // (F2) again
        let saved = Saved { dy, x: Channels::new(h, 0, &part.after), weight: weight_h, mean: mean_h, var: var_h };
        let mut to = Share::new(dh, images, own.len(), out_plane);
        batch_norm_act::backward_rows(saved, bias_h, Some(next), &mut to, to_h, act, &d.after, on_h, alone); // (B1)
        depthwise::backward_in(gradients, dh, a, p.weight, da, dweight, &part.conv, alone)?; // (B2)
        act.pull(da, slope, alone);
        let saved = Saved { dy: Channels::new(slope, 0, &part.before), x, weight, mean, var };
        batch_norm::backward_rows(None::<(Behind<T, Identity>, &[T])>, saved, &mut dx, to_x, &d.before, on_x, alone); // (B3)
        Ok(())
    })?;
    for (k, running) in running.into_iter().flatten().enumerate() {
        let [dweight, dbias] = &norms[k];
        d.before.running_gradients(parameters.norms[k][0], statistics[k][1], (dweight, dbias), running);
    }
    Ok(())
}

/// Two vectors cut alike.
fn chunks<T>([a, b]: [&mut [T]; 2], each: usize) -> impl Iterator<Item = [&mut [T]; 2]> {
    a.chunks_mut(each).zip(b.chunks_mut(each)).map(|(a, b)| [a, b])
}

/// The first elements of every buffer.
fn first<T, const N: usize>(buffers: &mut [Buffer<T>; N], len: usize) -> [&mut [T]; N] {
    buffers.each_mut().map(|buffer| &mut buffer[..len])
}

#[cfg(test)]
mod tests;
