//! Local multi-head self-attention: each pixel attends to the k × k window around it.
//!
//! Shapes       q, k, v (N, C, H, W), pe (d, H, W) with d = C/heads -> o (N, C, Ho, Wo), lse (N, heads, Ho, Wo), Ho = ⌈H/sh⌉
//!              U(x): the window of every output pixel, tap m = u·k + v; queries are read at (i·sh, j·sw)
//! Forward      (F1) q_ij = q on the stride grid    (F2) E = U(k) + pe_ij − U(pe)    (F3) S = scale · Σ_e q_ij·E
//!              (F4) lse = log Σ_m exp(S)    (F5) a = exp(S − lse)    (F6) o = Σ_m a·U(v)
//! Backward     (B1) dU(v) = a·do    (B2) da = Σ_e do·U(v)    (B3) dS = a·(da − Σ_m a·da)    (B4) dq_ij = scale · Σ_m dS·E
//!              (B5) dE = scale·q_ij·dS    (B6) dk = Uᵀ(dE), dv = Uᵀ(dU(v))
//!              (B7) dpe = −Σ dk over images and heads, because dk = Uᵀ(dE) and the centre term pe_ij adds Σ_m dS = 0
//! Border       reflect mirrors the maps; zero: keys, values and pe are 0 outside and join the softmax; mask: only taps inside
//! Constraints  (C1) q is (N, C, H, W), k and v have its shape   (C2) heads divides C   (C3) pe is (C/heads, H, W)
//!              (C4) kernel_size is odd   (C5) border is one of the three   (C6) reflect needs ⌊kernel_size/2⌋ < H and W
//!              (C7) scale is finite
//!
//! A task owns some rows of the output of a few heads. It copies the keys and values that these rows see, with their border, into
//! work space ([`layout`]); nothing is unfolded. [`tile`] then takes a few rows × one vector of pixels at a time: one lane is one
//! pixel from the scores to the output. Since Σ_e q·E = Σ_e q·U(k − pe) + Σ_e q·pe_ij, keys are stored as k − pe, and the second
//! sum, the same for all taps, is where the first one starts. An element's sums never depend on the split into tasks and tiles.

#![allow(clippy::needless_range_loop)] // an index names a row or channel of a tile, for several arrays at once

mod backward;
mod forward;
mod gathered;
mod layout;
mod maps;
mod softmax;
mod split;
#[cfg(test)]
mod tests;
mod tile;
mod weighted;

pub use backward::{Gradients, backward};
pub use forward::{Inputs, forward};

use std::ops::Range;

use crate::error::{Error, require};
use crate::planes::{product, reflected};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    Reflect,
    Zero,
    Mask,
}

/// Configuration, as in the Python signature.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    pub heads: usize,
    pub kernel_size: usize,
    pub stride: (usize, usize),
    pub border: &'a str,
    /// `None`: one over the square root of the head width.
    pub scale: Option<f64>,
}

#[derive(Clone, Debug)]
pub struct Dims {
    images: usize,
    heads: usize,
    /// Images times heads; a pair owns `depth` planes.
    pairs: usize,
    depth: usize,
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
    window: usize,
    stride: (usize, usize),
    border: Border,
    scale: f64,
    /// Elements of q, of o, of lse and of pe.
    len: usize,
    out_len: usize,
    lse_len: usize,
    pe_len: usize,
}

impl Dims {
    pub fn new(q: &[usize], k: &[usize], v: &[usize], pe: Option<&[usize]>, config: Config) -> Result<Dims, Error> {
        let Config { heads, kernel_size: window, stride, border, scale } = config;
        require(q.len() == 4 && q == k && q == v, || {
            format!("(C1) q, k, v: one shape (N, C, H, W) expected, got {q:?}, {k:?} and {v:?}")
        })?;
        let &[images, channels, height, width] = q else { unreachable!("four axes") };
        require(heads > 0 && channels % heads == 0, || {
            format!("(C2) heads: a divisor of the {channels} channels expected, got {heads}")
        })?;
        let depth = channels / heads;
        require(pe.is_none_or(|pe| pe == [depth, height, width]), || {
            format!("(C3) pe: shape {:?} expected, got {:?}", [depth, height, width], pe.unwrap_or_default())
        })?;
        require(window % 2 == 1, || format!("(C4) kernel_size: an odd number expected, got {window}"))?;
        require(stride.0 > 0 && stride.1 > 0, || format!("stride: positive numbers expected, got {stride:?}"))?;
        let border = match border {
            "reflect" => Border::Reflect,
            "zero" => Border::Zero,
            "mask" => Border::Mask,
            other => {
                return Err(Error::Shape(format!(
                    "(C5) border: \"reflect\", \"zero\" or \"mask\" expected, got {other:?}"
                )));
            }
        };
        require(border != Border::Reflect || window == 1 || window / 2 < height.min(width), || {
            format!("(C6) border \"reflect\": a map larger than {} expected, got {height} × {width}", window / 2)
        })?;
        require(scale.is_none_or(f64::is_finite), || format!("(C7) scale: a finite number expected, got {scale:?}"))?;
        let (out_height, out_width) = (height.div_ceil(stride.0), width.div_ceil(stride.1));
        product(&[images, heads.max(channels), height, width])?;
        product(&[window, window])?;
        Ok(Dims {
            images,
            heads,
            pairs: product(&[images, heads])?,
            depth,
            height,
            width,
            out_height,
            out_width,
            window,
            stride,
            border,
            scale: scale.unwrap_or_else(|| (depth.max(1) as f64).powf(-0.5)),
            len: product(q)?,
            out_len: product(&[images, channels, out_height, out_width])?,
            lse_len: product(&[images, heads, out_height, out_width])?,
            pe_len: product(&[depth, height, width])?,
        })
    }

    pub fn o_shape(&self) -> [usize; 4] {
        [self.images, self.heads * self.depth, self.out_height, self.out_width]
    }

    pub fn lse_shape(&self) -> [usize; 4] {
        [self.images, self.heads, self.out_height, self.out_width]
    }

    /// Taps on each side of the centre.
    #[inline]
    fn radius(&self) -> usize {
        self.window / 2
    }

    /// Padded rows behind output rows `rows`, which are not empty.
    fn key_rows(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.stride.0..(rows.end - 1) * self.stride.0 + self.window
    }

    /// The padded rows that show a row of `band`, with what lies between them, and the output rows that see those.
    fn sources(&self, band: &Range<usize>) -> (Range<usize>, Range<usize>) {
        let shows = |y: &usize| self.shown(*y, self.height).is_some_and(|a| band.contains(&a));
        let rows = 0..self.height + 2 * self.radius();
        let (Some(first), Some(last)) = (rows.clone().find(shows), rows.rev().find(shows)) else { return (0..0, 0..0) };
        let outputs = (first + 1).saturating_sub(self.window).div_ceil(self.stride.0)
            ..self.out_height.min(last / self.stride.0 + 1);
        (first..last + 1, outputs)
    }

    /// The pixel of an axis of `len` that padded position `i` shows, none for one that is always zero.
    #[inline]
    fn shown(&self, i: usize, len: usize) -> Option<usize> {
        match self.border {
            Border::Reflect => Some(reflected(i, self.radius(), len)),
            _ => i.checked_sub(self.radius()).filter(|&i| i < len),
        }
    }

    /// Nanoseconds, roughly, for one output row of one pair, one thread.
    fn row_cost(&self) -> usize {
        let taps = self.window.saturating_mul(self.window).saturating_mul(self.out_width.saturating_add(8));
        taps.saturating_mul(2 * self.depth + 24) / 24
    }
}
