//! Two-dimensional convolution (cross-correlation) with stride, zero padding, dilation and groups.
//!
//! Shapes       x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) -> y (N, O, Ho, Wo), Ho = ⌊(H + 2·ph - dh·(kh-1) - 1) / sh⌋ + 1
//! Forward      (F1) xp = x padded with zeros    (F2) x_pq[i, j] = xp[i·sh + p·dh, j·sw + q·dw]
//!              (F3) g = Σ_pq K_pq x_pq, K_pq = weight[:, :, p, q], within each group of channels    (F4) y = g + bias
//! Backward     (B1) dbias = Σ dy    (B2) dK_pq = Σ_n dy x_pqᵀ    (B3) dx_pq = K_pqᵀ dy, added at the pixels that tap (p, q) read
//!              (B4) dx = dxp without its padding
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C/groups, kh, kw)    (C3) bias, if given, is (O,)
//!              (C4) groups divides C and O    (C5) the padded input is at least as large as the dilated kernel

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::{output_size, product, require_len};
use crate::real::Real;

type Pair = (usize, usize);

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    inputs: usize,
    outputs: usize,
    groups: usize,
    size: Pair,
    out_size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
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
        let (size, out_size, kernel) = ((height, width), (out_height, out_width), (kh, kw));
        Ok(Dims { images, inputs, outputs, groups, size, out_size, kernel, stride, padding, dilation })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.images, self.outputs, self.out_size.0, self.out_size.1]
    }

    fn check<T>(&self, x: &[T], weight: &[T], bias: Option<&[T]>, y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.images * self.inputs * self.size.0 * self.size.1)?;
        require_len("weight", weight, self.outputs * (self.inputs / self.groups) * self.kernel.0 * self.kernel.1)?;
        bias.map_or(Ok(()), |bias| require_len("bias", bias, self.outputs))?;
        require_len("y", y, self.images * self.outputs * self.out_size.0 * self.out_size.1)
    }
}

/// Calls `f(y index, x index or none for padding, weight index)` for every product of the sum (F3).
fn every_product(d: &Dims, mut f: impl FnMut(usize, Option<usize>, usize)) {
    let (o_per, c_per) = (d.outputs / d.groups, d.inputs / d.groups);
    let inside = |a: usize, pad: usize, len: usize| a.checked_sub(pad).filter(|&a| a < len);
    for n in 0..d.images {
        for o in 0..d.outputs {
            for i in 0..d.out_size.0 {
                for j in 0..d.out_size.1 {
                    for c in 0..c_per {
                        for p in 0..d.kernel.0 {
                            for q in 0..d.kernel.1 {
                                let a = inside(i * d.stride.0 + p * d.dilation.0, d.padding.0, d.size.0);
                                let b = inside(j * d.stride.1 + q * d.dilation.1, d.padding.1, d.size.1);
                                let plane = n * d.inputs + o / o_per * c_per + c;
                                let at = a.zip(b).map(|(a, b)| (plane * d.size.0 + a) * d.size.1 + b);
                                let y = ((n * d.outputs + o) * d.out_size.0 + i) * d.out_size.1 + j;
                                f(y, at, ((o * c_per + c) * d.kernel.0 + p) * d.kernel.1 + q);
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    _exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, bias, y)?;
    y.fill(T::ZERO);
    every_product(d, |i, at, w| y[i] += weight[w] * at.map_or(T::ZERO, |at| x[at]));
    let plane = d.out_size.0 * d.out_size.1;
    if let Some(bias) = bias {
        y.iter_mut().enumerate().for_each(|(i, y)| *y += bias[i / plane % d.outputs]);
    }
    Ok(())
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
    _exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, dbias.as_deref(), dy)?;
    require_len("dx", dx, x.len())?;
    require_len("dweight", dweight, weight.len())?;
    dx.fill(T::ZERO);
    dweight.fill(T::ZERO);
    every_product(d, |i, at, w| {
        dweight[w] += dy[i] * at.map_or(T::ZERO, |at| x[at]);
        if let Some(at) = at {
            dx[at] += weight[w] * dy[i];
        }
    });
    let plane = d.out_size.0 * d.out_size.1;
    if let Some(dbias) = dbias {
        dbias.fill(T::ZERO);
        dy.iter().enumerate().for_each(|(i, &g)| dbias[i / plane % d.outputs] += g);
    }
    Ok(())
}
