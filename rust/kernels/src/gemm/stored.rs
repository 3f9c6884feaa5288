//! A right-hand side that exists in memory.

use std::ops::Range;

use super::{Ahead, PANEL, Source, Transpose, in_images, pieces};
use crate::error::Error;
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// x (images, groups, depth, columns).
pub struct Stored<'a, T> {
    pub x: &'a [T],
    pub groups: usize,
    pub depth: usize,
    pub columns: usize,
}

impl<T: Real> Source<T> for Stored<'_, T> {
    fn scratch(&self, _: usize) -> Result<usize, Error> {
        Ok(0)
    }

    fn ahead(&self, group: usize, depth: Range<usize>, columns: Range<usize>) -> Ahead<'_, T> {
        in_images(columns, self.columns).next().map_or(Ahead::NOTHING, |(image, inside, _)| {
            let first = (image * self.groups + group) * self.depth + depth.start;
            let x = self.x.get(first * self.columns + inside.start..).unwrap_or(&[]);
            Ahead::new([(x, depth.len()), (&[], 0)], self.columns, inside.len())
        })
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, group: usize, depth: Range<usize>, columns: Range<usize>, _: &mut [T], panels: &mut [T]) {
        for (image, inside, before) in in_images(columns, self.columns) {
            // Row by row: long runs of x.
            for (r, k) in depth.clone().enumerate() {
                let row = &self.x[((image * self.groups + group) * self.depth + k) * self.columns..][inside.clone()];
                into_panels::<T, I>(row, before, (r, depth.len()), panels);
            }
        }
    }
}

/// The transpose of x (columns of all images, depth).
pub struct Turned<'a, T> {
    pub x: &'a [T],
    pub depth: usize,
}

impl<T: Real> Source<T> for Turned<'_, T> {
    fn scratch(&self, _: usize) -> Result<usize, Error> {
        Ok(0)
    }

    fn ahead(&self, _: usize, _: Range<usize>, columns: Range<usize>) -> Ahead<'_, T> {
        let end = (columns.end * self.depth).min(self.x.len());
        Ahead::all([self.x.get(columns.start * self.depth..end).unwrap_or(&[]), &[]])
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, _: usize, depth: Range<usize>, columns: Range<usize>, _: &mut [T], panels: &mut [T]) {
        if depth.is_empty() {
            return;
        }
        for (part, y) in pieces(columns, PANEL).zip(panels.chunks_exact_mut(depth.len() * PANEL)) {
            let (x, rows) = (&self.x[part.start * self.depth + depth.start..], part.len());
            let turn = Transpose { x, x_pitch: self.depth, rows, columns: depth.len(), y, y_pitch: PANEL };
            turn.run::<I>();
        }
    }
}

/// x with every row times a number, `scale` (images, groups, depth).
pub struct Scaled<'a, T> {
    pub x: Stored<'a, T>,
    pub scale: &'a [T],
}

impl<T: Real> Source<T> for Scaled<'_, T> {
    fn scratch(&self, _: usize) -> Result<usize, Error> {
        Ok(0)
    }

    fn ahead(&self, group: usize, depth: Range<usize>, columns: Range<usize>) -> Ahead<'_, T> {
        self.x.ahead(group, depth, columns)
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, group: usize, depth: Range<usize>, columns: Range<usize>, _: &mut [T], panels: &mut [T]) {
        let Stored { x, groups, depth: all, columns: width } = self.x;
        for (image, inside, before) in in_images(columns, width) {
            for (r, k) in depth.clone().enumerate() {
                let row = (image * groups + group) * all + k;
                let (from, scale) = (&x[row * width..][inside.clone()], V::<T, I>::splat(self.scale[row]));
                map_into_panels::<T, I>(
                    from,
                    #[inline(always)]
                    |v| v * scale,
                    before,
                    (r, depth.len()),
                    panels,
                );
            }
        }
    }
}

/// Writes x into row r of panels of so many rows, from column `first` on.
#[inline(always)]
pub fn into_panels<T: Real, I: Isa>(x: &[T], first: usize, place: (usize, usize), panels: &mut [T]) {
    map_into_panels::<T, I>(
        x,
        #[inline(always)]
        |v| v,
        first,
        place,
        panels,
    );
}

/// The same with f of every element.
#[inline(always)]
fn map_into_panels<T: Real, I: Isa>(
    x: &[T],
    f: impl Fn(V<T, I>) -> V<T, I> + Copy,
    first: usize,
    (r, rows): (usize, usize),
    panels: &mut [T],
) {
    let mut done = 0;
    while done < x.len() {
        let (panel, at) = ((first + done) / PANEL, (first + done) % PANEL);
        let n = (PANEL - at).min(x.len() - done);
        map::<T, I>(&x[done..done + n], f, &mut panels[(panel * rows + r) * PANEL + at..][..n]);
        done += n;
    }
}

/// Copies at most a panel's row.
#[inline(always)]
pub fn copy<T: Real, I: Isa>(x: &[T], y: &mut [T]) {
    map::<T, I>(
        x,
        #[inline(always)]
        |v| v,
        y,
    );
}

#[inline(always)]
fn map<T: Real, I: Isa>(x: &[T], f: impl Fn(V<T, I>) -> V<T, I>, y: &mut [T]) {
    let lanes = V::<T, I>::LANES;
    let (n, x) = (y.len(), &x[..y.len()]);
    let mut k = 0;
    while k + lanes <= n {
        f(V::<T, I>::load(&x[k..])).store(&mut y[k..]);
        k += lanes;
    }
    if k < n {
        f(V::<T, I>::load_partial(&x[k..], n - k)).store_partial(&mut y[k..], n - k);
    }
}
