//! Bilinear sampling: a map read between its pixels, with zeros around it.
//!
//! Shapes       x (N, C, H, W), ys and xs (N, ...) -> s (N, C, ...): every point of image n reads all its channels
//! Forward      (F1) y0 = ⌊y⌋, a = y − y0;  x0 = ⌊x⌋, b = x − x0    (F2) Z_pq = x[y0 + p, x0 + q], 0 outside the map
//!              (F3) s = (1−a)·(1−b)·Z_00 + (1−a)·b·Z_01 + a·(1−b)·Z_10 + a·b·Z_11
//! Backward     (B1) dx[y0 + p, x0 + q] = Σ of ds times the factor of Z_pq    (B2) dys = Σ_c ds·((1−b)·(Z_10 − Z_00) + b·(Z_11 − Z_01))
//!              (B3) dxs = Σ_c ds·((1−a)·(Z_01 − Z_00) + a·(Z_11 − Z_10))
//! Constraints  (C1) x is (N, C, H, W)    (C2) ys is (N, ...)    (C3) xs has the shape of ys
//!
//! Tasks own channels of s and of dx, and points of dys and dxs; the cells of some points at a time serve all channels of a task.

use std::ops::Range;

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::gemm::pieces;
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::sampling::Point;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    channels: usize,
    height: usize,
    width: usize,
    points: usize,
}

/// Points whose cells are held at once.
const BLOCK: usize = 64;

/// Points of a task of the coordinates' gradients.
const MOST_POINTS: usize = 1024;

impl Dims {
    pub fn new(x: &[usize], ys: &[usize], xs: &[usize]) -> Result<Dims, Error> {
        let &[images, channels, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        let [first, rest @ ..] = ys else {
            return Err(Error::Shape(format!("(C2) ys: ({images}, ...) expected, got shape {ys:?}")));
        };
        require(*first == images, || format!("(C2) ys: ({images}, ...) expected, got shape {ys:?}"))?;
        require(xs == ys, || format!("(C3) xs: shape {ys:?} of ys expected, got {xs:?}"))?;
        let points = product(rest)?;
        product(x)?;
        product(&[images, channels, points])?;
        Ok(Dims { images, channels, height, width, points })
    }

    fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Channels of a task.
    fn each(&self) -> usize {
        Exec::batch(4 * self.points).min(self.channels.max(1))
    }

    fn check<T>(&self, x: &[T], ys: &[T], xs: &[T], s: &[T]) -> Result<(), Error> {
        require_len("x", x, self.images * self.channels * self.plane())?;
        require_len("ys", ys, self.images * self.points)?;
        require_len("xs", xs, self.images * self.points)?;
        require_len("s", s, self.images * self.channels * self.points)
    }

    /// The cells of some points of an image.
    fn cells<T: Real>(&self, ys: &[T], xs: &[T], image: usize, points: Range<usize>) -> [Point<T>; BLOCK] {
        let first = image * self.points + points.start;
        std::array::from_fn(|k| {
            let k = first + k.min(points.len().saturating_sub(1));
            Point::new(ys[k], xs[k], self.height, self.width) // (F1)
        })
    }
}

/// Z_00, Z_01, Z_10 and Z_11.
#[inline(always)]
fn pixels<T: Real>(plane: &[T], point: &Point<T>) -> [T; 4] {
    point.at.map(|k| plane.get(k).copied().unwrap_or(T::ZERO)) // (F2)
}

pub fn forward<T: Real>(x: &[T], ys: &[T], xs: &[T], s: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(x, ys, xs, s)?;
    if s.is_empty() {
        return Ok(());
    }
    let (each, plane) = (d.each(), d.plane());
    let tasks = s.chunks_mut(d.channels * d.points).enumerate();
    let tasks = tasks.flat_map(|(n, s)| s.chunks_mut(each * d.points).enumerate().map(move |(at, s)| (n, at, s)));
    exec.for_each(4 * d.images * d.channels * d.points, tasks, |(n, at, s)| {
        for points in pieces(0..d.points, BLOCK) {
            let cells = d.cells(ys, xs, n, points.clone());
            for (k, s) in s.chunks_exact_mut(d.points).enumerate() {
                let x = &x[(n * d.channels + at * each + k) * plane..][..plane];
                for (s, point) in s[points.clone()].iter_mut().zip(&cells) {
                    let (z, w) = (pixels(x, point), point.weights());
                    *s = w[0] * z[0] + w[1] * z[1] + w[2] * z[2] + w[3] * z[3]; // (F3)
                }
            }
        }
    })
}

/// dx, dys and dxs.
pub struct Gradients<'a, T> {
    pub dx: &'a mut [T],
    pub dys: &'a mut [T],
    pub dxs: &'a mut [T],
}

