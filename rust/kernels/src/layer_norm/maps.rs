//! Channels before other axes: neighbours in `inner` are neighbours in memory, and lanes.

use std::ops::Range;

use super::{Dims, Saved};
use crate::error::Error;
use crate::exec::Exec;
use crate::gemm::{Share, columns_apart};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// Vectors that go down the channels together.
const WIDE: usize = 4;

/// Channels that are added in one chain; chains are added in order.
const CHAIN: usize = 128;

/// Columns of a task: a multiple of the widest strip, or whole images.
fn columns_each<T>(d: &Dims, exec: &Exec) -> usize {
    columns_apart::<T>(Exec::batch(d.n).next_multiple_of(WIDE * 16), d.outer, (d.n, d.inner), exec)
}

#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    m: &mut [T],
    r: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let each = columns_each::<T>(d, exec);
    let shares = Share::new(y, d.outer, d.n, d.inner).by_columns(each);
    let tasks = shares.zip(m.chunks_mut(each).zip(r.chunks_mut(each)));
    exec.for_each(d.len(), tasks, |(y, (m, r))| exec.run(Forward { x, weight, bias, y, m, r, d }))
}

struct Forward<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    y: Share<'a, T>,
    m: &'a mut [T],
    r: &'a mut [T],
    d: &'a Dims,
}

/// x[row, column + u·LANES ..] for the vectors of a strip, of which the last may hold `n` lanes only.
#[inline(always)]
fn load<T: Real, I: Isa, const U: usize>(x: &[T], n: usize) -> [V<T, I>; U] {
    let mut vectors = [V::<T, I>::zero(); U];
    if U > 1 {
        let x = &x[..U * V::<T, I>::LANES];
        for u in 0..U {
            vectors[u] = V::<T, I>::load(&x[u * V::<T, I>::LANES..]);
        }
    } else {
        vectors[0] = V::<T, I>::load_partial(x, n);
    }
    vectors
}

#[inline(always)]
fn store<T: Real, I: Isa, const U: usize>(vectors: [V<T, I>; U], y: &mut [T], n: usize) {
    if U > 1 {
        let y = &mut y[..U * V::<T, I>::LANES];
        for u in 0..U {
            vectors[u].store(&mut y[u * V::<T, I>::LANES..]);
        }
    } else {
        vectors[0].store_partial(y, n);
    }
}

/// Ranges of rows that are added in one chain.
#[inline(always)]
fn chain(first: usize, rows: usize) -> Range<usize> {
    first..rows.min(first + CHAIN)
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (columns, wide) = (self.y.columns(), WIDE * V::<T, I>::LANES);
        let mut column = columns.start;
        while column < columns.end {
            let room = self.y.from_column(column).room();
            let mut done = 0;
            while done < room {
                if done + wide <= room {
                    self.strip::<I, WIDE>(column + done, wide);
                    done += wide;
                } else {
                    let n = V::<T, I>::LANES.min(room - done);
                    self.strip::<I, 1>(column + done, n);
                    done += n;
                }
            }
            column += room;
        }
    }
}

impl<T: Real> Forward<'_, T> {
    /// `n` columns from `column` on, all in one image.
    #[inline(always)]
    fn strip<I: Isa, const U: usize>(&mut self, column: usize, n: usize) {
        let Dims { n: rows, inner, .. } = *self.d;
        let x = &self.x[column / inner * rows * inner + column % inner..];
        let count = V::<T, I>::splat(T::from_usize(rows));
        let mut m = [V::<T, I>::zero(); U];
        let mut first = 0;
        while first < rows {
            let mut sum = [V::<T, I>::zero(); U];
            for row in chain(first, rows) {
                let x = load::<T, I, U>(&x[row * inner..], n);
                for u in 0..U {
                    sum[u] = sum[u] + x[u];
                }
            }
            for u in 0..U {
                m[u] = m[u] + sum[u];
            }
            first += CHAIN;
        }
        let mut variance = [V::<T, I>::zero(); U];
        for u in 0..U {
            m[u] = m[u] / count; // (F1)
        }
        let mut first = 0;
        while first < rows {
            let mut sum = [V::<T, I>::zero(); U];
            for row in chain(first, rows) {
                let x = load::<T, I, U>(&x[row * inner..], n);
                for u in 0..U {
                    sum[u] = (x[u] - m[u]).mul_add(x[u] - m[u], sum[u]);
                }
            }
            for u in 0..U {
                variance[u] = variance[u] + sum[u];
            }
            first += CHAIN;
        }
        for u in 0..U {
            variance[u] = variance[u] / count;
        }
        let at = column - self.y.columns().start;
        store::<T, I, U>(m, &mut self.m[at..], n);
        store::<T, I, U>(variance, &mut self.r[at..], n);
        let eps = T::from_f64(self.d.eps);
        for r in &mut self.r[at..at + n] {
            *r = T::ONE / (*r + eps).sqrt(); // (F2)
        }
        let r = load::<T, I, U>(&self.r[at..], n);
        let mut to = self.y.from_column(column);
        for row in 0..rows {
            let (weight, bias) = (V::<T, I>::splat(self.weight[row]), V::<T, I>::splat(self.bias[row]));
            let x = load::<T, I, U>(&x[row * inner..], n);
            let mut y = [V::<T, I>::zero(); U];
            for u in 0..U {
                y[u] = ((x[u] - m[u]) * r[u]).mul_add(weight, bias); // (F3) (F4)
            }
            store::<T, I, U>(y, to.row(row, 0..n), n);
        }
    }
}

