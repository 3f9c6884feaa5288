//! What dcol gives to the pixels of x that were read, and to offset and mask: (B4) and (B5) for some pixels and channels.

use std::ops::Range;

use super::sample::{Cell, Cells, RUN, Run, TAPS, members, offset_groups};
use super::{Arguments, Dims};
use crate::lanes::{Isa, Task, V, Vector, add_assign};
use crate::real::Real;

/// Gradients of one point: of mask, dy and dx.
pub const KINDS: usize = 3;

/// Adds what dcol gives to the pixels of x that were read, and to offset and mask.
pub struct Spread<'a, T> {
    pub x_last: &'a [T],
    pub arrays: &'a Arguments<&'a [T]>,
    pub dcol: &'a [T],
    pub pitch: usize,
    /// Counted through all images, all of one image.
    pub pixels: Range<usize>,
    pub channels: Range<usize>,
    /// Framed, (H + 3, W + 2, channels).
    pub dx_last: &'a mut [T],
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
        let groups = offset_groups(&self.channels, d);
        let points = d.offset_groups * d.conv.taps() * d.pixels();
        let (mut cells, mut sums) = ([Cells::NONE; TAPS], [[[T::ZERO; RUN]; KINDS]; TAPS]);
        let mut pixels = self.pixels.clone();
        while !pixels.is_empty() {
            let run = Run::new(&pixels, d);
            let x = &self.x_last[run.image * image_len..][..image_len];
            let row = pixels.start - self.pixels.start;
            for group in groups.clone() {
                let own = members(&self.channels, group, d);
                let (first, len) = (own.start - self.channels.start, own.len());
                let mut taps = 0..d.conv.taps();
                while !taps.is_empty() {
                    let count = TAPS.min(taps.len());
                    for (at, cells) in cells[..count].iter_mut().enumerate() {
                        cells.find::<I>(self.arrays, &run, taps.start + at, group, d);
                    }
                    for k in 0..run.len {
                        for (at, cells) in cells[..count].iter().enumerate() {
                            let (cell, tap) = (cells.get(k), taps.start + at);
                            let dcol = &self.dcol[(row + k) * self.pitch + tap * width + first..][..len];
                            let z = cell.rows(x, inputs, own.start, len, d);
                            let to = cell.rows_mut(self.dx_last, width, first, len, d);
                            let each = spread::<T, I>(&cell, dcol, z, to);
                            for kind in 0..KINDS {
                                sums[at][kind][k] = if cell.outside && d.zero_outside { T::ZERO } else { each[kind] };
                            }
                        }
                    }
                    for (at, sums) in sums[..count].iter().enumerate() {
                        let point = (group * d.conv.taps() + taps.start + at) * d.pixels() + run.inside;
                        for (kind, sums) in sums.iter().enumerate() {
                            add_assign::<T, I>(&sums[..run.len], &mut self.sums[kind * points + point..][..run.len]);
                        }
                    }
                    taps.start += count;
                }
            }
            pixels.start += run.len;
        }
    }
}

/// What dcol gives to a cell's pixels, and the gradients of its mask, dy and dx.
#[inline(always)]
fn spread<T: Real, I: Isa>(cell: &Cell<T>, dcol: &[T], z: [&[T]; 4], mut to: [&mut [T]; 4]) -> [T; KINDS] {
    let (lanes, n) = (V::<T, I>::LANES, dcol.len());
    let mut sums = [V::<T, I>::zero(); KINDS];
    let mut c = 0;
    while c + lanes <= n {
        step::<T, I>(cell, dcol, z, &mut to, &mut sums, c, lanes);
        c += lanes;
    }
    if c < n {
        step::<T, I>(cell, dcol, z, &mut to, &mut sums, c, n - c);
    }
    [sums[0].reduce_sum(), sums[1].reduce_sum(), sums[2].reduce_sum()]
}

/// `n` channels from `c` on.
#[inline(always)]
fn step<T: Real, I: Isa>(
    cell: &Cell<T>,
    dcol: &[T],
    z: [&[T]; 4],
    to: &mut [&mut [T]; 4],
    sums: &mut [V<T, I>; KINDS],
    c: usize,
    n: usize,
) {
    let (w, a, b) = (cell.weights::<I>(), V::<T, I>::splat(cell.a), V::<T, I>::splat(cell.b));
    let one = V::<T, I>::splat(T::ONE);
    let g = V::<T, I>::load_partial(&dcol[c..], n);
    let z = [
        V::<T, I>::load_partial(&z[0][c..], n),
        V::<T, I>::load_partial(&z[1][c..], n),
        V::<T, I>::load_partial(&z[2][c..], n),
        V::<T, I>::load_partial(&z[3][c..], n),
    ];
    // The lanes after `n` hold zeros, which an infinite mask must not turn into NaN.
    let ds = (V::<T, I>::splat(cell.mask) * g).keep(n, V::<T, I>::zero()); // (B4)
    let s = w[3].mul_add(z[3], w[2].mul_add(z[2], w[1].mul_add(z[1], w[0] * z[0])));
    sums[0] = g.mul_add(s, sums[0]); // (B4)
    sums[1] = ds.mul_add((one - b).mul_add(z[2] - z[0], b * (z[3] - z[1])), sums[1]); // (B5)
    sums[2] = ds.mul_add((one - a).mul_add(z[1] - z[0], a * (z[3] - z[2])), sums[2]);
    for k in 0..4 {
        let to = &mut to[k][c..];
        w[k].mul_add(ds, V::<T, I>::load_partial(to, n)).store_partial(to, n); // (B5)
    }
}
