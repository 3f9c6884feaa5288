//! Pointwise (1x1) convolution: the same linear map of the channels at every pixel.
//!
//! Shapes       x (N, C, H, W), weight (O, C, 1, 1), bias (O,) -> y (N, O, H, W)
//! Forward      (F1) y[:, i, j] = K x[:, i, j] + bias, K = weight[:, :, 0, 0]
//! Backward     (B1) dbias = Σ dy    (B2) dK = Σ_nij dy xᵀ    (B3) dx = Kᵀ dy
//! Constraints  (C1) x is (N, C, H, W)    (C2) weight is (O, C, 1, 1)    (C3) bias, if given, is (O,)

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::product;
use crate::real::Real;

/// A convolution of kernel 1x1 on rows of H·W pixels.
#[derive(Clone, Copy, Debug)]
pub struct Dims {
    shape: [usize; 4],
    conv: conv2d::Dims,
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
        let shape = [images, outputs, height, width];
        product(&shape)?;
        let conv = conv2d::Dims::pointwise(images, inputs, outputs, height * width)?;
        Ok(Dims { shape, conv })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.shape
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
    conv2d::forward(x, weight, bias, y, &d.conv, exec) // (F1)
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
    conv2d::backward(dy, x, weight, dx, dweight, dbias, &d.conv, exec) // (B1) (B2) (B3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    fn check<T: Real>(n: usize, c: usize, o: usize, h: usize, w: usize) {
        let d = Dims::new(&[n, c, h, w], &[o, c, 1, 1], Some(&[o])).expect("sizes fit");
        assert_eq!(d.output(), [n, o, h, w]);
        let p = h * w;
        let (x, weight, bias, dy) =
            (random::<T>(n * c * p, 1), random::<T>(o * c, 2), random::<T>(o, 3), random::<T>(n * o * p, 4));
        let (mut y, mut dx, mut dweight, mut dbias) =
            (vec![T::ZERO; n * o * p], vec![T::ZERO; n * c * p], vec![T::ZERO; o * c], vec![T::ZERO; o]);
        for (n, i, j) in grid([n, o, p]) {
            let at = (n * o + i) * p + j;
            y[at] = bias[i];
            dbias[i] += dy[at]; // (B1)
            for k in 0..c {
                y[at] += weight[i * c + k] * x[(n * c + k) * p + j]; // (F1)
                dweight[i * c + k] += dy[at] * x[(n * c + k) * p + j]; // (B2)
                dx[(n * c + k) * p + j] += weight[i * c + k] * dy[at]; // (B3)
            }
        }
        each_exec(|exec| {
            let mut found = [unwritten(y.len()), unwritten(dx.len()), unwritten(dweight.len()), unwritten(dbias.len())];
            let [y1, dx1, dweight1, dbias1] = &mut found;
            forward(&x, &weight, Some(&bias), y1, &d, exec).expect("forward runs");
            backward(&dy, &x, &weight, dx1, dweight1, Some(dbias1), &d, exec).expect("backward runs");
            for (found, expected) in found.iter().zip([&y, &dx, &dweight, &dbias]) {
                assert!(difference(found, expected) < 1e-5, "{:?} {exec_level:?}", d, exec_level = exec.level());
            }
        });
    }

    #[test]
    fn literal_loops() {
        for (n, c, o) in grid([3, 4, 4]) {
            check::<f64>(n, c, o, 2, 3);
            check::<f64>(n, c, o, 0, 3);
        }
        for (h, w) in [(1, 1), (7, 7), (5, 13), (1, 300)] {
            check::<f32>(3, 33, 15, h, w);
            check::<f64>(1, 300, 29, h, w);
        }
    }

    #[test]
    fn errors() {
        assert!(Dims::new(&[1, 2, 3], &[1, 2, 1, 1], None).is_err());
        assert!(
            Dims::new(&[1, 2, 3, 3], &[1, 2, 1], None).is_err()
                && Dims::new(&[1, 2, 3, 3], &[1, 3, 1, 1], None).is_err()
        );
        assert!(Dims::new(&[1, 2, 3, 3], &[4, 2, 1, 1], Some(&[5])).is_err());
        assert!(Dims::new(&[0, 2, usize::MAX, 3], &[4, 2, 1, 1], None).is_err());
    }
}
