//! Max pooling. The columns of every row first, then the rows: the largest, and among equals the first row by row.
//!
//! Shapes       x (N, C, H, W), kernel_size, stride, padding, ceil_mode -> y (N, C, Ho, Wo)
//! Forward      (F1) U_pq[i, j] = x[i·sh − ph + p, j·sw − pw + q], −∞ outside the map
//!              (F2) m = first pq, row by row, with the largest U_pq inside the map    (F3) y = U_m
//! Backward     (B1) dx[a, b] = Σ of dy over the windows that chose pixel (a, b)
//! Constraints  (C1) x has pixels    (C2) padding <= kernel_size / 2    (C3) at least one window
//!
//! A window with a NaN gives NaN, and its first NaN gets the gradient.

use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::require_len;
use crate::real::Real;
use crate::windows::Axis;
pub use crate::windows::Dims;

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (input, output) = d.plane();
    require_len("x", x, d.planes * input)?;
    require_len("y", y, d.planes * output)?;
    let batch = d.batch();
    let tasks = x.chunks(batch * input).zip(y.chunks_mut(batch * output));
    exec.for_each_with(
        d.cost(),
        tasks,
        || Scratch::new(d, false),
        |scratch, (x, y)| {
            for (x, y) in x.chunks_exact(input).zip(y.chunks_exact_mut(output)) {
                if d.is_wide() {
                    each_wide(x, d, |at, from| y[at] = x[from]);
                } else {
                    exec.run(Largest { x, scratch: &mut *scratch, d, place: false });
                    y.copy_from_slice(&scratch.best); // (F3)
                }
            }
        },
    )
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (input, output) = d.plane();
    require_len("dy", dy, d.planes * output)?;
    require_len("x", x, d.planes * input)?;
    require_len("dx", dx, d.planes * input)?;
    let batch = d.batch();
    let tasks = dy.chunks(batch * output).zip(x.chunks(batch * input)).zip(dx.chunks_mut(batch * input));
    exec.for_each_with(
        d.cost().saturating_mul(2),
        tasks,
        || Scratch::new(d, true),
        |scratch, ((dy, x), dx)| {
            dx.fill(T::ZERO);
            let planes = dy.chunks_exact(output).zip(x.chunks_exact(input)).zip(dx.chunks_exact_mut(input));
            for ((dy, x), dx) in planes {
                if d.is_wide() {
                    each_wide(x, d, |at, from| dx[from] += dy[at]); // (B1)
                } else {
                    exec.run(Largest { x, scratch: &mut *scratch, d, place: true });
                    scratch.scatter(dy, dx, d);
                }
            }
        },
    )
}

/// Calls `visit(output pixel, input pixel it chose)` for all windows of one plane, by looking at every pixel of each.
fn each_wide<T: Real>(x: &[T], d: &Dims, mut visit: impl FnMut(usize, usize)) {
    let width = d.columns.len;
    for i in 0..d.rows.count {
        for j in 0..d.columns.count {
            let columns = d.columns.inside(j);
            let mut best = d.rows.inside(i).start * width + columns.start;
            for a in d.rows.inside(i) {
                for at in a * width + columns.start..a * width + columns.end {
                    let larger = x[at] > x[best] || x[at].is_nan();
                    if larger && !x[best].is_nan() {
                        best = at; // (F2)
                    }
                }
            }
            visit(i * d.columns.count + j, best);
        }
    }
}

/// Work space of one thread.
struct Scratch<T> {
    /// One row with a border of −∞, the largest of every window on it, and its tap.
    row: Buffer<T>,
    row_best: Buffer<T>,
    row_tap: Buffer<T>,
    /// Of every row of the map, the largest of each window and its tap; (H, Wo).
    largest: Buffer<T>,
    tap: Buffer<T>,
    /// Of every window, the largest and its row; (Ho, Wo).
    best: Buffer<T>,
    best_row: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    /// Without `place` only what the largest numbers need.
    fn new(d: &Dims, place: bool) -> Result<Scratch<T>, Error> {
        let wide = d.is_wide();
        let room = |n: usize, wanted: bool| zeros::<T>(if wide || !wanted { 0 } else { n });
        let (positions, rows) = (d.columns.padded(), d.rows.len * d.columns.count);
        let mut row = room(positions, true)?;
        row.fill(T::NEG_INFINITY);
        Ok(Scratch {
            row,
            row_best: room(positions, true)?,
            row_tap: room(positions, place)?,
            largest: room(rows, true)?,
            tap: room(rows, place)?,
            best: room(d.plane().1, true)?,
            best_row: room(d.plane().1, place)?,
        })
    }

    /// dx += dy at the chosen pixels.
    fn scatter(&self, dy: &[T], dx: &mut [T], d: &Dims) {
        let (width, count) = (d.columns.len, d.columns.count);
        for i in 0..d.rows.count {
            let first = d.rows.inside(i).start;
            let rows = &self.best_row[i * count..][..count];
            for (j, (&row, &dy)) in rows.iter().zip(&dy[i * count..][..count]).enumerate() {
                let a = first + row.to_int() as usize;
                let tap = self.tap[a * count + j].to_int() as usize;
                // A tap in the padding before the row is that of a row of −∞: its first pixel stands for it.
                let b = (j * d.columns.stride + tap).saturating_sub(d.columns.padding);
                dx[a * width + b] += dy; // (B1)
            }
        }
    }
}

