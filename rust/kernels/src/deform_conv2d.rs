//! Deformable convolution: every tap of the kernel reads at its own place, moved by an offset and, in version 2, scaled by a mask.
//!
//! Shapes       x (N, C, H, W), offset (N, 2·Go·K, Ho, Wo), weight (O, C/G, kh, kw), mask (N, Go·K, Ho, Wo), bias (O,)
//!              -> y (N, O, Ho, Wo), K = kh·kw
//! Forward      (F1) ys = i·sh − ph + p·dh + dy, xs = j·sw − pw + q·dw + dx    (F2) S = x sampled bilinearly at (ys, xs)
//!              (F3) col = mask·S    (F4) y = Σ_ck weight[o, c, k]·col[c, k] + bias, in each group
//! Backward     (B1) dbias = Σ dy    (B2) dweight = Σ_nij dy·colᵀ    (B3) dcol = weightᵀ·dy    (B4) dmask = Σ_c dcol·S, dS = mask·dcol
//!              (B5) dx, ddy, ddx = backward of the sampling of (F2), given dS
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C/groups, kh, kw)    (C3) groups divides C and O
//!              (C4) offset_groups divides C    (C5) the padded input holds the dilated kernel    (C6) offset, (C7) mask, (C8) bias: as above
//!              (C9) kink is "right" or "zero_outside"
//!
//! Inside, channels come last: the four pixels of a point are four rows of memory, and a column of the product is one too. Columns exist
//! for some pixels at a time. The cell of a point is found once for all channels of an offset group that a task handles. Maps have a
//! frame of zeros, and a last row of zeros for points that read nothing: no pixel of a cell needs a test.

mod forward;
mod gradients;
mod parts;
mod products;
mod sample;
mod spread;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Transpose;
use crate::planes::{product, require_len};
use crate::real::Real;

type Pair = (usize, usize);

/// Shapes of the arrays of a call, or the arrays.
#[derive(Clone, Copy)]
pub struct Arguments<A> {
    pub x: A,
    pub offset: A,
    pub weight: A,
    pub mask: Option<A>,
    pub bias: Option<A>,
}

#[derive(Clone, Debug)]
pub struct Settings<'a> {
    pub stride: Pair,
    pub padding: Pair,
    pub dilation: Pair,
    pub groups: usize,
    pub offset_groups: usize,
    pub kink: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    conv: conv2d::Dims,
    offset_groups: usize,
    /// Channels of an offset group.
    together: usize,
    /// Gradients of the point are zero where a coordinate is −1 or less.
    zero_outside: bool,
}

impl Dims {
    pub fn new(shapes: &Arguments<&[usize]>, settings: &Settings) -> Result<Dims, Error> {
        let Arguments { x, offset, weight, mask, bias } = *shapes;
        let Settings { stride, padding, dilation, groups, offset_groups, kink } = *settings;
        let conv = conv2d::Dims::new(x, weight, bias, stride, padding, dilation, groups)?;
        require(offset_groups > 0 && conv.inputs % offset_groups == 0, || {
            format!("(C4) offset_groups: a divisor of {} channels expected, got {offset_groups}", conv.inputs)
        })?;
        let points = product(&[offset_groups, conv.taps()])?;
        let (out_height, out_width) = conv.out_size;
        require(offset == [conv.images, product(&[2, points])?, out_height, out_width], || {
            format!(
                "(C6) offset: ({}, 2*{points}, {out_height}, {out_width}) expected, got shape {offset:?}",
                conv.images
            )
        })?;
        require(mask.is_none_or(|mask| mask == [conv.images, points, out_height, out_width]), || {
            format!("(C7) mask: ({}, {points}, {out_height}, {out_width}) expected, got shape {mask:?}", conv.images)
        })?;
        require(kink == "right" || kink == "zero_outside", || {
            format!("(C9) kink: \"right\" or \"zero_outside\" expected, got {kink:?}")
        })?;
        product(offset)?;
        product(&[conv.images, conv.size.0 + 3, conv.size.1 + 2, conv.inputs])?;
        let together = conv.inputs / offset_groups;
        Ok(Dims { conv, offset_groups, together, zero_outside: kink == "zero_outside" })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.conv.output()
    }

    #[inline]
    fn plane(&self) -> usize {
        self.conv.size.0 * self.conv.size.1
    }

    /// Pixels from a row of a framed map to the next.
    #[inline]
    fn framed_row(&self) -> usize {
        self.conv.size.1 + 2
    }