pub fn input_gradient<T: Real>(
    saved: Saved<T>,
    weight: &[T],
    dx: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let shares = Share::new(dx, d.outer, d.n, d.inner).by_columns(columns_each::<T>(d, exec));
    exec.for_each(2 * d.len(), shares, |dx| exec.run(InputGradient { saved, weight, dx, d }))
}

struct InputGradient<'a, T> {
    saved: Saved<'a, T>,
    weight: &'a [T],
    dx: Share<'a, T>,
    d: &'a Dims,
}

impl<T: Real> Task for InputGradient<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (columns, wide) = (self.dx.columns(), WIDE * V::<T, I>::LANES);
        let mut column = columns.start;
        while column < columns.end {
            let room = self.dx.from_column(column).room();
            let mut done = 0;
            while done < room {
                if done + wide <= room {
                    self.strip::<I, WIDE>(column + done, wide);
                    done += wide;
                } else {
                    let n = V::<T, I>::LANES.min(room - done);
                    self.strip::<I, 1>(column + done, n);
                    done += n;
                }
            }
            column += room;
        }
    }
}

impl<T: Real> InputGradient<'_, T> {
    #[inline(always)]
    fn strip<I: Isa, const U: usize>(&mut self, column: usize, n: usize) {
        let Dims { n: rows, inner, .. } = *self.d;
        let Saved { dy, x, m, r } = self.saved;
        let start = column / inner * rows * inner + column % inner;
        let (dy, x) = (&dy[start..], &x[start..]);
        let (m, r) = (load::<T, I, U>(&m[column..], n), load::<T, I, U>(&r[column..], n));
        let (mut mean, mut slope) = ([V::<T, I>::zero(); U], [V::<T, I>::zero(); U]);
        let mut first = 0;
        while first < rows {
            let (mut sum, mut product) = ([V::<T, I>::zero(); U], [V::<T, I>::zero(); U]);
            for row in chain(first, rows) {
                let weight = V::<T, I>::splat(self.weight[row]);
                let (dy, x) = (load::<T, I, U>(&dy[row * inner..], n), load::<T, I, U>(&x[row * inner..], n));
                for u in 0..U {
                    let dx_hat = weight * dy[u]; // (B3)
                    sum[u] = sum[u] + dx_hat;
                    product[u] = dx_hat.mul_add((x[u] - m[u]) * r[u], product[u]);
                }
            }
            for u in 0..U {
                mean[u] = mean[u] + sum[u];
                slope[u] = slope[u] + product[u];
            }
            first += CHAIN;
        }
        let count = V::<T, I>::splat(T::from_usize(rows));
        for u in 0..U {
            (mean[u], slope[u]) = (mean[u] / count, slope[u] / count);
        }
        let mut to = self.dx.from_column(column);
        for row in 0..rows {
            let weight = V::<T, I>::splat(self.weight[row]);
            let (dy, x) = (load::<T, I, U>(&dy[row * inner..], n), load::<T, I, U>(&x[row * inner..], n));
            let mut dx = [V::<T, I>::zero(); U];
            for u in 0..U {
                dx[u] = r[u] * (weight * dy[u] - mean[u] - (x[u] - m[u]) * r[u] * slope[u]); // (B4)
            }
            store::<T, I, U>(dx, to.row(row, 0..n), n);
        }
    }
}
