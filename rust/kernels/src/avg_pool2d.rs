//! Average pooling: sums along the rows first, then down the columns.
//!
//! Shapes       x (N, C, H, W), kernel_size, stride, padding, ceil_mode, count_include_pad -> y (N, C, Ho, Wo)
//! Forward      (F1) n[i, j] = pixels of window (i, j)
//!              (F2) S[i, j] = Σ_pq x[i·sh − ph + p, j·sw − pw + q], 0 outside the map    (F3) y = S / n
//! Backward     (B1) dS = dy / n    (B2) dx[a, b] = Σ of dS over the windows that hold pixel (a, b)
//! Constraints  (C1) x has pixels    (C2) padding <= kernel_size / 2    (C3) at least one window

use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::planes::require_len;
use crate::real::Real;
pub use crate::windows::Dims;
use crate::windows::{Axis, TAPS};

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, counted: bool, exec: &Exec) -> Result<(), Error> {
    let (input, output) = d.plane();
    require_len("x", x, d.planes * input)?;
    require_len("y", y, d.planes * output)?;
    let batch = d.batch();
    let tasks = x.chunks(batch * input).zip(y.chunks_mut(batch * output));
    exec.for_each_with(
        d.cost(),
        tasks,
        || Scratch::new(d, counted),
        |scratch, (x, y)| {
            for (x, y) in x.chunks_exact(input).zip(y.chunks_exact_mut(output)) {
                exec.run(Forward { x, y, scratch: &mut *scratch, d, counted });
            }
        },
    )
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, counted: bool, exec: &Exec) -> Result<(), Error> {
    let (input, output) = d.plane();
    require_len("dy", dy, d.planes * output)?;
    require_len("dx", dx, d.planes * input)?;
    let batch = d.batch();
    let tasks = dy.chunks(batch * output).zip(dx.chunks_mut(batch * input));
    exec.for_each_with(
        d.cost(),
        tasks,
        || Scratch::new(d, counted),
        |scratch, (dy, dx)| {
            for (dy, dx) in dy.chunks_exact(output).zip(dx.chunks_exact_mut(input)) {
                exec.run(Backward { dy, dx, scratch: &mut *scratch, d, counted });
            }
        },
    )
}

/// Work space of one thread.
struct Scratch<T> {
    /// One row with a border of zeros and the sums of windows on it; unused if they are wide.
    row: Buffer<T>,
    row_sums: Buffer<T>,
    /// Sums of every row of the map in each window's columns, and their gradients; (H, Wo).
    sums: Buffer<T>,
    /// Columns that window j counts.
    columns: Buffer<T>,
    /// dS of one row.
    quotients: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    fn new(d: &Dims, counted: bool) -> Result<Scratch<T>, Error> {
        let count = d.columns.count;
        let positions = if d.columns.kernel > TAPS { 0 } else { d.columns.padded() };
        let mut columns = zeros::<T>(count)?;
        for (j, n) in columns.iter_mut().enumerate() {
            *n = T::from_usize(d.columns.pixels(j, counted)); // (F1)
        }
        let (row, row_sums) = (zeros(positions)?, zeros(positions)?);
        Ok(Scratch { row, row_sums, sums: zeros(d.rows.len * count)?, columns, quotients: zeros(count)? })
    }
}

struct Forward<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    scratch: &'a mut Scratch<T>,
    d: &'a Dims,
    counted: bool,
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (s, d) = (self.scratch, self.d);
        let count = d.columns.count;
        for (x, sums) in self.x.chunks_exact(d.columns.len).zip(s.sums.chunks_exact_mut(count)) {
            row_sums::<T, I>(x, &mut s.row, &mut s.row_sums, sums, &d.columns); // (F2)
        }
        for (i, y) in self.y.chunks_exact_mut(count).enumerate() {
            let inside = d.rows.inside(i);
            y.copy_from_slice(&s.sums[inside.start * count..][..count]);
            for row in s.sums[inside.start * count..inside.end * count].chunks_exact(count).skip(1) {
                lanes::add_assign::<T, I>(row, y); // (F2)
            }
            let n = T::from_usize(d.rows.pixels(i, self.counted));
            divide::<T, I>(y, &s.columns, n); // (F3)
        }
    }
}

struct Backward<'a, T> {
    dy: &'a [T],
    dx: &'a mut [T],
    scratch: &'a mut Scratch<T>,
    d: &'a Dims,
    counted: bool,
}

impl<T: Real> Task for Backward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (s, d) = (self.scratch, self.d);
        let count = d.columns.count;
        s.sums.fill(T::ZERO);
        for (i, dy) in self.dy.chunks_exact(count).enumerate() {
            s.quotients.copy_from_slice(dy);
            let n = T::from_usize(d.rows.pixels(i, self.counted));
            divide::<T, I>(&mut s.quotients, &s.columns, n); // (B1)
            let inside = d.rows.inside(i);
            for row in s.sums[inside.start * count..inside.end * count].chunks_exact_mut(count) {
                lanes::add_assign::<T, I>(&s.quotients, row); // (B2)
            }
        }
        for (sums, dx) in s.sums.chunks_exact(count).zip(self.dx.chunks_exact_mut(d.columns.len)) {
            dx.fill(T::ZERO);
            for (j, &sum) in sums.iter().enumerate() {
                for dx in &mut dx[d.columns.inside(j)] {
                    *dx += sum; // (B2)
                }
            }
        }
    }
}