    /// Pixels of a framed map: H + 2 rows and one for points that read nothing.
    #[inline]
    fn framed(&self) -> usize {
        (self.conv.size.0 + 3) * self.framed_row()
    }

    /// Pixels of y.
    #[inline]
    fn pixels(&self) -> usize {
        self.conv.out_size.0 * self.conv.out_size.1
    }

    /// Channels and outputs of a group.
    #[inline]
    fn per_group(&self) -> Pair {
        (self.conv.inputs / self.conv.groups, self.conv.outputs / self.conv.groups)
    }

    fn check<T>(&self, arrays: &Arguments<&[T]>, y: &[T]) -> Result<(), Error> {
        let (images, points) = (self.conv.images, self.offset_groups * self.conv.taps() * self.pixels());
        require_len("x", arrays.x, images * self.conv.inputs * self.plane())?;
        require_len("offset", arrays.offset, 2 * images * points)?;
        require_len("weight", arrays.weight, self.conv.outputs * self.per_group().0 * self.conv.taps())?;
        arrays.mask.map_or(Ok(()), |mask| require_len("mask", mask, images * points))?;
        arrays.bias.map_or(Ok(()), |bias| require_len("bias", bias, self.conv.outputs))?;
        require_len("y", y, images * self.conv.outputs * self.pixels())
    }
}

/// x with its channels last and framed, (N, H + 3, W + 2, C).
fn channels_last<T: Real>(x: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    const PIXELS: usize = 512;
    let (plane, channels, (height, width)) = (d.plane(), d.conv.inputs, d.conv.size);
    let mut y = zeros(d.conv.images * d.framed() * channels)?;
    if x.is_empty() {
        return Ok(y);
    }
    let (row, each) = (d.framed_row() * channels, (PIXELS / width).max(1));
    let tasks = y.chunks_exact_mut(d.framed() * channels).zip(x.chunks_exact(plane * channels));
    let tasks = tasks.flat_map(|(y, x)| {
        let rows = y[row..][..height * row].chunks_mut(each * row);
        rows.enumerate().map(move |(at, y)| (at * each, y, x))
    });
    exec.for_each(x.len(), tasks, |(first, y, x)| {
        for (i, y) in y.chunks_exact_mut(row).enumerate() {
            let (x, y) = (&x[(first + i) * width..], &mut y[channels..]);
            exec.run(Transpose { x, x_pitch: plane, rows: channels, columns: width, y, y_pitch: channels });
        }
    })?;
    Ok(y)
}

/// Channels `channels` of group `group`, counted through all groups.
#[derive(Clone, Debug)]
struct Block {
    group: usize,
    channels: Range<usize>,
}

pub fn forward<T: Real>(arrays: &Arguments<&[T]>, y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(arrays, y)?;
    forward::forward(arrays, y, d, exec) // (F1) (F2) (F3) (F4)
}

pub fn backward<T: Real>(
    dy: &[T],
    arrays: &Arguments<&[T]>,
    gradients: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(arrays, dy)?;
    let Arguments { x: dx, offset: doffset, weight: dweight, mask: dmask, bias: dbias } = gradients;
    let shapes =
        Arguments { x: &*dx, offset: &*doffset, weight: &*dweight, mask: dmask.as_deref(), bias: dbias.as_deref() };
    d.check(&shapes, dy)?;
    if let Some(dbias) = dbias {
        conv2d::bias_gradient(dy, dbias, &d.conv, exec)?; // (B1)
    }
    let x_last = channels_last(arrays.x, d, exec)?;
    let to = Arguments { x: dx, offset: doffset, weight: dweight, mask: dmask, bias: None };
    if d.conv.outputs > 0 || d.conv.images == 0 {
        return gradients::gradients(dy, &x_last, arrays, to, d, exec); // (B2) (B3) (B4) (B5)
    }
    // Without outputs dcol is 0, and what it meets may be NaN: as with one output for each group, whose weights and dy are 0.
    let one = Dims { conv: conv2d::Dims { outputs: d.conv.groups, ..d.conv }, ..*d };
    let weights = product(&[d.conv.inputs, d.conv.taps()])?;
    let (weight, mut dweight) = (zeros(weights)?, zeros(weights)?);
    let dy = zeros(product(&[d.conv.images, d.conv.groups, d.pixels()])?)?;
    let (arrays, to) = (Arguments { weight: &weight[..], ..*arrays }, Arguments { weight: &mut dweight[..], ..to });
    gradients::gradients(&dy, &x_last, &arrays, to, &one, exec)
}
