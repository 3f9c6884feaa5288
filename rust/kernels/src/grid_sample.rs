//! Grid sampling: a map read between its pixels at normalised coordinates.
//!
//! Shapes       x (N, C, H, W), grid (N, Ho, Wo, 2), its last axis (u, v) = (horizontal, vertical) -> y (N, C, Ho, Wo)
//! Forward      (F1) xs = ((u + 1)·W − 1)/2, ys = ((v + 1)·H − 1)/2; with align_corners xs = (u + 1)·(W − 1)/2, ys = (v + 1)·(H − 1)/2
//!              (F2) y = bilinear_sample(x, ys, xs)
//! Backward     (B1) dx, dys, dxs = backward of bilinear_sample    (B2) du = dxs·W/2, dv = dys·H/2; with align_corners W − 1, H − 1
//! Constraints  (C1) x is (N, C, H, W)    (C2) grid is (N, Ho, Wo, 2)    (C3) align_corners is a truth value

use crate::bilinear_sample::{self, Gradients};
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    sampling: bilinear_sample::Dims,
    output: [usize; 4],
    points: usize,
    size: [usize; 2],
    align_corners: bool,
}

impl Dims {
    pub fn new(x: &[usize], grid: &[usize], align_corners: bool) -> Result<Dims, Error> {
        let &[images, channels, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let expected = || format!("(C2) grid: ({images}, Ho, Wo, 2) expected, got shape {grid:?}");
        let &[first, rows, columns, two] = grid else { return Err(Error::Shape(expected())) };
        require(first == images && two == 2, expected)?;
        let points = [images, rows, columns];
        let sampling = bilinear_sample::Dims::new(x, &points, &points)?;
        let output = [images, channels, rows, columns];
        Ok(Dims { sampling, output, points: product(&points)?, size: [width, height], align_corners })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.output
    }

    /// Pixels per unit of u and of v.
    fn slopes<T: Real>(&self) -> [T; 2] {
        let one = if self.align_corners { 1.0 } else { 0.0 };
        self.size.map(|length| T::from_f64((length as f64 - one) / 2.0))
    }

    /// xs and ys of (F1).
    fn coordinates<T: Real>(&self, grid: &[T]) -> Result<[Buffer<T>; 2], Error> {
        require(grid.len() == 2 * self.points, || format!("grid has {} elements", grid.len()))?;
        let (mut xs, mut ys) = (zeros(self.points)?, zeros(self.points)?);
        let (slopes, size) = (self.slopes::<T>(), self.size.map(T::from_usize));
        let place = |u: T, axis: usize| {
            if self.align_corners {
                (u + T::ONE) * slopes[axis] // (F1)
            } else {
                ((u + T::ONE) * size[axis] - T::ONE) / (T::ONE + T::ONE) // (F1)
            }
        };
        for ((x, y), point) in xs.iter_mut().zip(ys.iter_mut()).zip(grid.chunks_exact(2)) {
            (*x, *y) = (place(point[0], 0), place(point[1], 1));
        }
        Ok([xs, ys])
    }
}

pub fn forward<T: Real>(x: &[T], grid: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let [xs, ys] = d.coordinates(grid)?;
    bilinear_sample::forward(x, &ys, &xs, y, &d.sampling, exec) // (F2)
}

pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    grid: &[T],
    dx: &mut [T],
    dgrid: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("dgrid", dgrid, grid.len())?;
    let [xs, ys] = d.coordinates(grid)?;
    let (mut dxs, mut dys) = (zeros(d.points)?, zeros(d.points)?);
    let gradients = Gradients { dx, dys: &mut dys, dxs: &mut dxs };
    bilinear_sample::backward(dy, x, &ys, &xs, gradients, &d.sampling, exec)?; // (B1)
    let [wide, high] = d.slopes();
    for ((&dxs, &dys), point) in dxs.iter().zip(dys.iter()).zip(dgrid.chunks_exact_mut(2)) {
        (point[0], point[1]) = (dxs * wide, dys * high); // (B2)
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    #[test]
    fn the_corners_of_the_grid() {
        let d = Dims::new(&[1, 2, 3, 4], &[1, 1, 2, 2], true).unwrap();
        let x = random::<f64>(24, 1);
        each_exec(|exec| {
            let mut y = unwritten::<f64>(4);
            forward(&x, &[-1.0, -1.0, 1.0, -1.0], &mut y, &d, exec).unwrap();
            assert_eq!(y, [x[0], x[3], x[12], x[15]]);
        });
        assert!(
            Dims::new(&[1, 2, 3], &[1, 1, 2, 2], true).is_err() && Dims::new(&[1, 2, 3, 4], &[1, 2, 2], true).is_err()
        );
        assert!(Dims::new(&[1, 2, 3, 4], &[1, 1, 2, 3], true).is_err());
        assert!(Dims::new(&[1, 2, 3, 4], &[2, 1, 2, 2], false).is_err());
    }
}
