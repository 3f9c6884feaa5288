//! What dcol gives to the pixels of x that were read, and to offset and mask: (B4) and (B5) for some pixels and channels. The columns of
//! (F3), which the same pixels of x make, take its place.

use std::ops::Range;

use super::sample::{Cell, Cells, RUN, Run, members, offset_groups};
use super::{Arguments, Dims};
use crate::gemm::PANEL;
use crate::lanes::{AtCorners, Corners, Isa, Pieces, Task, V, Vector, add_assign, at_corners};
use crate::real::Real;

/// Gradients of one point: of mask, dy and dx.
pub const KINDS: usize = 3;

/// Adds what dcol gives to the pixels of x that were read, and to offset and mask.
pub struct Spread<'a, T> {
    pub x_last: &'a [T],
    pub arrays: &'a Arguments<&'a [T]>,
    /// Panels of (taps, channels), with `count` rows; those from row `before` on are dcol of `pixels` of an image, and become columns.
    pub columns: &'a mut [T],
    pub count: usize,
    pub before: usize,
    pub image: usize,
    pub pixels: Range<usize>,
    pub channels: Range<usize>,
    /// Framed, (H + 3, W + 2, all).
    pub dx_last: &'a mut [T],
    pub all: Range<usize>,
    /// (mask, dy, dx; points of the image)
    pub sums: &'a mut [T],
    pub d: &'a Dims,
}

impl<T: Real> Task for Spread<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, inputs, width) = (self.d, self.d.conv.inputs, self.channels.len());
        let image_len = d.framed() * inputs;
        let x = &self.x_last[self.image * image_len..][..image_len];
        let points = d.offset_groups * d.conv.taps() * d.pixels();
        let (mut cells, jump) = (Cells::NONE, self.count * PANEL);
        let start = self.image * d.pixels();
        let mut pixels = start + self.pixels.start..start + self.pixels.end;
        while !pixels.is_empty() {
            let run = Run::new(&pixels, d);
            let row = self.before + run.inside - self.pixels.start;
            for group in offset_groups(&self.channels, d) {
                let own = members(&self.channels, group, d);
                let from = Corners::new(x, (inputs, d.framed_row()), own.start, own.len());
                let first = own.start - self.all.start;
                let mut to = Corners::new(&mut *self.dx_last, (self.all.len(), d.framed_row()), first, own.len());
                for tap in 0..d.conv.taps() {
                    cells.find::<I>(self.arrays, &run, tap, group, d);
                    let mut sums = [[T::ZERO; RUN]; KINDS];
                    let column = tap * width + own.start - self.channels.start;
                    let start = column / PANEL * jump + row * PANEL;
                    let data = &mut *self.columns;
                    let mut columns = Pieces { data, inside: column % PANEL, piece: PANEL, jump };
                    for k in 0..run.len {
                        let cell = cells.get(k);
                        let (mut point, start) = (Point::<T, I>::new(&cell), start + k * PANEL);
                        at_corners::<T, I>(cell.first, &from, &mut to, point.w, &mut columns, start, &mut point);
                        for (sums, sum) in sums.iter_mut().zip(point.sums) {
                            sums[k] = sum.reduce_sum();
                        }
                    }
                    if d.zero_outside {
                        cells.zero_outside(&mut sums);
                    }
                    let point = (group * d.conv.taps() + tap) * d.pixels() + run.inside;
                    for (kind, sums) in sums.iter().enumerate() {
                        add_assign::<T, I>(&sums[..run.len], &mut self.sums[kind * points + point..][..run.len]);
                    }
                }
            }
            pixels.start += run.len;
        }
    }
}

/// A cell, and the gradients of its mask, dy and dx.
struct Point<T: Real, I: Isa> {
    w: [V<T, I>; 4],
    a: [V<T, I>; 2],
    b: [V<T, I>; 2],
    mask: V<T, I>,
    sums: [V<T, I>; KINDS],
}

impl<T: Real, I: Isa> Point<T, I> {
    #[inline(always)]
    fn new(cell: &Cell<T>) -> Self {
        let (a, b, one) = (V::<T, I>::splat(cell.a), V::<T, I>::splat(cell.b), V::<T, I>::splat(T::ONE));
        let (mask, sums) = (V::<T, I>::splat(cell.mask), [V::<T, I>::zero(); KINDS]);
        Point { w: cell.weights::<I>(), a: [one - a, a], b: [one - b, b], mask, sums }
    }
}

impl<T: Real, I: Isa> AtCorners<T, I> for Point<T, I> {
    /// From dcol: dS, which goes to the pixels by their weights, and the column.
    #[inline(always)]
    fn step(&mut self, z: [V<T, I>; 4], dcol: V<T, I>, n: usize) -> (V<T, I>, V<T, I>) {
        let Point { w, a, b, mask, sums } = self;
        // The lanes after `n` hold zeros, which an infinite mask must not turn into NaN.
        let ds = (*mask * dcol).keep(n, V::<T, I>::zero()); // (B4)
        let s = w[3].mul_add(z[3], w[2].mul_add(z[2], w[1].mul_add(z[1], w[0] * z[0])));
        sums[0] = dcol.mul_add(s, sums[0]); // (B4)
        // Slope by slope: where dS is infinite, sums over one side of the cell and the other would be ∞ − ∞.
        sums[1] = ds.mul_add(b[0].mul_add(z[2] - z[0], b[1] * (z[3] - z[1])), sums[1]); // (B5)
        sums[2] = ds.mul_add(a[0].mul_add(z[1] - z[0], a[1] * (z[3] - z[2])), sums[2]);
        (ds, *mask * s) // (B5) (F3)
    }
}
