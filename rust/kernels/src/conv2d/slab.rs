//! Part of x with its channels last, for the weight gradient.

use std::ops::Range;

use super::Dims;
use crate::error::Error;
use crate::gemm::{DEPTH, transpose};
use crate::lanes::{Isa, Task};
use crate::planes::product;
use crate::real::Real;

/// Elements of x with channels last, for one task: they stay in the cache while all rows of dy pass.
const MOST_SLAB: usize = 1 << 16;

/// The part of an image whose x is held with channels last: `rows` rows and `columns` columns of y. Of small images so many are held
/// together, row 0 of all, then row 1 of all, …, that a block of pixels is not small.
pub struct Region {
    pub images: usize,
    pub rows: usize,
    pub columns: usize,
    pub slab: usize,
}

impl Region {
    pub fn new(channels: usize, d: &Dims) -> Result<Region, Error> {
        let reach = |extent: usize, axis: fn((usize, usize)) -> usize| {
            (extent - 1) * axis(d.stride) + (axis(d.kernel) - 1) * axis(d.dilation) + 1
        };
        let columns = d.out_size.1.min(DEPTH);
        let width = product(&[reach(columns, |pair| pair.1), channels])?;
        let halo = (d.kernel.0 - 1) * d.dilation.0;
        let rows = (MOST_SLAB / width).saturating_sub(halo) / d.stride.0;
        let rows = rows.clamp((DEPTH / columns).min(d.out_size.0), d.out_size.0);
        let slab = product(&[reach(rows, |pair| pair.0), width])?;
        let whole = d.stride.0 == 1 && rows * columns == d.out_size.0 * d.out_size.1;
        let together = (DEPTH / (rows * columns)).min(MOST_SLAB / slab).min(d.images);
        let images = if whole { together.max(1) } else { 1 };
        Ok(Region { images, rows, columns, slab: product(&[images, slab])? })
    }
}

/// slab[a·step + first, b, c] = xp[c, top + a, left + b] for `height` × `width` padded pixels.
pub struct ChannelsLast<'a, T> {
    pub x: &'a [T],
    pub slab: &'a mut [T],
    pub first: usize,
    pub step: usize,
    pub channels: usize,
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
    pub d: &'a Dims,
}

/// The part of `start..start + len` on a padded axis that is not padding, counted from `start`.
fn inside(start: usize, len: usize, padding: usize, extent: usize) -> Range<usize> {
    let clip = |at: usize| at.saturating_sub(start).min(len);
    clip(padding)..clip(padding + extent)
}

impl<T: Real> Task for ChannelsLast<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, channels) = (self.d, self.channels);
        let rows = inside(self.top, self.height, d.padding.0, d.size.0);
        let columns = inside(self.left, self.width, d.padding.1, d.size.1);
        let row_len = self.width * channels;
        let own = self.slab.chunks_exact_mut(row_len).skip(self.first).step_by(self.step);
        for (a, row) in own.take(self.height).enumerate() {
            if !rows.contains(&a) || columns.is_empty() {
                row.fill(T::ZERO);
                continue;
            }
            row[..columns.start * channels].fill(T::ZERO);
            row[columns.end * channels..].fill(T::ZERO);
            let from = (self.top + a - d.padding.0) * d.size.1 + self.left + columns.start - d.padding.1;
            transpose::<T, I>(
                &self.x[from..],
                d.size.0 * d.size.1,
                channels,
                columns.len(),
                &mut row[columns.start * channels..],
                channels,
            );
        }
    }
}
