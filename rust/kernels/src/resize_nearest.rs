//! Nearest resize of planes: each new pixel is a copy of an old one.
//!
//! Shapes       x (planes, H, W) -> y (planes, h, w)
//! Forward      (F1) a_i = ⌊i·H/h⌋, b_j = ⌊j·W/w⌋, in whole numbers    (F2) y[i, j] = x[a_i, b_j]
//! Backward     (B1) dx[a, b] = Σ dy[i, j] over the new pixels with a_i = a and b_j = b
//! Constraints  (C1) x has two axes or more, and a pixel
//!
//! A task owns output rows in the forward pass, planes of dx in the backward pass.

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::pieces::reserved;
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    planes: usize,
    old: (usize, usize),
    new: (usize, usize),
}

impl Dims {
    pub fn new(x: &[usize], size: (usize, usize)) -> Result<Dims, Error> {
        let Some((lead, &[h, w])) = x.split_last_chunk::<2>() else {
            return Err(Error::Shape(format!("(C1) x: two axes at least expected, got shape {x:?}")));
        };
        require(h > 0 && w > 0, || format!("(C1) x: at least one pixel expected, got shape {x:?}"))?;
        require(size.0 > 0 && size.1 > 0, || format!("size: positive numbers expected, got {size:?}"))?;
        product(x)?;
        let planes = product(lead)?;
        product(&[planes, size.0, size.1])?;
        Ok(Dims { planes, old: (h, w), new: size })
    }

    fn check<T>(&self, x: &[T], y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.planes * self.old.0 * self.old.1)?;
        require_len("y", y, self.planes * self.new.0 * self.new.1)
    }
}

/// The old position behind every new one.
fn sources(old: usize, new: usize) -> Result<Vec<usize>, Error> {
    let mut all = reserved(new)?;
    all.extend((0..new as u128).map(|i| (i * old as u128 / new as u128) as usize)); // (F1)
    Ok(all)
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(x, y)?;
    if d.planes == 0 {
        return Ok(());
    }
    let (rows, columns) = (sources(d.old.0, d.new.0)?, sources(d.old.1, d.new.1)?);
    let (rows, columns) = (&rows[..], &columns[..]);
    let ((h, w), each) = (d.old, Exec::batch(d.new.1));
    let cost = y.len();
    exec.for_each(cost, y.chunks_mut(each * d.new.1).enumerate(), |(task, y)| {
        for (k, y) in y.chunks_exact_mut(d.new.1).enumerate() {
            let (plane, i) = ((task * each + k) / d.new.0, (task * each + k) % d.new.0);
            let x = &x[(plane * h + rows[i]) * w..][..w];
            for (y, &b) in y.iter_mut().zip(columns) {
                *y = x[b]; // (F2)
            }
        }
    })
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(dx, dy)?;
    if d.planes == 0 {
        return Ok(());
    }
    let (rows, columns) = (sources(d.old.0, d.new.0)?, sources(d.old.1, d.new.1)?);
    let (rows, columns) = (&rows[..], &columns[..]);
    let (old, new, width) = (d.old.0 * d.old.1, d.new.0 * d.new.1, d.old.1);
    let each = Exec::batch(new + old / 4);
    let tasks = dx.chunks_mut(each * old).zip(dy.chunks(each * new));
    exec.for_each(dy.len(), tasks, |(dx, dy)| {
        for (dx, dy) in dx.chunks_exact_mut(old).zip(dy.chunks_exact(new)) {
            dx.fill(T::ZERO);
            for (dy, &a) in dy.chunks_exact(d.new.1).zip(rows) {
                let dx = &mut dx[a * width..][..width];
                for (&dy, &b) in dy.iter().zip(columns) {
                    dx[b] += dy; // (B1)
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    #[test]
    fn literal_loops() {
        for (old, new, planes) in grid([5, 8, 3]).map(|(old, new, planes)| (old + 1, new + 1, planes)) {
            let d = Dims::new(&[planes, old, 3], (new, 4)).unwrap();
            let (x, dy) = (random::<f64>(planes * old * 3, 1), random::<f64>(planes * new * 4, 2));
            let mut expected = vec![0.0; x.len()];
            let source = |n: usize, i: usize, j: usize| (n * old + i * old / new) * 3 + j * 3 / 4;
            for (n, i, j) in grid([planes, new, 4]) {
                expected[source(n, i, j)] += dy[(n * new + i) * 4 + j];
            }
            each_exec(|exec| {
                let (mut y, mut dx) = (unwritten::<f64>(dy.len()), unwritten::<f64>(x.len()));
                forward(&x, &mut y, &d, exec).unwrap();
                assert!(grid([planes, new, 4]).all(|(n, i, j)| y[(n * new + i) * 4 + j] == x[source(n, i, j)]));
                backward(&dy, &mut dx, &d, exec).unwrap();
                assert_eq!(dx, expected);
            });
        }
        assert!(Dims::new(&[3], (1, 1)).is_err() && Dims::new(&[2, 0, 3], (1, 1)).is_err());
        assert!(Dims::new(&[2, 3, 3], (0, 1)).is_err() && Dims::new(&[1 << 20, 3, 3], (1 << 30, 1 << 30)).is_err());
    }
}
