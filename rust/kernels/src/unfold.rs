//! Windows of a feature map that lie inside it, one output plane per tap.
//!
//! Shapes       x (…, H, W), kernel (kh, kw), stride (v, h) -> y (…, kh·kw, Ho, Wo), Ho = ⌊(H−kh)/v⌋+1
//! Forward      (F1) y[p·kw+q, i, j] = x[i·v+p, j·h+q]
//! Backward     (B1) dx[i·v+p, j·h+q] += dy[p·kw+q, i, j]
//! Constraints  (C1) x has at least two axes   (C2) the window fits into the map

use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{self, Isa, Task};
use crate::planes::{output_size, product, require_len};
use crate::real::Real;

pub struct Dims {
    /// Shape of y.
    shape: Vec<usize>,
    planes: usize,
    taps: usize,
    out: (usize, usize),
    width: usize,
    plane: usize,
    kernel: (usize, usize),
    stride: (usize, usize),
}

impl Dims {
    pub fn new(x: &[usize], kernel: (usize, usize), stride: (usize, usize)) -> Result<Dims, Error> {
        let [leading @ .., height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: at least two axes expected, got shape {x:?}")));
        };
        let (height, width) = (*height, *width);
        let out_height = output_size(height, kernel.0, stride.0, 0, 1)?; // (C2)
        let out_width = output_size(width, kernel.1, stride.1, 0, 1)?;
        let taps = product(&[kernel.0, kernel.1])?;
        let shape = [leading, &[taps, out_height, out_width]].concat();
        product(&shape)?;
        product(x)?;
        let (planes, plane) = (product(leading)?, product(&[height, width])?);
        Ok(Dims { shape, planes, taps, out: (out_height, out_width), width, plane, kernel, stride })
    }

    /// Shape of y.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn planes(&self) -> usize {
        self.planes
    }

    /// Elements of an output plane.
    fn out_plane(&self) -> usize {
        self.out.0 * self.out.1
    }

    /// Where each output row of tap t starts in the plane of x.
    fn rows(&self, t: usize) -> impl Iterator<Item = usize> {
        let (p, q) = (t / self.kernel.1, t % self.kernel.1);
        (0..self.out.0).map(move |i| (i * self.stride.0 + p) * self.width + q)
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (taps, out_plane, out_width) = (d.taps, d.out_plane(), d.out.1);
    require_len("x", x, d.planes() * d.plane)?;
    require_len("y", y, d.planes() * taps * out_plane)?;
    if y.is_empty() {
        return Ok(());
    }
    let batch = Exec::batch(out_plane / 2);
    let tasks = y.chunks_mut(batch * out_plane).enumerate();
    exec.for_each(d.planes() * taps * out_plane / 2, tasks, |(k, y)| {
        for (map, y) in y.chunks_exact_mut(out_plane).enumerate() {
            let map = k * batch + map;
            let x = &x[map / taps * d.plane..][..d.plane];
            for (start, y_row) in d.rows(map % taps).zip(y.chunks_exact_mut(out_width)) {
                copy_strided(&x[start..], d.stride.1, y_row); // (F1)
            }
        }
    })
}

fn copy_strided<T: Real>(x: &[T], stride: usize, y: &mut [T]) {
    if stride == 1 {
        y.copy_from_slice(&x[..y.len()]);
    } else {
        y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, &x)| *y = x);
    }
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (taps, out_plane) = (d.taps, d.out_plane());
    require_len("dy", dy, d.planes() * taps * out_plane)?;
    require_len("dx", dx, d.planes() * d.plane)?;
    if dx.is_empty() {
        return Ok(());
    }
    let cost = (taps * out_plane).max(d.plane) / 2;
    let batch = Exec::batch(cost);
    let tasks = dx.chunks_mut(batch * d.plane).zip(dy.chunks(batch * taps * out_plane));
    exec.for_each(d.planes() * cost, tasks, |(dx, dy)| exec.run(Fold { dy, dx, d }))
}

