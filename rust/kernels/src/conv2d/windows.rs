//! Padded rows cut by phase, so that the pixels which a tap reads lie side by side at any stride; and windows of them as columns.

use std::ops::Range;

use super::Dims;
use crate::error::Error;
use crate::gemm::{DEPTH, PANEL, Source};
use crate::lanes::{Isa, V, Vector};
use crate::planes::product;
use crate::real::Real;

/// The order of a padded row: first the columns 0, sw, 2·sw, …, then 1, sw + 1, …; each such phase has `phase` elements.
#[derive(Clone, Copy)]
pub struct Order {
    pub phase: usize,
    stride: usize,
    padding: usize,
}

impl Order {
    pub fn new(d: &Dims) -> Order {
        let padded = d.size.1 + 2 * d.padding.1;
        let stride = d.stride.1.min(padded.max(1)); // a longer one leads out of the row, and makes no more phases
        Order { phase: padded.div_ceil(stride), stride, padding: d.padding.1 }
    }

    /// Elements of a row.
    pub fn len(&self) -> usize {
        self.phase * self.stride
    }

    /// Where the pixels of a tap begin, `offset` columns into the window.
    pub fn tap(&self, offset: usize) -> usize {
        offset % self.stride * self.phase + offset / self.stride
    }

    /// Row `x` with its padding into `row`.
    #[inline(always)]
    pub fn pad<T: Real>(&self, x: &[T], row: &mut [T]) {
        row.fill(T::ZERO);
        if self.stride == 1 {
            row[self.padding..][..x.len()].copy_from_slice(x);
            return;
        }
        for first in 0..self.stride.min(x.len()) {
            let at = self.tap(self.padding + first);
            for (to, &x) in row[at..].iter_mut().zip(x[first..].iter().step_by(self.stride)) {
                *to = x;
            }
        }
    }

    /// Adjoint of `pad`.
    pub fn crop<T: Real>(&self, row: &[T], dx: &mut [T]) {
        if self.stride == 1 {
            dx.copy_from_slice(&row[self.padding..][..dx.len()]);
            return;
        }
        for first in 0..self.stride.min(dx.len()) {
            let at = self.tap(self.padding + first);
            for (dx, &from) in dx[first..].iter_mut().step_by(self.stride).zip(&row[at..]) {
                *dx = from;
            }
        }
    }
}

/// The windows of x as columns (C/groups·kh·kw, pixels of y), (F2).
pub struct Windows<'a, T> {
    pub x: &'a [T],
    pub d: &'a Dims,
    /// Most rows of the matrix that are packed at once.
    pub block: usize,
}

/// The input rows behind the columns of one image: from padded row `top` on, in the work space from row `start` on.
struct Band {
    image: usize,
    start: usize,
    top: usize,
    rows: usize,
}

impl<T: Real> Windows<'_, T> {
    /// Calls `each` for the columns' images.
    #[inline(always)]
    fn bands(&self, columns: &Range<usize>, mut each: impl FnMut(Band)) -> usize {
        let d = self.d;
        let (plane, width) = (d.out_size.0 * d.out_size.1, d.out_size.1);
        let (mut column, mut start) = (columns.start, 0);
        while column < columns.end {
            let (image, inside) = (column / plane, column % plane);
            let end = plane.min(inside + columns.end - column);
            let (first, last) = (inside / width, (end - 1) / width);
            let rows = (last - first) * d.stride.0 + (d.kernel.0 - 1) * d.dilation.0 + 1;
            each(Band { image, start, top: first * d.stride.0, rows });
            start += rows;
            column += end - inside;
        }
        start
    }
}

/// Chunks of a panel's row: at most every column begins one.
const CHUNKS: usize = 2 * PANEL;

impl<T: Real> Source<T> for Windows<'_, T> {
    fn scratch(&self, columns: usize) -> Result<usize, Error> {
        let d = self.d;
        let reach = (d.kernel.0 - 1) * d.dilation.0 + 1;
        let (rows, images) = (columns / d.out_size.1 + 2, columns / (d.out_size.0 * d.out_size.1) + 2);
        let most = product(&[images, d.size.0 + 2 * d.padding.0])?;
        let rows = product(&[rows, d.stride.0])?.saturating_add(product(&[images, reach])?).min(most);
        let channels = (self.block / d.taps() + 2).min(d.inputs / d.groups);
        Ok(product(&[channels, rows, Order::new(d).len()])?.saturating_add(PANEL))
    }

    #[inline(always)]
    fn pack<I: Isa>(
        &self,
        group: usize,
        depth: Range<usize>,
        columns: Range<usize>,
        scratch: &mut [T],
        panels: &mut [T],
    ) {
        let (d, order, taps) = (self.d, Order::new(self.d), self.d.taps());
        let channels = depth.start / taps..depth.end.div_ceil(taps);
        let rows = self.bands(&columns, |_| ());
        let channel_len = rows * order.len();
        let per_group = d.inputs / d.groups;
        self.bands(&columns, |band| {
            for (to, c) in scratch.chunks_mut(channel_len).zip(channels.clone()) {
                let plane = &self.x[((band.image * d.groups + group) * per_group + c) * d.size.0 * d.size.1..]
                    [..d.size.0 * d.size.1];
                for r in 0..band.rows {
                    let row = &mut to[(band.start + r) * order.len()..][..order.len()];
                    match (band.top + r).checked_sub(d.padding.0).filter(|&a| a < d.size.0) {
                        Some(a) => order.pad(&plane[a * d.size.1..][..d.size.1], row), // (F1)
                        None => row.fill(T::ZERO),
                    }
                }
            }
        });

        let mut offsets = [0; DEPTH];
        for (offset, k) in offsets.iter_mut().zip(depth.clone()) {
            let (c, p, q) = (k / taps - channels.start, k % taps / d.kernel.1, k % d.kernel.1);
            *offset = c * channel_len + p * d.dilation.0 * order.len() + order.tap(q * d.dilation.1);
        }
        let lanes = V::<T, I>::LANES;
        let (plane, width) = (d.out_size.0 * d.out_size.1, d.out_size.1);
        let mut panels = panels;
        let mut first = columns.start;
        let mut image_start = 0;
        let mut top = columns.start % plane / width;
        let (mut i, mut j) = (top, columns.start % width);
        while first < columns.end {
            let n = PANEL.min(columns.end - first);
            let mut chunks = [(0, 0); CHUNKS];
            let (mut count, mut done) = (0, 0);
            while done < n {
                let run = (width - j).min(n - done);
                let from = (image_start + (i - top) * d.stride.0) * order.len() + j;
                let mut l = 0;
                while l < run {
                    chunks[count] = (done + l, from + l);
                    (count, l) = (count + 1, l + lanes);
                }
                (done, j) = (done + run, j + run);
                if j == width {
                    (i, j) = (i + 1, 0);
                    if i == d.out_size.0 {
                        image_start += (i - 1 - top) * d.stride.0 + (d.kernel.0 - 1) * d.dilation.0 + 1;
                        (i, top) = (0, 0);
                    }
                }
            }
            // A chunk may run over its end: what follows in the panel is written after it.
            for (k, &offset) in offsets[..depth.len()].iter().enumerate() {
                let from = &scratch[offset..];
                let to = &mut panels[k * PANEL..];
                for &(at, source) in &chunks[..count] {
                    V::<T, I>::load(&from[source..]).store(&mut to[at..]); // (F2)
                }
            }
            panels = &mut panels[depth.len() * PANEL..];
            first += n;
        }
    }
}
