//! Columns of the product, some pixels of y at a time: (F1), (F2) and (F3) for some taps and channels.

use std::ops::Range;

use super::{Arguments, Dims};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// Most pixels of a run.
pub const RUN: usize = 16;

/// Most taps whose cells are held at once: those of a 3x3 kernel, and few enough for a small stack.
pub const TAPS: usize = 9;

/// Successive pixels of y in one image, and where their windows begin in x.
pub struct Run<T> {
    pub image: usize,
    /// The first of them in its image.
    pub inside: usize,
    pub len: usize,
    y: [T; RUN],
    x: [T; RUN],
}

impl<T: Real> Run<T> {
    /// As many of `pixels`, counted through all images, as make a run.
    #[inline(always)]
    pub fn new(pixels: &Range<usize>, d: &Dims) -> Self {
        let (image, inside, conv) = (pixels.start / d.pixels(), pixels.start % d.pixels(), &d.conv);
        let len = RUN.min(pixels.len()).min(d.pixels() - inside);
        let start = |at: usize, stride, padding: usize| T::from_f64(((at * stride) as isize - padding as isize) as f64);
        let (mut i, mut j) = (inside / conv.out_size.1, inside % conv.out_size.1);
        let (mut y, mut x) = ([T::ZERO; RUN], [T::ZERO; RUN]);
        for k in 0..len {
            y[k] = start(i, conv.stride.0, conv.padding.0);
            x[k] = start(j, conv.stride.1, conv.padding.1);
            j += 1;
            if j == conv.out_size.1 {
                (i, j) = (i + 1, 0);
            }
        }
        Run { image, inside, len, y, x }
    }
}

/// What is read at a tap of a pixel of y by the channels of an offset group.
#[derive(Clone, Copy)]
pub struct Cell<T> {
    /// Z_00 in the framed map. Z_01 is the next pixel, Z_10 and Z_11 are a row further on.
    pub first: usize,
    pub a: T,
    pub b: T,
    pub mask: T,
    /// The factors of Z_00, Z_01, Z_10 and Z_11.
    weights: [T; 4],
}

impl<T: Real> Cell<T> {
    #[inline(always)]
    pub fn weights<I: Isa>(&self) -> [V<T, I>; 4] {
        let [a, b, c, d] = self.weights;
        [V::<T, I>::splat(a), V::<T, I>::splat(b), V::<T, I>::splat(c), V::<T, I>::splat(d)]
    }

    /// `len` of `width` channels from `channel` on, at Z_00, Z_01, Z_10 and Z_11.
    #[inline(always)]
    pub fn rows<'a>(&self, x: &'a [T], width: usize, channel: usize, len: usize, d: &Dims) -> [&'a [T]; 4] {
        let (first, down) = (self.first * width + channel, d.framed_row() * width);
        [&x[first..][..len], &x[first + width..][..len], &x[first + down..][..len], &x[first + down + width..][..len]]
    }
}

/// The cells of a tap for the pixels of a run.
#[derive(Clone, Copy)]
pub struct Cells<T> {
    first: [usize; RUN],
    a: [T; RUN],
    b: [T; RUN],
    mask: [T; RUN],
    weights: [[T; RUN]; 4],
    /// 1 where a coordinate is −1 or less.
    outside: [T; RUN],
}

impl<T: Real> Cells<T> {
    pub const NONE: Self = Cells {
        first: [0; RUN],
        a: [T::ZERO; RUN],
        b: [T::ZERO; RUN],
        mask: [T::ONE; RUN],
        weights: [[T::ZERO; RUN]; 4],
        outside: [T::ZERO; RUN],
    };

    #[inline(always)]
    pub fn get(&self, k: usize) -> Cell<T> {
        let Cells { first, a, b, mask, weights: w, .. } = self;
        Cell { first: first[k], a: a[k], b: b[k], mask: mask[k], weights: [w[0][k], w[1][k], w[2][k], w[3][k]] }
    }

    /// Zeros where a coordinate is −1 or less.
    #[inline(always)]
    pub fn zero_outside(&self, gradients: &mut [[T; RUN]]) {
        for gradient in gradients {
            for (gradient, &outside) in gradient.iter_mut().zip(&self.outside) {
                if outside > T::ZERO {
                    *gradient = T::ZERO;
                }
            }
        }
    }

