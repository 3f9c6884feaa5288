//! Global average pooling: the mean of every channel over its pixels.
//!
//! Shapes       x (N, C, H, W) -> y (N, C)
//! Forward      (F1) y = Σ_ij x[i, j] / (H·W)
//! Backward     (B1) dx[i, j] = dy / (H·W)
//! Constraints  (C1) x is (N, C, H, W)    (C2) at least one pixel

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::lanes::{self, Isa, Task};
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    planes: usize,
    pixels: usize,
    shape: [usize; 2],
}

impl Dims {
    pub fn new(x: &[usize]) -> Result<Dims, Error> {
        let &[n, c, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: expected (N, C, H, W), got {x:?}")));
        };
        product(x)?;
        require(height > 0 && width > 0, || format!("(C2) x: expected at least one pixel, got {x:?}"))?;
        Ok(Dims { planes: product(&[n, c])?, pixels: product(&[height, width])?, shape: [n, c] })
    }

    /// Shape of the output.
    pub fn output(&self) -> &[usize] {
        &self.shape
    }

    fn cost(&self) -> usize {
        self.planes * self.pixels / 2
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("x", x, d.planes * d.pixels)?;
    require_len("y", y, d.planes)?;
    let batch = Exec::batch(d.pixels / 2);
    let tasks = x.chunks(batch * d.pixels).zip(y.chunks_mut(batch));
    exec.for_each(d.cost(), tasks, |(x, y)| exec.run(Means { x, y }))
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("dy", dy, d.planes)?;
    require_len("dx", dx, d.planes * d.pixels)?;
    let (batch, n) = (Exec::batch(d.pixels / 2), T::from_usize(d.pixels));
    let tasks = dy.chunks(batch).zip(dx.chunks_mut(batch * d.pixels));
    exec.for_each(d.cost(), tasks, |(dy, dx)| {
        for (&dy, dx) in dy.iter().zip(dx.chunks_exact_mut(d.pixels)) {
            dx.fill(dy / n); // (B1)
        }
    })
}

struct Means<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Means<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let pixels = self.x.len() / self.y.len();
        let n = T::from_usize(pixels);
        for (x, y) in self.x.chunks_exact(pixels).zip(self.y) {
            *y = lanes::sum::<T, I>(x) / n; // (F1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, random, unwritten};

    fn check<T: Real>(tolerance: f64) {
        for (planes, pixels) in [(0, 3), (1, 1), (5, 37), (3, 100), (700, 3)] {
            let (x, dy) = (random::<T>(planes * pixels, 1), random::<T>(planes, 2));
            let n = T::from_usize(pixels);
            let y_expected: Vec<T> = x.chunks(pixels).map(|x| x.iter().fold(T::ZERO, |s, &v| s + v) / n).collect();
            let dx_expected: Vec<T> = dy.iter().flat_map(|&dy| (0..pixels).map(move |_| dy / n)).collect();
            let d = Dims::new(&[1, planes, 1, pixels]).unwrap();
            each_exec(|exec| {
                let (mut y, mut dx) = (unwritten::<T>(planes), unwritten::<T>(x.len()));
                forward(&x, &mut y, &d, exec).unwrap();
                backward(&dy, &mut dx, &d, exec).unwrap();
                assert!(difference(&y, &y_expected) < tolerance && difference(&dx, &dx_expected) == 0.0);
            });
        }
    }

    #[test]
    fn standard() {
        check::<f32>(1e-6);
        check::<f64>(1e-15);
    }

    #[test]
    fn no_mean_of_nothing() {
        assert!(Dims::new(&[2, 3, 0, 4]).is_err() && Dims::new(&[2, 3, 4]).is_err());
    }
}
