//! The layout in which depthwise register blocks read their input.

use crate::conv2d::Dims;
use crate::error::Error;
use crate::exec::{Buffer, zeros};
use crate::lanes::{Isa, MAX_LANES, V, Vector};
use crate::planes::product;
use crate::real::Real;

/// Planes of several images side by side, with zeros between them that serve as padding on both sides.
#[derive(Clone, Copy)]
pub struct Wide {
    /// Images in one plane.
    pub images: usize,
    /// Distance of two images.
    pub pitch: usize,
    /// Elements of a row, some more than are computed.
    pub width: usize,
    /// Rows of y in a block.
    pub block: usize,
    /// Rows of the padded plane, enough for whole blocks.
    pub rows: usize,
    /// Padding above and on the left.
    pub padding: (usize, usize),
}

impl Wide {
    /// The layout of padded x, fewest columns of lanes for all images.
    pub fn new(d: &Dims) -> Result<Wide, Error> {
        let pitch = (d.size.1 + d.padding.1).max(d.out_size.1);
        let columns =
            |images: usize| if images == 0 { 0 } else { ((images - 1) * pitch + d.out_size.1).div_ceil(MAX_LANES) };
        let most = (512 / pitch).clamp(1, d.images.max(1));
        let images = (1..=most).min_by_key(|&n| d.images / n * columns(n) + columns(d.images % n)).unwrap_or(1);
        let block = if d.out_size.0.next_multiple_of(7) <= d.out_size.0.next_multiple_of(4) { 7 } else { 4 };
        let width = (images * pitch + d.padding.1 + d.kernel.1 + 2 * MAX_LANES).next_multiple_of(MAX_LANES);
        let rows = d.out_size.0.next_multiple_of(block) + d.kernel.0 - 1;
        product(&[rows.max(d.size.0 + 2 * d.padding.0), width])?;
        Ok(Wide { images, pitch, width, block, rows, padding: d.padding })
    }

    /// The layout of dy beside that of x: no padding.
    pub fn of_output(&self) -> Wide {
        Wide { padding: (0, 0), ..*self }
    }

    pub fn zeros<T: Real>(&self) -> Result<Buffer<T>, Error> {
        zeros(self.rows * self.width)
    }

    /// Columns that `images` images of y need.
    pub fn columns(&self, images: usize, d: &Dims) -> usize {
        (images - 1) * self.pitch + d.out_size.1
    }

    /// The plane of one channel at the start of `x` (height × width; x may go on) into the wide plane as image `slot`, with zeros after its
    /// rows, which may cover the beginning of the next image: place the images in order. Other borders must be zero already.
    #[inline(always)]
    pub fn place<T: Real, I: Isa>(&self, x: &[T], (height, width): (usize, usize), slot: usize, wide: &mut [T]) {
        let (lanes, zero) = (V::<T, I>::LANES, V::<T, I>::zero());
        let mut row = self.padding.0 * self.width + self.padding.1 + slot * self.pitch;
        let mut from = 0;
        for _ in 0..height {
            let (mut k, end) = (from, from + width);
            let mut to = row;
            while k < end {
                let n = lanes.min(end - k);
                let v =
                    if k + lanes <= x.len() { V::<T, I>::load(&x[k..]) } else { V::<T, I>::load_partial(&x[k..], n) };
                v.keep(n, zero).store(&mut wide[to..]);
                (k, to) = (k + lanes, to + lanes);
            }
            (from, row) = (end, row + self.width);
        }
    }
}
