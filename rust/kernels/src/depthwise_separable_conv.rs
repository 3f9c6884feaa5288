//! Depthwise separable convolution: each channel is filtered by its own kernel, then a pointwise convolution mixes the channels.
//!
//! Shapes       x (N, C, H, W), depthwise_weight (C, 1, kh, kw), pointwise_weight (M, C, 1, 1), depthwise_bias (C,), pointwise_bias (M,)
//!              -> y (N, M, Ho, Wo) and u (N, C, Ho, Wo), Ho = H + 2·ph − kh + 1; padding None stands for (⌊kh/2⌋, ⌊kw/2⌋)
//! Forward      (F1) u[c] = x[c] * depthwise_weight[c] + depthwise_bias[c]    (F2) y = pointwise_weight·u + pointwise_bias at every pixel
//! Backward     (B1) du, dpointwise_weight, dpointwise_bias = backward of (F2)
//!              (B2) dx, ddepthwise_weight, ddepthwise_bias = backward of (F1)
//! Constraints  (C1) x is (N, C, H, W), C ≥ 1    (C2) depthwise_weight is (C, 1, kh, kw)    (C3) pointwise_weight is (M, C, 1, 1)
//!              (C4) (C5) the biases are (C,) and (M,)    (C6) the padded input is at least as large as the kernel

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::require_len;
use crate::pointwise_conv;
use crate::real::Real;

/// The arrays of a call: their shapes, their elements, or their gradients.
#[derive(Clone, Copy)]
pub struct Arguments<A> {
    pub x: A,
    pub depthwise_weight: A,
    pub pointwise_weight: A,
    pub depthwise_bias: Option<A>,
    pub pointwise_bias: Option<A>,
}

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    depthwise: conv2d::Dims,
    pointwise: pointwise_conv::Dims,
    between: usize,
}

impl Dims {
    pub fn new(shapes: &Arguments<&[usize]>, padding: Option<(usize, usize)>) -> Result<Dims, Error> {
        let Arguments { x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias } = *shapes;
        let (&[_, channels, _, _], &[kernels, one, kh, kw]) = (x, depthwise_weight) else {
            return Err(Error::Shape(format!(
                "(C1) (C2) x, depthwise_weight: four axes expected, got shapes {x:?} and {depthwise_weight:?}"
            )));
        };
        require(channels > 0 && kernels == channels && one == 1, || {
            format!("(C2) depthwise_weight: ({channels}, 1, kh, kw) expected, got shape {depthwise_weight:?}")
        })?;
        let padding = padding.unwrap_or((kh / 2, kw / 2));
        let depthwise = conv2d::Dims::new(x, depthwise_weight, depthwise_bias, (1, 1), padding, (1, 1), channels)?;
        let between = depthwise.output();
        let pointwise = pointwise_conv::Dims::new(&between, pointwise_weight, pointwise_bias)?;
        Ok(Dims { depthwise, pointwise, between: between.iter().product() })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.pointwise.output()
    }

    /// Shape of u.
    pub fn between(&self) -> [usize; 4] {
        self.depthwise.output()
    }
}

pub fn forward<T: Real>(
    arguments: &Arguments<&[T]>,
    y: &mut [T],
    u: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Arguments { x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias } = *arguments;
    require_len("u", u, d.between)?;
    conv2d::forward(x, depthwise_weight, depthwise_bias, u, &d.depthwise, exec)?; // (F1)
    pointwise_conv::forward(u, pointwise_weight, pointwise_bias, y, &d.pointwise, exec) // (F2)
}

pub fn backward<T: Real>(
    dy: &[T],
    arguments: &Arguments<&[T]>,
    u: &[T],
    gradients: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Arguments { x, depthwise_weight, pointwise_weight, .. } = *arguments;
    let Arguments { x: dx, depthwise_weight: dd, pointwise_weight: dp, depthwise_bias: ddb, pointwise_bias: dpb } =
        gradients;
    require_len("u", u, d.between)?;
    let mut du = exec.zeros(d.between)?;
    pointwise_conv::backward(dy, u, pointwise_weight, &mut du, dp, dpb, &d.pointwise, exec)?; // (B1)
    conv2d::backward(&du, x, depthwise_weight, dx, dd, ddb, &d.depthwise, exec) // (B2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    #[test]
    fn a_kernel_of_one_at_its_centre_leaves_the_pointwise_convolution() {
        let (x, pointwise) = (random::<f64>(2 * 3 * 20, 1), random::<f64>(2 * 3, 2));
        let mut depthwise = vec![0.0; 27];
        for c in 0..3 {
            depthwise[9 * c + 4] = 1.0;
        }
        let shapes = Arguments {
            x: &[2, 3, 4, 5][..],
            depthwise_weight: &[3, 1, 3, 3],
            pointwise_weight: &[2, 3, 1, 1],
            depthwise_bias: None,
            pointwise_bias: None,
        };
        let d = Dims::new(&shapes, None).unwrap();
        assert_eq!((d.output(), d.between()), ([2, 2, 4, 5], [2, 3, 4, 5]));
        let arguments = Arguments {
            x: &x[..],
            depthwise_weight: &depthwise,
            pointwise_weight: &pointwise,
            depthwise_bias: None,
            pointwise_bias: None,
        };
        each_exec(|exec| {
            let (mut y, mut u) = (unwritten::<f64>(80), unwritten::<f64>(120));
            forward(&arguments, &mut y, &mut u, &d, exec).unwrap();
            assert_eq!(u, x);
            for (k, &y) in y.iter().enumerate() {
                let (n, m, p) = (k / 40, k / 20 % 2, k % 20);
                let sum: f64 = (0..3).map(|c| pointwise[3 * m + c] * x[(3 * n + c) * 20 + p]).sum();
                assert!((y - sum).abs() < 1e-12);
            }
        });
        assert!(Dims::new(&Arguments { x: &[2, 2, 4, 5][..], ..shapes }, None).is_err());
        assert!(Dims::new(&Arguments { depthwise_weight: &[3, 2, 3, 3][..], ..shapes }, None).is_err());
    }
}
