//! Pointwise (1x1) convolution: the same linear map of the channels at every pixel.
//!
//! Shapes       x (N, C, H, W), weight (O, C, 1, 1), bias (O,) -> y (N, O, H, W)
//! Forward      (F1) y[:, i, j] = K x[:, i, j] + bias, K = weight[:, :, 0, 0]
//! Backward     (B1) dbias = Σ dy    (B2) dK = Σ_nij dy xᵀ    (B3) dx = Kᵀ dy
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C, 1, 1)    (C3) bias, if given, is (O,)

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    inputs: usize,
    outputs: usize,
    height: usize,
    width: usize,
}

impl Dims {
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>) -> Result<Dims, Error> {
        let &[images, inputs, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let outputs = weight.first().copied().unwrap_or(0);
        require(weight == [outputs, inputs, 1, 1], || {
            format!("(C2) weight: (O, {inputs}, 1, 1) expected, got shape {weight:?}")
        })?;
        require(bias.is_none_or(|b| b == [outputs]), || {
            format!("(C3) bias: ({outputs},) expected, got shape {bias:?}")
        })?;
        product(x)?;
        product(weight)?;
        product(&[images, outputs, height, width])?;
        Ok(Dims { images, inputs, outputs, height, width })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.images, self.outputs, self.height, self.width]
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
    let p = d.height * d.width;
    require_len("x", x, d.images * d.inputs * p)?;
    require_len("weight", weight, d.outputs * d.inputs)?;
    require_len("y", y, d.images * d.outputs * p)?;
    for n in 0..d.images {
        for o in 0..d.outputs {
            let row = &mut y[(n * d.outputs + o) * p..][..p];
            row.fill(T::ZERO);
            for c in 0..d.inputs {
                let w = weight[o * d.inputs + c];
                for (y, &x) in row.iter_mut().zip(&x[(n * d.inputs + c) * p..][..p]) {
                    *y += w * x; // (F1)
                }
            }
            if let Some(bias) = bias {
                row.iter_mut().for_each(|y| *y += bias[o]);
            }
        }
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
    let p = d.height * d.width;
    require_len("dy", dy, d.images * d.outputs * p)?;
    dx.fill(T::ZERO);
    dweight.fill(T::ZERO);
    let mut sums = vec![T::ZERO; d.outputs];
    for n in 0..d.images {
        for o in 0..d.outputs {
            let dy = &dy[(n * d.outputs + o) * p..][..p];
            dy.iter().for_each(|&g| sums[o] += g); // (B1)
            for c in 0..d.inputs {
                let (at, w) = ((n * d.inputs + c) * p, weight[o * d.inputs + c]);
                for (j, &g) in dy.iter().enumerate() {
                    dweight[o * d.inputs + c] += g * x[at + j]; // (B2)
                    dx[at + j] += w * g; // (B3)
                }
            }
        }
    }
    if let Some(dbias) = dbias {
        dbias.copy_from_slice(&sums);
    }
    Ok(())
}