/// Fills `best`, and with `place` also `tap` and `best_row`, for one plane.
struct Largest<'a, T> {
    x: &'a [T],
    scratch: &'a mut Scratch<T>,
    d: &'a Dims,
    place: bool,
}

impl<T: Real> Task for Largest<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (s, rows, columns) = (self.scratch, &self.d.rows, &self.d.columns);
        let count = columns.count;
        for (a, x) in self.x.chunks_exact(columns.len).enumerate() {
            // Windows that reach less far than the map leave its last columns out.
            let n = columns.len.min(s.row.len() - columns.padding);
            s.row[columns.padding..][..n].copy_from_slice(&x[..n]); // (F1)
            if self.place {
                row_places::<T, I>(&s.row, &mut s.row_best, &mut s.row_tap, columns);
                pick(&s.row_tap, &mut s.tap[a * count..][..count], columns.stride);
            } else {
                row_values::<T, I>(&s.row, &mut s.row_best, columns);
            }
            pick(&s.row_best, &mut s.largest[a * count..][..count], columns.stride);
        }
        for i in 0..rows.count {
            let inside = rows.inside(i);
            let first = &s.largest[inside.start * count..inside.end * count];
            let best = &mut s.best[i * count..][..count];
            if self.place {
                column_places::<T, I>(first, best, &mut s.best_row[i * count..][..count]);
            } else {
                column_values::<T, I>(first, best);
            }
        }
    }
}

/// Every stride-th element.
#[inline(always)]
fn pick<T: Real>(from: &[T], to: &mut [T], stride: usize) {
    if stride == 1 {
        to.copy_from_slice(&from[..to.len()]);
        return;
    }
    for (j, to) in to.iter_mut().enumerate() {
        *to = from[j * stride];
    }
}

/// The largest of `kernel` neighbours from every position on.
#[inline(always)]
fn row_values<T: Real, I: Isa>(row: &[T], best: &mut [T], columns: &Axis) {
    let positions = row.len() - columns.kernel + 1;
    let mut k = 0;
    while k < positions {
        let n = V::<T, I>::LANES.min(positions - k);
        let mut largest = V::<T, I>::load_partial(&row[k..], n);
        for q in 1..columns.kernel {
            largest = largest.max(V::<T, I>::load_partial(&row[k + q..], n));
        }
        largest.store_partial(&mut best[k..], n);
        k += n;
    }
}

/// The same with the first tap that has it.
#[inline(always)]
fn row_places<T: Real, I: Isa>(row: &[T], best: &mut [T], tap: &mut [T], columns: &Axis) {
    let positions = row.len() - columns.kernel + 1;
    let mut k = 0;
    while k < positions {
        let n = V::<T, I>::LANES.min(positions - k);
        let (mut largest, mut place) = (V::<T, I>::load_partial(&row[k..], n), V::<T, I>::zero());
        for q in 1..columns.kernel {
            let next = V::<T, I>::load_partial(&row[k + q..], n);
            (largest, place) = larger(largest, place, next, V::<T, I>::splat(T::from_usize(q)));
        }
        largest.store_partial(&mut best[k..], n);
        place.store_partial(&mut tap[k..], n);
        k += n;
    }
}

/// The largest of every column of `rows`.
#[inline(always)]
fn column_values<T: Real, I: Isa>(rows: &[T], best: &mut [T]) {
    let (count, mut k) = (best.len(), 0);
    while k < count {
        let n = V::<T, I>::LANES.min(count - k);
        let mut largest = V::<T, I>::load_partial(&rows[k..], n);
        for row in rows[count..].chunks_exact(count) {
            largest = largest.max(V::<T, I>::load_partial(&row[k..], n));
        }
        largest.store_partial(&mut best[k..], n);
        k += n;
    }
}

/// The same with the first row that has it.
#[inline(always)]
fn column_places<T: Real, I: Isa>(rows: &[T], best: &mut [T], best_row: &mut [T]) {
    let (count, mut k) = (best.len(), 0);
    while k < count {
        let n = V::<T, I>::LANES.min(count - k);
        let (mut largest, mut place) = (V::<T, I>::load_partial(&rows[k..], n), V::<T, I>::zero());
        for (a, row) in rows[count..].chunks_exact(count).enumerate() {
            let next = V::<T, I>::load_partial(&row[k..], n);
            (largest, place) = larger(largest, place, next, V::<T, I>::splat(T::from_usize(a + 1)));
        }
        largest.store_partial(&mut best[k..], n);
        place.store_partial(&mut best_row[k..], n);
        k += n;
    }
}

/// `next` where it is larger than `best` or the first NaN, otherwise `best`; each with its place.
#[inline(always)]
fn larger<A: Vector>(best: A, place: A, next: A, next_place: A) -> (A, A) {
    let (value, at) = (A::if_le(next, best, best, next), A::if_le(next, best, place, next_place));
    (A::if_le(best, best, value, best), A::if_le(best, best, at, place)) // a NaN stays
}

#[cfg(test)]
mod tests;
