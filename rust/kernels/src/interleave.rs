//! The channels of two maps in turn.
//!
//! Shapes       a (N, D, H, W), b (N, D, H, W) -> y (N, 2·D, H, W)
//! Forward      (F1) y[:, 2c] = a[:, c]    (F2) y[:, 2c + 1] = b[:, c]
//! Backward     (B1) da[:, c] = dy[:, 2c]    (B2) db[:, c] = dy[:, 2c + 1]
//! Constraints  (C1) four axes, b of the shape of a

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    shape: [usize; 4],
    plane: usize,
    len: usize,
}

impl Dims {
    pub fn new(a: &[usize], b: &[usize]) -> Result<Dims, Error> {
        let &[images, channels, height, width] = a else {
            return Err(Error::Shape(format!("(C1) a: (N, D, H, W) expected, got shape {a:?}")));
        };
        require(a == b, || format!("(C1) b: the shape {a:?} of a expected, got {b:?}"))?;
        product(&[images, channels, height, width, 2])?;
        let shape = [images, 2 * channels, height, width];
        Ok(Dims { shape, plane: height * width, len: product(a)? })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        self.shape
    }

    fn check<T>(&self, a: &[T], b: &[T], y: &[T]) -> Result<(), Error> {
        require_len("a", a, self.len)?;
        require_len("b", b, self.len)?;
        require_len("y", y, 2 * self.len)
    }

    /// Elements of a that one task moves: whole planes.
    fn each(&self) -> usize {
        Exec::batch(self.plane) * self.plane
    }
}

pub fn forward<T: Real>(a: &[T], b: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(a, b, y)?;
    if d.len == 0 {
        return Ok(());
    }
    let (plane, each) = (d.plane, d.each());
    let tasks = y.chunks_mut(2 * each).zip(a.chunks(each).zip(b.chunks(each)));
    exec.for_each(d.len, tasks, |(y, (a, b))| {
        for (y, (a, b)) in y.chunks_exact_mut(2 * plane).zip(a.chunks_exact(plane).zip(b.chunks_exact(plane))) {
            y[..plane].copy_from_slice(a); // (F1)
            y[plane..].copy_from_slice(b); // (F2)
        }
    })
}

pub fn backward<T: Real>(dy: &[T], da: &mut [T], db: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(da, db, dy)?;
    if d.len == 0 {
        return Ok(());
    }
    let (plane, each) = (d.plane, d.each());
    let tasks = dy.chunks(2 * each).zip(da.chunks_mut(each).zip(db.chunks_mut(each)));
    exec.for_each(d.len, tasks, |(dy, (da, db))| {
        let pairs = da.chunks_exact_mut(plane).zip(db.chunks_exact_mut(plane));
        for (dy, (da, db)) in dy.chunks_exact(2 * plane).zip(pairs) {
            da.copy_from_slice(&dy[..plane]); // (B1)
            db.copy_from_slice(&dy[plane..]); // (B2)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    #[test]
    fn literal_loops() {
        for (n, c, plane) in grid([3, 4, 5]) {
            let d = Dims::new(&[n, c, 1, plane], &[n, c, 1, plane]).unwrap();
            assert_eq!(d.output(), [n, 2 * c, 1, plane]);
            let (a, b) = (random::<f32>(n * c * plane, 1), random::<f32>(n * c * plane, 2));
            each_exec(|exec| {
                let mut y = unwritten::<f32>(2 * a.len());
                forward(&a, &b, &mut y, &d, exec).unwrap();
                for (i, k, j) in grid([n, 2 * c, plane]) {
                    let from = if k % 2 == 0 { &a } else { &b };
                    assert_eq!(y[(i * 2 * c + k) * plane + j], from[(i * c + k / 2) * plane + j]);
                }
                let (mut da, mut db) = (unwritten::<f32>(a.len()), unwritten::<f32>(a.len()));
                backward(&y, &mut da, &mut db, &d, exec).unwrap();
                assert!(da == a && db == b);
            });
        }
        assert!(Dims::new(&[1, 2, 3, 4], &[1, 3, 3, 4]).is_err() && Dims::new(&[2, 3, 4], &[2, 3, 4]).is_err());
    }
}
