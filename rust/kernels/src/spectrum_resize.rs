//! The weights of a global filter at another size: bilinear, ends stay ends, real and imaginary parts apart.
//!
//! Shapes       weight (C, h, w, 2) -> y (C, H, V, 2)
//! Forward      (F1) y[c, :, :, e] = R_H weight[c, :, :, e] R_Vᵀ, the matrices of `resize_bilinear` with aligned corners
//! Backward     (B1) dweight[c, :, :, e] = R_Hᵀ dy[c, :, :, e] R_V
//! Constraints  (C1) weight is (C, h, w, 2) with h, w ≥ 1
//!
//! A task owns channels.

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::resize_bilinear::{Between, between};

pub struct Dims {
    channels: usize,
    old: (usize, usize),
    new: (usize, usize),
}

impl Dims {
    pub fn new(weight: &[usize], size: (usize, usize)) -> Result<Dims, Error> {
        let &[channels, h, w, 2] = weight else {
            return Err(Error::Shape(format!("(C1) weight: (C, h, w, 2) expected, got shape {weight:?}")));
        };
        require(h > 0 && w > 0, || format!("(C1) weight: h, w >= 1 expected, got shape {weight:?}"))?;
        require(size.0 > 0 && size.1 > 0, || format!("size: positive numbers expected, got {size:?}"))?;
        for numbers in [[channels, h, w], [channels, size.0, size.1], [1, size.0, w], [4, size.0, 2], [4, size.1, 2]] {
            product(&[numbers[0], numbers[1], numbers[2], 2])?;
        }
        Ok(Dims { channels, old: (h, w), new: size })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.channels, self.new.0, self.new.1, 2]
    }

    /// Elements of one channel, old and new.
    fn sizes(&self) -> (usize, usize) {
        (2 * self.old.0 * self.old.1, 2 * self.new.0 * self.new.1)
    }

    fn check<T>(&self, weight: &[T], y: &[T]) -> Result<(), Error> {
        require_len("weight", weight, self.channels * self.sizes().0)?;
        require_len("y", y, self.channels * self.sizes().1)
    }

    fn axes<T: Real>(&self) -> Result<[Vec<Between<T>>; 2], Error> {
        Ok([between(self.old.0, self.new.0, true)?, between(self.old.1, self.new.1, true)?])
    }
}

pub fn forward<T: Real>(weight: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(weight, y)?;
    if d.channels == 0 {
        return Ok(());
    }
    let ([rows, columns], (old, new)) = (d.axes::<T>()?, d.sizes());
    let (rows, columns, width) = (&rows[..], &columns[..], 2 * d.old.1);
    let (cost, each) = (2 * y.len(), Exec::batch(2 * new));
    let tasks = y.chunks_mut(each * new).zip(weight.chunks(each * old));
    exec.for_each_with(
        cost,
        tasks,
        || zeros::<T>(width),
        |mixed, (y, weight)| {
            for (y, weight) in y.chunks_exact_mut(new).zip(weight.chunks_exact(old)) {
                for (y, at) in y.chunks_exact_mut(2 * d.new.1).zip(rows) {
                    let (a, b) = (&weight[at.a * width..][..width], &weight[at.b * width..][..width]);
                    for ((mixed, &a), &b) in mixed.iter_mut().zip(a).zip(b) {
                        *mixed = at.near * a + at.far * b; // (F1)
                    }
                    for (y, at) in y.chunks_exact_mut(2).zip(columns) {
                        for e in 0..2 {
                            y[e] = at.near * mixed[2 * at.a + e] + at.far * mixed[2 * at.b + e];
                        }
                    }
                }
            }
        },
    )
}

pub fn backward<T: Real>(dy: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(dweight, dy)?;
    if d.channels == 0 {
        return Ok(());
    }
    let ([rows, columns], (old, new)) = (d.axes::<T>()?, d.sizes());
    let (rows, columns, width) = (&rows[..], &columns[..], 2 * d.old.1);
    let (cost, each) = (2 * (dy.len() + dweight.len()), Exec::batch(2 * (old + new)));
    let tasks = dweight.chunks_mut(each * old).zip(dy.chunks(each * new));
    exec.for_each_with(
        cost,
        tasks,
        || zeros::<T>(width),
        |sums, (dweight, dy)| {
            for (dweight, dy) in dweight.chunks_exact_mut(old).zip(dy.chunks_exact(new)) {
                dweight.fill(T::ZERO);
                for (dy, at) in dy.chunks_exact(2 * d.new.1).zip(rows) {
                    sums.fill(T::ZERO);
                    for (dy, at) in dy.chunks_exact(2).zip(columns) {
                        for e in 0..2 {
                            sums[2 * at.a + e] += at.near * dy[e];
                            sums[2 * at.b + e] += at.far * dy[e];
                        }
                    }
                    for (row, share) in [(at.a, at.near), (at.b, at.far)] {
                        for (dweight, &sum) in dweight[row * width..][..width].iter_mut().zip(sums.iter()) {
                            *dweight += share * sum; // (B1)
                        }
                    }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resize_bilinear;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    /// Each part is an image.
    #[test]
    fn images_of_real_and_imaginary_parts() {
        for (h, w, size) in [(1, 1, (3, 2)), (4, 3, (9, 7)), (14, 8, (9, 5)), (5, 4, (1, 4))] {
            let d = Dims::new(&[2, h, w, 2], size).unwrap();
            let images = resize_bilinear::Dims::new(&[2, h, w], size, true).unwrap();
            let (weight, dy) = (random::<f64>(4 * h * w, 1), random::<f64>(4 * size.0 * size.1, 2));
            each_exec(|exec| {
                let (mut y, mut dweight) = (unwritten::<f64>(dy.len()), unwritten::<f64>(weight.len()));
                forward(&weight, &mut y, &d, exec).unwrap();
                backward(&dy, &mut dweight, &d, exec).unwrap();
                for e in 0..2 {
                    let part = |all: &[f64]| all.iter().copied().skip(e).step_by(2).collect::<Vec<_>>();
                    let (mut image, mut back) = (part(&dy), part(&weight));
                    resize_bilinear::forward(&part(&weight), &mut image, &images, exec).unwrap();
                    resize_bilinear::backward(&part(&dy), &mut back, &images, exec).unwrap();
                    assert!(difference(&part(&y), &image) < 1e-14 && difference(&part(&dweight), &back) < 1e-14);
                }
            });
        }
        for (h, w, c) in grid([2, 2, 2]) {
            assert_eq!(Dims::new(&[c, h, w, 2], (2, 2)).is_ok(), h > 0 && w > 0);
        }
        assert!(Dims::new(&[1, 2, 2, 3], (2, 2)).is_err() && Dims::new(&[1, 2, 2, 2], (0, 2)).is_err());
    }
}
