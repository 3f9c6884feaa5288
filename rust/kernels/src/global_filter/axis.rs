//! What the Fourier transforms along an axis have to know of it: its cosines and sines.

use std::cmp::Ordering;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2};

use super::transform::ROWS;
use crate::error::Error;
use crate::exec::{Buffer, zeros};
use crate::real::Real;

/// Longest axis whose matrices are kept; of longer ones the rows in use are made when they are needed.
const KEPT: usize = 512;

/// One axis of n numbers: cos and sin of 2πt/n over √n, and the matrices C[k, j] = cos(2πkj/n)/√n for j, k in 0..=n/2 and
/// S[k, j] = sin(2πkj/n)/√n for j, k in 1..=m, m = ⌊(n−1)/2⌋.
pub struct Axis<T> {
    pub n: usize,
    cos: Buffer<T>,
    sin: Buffer<T>,
    matrices: Option<[Buffer<T>; 2]>,
}

/// cos and sin of 2πt/n, exact at multiples of a quarter turn, and symmetric about those of an eighth.
fn wave(t: usize, n: usize) -> (f64, f64) {
    let (t, n) = (t as u128, n as u128);
    let (quarter, rest) = (4 * t / n, 4 * t % n);
    let angle = |part: u128| FRAC_PI_2 * part as f64 / n as f64;
    let (c, s) = match (2 * rest).cmp(&n) {
        Ordering::Less => (angle(rest).cos(), angle(rest).sin()),
        Ordering::Equal => (FRAC_1_SQRT_2, FRAC_1_SQRT_2),
        Ordering::Greater => (angle(n - rest).sin(), angle(n - rest).cos()),
    };
    match quarter % 4 {
        0 => (c, s),
        1 => (-s, c),
        2 => (-c, -s),
        _ => (s, -c),
    }
}

impl<T: Real> Axis<T> {
    pub fn new(n: usize) -> Result<Axis<T>, Error> {
        let (mut cos, mut sin) = (zeros(n)?, zeros(n)?);
        let root = (n as f64).sqrt();
        for t in 0..n {
            let (c, s) = wave(t, n);
            (cos[t], sin[t]) = (T::from_f64(c / root), T::from_f64(s / root));
        }
        let mut axis = Axis { n, cos, sin, matrices: None };
        if n <= KEPT {
            let (mut cosines, mut sines) = (zeros(axis.half() * axis.half())?, zeros(axis.m() * axis.m())?);
            axis.fill_cosines(0, &mut cosines);
            axis.fill_sines(1, &mut sines);
            axis.matrices = Some([cosines, sines]);
        }
        Ok(axis)
    }

    /// Rows and columns of C.
    pub fn half(&self) -> usize {
        self.n / 2 + 1
    }

    /// Rows and columns of S.
    pub fn m(&self) -> usize {
        (self.n - 1) / 2
    }

    /// Rows of C from k on.
    fn fill_cosines(&self, k: usize, rows: &mut [T]) {
        for (r, row) in rows.chunks_exact_mut(self.half()).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, to)| *to = self.cos[(k + r) * j % self.n]);
        }
    }

    /// Rows of S from k on, the first of which is 1.
    fn fill_sines(&self, k: usize, rows: &mut [T]) {
        for (r, row) in rows.chunks_exact_mut(self.m().max(1)).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, to)| *to = self.sin[(k + r) * (j + 1) % self.n]);
        }
    }

    /// `count` rows of C from k on, made in `rows` if they are not kept.
    #[inline(always)]
    pub fn cosines<'a>(&'a self, k: usize, count: usize, rows: &'a mut [T]) -> &'a [T] {
        let len = count * self.half();
        if let Some([cosines, _]) = &self.matrices {
            return &cosines[k * self.half()..][..len];
        }
        self.fill_cosines(k, &mut rows[..len]);
        &rows[..len]
    }

    /// The same of S.
    #[inline(always)]
    pub fn sines<'a>(&'a self, k: usize, count: usize, rows: &'a mut [T]) -> &'a [T] {
        let len = count * self.m();
        if let Some([_, sines]) = &self.matrices {
            return &sines[(k - 1) * self.m()..][..len];
        }
        self.fill_sines(k, &mut rows[..len]);
        &rows[..len]
    }

    /// Numbers of the rows that are in use at a time, if none are kept.
    pub fn unkept(&self) -> usize {
        if self.matrices.is_none() { ROWS * self.half() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_exact_where_they_can_be() {
        for n in 1..40 {
            for t in 0..n {
                let (c, s) = wave(t, n);
                let angle = 2.0 * std::f64::consts::PI * t as f64 / n as f64;
                let rounding = f64::EPSILON * (1.0 + 2.0 * angle); // of the angle, and of its sine
                assert!((c - angle.cos()).abs() <= rounding && (s - angle.sin()).abs() <= rounding, "{t}/{n}");
                if 4 * t % n == 0 {
                    assert!(c == c.round() && s == s.round());
                }
                if t > 0 {
                    assert!(wave(n - t, n) == (c, -s));
                }
            }
        }
    }
}
