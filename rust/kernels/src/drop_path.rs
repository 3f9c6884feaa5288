//! Stochastic depth: a residual branch is kept for some samples of a batch and left out for the others, as a mask says.
//!
//! Shapes       x (N, ...), mask (N,), rate -> y, the shape of x
//! Forward      (F1) f = mask/(1 − rate)    (F2) y[n] = f[n]·x[n]
//! Backward     (B1) dx[n] = f[n]·dy[n]    (B2) dmask[n] = Σ dy[n]·x[n]/(1 − rate)
//! Constraints  (C1) x has at least one axis    (C2) mask is (N,)    (C3) rate is a number from 0 to below 1
//!
//! The factors act as those of layer scale on the axis of samples.

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::layer_scale;
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    samples: usize,
    rows: layer_scale::Dims,
    rate: f64,
}

impl Dims {
    pub fn new(x: &[usize], mask: &[usize], rate: f64) -> Result<Dims, Error> {
        let [samples, rest @ ..] = x else {
            return Err(Error::Shape(format!("(C1) x: at least one axis expected, got shape {x:?}")));
        };
        require(mask == [*samples], || format!("(C2) mask: ({samples},) expected, got shape {mask:?}"))?;
        require((0.0..1.0).contains(&rate), || format!("(C3) rate: a number from 0 to below 1 expected, got {rate}"))?;
        product(x)?;
        Ok(Dims { samples: *samples, rows: layer_scale::Dims::of_rows(*samples, product(rest)?), rate })
    }

    fn kept<T: Real>(&self) -> T {
        T::from_f64(1.0 - self.rate)
    }

    /// f of every sample.
    fn factors<T: Real>(&self, mask: &[T]) -> Result<Buffer<T>, Error> {
        require_len("mask", mask, self.samples)?;
        let mut f = zeros(self.samples)?;
        for (f, &mask) in f.iter_mut().zip(mask) {
            *f = mask / self.kept(); // (F1)
        }
        Ok(f)
    }
}

pub fn forward<T: Real>(x: &[T], mask: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    layer_scale::forward(x, &d.factors(mask)?, y, &d.rows, exec) // (F2)
}

pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    mask: &[T],
    dx: &mut [T],
    dmask: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    layer_scale::backward(dy, x, &d.factors(mask)?, dx, dmask, &d.rows, exec)?; // (B1)
    for dmask in dmask {
        *dmask = *dmask / d.kept(); // (B2)
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    #[test]
    fn literal_loops() {
        for shape in [&[3, 2, 5][..], &[4], &[0, 3], &[2, 0], &[2, 9000]] {
            let (samples, inner): (usize, usize) = (shape[0], shape[1..].iter().product());
            let (x, mask, dy) =
                (random::<f64>(samples * inner, 1), random::<f64>(samples, 2), random::<f64>(samples * inner, 3));
            let d = Dims::new(shape, &[samples], 0.5).unwrap();
            each_exec(|exec| {
                let (mut y, mut dx, mut dmask) = (unwritten(x.len()), unwritten(x.len()), unwritten(samples));
                forward(&x, &mask, &mut y, &d, exec).unwrap();
                backward(&dy, &x, &mask, &mut dx, &mut dmask, &d, exec).unwrap();
                for n in 0..samples {
                    let mut sum = 0.0;
                    for k in n * inner..(n + 1) * inner {
                        assert!(y[k] == 2.0 * mask[n] * x[k] && dx[k] == 2.0 * mask[n] * dy[k]);
                        sum += 2.0 * dy[k] * x[k];
                    }
                    assert!((dmask[n] - sum).abs() < 1e-10);
                }
            });
        }
        assert!(Dims::new(&[], &[1], 0.0).is_err() && Dims::new(&[2, 3], &[3], 0.0).is_err());
        assert!([1.0, -0.1, f64::NAN].iter().all(|&rate| Dims::new(&[2, 3], &[2], rate).is_err()));
    }
}
