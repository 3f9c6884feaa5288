//! Two-dimensional convolution (cross-correlation) with stride, zero padding, dilation and groups.
//!
//! Shapes       x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) -> y (N, O, Ho, Wo), Ho = ⌊(H + 2·ph - dh·(kh-1) - 1) / sh⌋ + 1
//! Forward      (F1) xp = x padded with zeros    (F2) x_pq[i, j] = xp[i·sh + p·dh, j·sw + q·dw]
//!              (F3) g = Σ_pq K_pq x_pq, K_pq = weight[:, :, p, q], within each group of channels    (F4) y = g + bias
//! Backward     (B1) dbias = Σ dy    (B2) dK_pq = Σ_n dy x_pqᵀ    (B3) dx_pq = K_pqᵀ dy, added at the pixels that tap (p, q) read
//!              (B4) dx = dxp without its padding
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C/groups, kh, kw)    (C3) bias, if given, is (O,)
//!              (C4) groups divides C and O    (C5) the padded input is at least as large as the dilated kernel

mod input_gradient;
mod slab;
mod weight_gradient;
mod windows;

use crate::depthwise;
use crate::error::{Error, require};
use crate::exec::Exec;
use crate::gemm::{DEPTH, Matrix, Product, Stored};
use crate::lanes::{self, Isa, Task};
use crate::planes::{output_size, product, require_len};
use crate::real::Real;

pub(crate) use windows::Order;
use windows::Windows;

type Pair = (usize, usize);

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    pub(crate) images: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) groups: usize,
    pub(crate) size: Pair,
    pub(crate) out_size: Pair,
    pub(crate) kernel: Pair,
    pub(crate) stride: Pair,
    pub(crate) padding: Pair,
    pub(crate) dilation: Pair,
}

impl Dims {
    pub fn new(
        x: &[usize],
        weight: &[usize],
        bias: Option<&[usize]>,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: usize,
    ) -> Result<Dims, Error> {
        let &[images, inputs, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let &[outputs, channels, kh, kw] = weight else {
            return Err(Error::Shape(format!("(C2) weight: (O, C/groups, kh, kw) expected, got shape {weight:?}")));
        };
        require(groups > 0 && inputs % groups == 0 && outputs % groups == 0, || {
            format!("(C4) groups: a divisor of {inputs} and {outputs} channels expected, got {groups}")
        })?;
        require(channels == inputs / groups && kh > 0 && kw > 0, || {
            format!("(C2) weight: (O, {}, kh, kw) with kh, kw >= 1 expected, got shape {weight:?}", inputs / groups)
        })?;
        require(bias.is_none_or(|b| b == [outputs]), || {
            format!("(C3) bias: ({outputs},) expected, got shape {bias:?}")
        })?;
        let out_height = output_size(height, kh, stride.0, padding.0, dilation.0)?;
        let out_width = output_size(width, kw, stride.1, padding.1, dilation.1)?;
        product(x)?;
        product(weight)?;
        product(&[images, outputs, out_height, out_width])?;
        product(&[height + 2 * padding.0, width + 2 * padding.1])?;
        // A step that is never made may have any length: a window's beyond the padded input, a tap's if there is one tap.
        let stride = (stride.0.min(height + 2 * padding.0), stride.1.min(width + 2 * padding.1));
        let single = |count: usize, step: usize| if count == 1 { 1 } else { step };
        let dilation = (single(kh, dilation.0), single(kw, dilation.1));
        let (size, out_size, kernel) = ((height, width), (out_height, out_width), (kh, kw));
        Ok(Dims { images, inputs, outputs, groups, size, out_size, kernel, stride, padding, dilation })
    }

    /// A kernel of one tap on `pixels` pixels in a row.
    pub fn pointwise(images: usize, inputs: usize, outputs: usize, pixels: usize) -> Result<Dims, Error> {
        product(&[images, inputs, pixels])?;
        product(&[images, outputs, pixels])?;
        product(&[outputs, inputs])?;
        let (size, one) = ((1, pixels), (1, 1));
        let (kernel, stride, padding, dilation) = (one, one, (0, 0), one);
        Ok(Dims { images, inputs, outputs, groups: 1, size, out_size: size, kernel, stride, padding, dilation })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.images, self.outputs, self.out_size.0, self.out_size.1]
    }

    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Terms of the sum (F3).
    fn depth(&self) -> usize {
        self.inputs / self.groups * self.taps()
    }

