//! Windows of a map, channels last, side by side.
//!
//! Shapes       x (N, H, W, C), window (wh, ww) -> windows (N·nH·nW, wh·ww, C)
//! Forward      (F1) windows[(n·nH + a)·nW + b, i·ww + j] = x[n, a·wh + i, b·ww + j]
//! Backward     (B1) the inverse
//! Constraints  (C1) x has four axes    (C2) H and W are multiples of the window
//!
//! The rows of one row of windows lie together in both arrays: such strips are the unit of work.

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    shape: [usize; 4],
    window: (usize, usize),
    len: usize,
}

impl Dims {
    pub fn new(x: &[usize], window: (usize, usize)) -> Result<Dims, Error> {
        let &[images, height, width, channels] = x else {
            return Err(Error::Shape(format!("(C1) x: four axes expected, got shape {x:?}")));
        };
        let fits = window.0 > 0 && window.1 > 0 && height % window.0 == 0 && width % window.1 == 0;
        require(fits, || format!("(C2) window: divisors of {height} and {width} expected, got {window:?}"))?;
        product(&[window.0, window.1, channels])?;
        let shape = [images, height, width, channels];
        Ok(Dims { shape, window, len: product(&shape)? })
    }

    /// Shape of x.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Shape of the windows.
    pub fn windows(&self) -> [usize; 3] {
        let ([images, height, width, channels], (wh, ww)) = (self.shape, self.window);
        [images * (height / wh) * (width / ww), wh * ww, channels]
    }

    /// (place in x, place in the windows) of every row of every window of a strip.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let ([_, _, width, channels], (wh, ww)) = (self.shape, self.window);
        let places = (0..width / ww).flat_map(move |b| (0..wh).map(move |i| (i * width + b * ww, (b * wh + i) * ww)));
        places.map(move |(x, windows)| (x * channels, windows * channels))
    }

    /// Runs `copy` on pieces of `from` and `to` that hold whole strips.
    fn strips<T: Real>(
        &self,
        from: &[T],
        to: &mut [T],
        exec: &Exec,
        copy: impl Fn(&[T], &mut [T]) + Sync,
    ) -> Result<(), Error> {
        require_len("the input", from, self.len)?;
        require_len("the output", to, self.len)?;
        if self.len == 0 {
            return Ok(());
        }
        let strip = self.window.0 * self.shape[2] * self.shape[3];
        let each = Exec::batch(strip / 2) * strip;
        exec.for_each(self.len / 2, from.chunks(each).zip(to.chunks_mut(each)), |(from, to)| {
            for (from, to) in from.chunks_exact(strip).zip(to.chunks_exact_mut(strip)) {
                copy(from, to);
            }
        })
    }
}

pub fn forward<T: Real>(x: &[T], windows: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let row = d.window.1 * d.shape[3];
    d.strips(x, windows, exec, |x, windows| {
        for (from, to) in d.rows() {
            windows[to..to + row].copy_from_slice(&x[from..from + row]); // (F1)
        }
    })
}

pub fn backward<T: Real>(dwindows: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let row = d.window.1 * d.shape[3];
    d.strips(dwindows, dx, exec, |dwindows, dx| {
        for (to, from) in d.rows() {
            dx[to..to + row].copy_from_slice(&dwindows[from..from + row]); // (B1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    #[test]
    fn standard() {
        for ([n, nh, nw], (wh, ww), c) in [
            ([1, 1, 1], (1, 1), 1),
            ([2, 3, 2], (2, 3), 5),
            ([2, 1, 4], (3, 1), 2),
            ([0, 2, 2], (2, 2), 3),
            ([2, 0, 1], (2, 2), 3),
            ([3, 9, 8], (7, 7), 19),
        ] {
            let (height, width) = (nh * wh, nw * ww);
            let d = Dims::new(&[n, height, width, c], (wh, ww)).unwrap();
            let x = random::<f32>(n * height * width * c, 1);
            let mut expected = unwritten::<f32>(x.len());
            for (image, i, j) in grid([n, height, width]) {
                let window = (image * nh + i / wh) * nw + j / ww;
                let token = window * wh * ww + i % wh * ww + j % ww;
                let pixel = (image * height + i) * width + j;
                expected[token * c..][..c].copy_from_slice(&x[pixel * c..][..c]);
            }
            each_exec(|exec| {
                let (mut windows, mut back) = (unwritten::<f32>(x.len()), unwritten::<f32>(x.len()));
                forward(&x, &mut windows, &d, exec).unwrap();
                backward(&windows, &mut back, &d, exec).unwrap();
                assert_eq!((&windows, &back), (&expected, &x));
            });
        }
    }

    #[test]
    fn constraints() {
        assert!(Dims::new(&[1, 4, 4], (2, 2)).is_err() && Dims::new(&[1, 5, 4, 1], (2, 2)).is_err());
        assert!(Dims::new(&[1, 4, 4, 1], (0, 2)).is_err() && Dims::new(&[1, 4, 4, 1], (2, 3)).is_err());
    }
}
