//! The forward in two passes over x: the statistics of e without e, then everything else, pixel by pixel, on the way into the product with
//! proj1_weight. Maps of E channels are never in memory.

use std::ops::Range;

use super::{Arguments, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gelu;
use crate::gemm::{DEPTH, Matrix, PANEL, Product, Source, in_images};
use crate::lanes::{Isa, Task, V, Vector};
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
    /// The shift is the mean of x in training: then no digits are lost where x is far from zero. In evaluation it is zero.
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

/// The mean of every channel of x in training, zeros in evaluation.
pub fn shift<T: Real>(x: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let mut means = zeros(d.channels)?;
    if d.training {
        let each = Exec::batch(d.images * d.pixels() / 4);
        exec.for_each(x.len() / 4, means.chunks_mut(each).enumerate(), |(at, means)| {
            for (k, mean) in means.iter_mut().enumerate() {
                *mean = exec.run(Sum { x, c: at * each + k, d }) / T::from_usize(d.images * d.pixels());
            }
        })?;
    }
    Ok(means)
}

struct Sum<'a, T> {
    x: &'a [T],
    c: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Sum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let (mut sum, pixels) = (Pairwise::default(), self.d.pixels());
        for n in 0..self.d.images {
            sums::add::<T, I, &[T]>(&&self.x[(n * self.d.channels + self.c) * pixels..][..pixels], pixels, &mut sum);
        }
        sum.total()
    }
}

/// Mean and variance of e from one pass over x.
fn statistics<T: Real>(
    a: &Arguments<&[T]>,
    shift: &[T],
    mean: &mut [T],
    var: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    for (r, mean) in mean.iter_mut().enumerate() {
        *mean = mean_of_row(a, shift, r, d);
    }
    let cost = d.images * d.pixels() * d.rows() * (1 + d.heads / 8);
    exec.for_each(cost * d.groups, var.chunks_mut(d.rows()).enumerate(), |(group, var)| {
        for (k, var) in var.iter_mut().enumerate() {
            let weight = &a.proj0_weight[(group * d.rows() + k) * d.heads..][..d.heads];
            *var = exec.run(SquareSum { x: a.x, weight, shift, group, d }) / T::from_usize(d.images * d.pixels());
        }
    })
}

struct SquareSum<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    shift: &'a [T],
    group: usize,
    d: &'a Dims,
}

impl<T: Real> Task for SquareSum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let (mut sum, d, pixels) = (Pairwise::default(), self.d, self.d.pixels());
        for n in 0..d.images {
            let x = &self.x[(n * d.channels + self.group) * pixels..];
            let shift = &self.shift[self.group..];
            let terms = Squares { x, step: d.groups * pixels, weight: self.weight, shift, groups: d.groups };
            sums::add::<T, I, Squares<T>>(&terms, pixels, &mut sum);
        }
        sum.total()
    }
}

/// (e − mean)²
struct Squares<'a, T> {
    x: &'a [T],
    step: usize,
    weight: &'a [T],
    shift: &'a [T],
    groups: usize,
}

impl<T: Real> Terms<T> for Squares<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let mut z = V::<T, I>::zero();
        for (t, &w) in self.weight.iter().enumerate() {
            let x = V::<T, I>::load_partial(&self.x[t * self.step + k..], n)
                - V::<T, I>::splat(self.shift[t * self.groups]);
            z = V::<T, I>::splat(w).mul_add(x, z);
        }
        z * z
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
    let shift = shift(a.x, d, exec)?;
    if d.training {
        statistics(a, &shift, mean, var, d, exec)?;
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

    fn scratch(&self, _columns: usize) -> Result<usize, Error> {
        Ok(self.d.heads * PANEL)
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, _: usize, depth: Range<usize>, columns: Range<usize>, scratch: &mut [T], panels: &mut [T]) {
        let (d, fold, lanes) = (self.d, self.fold, V::<T, I>::LANES);
        if depth.is_empty() {
            return;
        }
        for group in depth.start / d.rows()..depth.end.div_ceil(d.rows()) {
            let rows = depth.start.max(group * d.rows())..depth.end.min((group + 1) * d.rows());
            let (mut column, mut panel) = (columns.start, 0);
            while column < columns.end {
                let own = column..columns.end.min(column + PANEL);
                centred(self.a.x, &fold.shift, group, own, scratch, PANEL, d); // (F1)
                for r in rows.clone() {
                    let weight = &fold.weight[r * d.heads..(r + 1) * d.heads];
                    let to = &mut panels[panel + (r - depth.start) * PANEL..][..PANEL];
                    for k in (0..PANEL).step_by(lanes) {
                        let mut x_hat = V::<T, I>::splat(fold.offset[r]);
                        for (t, &w) in weight.iter().enumerate() {
                            x_hat = V::<T, I>::splat(w).mul_add(V::<T, I>::load(&scratch[t * PANEL + k..]), x_hat); // (F2)
                        }
                        let u =
                            x_hat.mul_add(V::<T, I>::splat(self.a.bn_weight[r]), V::<T, I>::splat(self.a.bn_bias[r])); // (F3)
                        gelu::exact(u).0.store(&mut to[k..]); // (F4)
                    }
                }
                column += PANEL;
                panel += depth.len() * PANEL;
            }
        }
    }
}

/// x − shift of the channels of a group at some columns, counted through all images: one row for each head, `pitch` apart.
#[inline(always)]
pub fn centred<T: Real>(
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
            for (to, &x) in row[before..before + from.len()].iter_mut().zip(from) {
                *to = x - shift[c];
            }
        }
    }
}
