//! Reflection padding of the last two axes.
//!
//! Shapes       x (..., H, W), padding (v, h) -> y (..., H+2v, W+2h)
//! Forward      (F1) y[i, j] = x[ρ(i−v), ρ(j−h)]; ρ mirrors at the first and last index, which are not repeated
//! Backward     (B1) dx[a, b] = Σ dy[i, j] over the (i, j) that read (a, b)
//! Constraints  (C1) x has at least two axes   (C2) v < H and h < W, or no padding on that axis

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::{Frame, product, require_len};
use crate::real::Real;

pub struct Dims {
    frame: Frame,
    planes: usize,
    shape: Vec<usize>,
}

impl Dims {
    pub fn new(x: &[usize], (vertical, horizontal): (usize, usize)) -> Result<Dims, Error> {
        let &[ref outer @ .., height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: at least two axes expected, got shape {x:?}")));
        };
        require((vertical == 0 || vertical < height) && (horizontal == 0 || horizontal < width), || {
            format!("(C2) padding: ({vertical}, {horizontal}) must be less than the extents ({height}, {width})")
        })?;
        let frame = Frame::symmetric(height, width, vertical, horizontal)?;
        let mut shape = outer.to_vec();
        shape.extend([frame.padded_height(), frame.padded_width()]);
        product(&shape)?;
        Ok(Dims { frame, planes: product(outer)?, shape })
    }

    /// Shape of y.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements of a plane of x and of a plane of y.
    fn plane_lens(&self) -> (usize, usize) {
        (self.frame.height * self.frame.width, self.frame.padded_len())
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (inner, padded) = d.plane_lens();
    require_len("x", x, d.planes * inner)?;
    require_len("y", y, d.planes * padded)?;
    if y.is_empty() || x.is_empty() {
        return Ok(());
    }
    let planes = Exec::batch(padded / 2);
    let tasks = x.chunks(planes * inner).zip(y.chunks_mut(planes * padded));
    exec.for_each(d.planes * padded / 2, tasks, |(x, y)| {
        for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(padded)) {
            d.frame.pad_reflect(x, y); // (F1)
        }
    })
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (inner, padded) = d.plane_lens();
    require_len("dy", dy, d.planes * padded)?;
    require_len("dx", dx, d.planes * inner)?;
    if dx.is_empty() {
        return Ok(());
    }
    let planes = Exec::batch(padded / 2);
    let tasks = dy.chunks(planes * padded).zip(dx.chunks_mut(planes * inner));
    exec.for_each(d.planes * padded / 2, tasks, |(dy, dx)| {
        for (dy, dx) in dy.chunks_exact(padded).zip(dx.chunks_exact_mut(inner)) {
            d.frame.fold_reflect(dy, dx); // (B1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    /// Walks from the first index, turning back at the ends.
    fn mirror(i: isize, len: usize) -> usize {
        let last = len as isize - 1;
        (if i < 0 {
            -i
        } else if i > last {
            2 * last - i
        } else {
            i
        }) as usize
    }

    fn check<T: Real>(planes: usize, (height, width): (usize, usize), (v, h): (usize, usize)) {
        let d = Dims::new(&[planes, height, width], (v, h)).unwrap();
        let &[_, out_height, out_width] = d.shape() else { panic!("{:?}", d.shape()) };
        let (x, dy) = (random::<T>(planes * height * width, 1), random::<T>(planes * out_height * out_width, 2));
        let (mut y_expected, mut dx_expected) = (unwritten::<T>(dy.len()), vec![T::ZERO; x.len()]);
        for (n, i, j) in crate::testing::grid([planes, out_height, out_width]) {
            let (a, b) = (mirror(i as isize - v as isize, height), mirror(j as isize - h as isize, width));
            y_expected[(n * out_height + i) * out_width + j] = x[(n * height + a) * width + b];
            dx_expected[(n * height + a) * width + b] += dy[(n * out_height + i) * out_width + j];
        }
        each_exec(|exec| {
            let (mut y, mut dx) = (unwritten::<T>(dy.len()), unwritten::<T>(x.len()));
            forward(&x, &mut y, &d, exec).unwrap();
            backward(&dy, &mut dx, &d, exec).unwrap();
            assert_eq!((&y, &dx), (&y_expected, &dx_expected), "{planes} {height}x{width} padded by {v}, {h}");
        });
    }

    #[test]
    fn standard() {
        for (height, width) in (0..6).flat_map(|h| (0..6).map(move |w| (h, w))) {
            for (v, h) in (0..height.max(1)).flat_map(|v| (0..width.max(1)).map(move |h| (v, h))) {
                check::<f32>(2, (height, width), (v, h));
                check::<f64>(0, (height, width), (v, h));
            }
        }
        check::<f64>(70, (19, 33), (3, 5));
    }

    #[test]
    fn c1_axes() {
        assert!(Dims::new(&[3], (0, 0)).is_err());
    }

    #[test]
    fn c2_padding_less_than_extent() {
        assert!(Dims::new(&[3, 4], (3, 0)).is_err() && Dims::new(&[3, 4], (0, 4)).is_err());
        assert!(Dims::new(&[usize::MAX / 2, usize::MAX / 2], (0, 0)).is_err());
    }
}
