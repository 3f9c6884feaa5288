//! The forward in two passes over x: the statistics of e without e, then everything else, pixel by pixel, on the way into the product with
//! proj1_weight. Maps of E channels are never in memory.

use std::ops::Range;

use super::{Arguments, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gelu;
use crate::gemm::{DEPTH, Matrix, PANEL, Product, Source, in_images, pieces};
use crate::lanes::{Isa, Task, V, Vector};
use crate::pieces::reserved;
use crate::real::{Real, finite};
use crate::sums::{self, Pairwise, Terms};

/// Whether the sizes and the parameters allow the passes to take sums and factors in another order than the parts do.
pub fn serves<T: Real>(a: &Arguments<&[T]>, mean: &[T], var: &[T], d: &Dims) -> bool {
    let parameters = [a.proj0_weight, a.proj0_bias, a.bn_weight, a.bn_bias, a.proj1_weight, a.proj1_bias];
    let given = if d.training { [&[][..], &[]] } else { [mean, var] };
    d.expanded * d.outputs * d.images * d.pixels() > 0 && parameters.into_iter().chain(given).all(|x| finite(x))
}

/// x̂ of expanded channel r = i·R + … of group i is offset[r] + Σ_t weight[r, t]·(x[t·M + i] − shift[t·M + i]).
pub struct Fold<T> {
    pub weight: Buffer<T>,
    pub offset: Buffer<T>,
    pub shift: Buffer<T>,
    /// 1/√(var + eps)
    pub inverse: Buffer<T>,
}

impl<T: Real> Fold<T> {
    /// In training the shift is about the mean of x: then no digits are lost where x is far from zero. In evaluation it is zero.
    pub fn new(a: &Arguments<&[T]>, shift: Buffer<T>, mean: &[T], var: &[T], d: &Dims) -> Result<Fold<T>, Error> {
        let (mut weight, mut offset, mut inverse) =
            (zeros(a.proj0_weight.len())?, zeros(d.expanded)?, zeros(d.expanded)?);
        for r in 0..d.expanded {
            inverse[r] = T::ONE / (var[r] + T::from_f64(d.eps)).sqrt();
            offset[r] = (mean_of_row(a, &shift, r, d) - mean[r]) * inverse[r];
            for t in r * d.heads..(r + 1) * d.heads {
                weight[t] = a.proj0_weight[t] * inverse[r];
            }
        }
        Ok(Fold { weight, offset, shift, inverse })
    }
}

/// What e of channel r would be at a pixel where x is `x`.
fn mean_of_row<T: Real>(a: &Arguments<&[T]>, x: &[T], r: usize, d: &Dims) -> T {
    let mut sum = T::ZERO;
    for t in 0..d.heads {
        sum += a.proj0_weight[r * d.heads + t] * x[t * d.groups + r / d.rows()];
    }
    sum + a.proj0_bias[r]
}

/// Pixels whose x − mean stays in the first cache.
const PART: usize = 1024;

/// Pixels of every image that stand for all of them.
const SAMPLE: usize = 64;

/// A number near the mean of every channel of x in training, zeros in evaluation.
pub fn sampled<T: Real>(x: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let mut means = zeros(d.channels)?;
    if d.training {
        let pixels = d.pixels().min(SAMPLE);
        exec.for_each(d.images * d.channels * pixels / 4, means.chunks_mut(16).enumerate(), |(at, means)| {
            for (k, mean) in means.iter_mut().enumerate() {
                *mean = exec.run(Sum { x, c: at * 16 + k, pixels, d }) / T::from_usize(d.images * pixels);
            }
        })?;
    }
    Ok(means)
}

/// Of the first pixels of a channel in every image.
struct Sum<'a, T> {
    x: &'a [T],
    c: usize,
    pixels: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Sum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let Sum { x, c, pixels, d } = self;
        let mut sum = Pairwise::default();
        for n in 0..d.images {
            sums::add::<T, I, &[T]>(&&x[(n * d.channels + c) * d.pixels()..][..pixels], pixels, &mut sum);
        }
        sum.total()
    }
}