struct Fold<'a, T> {
    dy: &'a [T],
    dx: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for Fold<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let d = self.d;
        let (taps, out_plane, out_width, stride) = (d.taps, d.out_plane(), d.out.1, d.stride.1);
        for (dx, dy) in self.dx.chunks_exact_mut(d.plane).zip(self.dy.chunks_exact(taps * out_plane)) {
            dx.fill(T::ZERO);
            for (t, dy) in dy.chunks_exact(out_plane).enumerate() {
                for (start, dy_row) in d.rows(t).zip(dy.chunks_exact(out_width)) {
                    if stride == 1 {
                        lanes::add_assign::<T, I>(dy_row, &mut dx[start..][..out_width]); // (B1)
                    } else {
                        dx[start..].iter_mut().step_by(stride).zip(dy_row).for_each(|(dx, &dy)| *dx += dy); // (B1)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    fn check<T: Real>(
        planes: (usize, usize),
        (h, w): (usize, usize),
        (kh, kw): (usize, usize),
        stride: (usize, usize),
    ) {
        let d = Dims::new(&[planes.0, planes.1, h, w], (kh, kw), stride).unwrap();
        let &[_, _, taps, ho, wo] = d.shape() else { panic!("{:?}", d.shape()) };
        assert_eq!((ho, wo), ((h - kh) / stride.0 + 1, (w - kw) / stride.1 + 1));
        let n = planes.0 * planes.1;
        let (x, dy) = (random::<T>(n * h * w, 1), random::<T>(n * taps * ho * wo, 2));
        let (mut y_expected, mut dx_expected) = (unwritten::<T>(dy.len()), vec![T::ZERO; x.len()]);
        for (plane, p, q) in grid([n, kh, kw]) {
            for (_, i, j) in grid([1, ho, wo]) {
                let at = ((plane * taps + p * kw + q) * ho + i) * wo + j;
                let from = (plane * h + i * stride.0 + p) * w + j * stride.1 + q;
                y_expected[at] = x[from];
                dx_expected[from] += dy[at];
            }
        }
        each_exec(|exec| {
            let (mut y, mut dx) = (unwritten::<T>(dy.len()), unwritten::<T>(x.len()));
            forward(&x, &mut y, &d, exec).unwrap();
            backward(&dy, &mut dx, &d, exec).unwrap();
            assert_eq!((&y, &dx), (&y_expected, &dx_expected), "{planes:?} {h}x{w} window {kh}x{kw} stride {stride:?}");
        });
    }

    #[test]
    fn standard() {
        for (h, w) in (1..6).flat_map(|h| (1..6).map(move |w| (h, w))) {
            for (kh, kw) in (1..=h).flat_map(|kh| (1..=w).map(move |kw| (kh, kw))) {
                check::<f32>((1, 2), (h, w), (kh, kw), (1, 2));
                check::<f64>((2, 1), (h, w), (kh, kw), (3, 1));
            }
        }
        check::<f32>((2, 33), (20, 37), (3, 5), (1, 1));
        check::<f32>((0, 3), (4, 4), (3, 3), (1, 1));
    }

    #[test]
    fn c1_axes() {
        assert!(Dims::new(&[3], (1, 1), (1, 1)).is_err());
        assert!(Dims::new(&[2, 3], (1, 1), (1, 1)).is_ok_and(|d| d.shape() == [1, 2, 3]));
    }

    #[test]
    fn c2_window_fits() {
        assert!(Dims::new(&[1, 1, 3, 3], (4, 1), (1, 1)).is_err() && Dims::new(&[1, 1, 3, 3], (1, 1), (0, 1)).is_err());
        assert!(Dims::new(&[1, 1, 0, 3], (1, 1), (1, 1)).is_err() && Dims::new(&[1, 1, 3, 3], (1, 0), (1, 1)).is_err());
        assert!(Dims::new(&[1, 1, 1 << 40, 1 << 40], (1, 1), (1, 1)).is_err());
    }
}