/// y /= columns·n; the product is the exact number of pixels.
#[inline(always)]
fn divide<T: Real, I: Isa>(y: &mut [T], columns: &[T], n: T) {
    let (len, rows) = (y.len(), V::<T, I>::splat(n));
    let mut k = 0;
    while k < len {
        let n = V::<T, I>::LANES.min(len - k);
        let pixels = V::<T, I>::load_partial(&columns[k..], n) * rows;
        (V::<T, I>::load_partial(&y[k..], n) / pixels).store_partial(&mut y[k..], n);
        k += n;
    }
}

/// The sums of all windows on one row.
#[inline(always)]
fn row_sums<T: Real, I: Isa>(x: &[T], row: &mut [T], all: &mut [T], sums: &mut [T], columns: &Axis) {
    if columns.kernel > TAPS {
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum = lanes::sum::<T, I>(&x[columns.inside(j)]);
        }
        return;
    }
    // Windows that reach less far than the map leave its last columns out.
    let inside = columns.len.min(row.len() - columns.padding);
    row[columns.padding..][..inside].copy_from_slice(&x[..inside]);
    let positions = row.len() - columns.kernel + 1;
    let mut k = 0;
    while k < positions {
        let n = V::<T, I>::LANES.min(positions - k);
        let mut sum = V::<T, I>::load_partial(&row[k..], n);
        for q in 1..columns.kernel {
            sum = sum + V::<T, I>::load_partial(&row[k + q..], n);
        }
        sum.store_partial(&mut all[k..], n);
        k += n;
    }
    for (j, sum) in sums.iter_mut().enumerate() {
        *sum = all[j * columns.stride];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, random, unwritten};

    fn check<T: Real>(
        shape: [usize; 4],
        kernel: (usize, usize),
        stride: (usize, usize),
        padding: (usize, usize),
        tolerance: f64,
    ) {
        for (ceil, counted) in [(false, false), (false, true), (true, false), (true, true)] {
            let Ok(d) = Dims::new(&shape, kernel, Some(stride), padding, ceil) else { continue };
            let ((input, output), width) = (d.plane(), d.columns.len);
            let (x, dy) = (random::<T>(d.planes * input, 1), random::<T>(d.planes * output, 2));
            let (mut y_expected, mut dx_expected) = (vec![T::ZERO; dy.len()], vec![T::ZERO; x.len()]);
            for n in 0..d.planes {
                for (i, j) in (0..d.rows.count).flat_map(|i| (0..d.columns.count).map(move |j| (i, j))) {
                    let at = n * output + i * d.columns.count + j;
                    let pixels = T::from_usize(d.rows.pixels(i, counted) * d.columns.pixels(j, counted));
                    for (a, b) in d.rows.inside(i).flat_map(|a| d.columns.inside(j).map(move |b| (a, b))) {
                        y_expected[at] += x[n * input + a * width + b];
                        dx_expected[n * input + a * width + b] += dy[at] / pixels;
                    }
                    y_expected[at] = y_expected[at] / pixels;
                }
            }
            each_exec(|exec| {
                let (mut y, mut dx) = (unwritten::<T>(dy.len()), unwritten::<T>(x.len()));
                forward(&x, &mut y, &d, counted, exec).unwrap();
                backward(&dy, &mut dx, &d, counted, exec).unwrap();
                assert!(difference(&y, &y_expected) < tolerance, "{shape:?} {kernel:?} {stride:?} {padding:?} {ceil}");
                assert!(
                    difference(&dx, &dx_expected) < tolerance,
                    "{shape:?} {kernel:?} {stride:?} {padding:?} {ceil}"
                );
            });
        }
    }

    #[test]
    fn standard() {
        for (h, w) in [(1, 1), (3, 5), (8, 37), (40, 6)] {
            for (kernel, padding) in
                [((1, 1), (0, 0)), ((2, 2), (0, 1)), ((3, 3), (1, 1)), ((2, 5), (1, 2)), ((7, 4), (0, 0))]
            {
                for stride in [(1, 1), (2, 2), (3, 1), (1, 9)] {
                    check::<f32>([2, 3, h, w], kernel, stride, padding, 2e-6);
                }
            }
        }
        check::<f64>([3, 2, 11, 29], (3, 3), (2, 2), (1, 1), 4e-15);
        check::<f64>([1, 1, 3, 90], (3, 70), (1, 3), (1, 35), 4e-14);
        check::<f32>([0, 3, 5, 5], (2, 2), (2, 2), (0, 0), 1e-6);
    }
}