/// Mean and variance of e, group by group, and the mean of every channel of x, group after group.
fn statistics<T: Real>(
    a: &Arguments<&[T]>,
    means: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (n, pixels) = (T::from_usize(d.images * d.pixels()), d.pixels());
    let cost = d.images * d.pixels() * (d.rows() * (1 + d.heads / 8) + d.heads / 4);
    let tasks = means.chunks_mut(d.heads).zip(mean.chunks_mut(d.rows()).zip(var.chunks_mut(d.rows()))).enumerate();
    let space = || Ok((zeros(d.heads * d.pixels().min(PART))?, reserved(d.rows())?));
    exec.for_each_with(cost * d.groups, tasks, space, |(centred, sums), (group, (means, (mean, var)))| {
        for (t, of_x) in means.iter_mut().enumerate() {
            *of_x = exec.run(Sum { x: a.x, c: t * d.groups + group, pixels, d }) / n;
        }
        let weights = &a.proj0_weight[group * d.rows() * d.heads..][..d.rows() * d.heads];
        let weights = || weights.chunks_exact(d.heads);
        for (k, (mean, weight)) in mean.iter_mut().zip(weights()).enumerate() {
            let sum = weight.iter().zip(&*means).fold(T::ZERO, |sum, (&w, &x)| sum + w * x);
            *mean = sum + a.proj0_bias[group * d.rows() + k];
        }
        sums.clear();
        sums.extend(weights().map(|weight| (weight, Pairwise::default())));
        exec.run(SquareSums { x: a.x, means, group, centred, sums, d });
        for (var, (_, sum)) in var.iter_mut().zip(sums) {
            *var = sum.total() / n;
        }
    })
}

/// Σ (e − mean)² for the rows of a group, of which the weights are given.
struct SquareSums<'a, 'b, T> {
    x: &'a [T],
    means: &'a [T],
    group: usize,
    centred: &'a mut [T],
    sums: &'a mut [(&'b [T], Pairwise<T>)],
    d: &'a Dims,
}

impl<T: Real> Task for SquareSums<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, pixels) = (self.d, self.d.pixels());
        for n in 0..d.images {
            for columns in pieces(0..pixels, PART) {
                let len = columns.len();
                for (t, &mean) in self.means.iter().enumerate() {
                    let x = &self.x[(n * d.channels + t * d.groups + self.group) * pixels..][columns.clone()];
                    minus::<T, I>(x, mean, &mut self.centred[t * len..]);
                }
                for (weight, sum) in &mut *self.sums {
                    sums::add::<T, I, Squares<T>>(&Squares { x: self.centred, pitch: len, weight }, len, sum);
                }
            }
        }
    }
}

/// (e − mean)² from rows of x − mean, `pitch` apart.
struct Squares<'a, T> {
    x: &'a [T],
    pitch: usize,
    weight: &'a [T],
}

impl<T: Real> Terms<T> for Squares<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let mut z = V::<T, I>::zero();
        for (t, &w) in self.weight.iter().enumerate() {
            z = V::<T, I>::splat(w).mul_add(V::<T, I>::load_partial(&self.x[t * self.pitch + k..], n), z);
        }
        z * z
    }

    #[inline(always)]
    fn load<I: Isa>(&self, k: usize) -> V<T, I> {
        let mut z = V::<T, I>::zero();
        for (t, &w) in self.weight.iter().enumerate() {
            z = V::<T, I>::splat(w).mul_add(V::<T, I>::load(&self.x[t * self.pitch + k..]), z);
        }
        z * z
    }
}