    /// Whether y at a pixel needs x at that pixel only.
    fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == (1, 1) && self.padding == (0, 0)
    }

    /// Whether every channel is convolved by itself, into few outputs.
    fn is_depthwise(&self) -> bool {
        self.inputs == self.groups && self.outputs < 8 * self.groups && self.taps() > 1
    }

    /// The convolution of dy with the mirrored kernel that gives dx, if it is one.
    pub(crate) fn mirror(&self) -> Option<Dims> {
        let reach = ((self.kernel.0 - 1) * self.dilation.0, (self.kernel.1 - 1) * self.dilation.1);
        let padding = (reach.0.checked_sub(self.padding.0)?, reach.1.checked_sub(self.padding.1)?);
        let mirror = Dims {
            inputs: self.outputs,
            outputs: self.inputs,
            size: self.out_size,
            out_size: self.size,
            padding,
            ..*self
        };
        (self.stride == (1, 1)).then_some(mirror)
    }

    fn check<T>(&self, x: &[T], weight: &[T], bias: Option<&[T]>, y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.images * self.inputs * self.size.0 * self.size.1)?;
        require_len("weight", weight, self.outputs * (self.inputs / self.groups) * self.kernel.0 * self.kernel.1)?;
        bias.map_or(Ok(()), |bias| require_len("bias", bias, self.outputs))?;
        require_len("y", y, self.images * self.outputs * self.out_size.0 * self.out_size.1)
    }
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, bias, y)?;
    if d.is_depthwise() {
        return depthwise::forward(x, weight, bias, y, d, exec);
    }
    let (depth, columns) = (d.depth(), d.out_size.0 * d.out_size.1);
    let product =
        |block| Product { images: d.images, groups: d.groups, rows: d.outputs / d.groups, depth, block, columns };
    if d.is_pointwise() {
        let x = Stored { x, groups: d.groups, depth, columns };
        return product(DEPTH).run(Matrix::Rows(weight), &x, bias, y, exec);
    }
    // Blocks of whole channels, unless the kernel alone is too large.
    let block = if d.taps() <= DEPTH { DEPTH / d.taps() * d.taps() } else { DEPTH };
    product(block).run(Matrix::Rows(weight), &Windows { x, d, block }, bias, y, exec) // (F3) (F4)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, dbias.as_deref(), dy)?;
    if d.is_depthwise() {
        d.check(dx, dweight, None, dy)?;
        return depthwise::backward(dy, x, weight, dx, dweight, dbias, d, exec);
    }
    if let Some(dbias) = dbias {
        bias_gradient(dy, dbias, d, exec)?; // (B1)
    }
    weight_gradient(dy, x, dweight, d, exec)?; // (B2)
    input_gradient(dy, weight, dx, d, exec) // (B3) (B4)
}

/// dx alone.
pub fn input_gradient<T: Real>(dy: &[T], weight: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(dx, weight, None, dy)?;
    if d.is_depthwise() {
        return depthwise::input_gradient(dy, weight, dx, d, exec);
    }
    input_gradient::input_gradient(dy, weight, dx, d, exec)
}

/// dweight alone.
pub fn weight_gradient<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(x, dweight, None, dy)?;
    if d.is_depthwise() {
        return depthwise::weight_gradient(dy, x, dweight, d, exec);
    }
    weight_gradient::weight_gradient(dy, x, dweight, d, exec)
}

pub(crate) fn bias_gradient<T: Real>(dy: &[T], dbias: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let plane = d.out_size.0 * d.out_size.1;
    let each = Exec::batch(d.images * plane / 4);
    exec.for_each(dy.len() / 4, dbias.chunks_mut(each).enumerate(), |(at, dbias)| {
        for (k, dbias) in dbias.iter_mut().enumerate() {
            *dbias = T::ZERO;
            for n in 0..d.images {
                *dbias += exec.run(Sum(&dy[(n * d.outputs + at * each + k) * plane..][..plane]));
            }
        }
    })
}

struct Sum<'a, T>(&'a [T]);
impl<T: Real> Task for Sum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        lanes::sum::<T, I>(self.0)
    }
}

#[cfg(test)]
mod tests;