    /// Tap `tap` of an offset group. No index is formed before the coordinates are known to be near the map.
    #[inline(always)]
    pub fn find<I: Isa>(&mut self, arrays: &Arguments<&[T]>, run: &Run<T>, tap: usize, group: usize, d: &Dims) {
        let (pixels, conv, lanes) = (d.pixels(), &d.conv, V::<T, I>::LANES);
        let map = (run.image * d.offset_groups + group) * conv.taps() + tap;
        let (p, q) = (tap / conv.kernel.1, tap % conv.kernel.1);
        let (down, right) = (splat::<T, I>(p * conv.dilation.0), splat::<T, I>(q * conv.dilation.1));
        let (height, width) = (splat::<T, I>(conv.size.0), splat::<T, I>(conv.size.1));
        let (zero, one, nan) = (V::<T, I>::zero(), V::<T, I>::splat(T::ONE), V::<T, I>::splat(T::NAN));
        let dy = &arrays.offset[2 * map * pixels + run.inside..][..run.len];
        let dx = &arrays.offset[(2 * map + 1) * pixels + run.inside..][..run.len];
        if let Some(mask) = arrays.mask {
            self.mask[..run.len].copy_from_slice(&mask[map * pixels + run.inside..][..run.len]);
        }
        let (mut rows, mut columns) = ([T::ZERO; RUN], [T::ZERO; RUN]);
        let mut k = 0;
        while k < run.len {
            let n = lanes.min(run.len - k);
            let y = V::<T, I>::load(&run.y[k..]) + down + V::<T, I>::load_partial(&dy[k..], n); // (F1)
            let x = V::<T, I>::load(&run.x[k..]) + right + V::<T, I>::load_partial(&dx[k..], n);
            let outside = V::<T, I>::if_le(y, -one, one, V::<T, I>::if_le(x, -one, one, zero));
            let near_y = V::<T, I>::if_le(-one, y, V::<T, I>::if_le(height, y, zero, one), zero);
            let near_x = V::<T, I>::if_le(-one, x, V::<T, I>::if_le(width, x, zero, one), zero);
            let near = near_y * near_x;
            let value = V::<T, I>::if_le(y, y, V::<T, I>::if_le(x, x, zero, nan), nan);
            let (y0, x0) = (y.floor(), x.floor());
            let (a, b) = (V::<T, I>::if_le(one, near, y - y0, value), V::<T, I>::if_le(one, near, x - x0, value));
            let (c, d) = (one - a, one - b);
            for (to, weight) in self.weights.iter_mut().zip([c * d, c * b, a * d, a * b]) {
                weight.store(&mut to[k..]);
            }
            a.store(&mut self.a[k..]);
            b.store(&mut self.b[k..]);
            outside.store(&mut self.outside[k..]);
            V::<T, I>::if_le(one, near, y0, height).store(&mut rows[k..]);
            V::<T, I>::if_le(one, near, x0, -one).store(&mut columns[k..]);
            k += lanes;
        }
        for k in 0..RUN {
            // From the corner of the frame, (−1, −1). A length that T rounds up does not lead out of the map.
            let (row, column) = ((rows[k].to_f64() as isize + 1) as usize, (columns[k].to_f64() as isize + 1) as usize);
            self.first[k] = row.min(conv.size.0 + 1) * d.framed_row() + column.min(conv.size.1);
        }
    }
}

#[inline(always)]
fn splat<T: Real, I: Isa>(n: usize) -> V<T, I> {
    V::<T, I>::splat(T::from_usize(n))
}

/// The offset groups of some channels, and which of the channels belong to each.
#[inline(always)]
pub fn offset_groups(channels: &Range<usize>, d: &Dims) -> Range<usize> {
    channels.start / d.together..channels.end.div_ceil(d.together)
}

#[inline(always)]
pub fn members(channels: &Range<usize>, offset_group: usize, d: &Dims) -> Range<usize> {
    let first = offset_group * d.together;
    channels.start.max(first)..channels.end.min(first + d.together)
}

/// col[pixel, (tap, channel)] for pixels in a row.
pub struct Sample<'a, T> {
    pub x_last: &'a [T],
    pub arrays: &'a Arguments<&'a [T]>,
    pub pixels: Range<usize>,
    pub taps: Range<usize>,
    pub channels: Range<usize>,
    pub to: &'a mut [T],
    /// From a pixel to the next.
    pub pitch: usize,
    /// From a tap to the next.
    pub jump: usize,
    pub d: &'a Dims,
}

impl<T: Real> Task for Sample<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, inputs) = (self.d, self.d.conv.inputs);
        let image_len = d.framed() * inputs;
        let groups = offset_groups(&self.channels, d);
        let mut cells = [Cells::NONE; TAPS];
        let mut pixels = self.pixels.clone();
        while !pixels.is_empty() {
            let run = Run::new(&pixels, d);
            let x = &self.x_last[run.image * image_len..][..image_len];
            let row = pixels.start - self.pixels.start;
            for group in groups.clone() {
                let own = members(&self.channels, group, d);
                let mut taps = self.taps.clone();
                while !taps.is_empty() {
                    let count = TAPS.min(taps.len());
                    for (at, cells) in cells[..count].iter_mut().enumerate() {
                        cells.find::<I>(self.arrays, &run, taps.start + at, group, d);
                    }
                    for k in 0..run.len {
                        let to = (row + k) * self.pitch + (taps.start - self.taps.start) * self.jump;
                        let mut to = to + own.start - self.channels.start;
                        for cells in &cells[..count] {
                            let cell = cells.get(k);
                            let z = cell.rows(x, inputs, own.start, own.len(), d);
                            blend::<T, I>(&cell, z, &mut self.to[to..][..own.len()]);
                            to += self.jump;
                        }
                    }
                    taps.start += count;
                }
            }
            pixels.start += run.len;
        }
    }
}

#[inline(always)]
fn blend<T: Real, I: Isa>(cell: &Cell<T>, z: [&[T]; 4], to: &mut [T]) {
    let (lanes, w, m) = (V::<T, I>::LANES, cell.weights::<I>(), V::<T, I>::splat(cell.mask));
    let (n, mut c) = (to.len(), 0);
    while c + lanes <= n {
        blended::<T, I>(w, m, z, c, lanes).store(&mut to[c..]);
        c += lanes;
    }
    if c < n {
        blended::<T, I>(w, m, z, c, n - c).store_partial(&mut to[c..], n - c);
    }
}

/// `n` channels from `c` on.
#[inline(always)]
fn blended<T: Real, I: Isa>(w: [V<T, I>; 4], m: V<T, I>, z: [&[T]; 4], c: usize, n: usize) -> V<T, I> {
    let mut s = w[0] * V::<T, I>::load_partial(&z[0][c..], n);
    s = w[1].mul_add(V::<T, I>::load_partial(&z[1][c..], n), s);
    s = w[2].mul_add(V::<T, I>::load_partial(&z[2][c..], n), s);
    s = w[3].mul_add(V::<T, I>::load_partial(&z[3][c..], n), s); // (F2)
    m * s // (F3)
}