pub fn backward<T: Real>(
    ds: &[T],
    x: &[T],
    ys: &[T],
    xs: &[T],
    gradients: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Gradients { dx, dys, dxs } = gradients;
    d.check(x, ys, xs, ds)?;
    d.check(dx, dys, dxs, ds)?;
    if !dx.is_empty() {
        let (each, plane) = (d.each(), d.plane());
        let tasks = dx.chunks_mut(d.channels * plane).enumerate();
        let tasks = tasks.flat_map(|(n, dx)| dx.chunks_mut(each * plane).enumerate().map(move |(at, dx)| (n, at, dx)));
        exec.for_each(4 * ds.len(), tasks, |(n, at, dx)| {
            dx.fill(T::ZERO);
            for points in pieces(0..d.points, BLOCK) {
                let cells = d.cells(ys, xs, n, points.clone());
                for (k, dx) in dx.chunks_exact_mut(plane).enumerate() {
                    let ds = &ds[(n * d.channels + at * each + k) * d.points..][..d.points];
                    for (&ds, point) in ds[points.clone()].iter().zip(&cells) {
                        for (&k, w) in point.at.iter().zip(point.weights()) {
                            if let Some(dx) = dx.get_mut(k) {
                                *dx += w * ds; // (B1)
                            }
                        }
                    }
                }
            }
        })?;
    }
    if dys.is_empty() {
        return Ok(());
    }
    let along = dys.chunks_mut(d.points).zip(dxs.chunks_mut(d.points)).enumerate();
    let tasks = along.flat_map(|(n, (dys, dxs))| {
        dys.chunks_mut(MOST_POINTS).zip(dxs.chunks_mut(MOST_POINTS)).enumerate().map(move |(at, task)| (n, at, task))
    });
    exec.for_each(4 * ds.len(), tasks, |(n, at, (dys, dxs))| {
        dys.fill(T::ZERO);
        dxs.fill(T::ZERO);
        for own in pieces(0..dys.len(), BLOCK) {
            let first = at * MOST_POINTS + own.start;
            let cells = d.cells(ys, xs, n, first..first + own.len());
            for c in n * d.channels..(n + 1) * d.channels {
                let (x, ds) = (&x[c * d.plane()..][..d.plane()], &ds[c * d.points + first..][..own.len()]);
                let to = dys[own.clone()].iter_mut().zip(&mut dxs[own.clone()]);
                for ((dys, dxs), (&ds, point)) in to.zip(ds.iter().zip(&cells)) {
                    let (z, Point { a, b, .. }) = (pixels(x, point), *point);
                    *dys += ds * ((T::ONE - b) * (z[2] - z[0]) + b * (z[3] - z[1])); // (B2)
                    *dxs += ds * ((T::ONE - a) * (z[1] - z[0]) + a * (z[3] - z[2])); // (B3)
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    #[test]
    fn a_point_on_a_pixel_is_that_pixel_and_gives_back_to_it() {
        let d = Dims::new(&[2, 3, 4, 5], &[2, 20], &[2, 20]).unwrap();
        let x = random::<f32>(120, 1);
        let ys: Vec<f32> = (0..40).map(|k| (k % 20 / 5) as f32).collect();
        let xs: Vec<f32> = (0..40).map(|k| (k % 5) as f32).collect();
        each_exec(|exec| {
            let (mut s, mut dx) = (unwritten::<f32>(120), unwritten::<f32>(120));
            let (mut dys, mut dxs) = (unwritten::<f32>(40), unwritten::<f32>(40));
            forward(&x, &ys, &xs, &mut s, &d, exec).unwrap();
            assert_eq!(s, x);
            let gradients = Gradients { dx: &mut dx, dys: &mut dys, dxs: &mut dxs };
            backward(&x, &x, &ys, &xs, gradients, &d, exec).unwrap();
            assert_eq!(dx, x);
            let slope: f32 = (0..3).map(|c| x[c * 20 + 6] * (x[c * 20 + 7] - x[c * 20 + 6])).sum();
            assert!((dxs[6] - slope).abs() < 1e-5);
        });
    }

    #[test]
    fn shapes_are_checked() {
        assert!(Dims::new(&[2, 3, 4], &[2], &[2]).is_err() && Dims::new(&[2, 3, 4, 5], &[], &[]).is_err());
        assert!(Dims::new(&[2, 3, 4, 5], &[1, 7], &[1, 7]).is_err());
        assert!(Dims::new(&[2, 3, 4, 5], &[2, 7], &[2, 8]).is_err());
    }
}
