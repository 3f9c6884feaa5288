//! Convolution of each channel by itself (groups = C, one or several outputs per channel), NCHW, lanes over pixels.
//!
//! * Kernels of 3, 5, 7 or 9 squared at stride and dilation 1 run in register blocks: several rows of y at a time, so that a vector of x
//!   is loaded once for all taps above one another. Planes of the same channel of several images stand side by side in one wide plane,
//!   which keeps the lanes of narrow maps busy. All else runs in [`general`].
//! * The equations are those of `conv2d`; the terms of a sum are added column of taps by column of taps.

use std::ops::Range;

use crate::conv2d::{self, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Share;
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::{Real, finite};

mod blocks;
mod general;
mod gradients;
mod wide;

use self::blocks::Rows;
use self::wide::Wide;
pub use gradients::{backward, backward_in, weight_gradient};

/// The size of the kernel if it has a register block.
fn blocked(d: &Dims) -> Option<usize> {
    let square = d.kernel.0 == d.kernel.1 && d.stride == (1, 1) && d.dilation == (1, 1);
    Some(d.kernel.0).filter(|k| square && [3, 5, 7, 9].contains(k))
}

/// The wide plane of x and a block of rows of y.
pub struct Space<T> {
    xp: Buffer<T>,
    yp: Buffer<T>,
}

impl<T: Real> Space<T> {
    fn new(wide: &Wide) -> Result<Self, Error> {
        Ok(Space { xp: wide.zeros()?, yp: zeros(wide.block * wide.width)? })
    }
}

/// The forward without a bias on this thread alone, in work space that is made at the first of several calls for maps of one size.
pub fn forward_in<T: Real>(
    space: &mut Option<Space<T>>,
    x: &[T],
    weight: &[T],
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    if y.is_empty() || blocked(d).is_none() {
        return conv2d::forward(x, weight, None, y, d, exec);
    }
    let (wide, plane) = (&Wide::new(d)?, d.out_size.0 * d.out_size.1);
    let Space { xp, yp } = match space {
        Some(space) => space,
        none => none.insert(Space::new(wide)?),
    };
    for share in Share::new(y, d.images, d.outputs, plane).by_columns(wide.images * plane) {
        exec.run(Forward { x, weight, bias: None, share, xp, yp, wide, d });
    }
    Ok(())
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (plane, taps, each) = (d.out_size.0 * d.out_size.1, d.taps(), d.outputs / d.groups);
    if y.is_empty() {
        return Ok(());
    }
    if blocked(d).is_none() {
        return general::forward(x, weight, bias, y, d, exec);
    }
    let wide = Wide::new(d)?;
    let cost = (taps / 32 + 1) * plane;
    let channels = Exec::batch(cost * each * wide.images);
    let tasks = Share::new(y, d.images, d.outputs, plane)
        .by_columns(wide.images * plane)
        .flat_map(|part| part.by_rows(channels * each));
    exec.for_each_with(
        cost * d.images * d.outputs,
        tasks,
        || Space::new(&wide),
        |Space { xp, yp }, share| {
            exec.run(Forward { x, weight, bias, share, xp, yp, wide: &wide, d });
        },
    )
}

struct Forward<'a, 'b, T> {
    x: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    share: Share<'b, T>,
    xp: &'a mut [T],
    yp: &'a mut [T],
    wide: &'a Wide,
    d: &'a Dims,
}

impl<T: Real> Task for Forward<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (d, wide) = (self.d, self.wide);
        let (plane, in_plane, each) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1, d.outputs / d.groups);
        let images = self.share.columns().start / plane..self.share.columns().end / plane;
        let columns = wide.columns(images.len(), d);
        for o in self.share.rows() {
            if o % each == 0 {
                for (slot, n) in images.clone().enumerate() {
                    let x = &self.x[(n * d.inputs + o / each) * in_plane..];
                    wide.place::<T, I>(x, d.size, slot, self.xp); // (F1)
                }
            }
            let weight = &self.weight[o * d.taps()..][..d.taps()];
            for top in (0..d.out_size.0).step_by(wide.block) {
                let x = &self.xp[top * wide.width..];
                Rows { x, weight, y: self.yp, width: wide.width, columns }.run::<I>(d.kernel.0, wide.block);
                for (slot, n) in images.clone().enumerate() {
                    let mut to = self.share.from_column(n * plane + top * d.out_size.1);
                    let rest = (d.out_size.0 - top) * d.out_size.1;
                    let from = &self.yp[slot * wide.pitch..];
                    finish::<T, I>(
                        from,
                        wide.width,
                        self.bias.map(|bias| bias[o]),
                        wide.block,
                        d.out_size.1,
                        to.row(o, 0..rest),
                    ); // (F4)
                }
            }
        }
    }
}

/// `rows` rows of y, or as many as it has, = those of x + bias. A vector may reach into the next row, which is written after it.
#[inline(always)]
fn finish<T: Real, I: Isa>(x: &[T], pitch: usize, bias: Option<T>, rows: usize, width: usize, y: &mut [T]) {
    let (lanes, value) = (V::<T, I>::LANES, V::<T, I>::splat(bias.unwrap_or(T::ZERO)));
    for i in 0..rows.min(y.len() / width) {
        let mut j = 0;
        while j < width {
            let v = V::<T, I>::load(&x[i * pitch + j..]);
            let v = if bias.is_some() { v + value } else { v };
            let to = &mut y[i * width + j..];
            if lanes <= to.len() {
                v.store(to)
            } else {
                v.store_partial(to, to.len())
            }
            j += lanes;
        }
    }
}

/// dx, which is a convolution of dy with the mirrored kernel where the weights are finite.
pub fn input_gradient<T: Real>(dy: &[T], weight: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let taps = d.taps();
    if let Some(mirror) = d.mirror()
        && d.outputs == d.groups
        && blocked(d).is_some()
        && finite(weight)
    {
        let mut mirrored = zeros(weight.len())?;
        for (to, from) in mirrored.chunks_exact_mut(taps).zip(weight.chunks_exact(taps)) {
            to.copy_from_slice(from);
            to.reverse();
        }
        return forward(dy, &mirrored, None, dx, &mirror, exec); // (B3) (B4)
    }
    general::input_gradient(dy, weight, dx, d, exec)
}

/// Images of group `at` of a wide plane.
fn images(at: usize, wide: &Wide, d: &Dims) -> Range<usize> {
    at * wide.images..((at + 1) * wide.images).min(d.images)
}
