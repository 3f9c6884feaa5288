//! Instance normalisation: every map of every sample is brought to mean 0 and variance 1 over its pixels, then scaled and shifted.
//!
//! Shapes       x (N, C, H, W), weight (C,), bias (C,) -> y, the shape of x, and m, r (N, C)
//! Forward      (F1) m = Σ x / HW    (F2) r = 1/√(Σ (x − m)²/HW + eps)    (F3) x̂ = (x − m)·r    (F4) y = weight·x̂ + bias
//! Backward     (B1) dbias = Σ dy    (B2) dweight = Σ dy·x̂    (B3) dx̂ = weight·dy    (B4) dx = r·(dx̂ − Σ dx̂/HW − x̂·Σ x̂·dx̂/HW)
//! Constraints  (C1) x is (N, C, H, W) with H, W ≥ 1    (C2) (C3) weight and bias are (C,)    (C4) eps is finite and positive
//!
//! It is group normalisation with a group for every channel.

use crate::error::Error;
use crate::exec::Exec;
use crate::group_norm;
use crate::real::Real;

pub use crate::group_norm::Saved;

#[derive(Clone, Copy, Debug)]
pub struct Dims(group_norm::Dims);

impl Dims {
    pub fn new(x: &[usize], weight: Option<&[usize]>, bias: Option<&[usize]>, eps: f64) -> Result<Dims, Error> {
        group_norm::Dims::by_channel(x, weight, bias, eps).map(Dims)
    }

    /// Shape of m and r.
    pub fn statistics(&self) -> [usize; 2] {
        self.0.statistics()
    }
}

#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    y: &mut [T],
    m: &mut [T],
    r: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    group_norm::forward(x, weight, bias, y, m, r, &d.0, exec) // (F1) (F2) (F3) (F4)
}

pub fn backward<T: Real>(
    saved: Saved<T>,
    weight: Option<&[T]>,
    dx: &mut [T],
    dweight: Option<&mut [T]>,
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    group_norm::backward(saved, weight, dx, dweight, dbias, &d.0, exec) // (B1) (B2) (B3) (B4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, unwritten};

    #[test]
    fn one_pixel_gives_the_bias() {
        let d = Dims::new(&[2, 3, 1, 1], Some(&[3]), Some(&[3]), 1e-5).unwrap();
        assert_eq!(d.statistics(), [2, 3]);
        each_exec(|exec| {
            let (mut y, mut m, mut r) = (unwritten::<f32>(6), unwritten::<f32>(6), unwritten::<f32>(6));
            let (x, weight, bias) = ([7.0, -3.0, 1e6, 0.5, 9.0, 2.0], [2.0; 3], [1.0, 2.0, 3.0]);
            forward(&x, Some(&weight), Some(&bias), &mut y, &mut m, &mut r, &d, exec).unwrap();
            assert_eq!(y, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        });
        assert!(
            Dims::new(&[1, 0, 2, 2], None, None, 1.0).is_ok() && Dims::new(&[1, 2, 0, 2], None, None, 1.0).is_err()
        );
    }
}
