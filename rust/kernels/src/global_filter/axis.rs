//! Fourier transforms of vectors along one axis, as products with matrices of cosines and sines. What stands at j and at n − j is added
//! and subtracted first: cosines meet the sums, sines the differences, and both halves of the result come from one product each.

use std::cmp::Ordering;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2};

use crate::error::Error;
use crate::exec::{Buffer, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// Rows of a matrix that are multiplied at once.
const ROWS: usize = 8;

/// Longest axis whose matrices are kept; of longer ones the rows in use are made when they are needed.
const KEPT: usize = 512;

/// One axis of n numbers: cos and sin of 2πt/n over √n, and the matrices C[k, j] = cos(2πkj/n)/√n for j, k in 0..=n/2 and
/// S[k, j] = sin(2πkj/n)/√n for j, k in 1..=m, m = ⌊(n−1)/2⌋; C2 is C with the columns twice that stand for two frequencies.
pub struct Axis<T> {
    n: usize,
    cos: Buffer<T>,
    sin: Buffer<T>,
    matrices: Option<[Buffer<T>; 3]>,
}

#[derive(Clone, Copy)]
enum Kind {
    Cos,
    Sin,
    DoubleCos,
}

/// Sums, differences, and products with the matrices, of one line of vectors; rows of a matrix that is not kept.
pub struct Lines<T> {
    even: [Buffer<T>; 2],
    odd: [Buffer<T>; 2],
    products: [Buffer<T>; 4],
    rows: Buffer<T>,
}

impl<T: Real> Lines<T> {
    pub fn new(n: usize, lanes: usize) -> Result<Lines<T>, Error> {
        let line = || zeros((n / 2 + 1) * lanes);
        let rows = zeros(if n > KEPT { ROWS * (n / 2 + 1) } else { 0 })?;
        Ok(Lines {
            even: [line()?, line()?],
            odd: [line()?, line()?],
            products: [line()?, line()?, line()?, line()?],
            rows,
        })
    }
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
            let (half, m) = (n / 2 + 1, (n - 1) / 2);
            let mut matrices = [zeros(half * half)?, zeros(m * m)?, zeros(half * half)?];
            for (matrix, kind) in matrices.iter_mut().zip([Kind::Cos, Kind::Sin, Kind::DoubleCos]) {
                axis.fill(kind, 0, matrix);
            }
            axis.matrices = Some(matrices);
        }
        Ok(axis)
    }

    /// Columns of a matrix.
    fn depth(&self, kind: Kind) -> usize {
        if matches!(kind, Kind::Sin) { (self.n - 1) / 2 } else { self.n / 2 + 1 }
    }

    /// Rows of a matrix from `first` on.
    fn fill(&self, kind: Kind, first: usize, rows: &mut [T]) {
        let (n, depth) = (self.n, self.depth(kind));
        if depth == 0 {
            return;
        }
        for (k, row) in rows.chunks_exact_mut(depth).enumerate() {
            let k = first + k;
            for (j, to) in row.iter_mut().enumerate() {
                *to = match kind {
                    Kind::Cos => self.cos[k * j % n],
                    Kind::Sin => self.sin[(k + 1) * (j + 1) % n],
                    Kind::DoubleCos if j == 0 || 2 * j == n => self.cos[k * j % n],
                    Kind::DoubleCos => self.cos[k * j % n] + self.cos[k * j % n],
                };
            }
        }
    }

    /// y = matrix·x for lines of vectors.
    #[inline(always)]
    fn apply<I: Isa>(&self, kind: Kind, x: &[T], y: &mut [T], rows: &mut [T]) {
        I::call(Apply { axis: self, kind, x, y, rows });
    }

    /// The half spectrum of a line of n real vectors.
    #[inline(always)]
    pub fn real<I: Isa>(&self, x: &[T], re: &mut [T], im: &mut [T], lines: &mut Lines<T>) {
        let lanes = V::<T, I>::LANES;
        fold::<T, I>(x, lanes, self.n, &mut lines.even[0], &mut lines.odd[0]);
        self.apply::<I>(Kind::Cos, &lines.even[0], re, &mut lines.rows);
        let m = (self.n - 1) / 2;
        self.apply::<I>(Kind::Sin, &lines.odd[0], &mut im[lanes.min(m * lanes)..], &mut lines.rows);
        V::<T, I>::zero().store(im);
        for v in 1..=m {
            let to = &mut im[v * lanes..];
            (-V::<T, I>::load(to)).store(to);
        }
        if self.n.is_multiple_of(2) {
            V::<T, I>::zero().store(&mut im[self.n / 2 * lanes..]);
        }
    }

    /// A line of n complex vectors, `pitch` apart, transformed in its place; `back` with the opposite sign.
    #[inline(always)]
    pub fn complex<I: Isa>(&self, re: &mut [T], im: &mut [T], pitch: usize, back: bool, lines: &mut Lines<T>) {
        let (lanes, n) = (V::<T, I>::LANES, self.n);
        let [ere, eim] = &mut lines.even;
        let [ore, oim] = &mut lines.odd;
        fold::<T, I>(re, pitch, n, ere, ore);
        fold::<T, I>(im, pitch, n, eim, oim);
        let [a, b, c, s] = &mut lines.products;
        self.apply::<I>(Kind::Cos, ere, a, &mut lines.rows);
        self.apply::<I>(Kind::Sin, oim, b, &mut lines.rows);
        self.apply::<I>(Kind::Cos, eim, c, &mut lines.rows);
        self.apply::<I>(Kind::Sin, ore, s, &mut lines.rows);
        let sign = V::<T, I>::splat(if back { -T::ONE } else { T::ONE });
        for k in 0..n / 2 + 1 {
            let (a, c) = (V::<T, I>::load(&a[k * lanes..]), V::<T, I>::load(&c[k * lanes..]));
            if k == 0 || 2 * k == n {
                a.store(&mut re[k * pitch..]);
                c.store(&mut im[k * pitch..]);
                continue;
            }
            let (b, s) = (V::<T, I>::load(&b[(k - 1) * lanes..]), V::<T, I>::load(&s[(k - 1) * lanes..]));
            sign.mul_add(b, a).store(&mut re[k * pitch..]);
            (a - sign * b).store(&mut re[(n - k) * pitch..]);
            (c - sign * s).store(&mut im[k * pitch..]);
            sign.mul_add(s, c).store(&mut im[(n - k) * pitch..]);
        }
    }

    /// The line of n real vectors of a half spectrum, plus `nought`.
    #[inline(always)]
    pub fn inverse<I: Isa>(&self, re: &[T], im: &[T], nought: V<T, I>, x: &mut [T], lines: &mut Lines<T>) {
        let (lanes, n) = (V::<T, I>::LANES, self.n);
        let [p, q, _, _] = &mut lines.products;
        self.apply::<I>(Kind::DoubleCos, re, p, &mut lines.rows);
        let m = (n - 1) / 2;
        self.apply::<I>(Kind::Sin, &im[lanes.min(m * lanes)..], q, &mut lines.rows);
        for j in 0..n / 2 + 1 {
            let p = V::<T, I>::load(&p[j * lanes..]) + nought;
            if j == 0 || 2 * j == n {
                p.store(&mut x[j * lanes..]);
                continue;
            }
            let q = V::<T, I>::load(&q[(j - 1) * lanes..]);
            (p - (q + q)).store(&mut x[j * lanes..]);
            (p + (q + q)).store(&mut x[(n - j) * lanes..]);
        }
    }
}

