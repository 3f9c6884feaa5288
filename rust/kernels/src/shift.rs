//! Shift of the last two axes.
//!
//! Shapes       x (..., H, W), offset (s, t) -> y (..., H, W)
//! Forward      (F1) y[i, j] = x[i+s, j+t], zero outside
//! Backward     (B1) dx[i, j] = dy[i−s, j−t], zero outside: the shift back
//! Constraints  (C1) x has at least two axes

use crate::error::Error;
use crate::exec::Exec;
use crate::planes::{overlap, product, require_len};
use crate::real::Real;

pub struct Dims {
    height: usize,
    width: usize,
    len: usize,
    offset: (isize, isize),
}

impl Dims {
    pub fn new(x: &[usize], offset: (isize, isize)) -> Result<Dims, Error> {
        let &[.., height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: at least two axes expected, got shape {x:?}")));
        };
        Ok(Dims { height, width, len: product(x)?, offset })
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    shift(x, y, d, d.offset, exec) // (F1)
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    shift(dy, dx, d, (d.offset.0.saturating_neg(), d.offset.1.saturating_neg()), exec) // (B1)
}

fn shift<T: Real>(x: &[T], y: &mut [T], d: &Dims, (s, t): (isize, isize), exec: &Exec) -> Result<(), Error> {
    require_len("x", x, d.len)?;
    require_len("y", y, d.len)?;
    if d.len == 0 {
        return Ok(());
    }
    let plane = d.height * d.width;
    let planes = Exec::batch(plane / 2);
    let tasks = y.chunks_mut(planes * plane).zip(x.chunks(planes * plane));
    exec.for_each(d.len / 2, tasks, |(y, x)| {
        for (y, x) in y.chunks_exact_mut(plane).zip(x.chunks_exact(plane)) {
            shift_plane(x, y, d.height, d.width, (s, t));
        }
    })
}

fn shift_plane<T: Real>(x: &[T], y: &mut [T], height: usize, width: usize, (s, t): (isize, isize)) {
    let ((rows, x_rows), (cols, x_cols)) = (overlap(s, height), overlap(t, width));
    y[..rows.start * width].fill(T::ZERO);
    y[rows.end * width..].fill(T::ZERO);
    for (i, a) in rows.zip(x_rows) {
        let (y_row, x_row) = (&mut y[i * width..][..width], &x[a * width..][..width]);
        y_row[..cols.start].fill(T::ZERO);
        y_row[cols.clone()].copy_from_slice(&x_row[x_cols.clone()]);
        y_row[cols.end..].fill(T::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    fn check<T: Real>([planes, height, width]: [usize; 3], (s, t): (isize, isize)) {
        let d = Dims::new(&[planes, height, width], (s, t)).unwrap();
        let x = random::<T>(planes * height * width, 1);
        let (mut y_expected, mut dx_expected) = (vec![T::ZERO; x.len()], vec![T::ZERO; x.len()]);
        for (n, i, j) in grid([planes, height, width]) {
            let (a, b) = (i as isize + s, j as isize + t);
            if (0..height as isize).contains(&a) && (0..width as isize).contains(&b) {
                let (out, input) = ((n * height + i) * width + j, (n * height + a as usize) * width + b as usize);
                y_expected[out] = x[input];
                dx_expected[input] = x[out];
            }
        }
        each_exec(|exec| {
            let (mut y, mut dx) = (unwritten::<T>(x.len()), unwritten::<T>(x.len()));
            forward(&x, &mut y, &d, exec).unwrap();
            backward(&x, &mut dx, &d, exec).unwrap();
            assert_eq!((&y, &dx), (&y_expected, &dx_expected), "{planes} {height}x{width} offset {s} {t}");
        });
    }

    #[test]
    fn standard() {
        for (height, width) in (0..5).flat_map(|h| (0..5).map(move |w| (h, w))) {
            for (s, t) in (-5..=5).flat_map(|s| (-5..=5).map(move |t| (s, t))) {
                check::<f32>([2, height, width], (s, t));
            }
        }
        check::<f64>([300, 17, 19], (2, -3));
    }

    #[test]
    fn far_offsets_leave_zeros() {
        for far in [isize::MIN, isize::MAX] {
            let d = Dims::new(&[2, 2], (far, 0)).unwrap();
            each_exec(|exec| {
                let (mut y, mut dx) = (unwritten::<f32>(4), unwritten::<f32>(4));
                forward(&[1.0; 4], &mut y, &d, exec).unwrap();
                backward(&[1.0; 4], &mut dx, &d, exec).unwrap();
                assert_eq!((y, dx), (vec![0.0; 4], vec![0.0; 4]));
            });
        }
    }

    #[test]
    fn c1_axes() {
        assert!(Dims::new(&[3], (0, 0)).is_err());
        assert!(
            forward(&[0f32; 3], &mut [0f32; 4], &Dims::new(&[2, 2], (0, 0)).unwrap(), &crate::testing::serial())
                .is_err()
        );
    }
}
