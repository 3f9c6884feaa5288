//! Columns of the product, one pixel of y after the other: (F1), (F2) and (F3) for some taps and channels.

use std::ops::Range;

use super::{Arguments, Dims};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;
use crate::sampling::Point;

/// What is read at a tap of a pixel of y by the channels of an offset group.
pub struct Place<T> {
    pub point: Point<T>,
    /// Where mask and its gradient have this tap.
    pub index: usize,
    /// Whether a coordinate is −1 or less.
    pub outside: bool,
}

/// A pixel of y, and where its window begins in the padded map. Going on to the next one takes no division.
#[derive(Clone, Copy)]
pub struct Pixel {
    pub image: usize,
    pub inside: usize,
    i: usize,
    j: usize,
}

impl Pixel {
    /// `pixel` counts through all images.
    #[inline(always)]
    pub fn new(pixel: usize, d: &Dims) -> Pixel {
        let (image, inside) = (pixel / d.pixels(), pixel % d.pixels());
        Pixel { image, inside, i: inside / d.conv.out_size.1, j: inside % d.conv.out_size.1 }
    }

    #[inline(always)]
    pub fn next(&mut self, d: &Dims) {
        (self.inside, self.j) = (self.inside + 1, self.j + 1);
        if self.j == d.conv.out_size.1 {
            (self.i, self.j) = (self.i + 1, 0);
        }
        if self.i == d.conv.out_size.0 {
            *self = Pixel { image: self.image + 1, inside: 0, i: 0, j: 0 };
        }
    }
}

/// Tap (p, q) of the kernel.
#[derive(Clone, Copy)]
pub struct Tap {
    index: usize,
    p: usize,
    q: usize,
}

impl Tap {
    #[inline(always)]
    pub fn new(index: usize, d: &Dims) -> Tap {
        Tap { index, p: index / d.conv.kernel.1, q: index % d.conv.kernel.1 }
    }

    #[inline(always)]
    pub fn next(&mut self, d: &Dims) {
        (self.index, self.q) = (self.index + 1, self.q + 1);
        if self.q == d.conv.kernel.1 {
            (self.p, self.q) = (self.p + 1, 0);
        }
    }
}

#[inline(always)]
pub fn place<T: Real>(offset: &[T], pixel: Pixel, tap: Tap, offset_group: usize, d: &Dims) -> Place<T> {
    let (pixels, conv) = (d.pixels(), &d.conv);
    let map = (pixel.image * d.offset_groups + offset_group) * conv.taps() + tap.index;
    let base = |at: usize, padding: usize| T::from_f64((at as isize - padding as isize) as f64);
    let start = 2 * map * pixels + pixel.inside;
    let y = base(pixel.i * conv.stride.0 + tap.p * conv.dilation.0, conv.padding.0) + offset[start]; // (F1)
    let x = base(pixel.j * conv.stride.1 + tap.q * conv.dilation.1, conv.padding.1) + offset[start + pixels];
    let point = Point::new(y, x, conv.size.0, conv.size.1);
    Place { point, index: map * pixels + pixel.inside, outside: y <= -T::ONE || x <= -T::ONE }
}

/// The offset groups of some channels, and which of the channels belong to each.
#[inline(always)]
pub fn offset_groups(channels: &Range<usize>, d: &Dims) -> Range<usize> {
    channels.start / d.together()..channels.end.div_ceil(d.together())
}

#[inline(always)]
pub fn members(channels: &Range<usize>, offset_group: usize, d: &Dims) -> Range<usize> {
    let first = offset_group * d.together();
    channels.start.max(first)..channels.end.min(first + d.together())
}

/// col[pixel, (tap, channel)] for pixels in a row, `pitch` apart.
pub struct Sample<'a, T> {
    pub x_last: &'a [T],
    pub arrays: &'a Arguments<&'a [T]>,
    pub pixels: Range<usize>,
    pub taps: Range<usize>,
    pub channels: Range<usize>,
    pub to: &'a mut [T],
    pub pitch: usize,
    pub d: &'a Dims,
}

impl<T: Real> Task for Sample<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, width) = (self.d, self.channels.len());
        let (inputs, image_len) = (d.conv.inputs, (d.plane() + 1) * d.conv.inputs);
        let groups = offset_groups(&self.channels, d);
        let (mut pixel, first) = (Pixel::new(self.pixels.start, d), Tap::new(self.taps.start, d));
        for row in 0..self.pixels.len() {
            let x = &self.x_last[pixel.image * image_len..][..image_len];
            let to = &mut self.to[row * self.pitch..][..self.taps.len() * width];
            let mut tap = first;
            for at in 0..self.taps.len() {
                for group in groups.clone() {
                    let own = members(&self.channels, group, d);
                    let Place { point, index, .. } = place(self.arrays.offset, pixel, tap, group, d);
                    let to = &mut to[at * width + own.start - self.channels.start..][..own.len()];
                    let z = rows(x, &point, &own, inputs);
                    blend::<T, I>(z, &point, self.arrays.mask.map(|mask| mask[index]), to);
                }
                tap.next(d);
            }
            pixel.next(d);
        }
    }
}

/// The channels `own` of the four pixels of a point.
#[inline(always)]
pub fn rows<'a, T: Real>(x: &'a [T], point: &Point<T>, own: &Range<usize>, inputs: usize) -> [&'a [T]; 4] {
    [
        &x[point.at[0] * inputs + own.start..][..own.len()],
        &x[point.at[1] * inputs + own.start..][..own.len()],
        &x[point.at[2] * inputs + own.start..][..own.len()],
        &x[point.at[3] * inputs + own.start..][..own.len()],
    ]
}

#[inline(always)]
fn blend<T: Real, I: Isa>(z: [&[T]; 4], point: &Point<T>, mask: Option<T>, to: &mut [T]) {
    let (lanes, w) = (V::<T, I>::LANES, point.weights());
    let w = [V::<T, I>::splat(w[0]), V::<T, I>::splat(w[1]), V::<T, I>::splat(w[2]), V::<T, I>::splat(w[3])];
    let m = V::<T, I>::splat(mask.unwrap_or(T::ONE));
    let n = to.len();
    let mut c = 0;
    while c + lanes <= n {
        let mut s = w[0] * V::<T, I>::load(&z[0][c..]);
        s = w[1].mul_add(V::<T, I>::load(&z[1][c..]), s);
        s = w[2].mul_add(V::<T, I>::load(&z[2][c..]), s);
        s = w[3].mul_add(V::<T, I>::load(&z[3][c..]), s); // (F2)
        (m * s).store(&mut to[c..]); // (F3)
        c += lanes;
    }
    if c < n {
        let rest = n - c;
        let mut s = w[0] * V::<T, I>::load_partial(&z[0][c..], rest);
        s = w[1].mul_add(V::<T, I>::load_partial(&z[1][c..], rest), s);
        s = w[2].mul_add(V::<T, I>::load_partial(&z[2][c..], rest), s);
        s = w[3].mul_add(V::<T, I>::load_partial(&z[3][c..], rest), s);
        (m * s).store_partial(&mut to[c..], rest);
    }
}