/// y = matrix·x.
struct Apply<'a, T> {
    axis: &'a Axis<T>,
    kind: Kind,
    x: &'a [T],
    y: &'a mut [T],
    rows: &'a mut [T],
}

impl<T: Real> Task for Apply<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Apply { axis, kind, x, y, rows } = self;
        let (lanes, depth) = (V::<T, I>::LANES, axis.depth(kind));
        let mut k = 0;
        while k < depth {
            let count = ROWS.min(depth - k);
            let matrix: &[T] = match &axis.matrices {
                Some(kept) => &kept[kind as usize][k * depth..][..count * depth],
                None => {
                    axis.fill(kind, k, &mut rows[..count * depth]);
                    &rows[..count * depth]
                }
            };
            let y = &mut y[k * lanes..][..count * lanes];
            match count {
                8 => block::<T, I, 8>(matrix, x, y),
                7 => block::<T, I, 7>(matrix, x, y),
                6 => block::<T, I, 6>(matrix, x, y),
                5 => block::<T, I, 5>(matrix, x, y),
                4 => block::<T, I, 4>(matrix, x, y),
                3 => block::<T, I, 3>(matrix, x, y),
                2 => block::<T, I, 2>(matrix, x, y),
                _ => block::<T, I, 1>(matrix, x, y),
            }
            k += count;
        }
    }
}

/// even = x_0, x_1 + x_{n−1}, …, and x_{n/2} if n is even; odd = x_1 − x_{n−1}, ….
#[inline(always)]
fn fold<T: Real, I: Isa>(x: &[T], pitch: usize, n: usize, even: &mut [T], odd: &mut [T]) {
    let lanes = V::<T, I>::LANES;
    V::<T, I>::load(x).store(even);
    for j in 1..n / 2 + 1 {
        let near = V::<T, I>::load(&x[j * pitch..]);
        if 2 * j == n {
            near.store(&mut even[j * lanes..]);
            break;
        }
        let far = V::<T, I>::load(&x[(n - j) * pitch..]);
        (near + far).store(&mut even[j * lanes..]);
        (near - far).store(&mut odd[(j - 1) * lanes..]);
    }
}

/// R rows of a matrix times a line.
#[inline(always)]
fn block<T: Real, I: Isa, const R: usize>(matrix: &[T], x: &[T], y: &mut [T]) {
    let (lanes, depth) = (V::<T, I>::LANES, matrix.len() / R);
    let rows: [&[T]; R] = std::array::from_fn(|r| &matrix[r * depth..][..depth]);
    let x = &x[..depth * lanes];
    let mut sums = [V::<T, I>::zero(); R];
    for j in 0..depth {
        let v = V::<T, I>::load(&x[j * lanes..]);
        for r in 0..R {
            sums[r] = V::<T, I>::splat(rows[r][j]).mul_add(v, sums[r]);
        }
    }
    for r in 0..R {
        sums[r].store(&mut y[r * lanes..]);
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
