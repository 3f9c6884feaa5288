//! Stage I of a convolution: one pointwise convolution per kernel tap, nothing shifted yet.
//!
//! Shapes       x (N, C, H, W), weight (O, C, kh, kw), bias (kh*kw, O) -> maps (N, kh*kw, O, H, W); map m = p*kw + q
//! Forward      (F1) maps[m] = K_pq x + bias[m], K_pq = weight[:, :, p, q]
//! Backward     (B1) dbias[m] = Σ dmaps[m]    (B2) dK_pq = Σ_nij dmaps[m] xᵀ    (B3) dx = Σ_pq K_pqᵀ dmaps[m]
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C, kh, kw)    (C3) bias, if given, is (kh*kw, O)

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::planes::{product, require_len};
use crate::pointwise_conv;
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    inputs: usize,
    outputs: usize,
    taps: usize,
    shape: [usize; 5],
    pointwise: pointwise_conv::Dims,
}

impl Dims {
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>) -> Result<Dims, Error> {
        let &[images, inputs, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let &[outputs, channels, kh, kw] = weight else {
            return Err(Error::Shape(format!("(C2) weight: (O, C, kh, kw) expected, got shape {weight:?}")));
        };
        require(channels == inputs && kh > 0 && kw > 0, || {
            format!("(C2) weight: (O, {inputs}, kh, kw) with kh, kw >= 1 expected, got shape {weight:?}")
        })?;
        product(weight)?;
        let taps = product(&[kh, kw])?;
        require(bias.is_none_or(|b| b == [taps, outputs]), || {
            format!("(C3) bias: ({taps}, {outputs}) expected, got shape {bias:?}")
        })?;
        let rows = product(&[taps, outputs])?;
        let pointwise = pointwise_conv::Dims::new(x, &[rows, inputs, 1, 1], None)?;
        Ok(Dims { inputs, outputs, taps, shape: [images, taps, outputs, height, width], pointwise })
    }

    /// Shape of maps.
    pub fn output(&self) -> [usize; 5] {
        self.shape
    }
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    maps: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("weight", weight, d.outputs * d.inputs * d.taps)?;
    let mut by_tap = zeros(weight.len())?;
    permute(weight, &mut by_tap, d.taps);
    pointwise_conv::forward(x, &by_tap, bias, maps, &d.pointwise, exec) // (F1)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dmaps: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("weight", weight, d.outputs * d.inputs * d.taps)?;
    let (mut by_tap, mut dby_tap) = (zeros(weight.len())?, zeros(weight.len())?);
    permute(weight, &mut by_tap, d.taps);
    pointwise_conv::backward(dmaps, x, &by_tap, dx, &mut dby_tap, dbias, &d.pointwise, exec)?; // (B1) (B2) (B3)
    permute(&dby_tap, dweight, dweight.len() / d.taps);
    Ok(())
}

/// x (rows, columns) -> y (columns, rows): the transpose.
fn permute<T: Real>(x: &[T], y: &mut [T], columns: usize) {
    let rows = x.len() / columns.max(1);
    for r in 0..rows {
        for c in 0..columns {
            y[c * rows + r] = x[r * columns + c];
        }
    }
}
