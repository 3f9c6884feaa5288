//! Points between pixels: the four pixels that one reads, and their weights.

use crate::real::Real;

/// A point of a map (height, width) seen as one row of height·width numbers.
#[derive(Clone, Copy)]
pub struct Point<T> {
    /// Where Z_00, Z_01, Z_10 and Z_11 lie; height·width for those outside the map.
    pub at: [usize; 4],
    pub a: T,
    pub b: T,
}

impl<T: Real> Point<T> {
    /// From which nothing is read.
    #[inline(always)]
    fn nowhere(value: T, outside: usize) -> Self {
        Point { at: [outside; 4], a: value, b: value }
    }

    /// No index is formed before the coordinates are known to be near the map.
    #[inline(always)]
    pub fn new(y: T, x: T, height: usize, width: usize) -> Self {
        let outside = height * width;
        if y.is_nan() || x.is_nan() {
            return Point::nowhere(T::NAN, outside);
        }
        let near = |u: T, length: usize| u >= -T::ONE && u < T::from_usize(length);
        if !near(y, height) || !near(x, width) {
            return Point::nowhere(T::ZERO, outside);
        }
        let ((y0, a), (x0, b)) = (split(y), split(x));
        let row = [(y0 >= 0).then_some(y0), (y0 + 1 < height as isize).then_some(y0 + 1)];
        let column = [(x0 >= 0).then_some(x0), (x0 + 1 < width as isize).then_some(x0 + 1)];
        let place = |r: usize, q: usize| match (row[r], column[q]) {
            (Some(r), Some(q)) => (r as usize * width + q as usize).min(outside),
            _ => outside,
        };
        Point { at: [place(0, 0), place(0, 1), place(1, 0), place(1, 1)], a, b }
    }

    /// The factors of Z_00, Z_01, Z_10 and Z_11.
    #[inline(always)]
    pub fn weights(&self) -> [T; 4] {
        let (c, d) = (T::ONE - self.a, T::ONE - self.b);
        [c * d, c * self.b, self.a * d, self.a * self.b]
    }
}

/// The whole number below a small one, and the rest.
#[inline(always)]
fn split<T: Real>(u: T) -> (isize, T) {
    let wide = u.to_f64();
    let cut = wide as isize;
    let whole = if cut as f64 > wide { cut - 1 } else { cut };
    (whole, u - T::from_f64(whole as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        let at = |y: f32, x: f32| Point::new(y, x, 3, 4);
        assert_eq!(at(1.0, 2.0).at, [6, 7, 10, 11]);
        assert_eq!((at(1.25, 2.5).a, at(1.25, 2.5).b), (0.25, 0.5));
        assert_eq!(at(-1.0, -0.5).at, [12, 12, 12, 0]);
        assert_eq!(at(2.5, 3.0).at, [11, 12, 12, 12]);
        for (y, x) in [(3.0, 0.0), (-1.1, 0.0), (0.0, 4.0), (f32::INFINITY, 0.0), (1e30, -1e30)] {
            assert_eq!((at(y, x).at, at(y, x).a, at(y, x).b), ([12; 4], 0.0, 0.0));
        }
        for (y, x) in [(f32::NAN, 0.0), (0.0, f32::NAN), (f32::NAN, f32::INFINITY)] {
            assert!(at(y, x).at == [12; 4] && at(y, x).a.is_nan() && at(y, x).b.is_nan());
        }
        assert_eq!(Point::new(0.0, 0.0, 0, 4).at, [0; 4]);
    }
}
