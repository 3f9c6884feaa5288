//! A map, channels last, moved by whole rows and columns; what leaves on one side comes back on the other.
//!
//! Shapes       x (N, H, W, C), offset (s, t) -> y (N, H, W, C)
//! Forward      (F1) y[n, i, j] = x[n, (i − s) mod H, (j − t) mod W]
//! Backward     (B1) dx[n, i, j] = dy[n, (i + s) mod H, (j + t) mod W]
//! Constraints  (C1) x has four axes

use crate::error::Error;
use crate::exec::Exec;
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    height: usize,
    /// Elements of a row.
    row: usize,
    len: usize,
    /// The row, and the element of it, that the first element of y reads.
    first: (usize, usize),
}

impl Dims {
    pub fn new(x: &[usize], offset: (isize, isize)) -> Result<Dims, Error> {
        let &[_, height, width, channels] = x else {
            return Err(Error::Shape(format!("(C1) x: four axes expected, got shape {x:?}")));
        };
        let (len, row) = (product(x)?, product(&[width, channels])?);
        Ok(Dims { height, row, len, first: (behind(offset.0, height), behind(offset.1, width) * channels) })
    }
}

/// −offset mod len.
fn behind(offset: isize, len: usize) -> usize {
    if len == 0 {
        return 0;
    }
    let rest = offset.unsigned_abs() % len;
    if offset > 0 { (len - rest) % len } else { rest }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    roll(x, y, d, d.first, exec) // (F1)
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (row, column) = d.first;
    roll(dy, dx, d, ((d.height - row).checked_rem(d.height).unwrap_or(0), d.row - column), exec) // (B1)
}

fn roll<T: Real>(x: &[T], y: &mut [T], d: &Dims, (first, column): (usize, usize), exec: &Exec) -> Result<(), Error> {
    require_len("x", x, d.len)?;
    require_len("y", y, d.len)?;
    if d.len == 0 {
        return Ok(());
    }
    let (row, height) = (d.row, d.height);
    let rows = Exec::batch(row / 2);
    exec.for_each(d.len / 2, y.chunks_mut(rows * row).enumerate(), |(k, y)| {
        for (i, y) in y.chunks_exact_mut(row).enumerate() {
            let (image, i) = ((k * rows + i) / height, (k * rows + i) % height);
            let x = &x[(image * height + (i + first) % height) * row..][..row];
            let (from_end, from_start) = y.split_at_mut(row - column);
            from_end.copy_from_slice(&x[column..]);
            from_start.copy_from_slice(&x[..column]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    fn check([n, height, width]: [usize; 3], c: usize, (s, t): (isize, isize)) {
        let d = Dims::new(&[n, height, width, c], (s, t)).unwrap();
        let x = random::<f32>(n * height * width * c, 1);
        let mut expected = unwritten::<f32>(x.len());
        for (image, i, j) in grid([n, height, width]) {
            let a = (i as isize - s).rem_euclid(height as isize) as usize;
            let b = (j as isize - t).rem_euclid(width as isize) as usize;
            let (from, to) = (((image * height + a) * width + b) * c, ((image * height + i) * width + j) * c);
            expected[to..][..c].copy_from_slice(&x[from..][..c]);
        }
        each_exec(|exec| {
            let (mut y, mut back) = (unwritten::<f32>(x.len()), unwritten::<f32>(x.len()));
            forward(&x, &mut y, &d, exec).unwrap();
            backward(&y, &mut back, &d, exec).unwrap();
            assert_eq!((&y, &back), (&expected, &x), "{n} {height}x{width}x{c} {s} {t}");
        });
    }

    #[test]
    fn standard() {
        for (height, width) in (0..4).flat_map(|h| (0..4).map(move |w| (h, w))) {
            for (s, t) in (-5..=5).flat_map(|s| (-5..=5).map(move |t| (s, t))) {
                check([2, height, width], 2, (s, t));
            }
        }
        check([3, 57, 61], 23, (2, -3));
        check([1, 4, 5], 1, (isize::MAX - 5, isize::MIN + 5));
        check([1, 4, 5], 0, (1, 1));
    }

    #[test]
    fn c1_axes() {
        assert!(Dims::new(&[2, 3, 4], (0, 0)).is_err());
        assert!(Dims::new(&[2, 3, 4, 1], (isize::MIN, isize::MIN)).is_ok());
    }
}