/// y = x − m
#[inline(always)]
fn minus<T: Real, I: Isa>(x: &[T], m: T, y: &mut [T]) {
    let (n, lanes, m) = (x.len(), V::<T, I>::LANES, V::<T, I>::splat(m));
    let (y, mut k) = (&mut y[..n], 0);
    while k + lanes <= n {
        (V::<T, I>::load(&x[k..]) - m).store(&mut y[k..]);
        k += lanes;
    }
    if k < n {
        (V::<T, I>::load_partial(&x[k..], n - k) - m).store_partial(&mut y[k..], n - k);
    }
}

pub fn forward<T: Real>(
    a: &Arguments<&[T]>,
    y: &mut [T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let mut shift = zeros(d.channels)?;
    if d.training {
        let mut means = zeros(d.channels)?;
        statistics(a, &mut means, mean, var, d, exec)?;
        for (c, shift) in shift.iter_mut().enumerate() {
            *shift = means[c % d.groups * d.heads + c / d.groups];
        }
    }
    let fold = Fold::new(a, shift, mean, var, d)?;
    let product =
        Product { images: d.images, groups: 1, rows: d.outputs, depth: d.expanded, block: DEPTH, columns: d.pixels() };
    product.run(Matrix::Rows(a.proj1_weight), &Activated { a, fold: &fold, d }, Some(a.proj1_bias), y, exec) // (F5)
}

/// The maps a, made panel by panel.
struct Activated<'a, T> {
    a: &'a Arguments<&'a [T]>,
    fold: &'a Fold<T>,
    d: &'a Dims,
}

impl<T: Real> Source<T> for Activated<'_, T> {
    const COST: usize = 10;

    fn scratch(&self, columns: usize) -> Result<usize, Error> {
        Ok(self.d.heads * columns.next_multiple_of(PANEL))
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, _: usize, depth: Range<usize>, columns: Range<usize>, scratch: &mut [T], panels: &mut [T]) {
        let (d, fold, lanes) = (self.d, self.fold, V::<T, I>::LANES);
        if depth.is_empty() {
            return;
        }
        let (pitch, first) = (columns.len().next_multiple_of(PANEL), depth.start);
        for group in depth.start / d.rows()..depth.end.div_ceil(d.rows()) {
            centred::<T, I>(self.a.x, &fold.shift, group, columns.clone(), scratch, pitch, d); // (F1)
            for r in depth.start.max(group * d.rows())..depth.end.min((group + 1) * d.rows()) {
                let weight = &fold.weight[r * d.heads..(r + 1) * d.heads];
                let (offset, slope) = (V::<T, I>::splat(fold.offset[r]), V::<T, I>::splat(self.a.bn_weight[r]));
                let bias = V::<T, I>::splat(self.a.bn_bias[r]);
                for column in (0..pitch).step_by(PANEL) {
                    let to = &mut panels[column * depth.len() + (r - first) * PANEL..][..PANEL];
                    for k in (0..PANEL).step_by(lanes) {
                        let mut x_hat = offset;
                        for (t, &w) in weight.iter().enumerate() {
                            let x = V::<T, I>::load(&scratch[t * pitch + column + k..]);
                            x_hat = V::<T, I>::splat(w).mul_add(x, x_hat); // (F2)
                        }
                        gelu::exact(x_hat.mul_add(slope, bias)).0.store(&mut to[k..]); // (F3) (F4)
                    }
                }
            }
        }
    }
}

/// x − shift of the channels of a group at some columns, counted through all images: one row for each head, `pitch` apart.
#[inline(always)]
pub fn centred<T: Real, I: Isa>(
    x: &[T],
    shift: &[T],
    group: usize,
    columns: Range<usize>,
    to: &mut [T],
    pitch: usize,
    d: &Dims,
) {
    let pixels = d.pixels();
    for (t, row) in to.chunks_exact_mut(pitch).take(d.heads).enumerate() {
        let c = t * d.groups + group;
        for (image, inside, before) in in_images(columns.clone(), pixels) {
            let from = &x[(image * d.channels + c) * pixels..][inside];
            minus::<T, I>(from, shift[c], &mut row[before..]);
        }
    }
}
