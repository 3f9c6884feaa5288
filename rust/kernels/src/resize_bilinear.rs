//! Bilinear resize of planes, without antialiasing.
//!
//! Shapes       x (planes, H, W) -> y (planes, h, w)
//! Forward      (F1) s = max((i + ½)·H/h − ½, 0), or i·(H−1)/(h−1) with aligned corners: where row i lies on the old ones
//!              (F2) a = ⌊s⌋, b = min(a + 1, H − 1), t = s − a; s is a fraction of whole numbers, so that a is exact
//!              (F3) y = R_H x R_Wᵀ: rows first, then columns
//! Backward     (B1) dx = R_Hᵀ dy R_W: columns first, then rows
//! Constraints  (C1) x has two axes or more, and a pixel    (C2) holds by its type
//!
//! A task owns output planes in the backward pass, and output rows in the forward pass.

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::pieces::reserved;
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    planes: usize,
    old: (usize, usize),
    new: (usize, usize),
    align_corners: bool,
}

impl Dims {
    pub fn new(x: &[usize], size: (usize, usize), align_corners: bool) -> Result<Dims, Error> {
        let Some((lead, &[h, w])) = x.split_last_chunk::<2>() else {
            return Err(Error::Shape(format!("(C1) x: two axes at least expected, got shape {x:?}")));
        };
        require(h > 0 && w > 0, || format!("(C1) x: at least one pixel expected, got shape {x:?}"))?;
        require(size.0 > 0 && size.1 > 0, || format!("size: positive numbers expected, got {size:?}"))?;
        product(x)?;
        let planes = product(lead)?;
        for numbers in [[planes, size.0, size.1], [planes, size.0, w], [1, size.0, 2], [1, size.1, 2]] {
            product(&numbers)?;
        }
        Ok(Dims { planes, old: (h, w), new: size, align_corners })
    }

    fn check<T>(&self, x: &[T], y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.planes * self.old.0 * self.old.1)?;
        require_len("y", y, self.planes * self.new.0 * self.new.1)
    }

    fn axes<T: Real>(&self) -> Result<[Vec<Between<T>>; 2], Error> {
        let rows = between(self.old.0, self.new.0, self.align_corners)?;
        Ok([rows, between(self.old.1, self.new.1, self.align_corners)?])
    }

    fn cost(&self) -> usize {
        2 * self.planes.saturating_mul(self.new.0 * (self.new.1 + self.old.1))
    }
}

/// A new position between the old ones `a` and `b`, of which it takes `near` and `far`.
#[derive(Clone, Copy)]
pub(crate) struct Between<T> {
    pub a: usize,
    pub b: usize,
    pub near: T,
    pub far: T,
}

pub(crate) fn between<T: Real>(old: usize, new: usize, align_corners: bool) -> Result<Vec<Between<T>>, Error> {
    let mut all = reserved(new)?;
    for i in 0..new as u128 {
        let (s, whole) = if align_corners {
            (i * (old as u128 - 1), (new as u128 - 1).max(1)) // (F1)
        } else {
            (((2 * i + 1) * old as u128).saturating_sub(new as u128), 2 * new as u128)
        };
        let a = (s / whole) as usize; // (F2)
        let far = T::from_f64((s % whole) as f64 / whole as f64);
        all.push(Between { a, b: (a + 1).min(old - 1), near: T::ONE - far, far });
    }
    Ok(all)
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(x, y)?;
    if d.planes == 0 {
        return Ok(());
    }
    let [rows, columns] = d.axes::<T>()?;
    let (rows, columns) = (&rows[..], &columns[..]);
    let ((h, w), each) = (d.old, Exec::batch(2 * (d.new.1 + d.old.1)));
    let tasks = y.chunks_mut(each * d.new.1).enumerate();
    exec.for_each_with(
        d.cost(),
        tasks,
        || zeros::<T>(w),
        |mixed: &mut Buffer<T>, (task, y)| {
            for (i, y) in y.chunks_exact_mut(d.new.1).enumerate() {
                let (plane, i) = ((task * each + i) / d.new.0, (task * each + i) % d.new.0);
                let (x, at) = (&x[plane * h * w..][..h * w], rows[i]);
                exec.run(Mix { a: &x[at.a * w..][..w], b: &x[at.b * w..][..w], at, y: mixed }); // (F3)
                for (y, at) in y.iter_mut().zip(columns) {
                    *y = at.near * mixed[at.a] + at.far * mixed[at.b];
                }
            }
        },
    )
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(dx, dy)?;
    if d.planes == 0 {
        return Ok(());
    }
    let [rows, columns] = d.axes::<T>()?;
    let (rows, columns) = (&rows[..], &columns[..]);
    let (old, new) = (d.old.0 * d.old.1, d.new.0 * d.new.1);
    let each = Exec::batch(d.cost() / d.planes.max(1));
    let tasks = dx.chunks_mut(each * old).zip(dy.chunks(each * new));
    exec.for_each_with(
        d.cost(),
        tasks,
        || zeros::<T>(d.old.1),
        |sums: &mut Buffer<T>, (dx, dy)| {
            for (dx, dy) in dx.chunks_exact_mut(old).zip(dy.chunks_exact(new)) {
                dx.fill(T::ZERO);
                for (dy, at) in dy.chunks_exact(d.new.1).zip(rows) {
                    sums.fill(T::ZERO);
                    for (&dy, at) in dy.iter().zip(columns) {
                        sums[at.a] += at.near * dy; // (B1)
                        sums[at.b] += at.far * dy;
                    }
                    exec.run(Spread { x: sums, a: at.near, y: &mut dx[at.a * d.old.1..][..d.old.1] });
                    exec.run(Spread { x: sums, a: at.far, y: &mut dx[at.b * d.old.1..][..d.old.1] });
                }
            }
        },
    )
}

/// y = near·a + far·b
struct Mix<'a, T> {
    a: &'a [T],
    b: &'a [T],
    at: Between<T>,
    y: &'a mut [T],
}

impl<T: Real> Task for Mix<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (near, far) = (V::<T, I>::splat(self.at.near), V::<T, I>::splat(self.at.far));
        let mut k = 0;
        while k < self.y.len() {
            let n = V::<T, I>::LANES.min(self.y.len() - k);
            let b = far * V::<T, I>::load_partial(&self.b[k..], n);
            near.mul_add(V::<T, I>::load_partial(&self.a[k..], n), b).store_partial(&mut self.y[k..], n);
            k += n;
        }
    }
}

/// y += a·x
struct Spread<'a, T> {
    x: &'a [T],
    a: T,
    y: &'a mut [T],
}

impl<T: Real> Task for Spread<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        lanes::axpy::<T, I>(self.a, self.x, self.y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, grid, random, unwritten};

    /// The weight of old position `k` in new position `i`: a triangle around the place where it lies, held at the ends.
    fn weight(i: usize, k: usize, old: usize, new: usize, align_corners: bool) -> f64 {
        let s = if align_corners {
            if new > 1 { i as f64 * (old - 1) as f64 / (new - 1) as f64 } else { 0.0 }
        } else {
            (i as f64 + 0.5) * old as f64 / new as f64 - 0.5
        };
        let s = s.clamp(0.0, (old - 1) as f64);
        (1.0 - (s - k as f64).abs()).max(0.0)
    }

    #[test]
    fn standard() {
        for ((h, w), (n, m)) in
            [((1, 1), (3, 2)), ((3, 5), (6, 7)), ((7, 4), (2, 1)), ((5, 19), (5, 19)), ((2, 3), (33, 40))]
        {
            for align in [false, true] {
                let d = Dims::new(&[2, h, w], (n, m), align).unwrap();
                let (x, dy) = (random::<f64>(2 * h * w, 1), random::<f64>(2 * n * m, 2));
                let (mut y_expected, mut dx_expected) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
                for (plane, at, from) in grid([2, n * m, h * w]) {
                    let rows = weight(at / m, from / w, h, n, align);
                    let factor = rows * weight(at % m, from % w, w, m, align);
                    y_expected[plane * n * m + at] += factor * x[plane * h * w + from];
                    dx_expected[plane * h * w + from] += factor * dy[plane * n * m + at];
                }
                each_exec(|exec| {
                    let (mut y, mut dx) = (unwritten::<f64>(dy.len()), unwritten::<f64>(x.len()));
                    forward(&x, &mut y, &d, exec).unwrap();
                    backward(&dy, &mut dx, &d, exec).unwrap();
                    assert!(difference(&y, &y_expected) < 1e-14, "{h}x{w} to {n}x{m}");
                    assert!(difference(&dx, &dx_expected) < 1e-13, "{h}x{w} to {n}x{m}");
                });
            }
        }
    }

    #[test]
    fn c1_sizes() {
        assert!(Dims::new(&[3], (1, 1), false).is_err() && Dims::new(&[2, 0, 3], (1, 1), false).is_err());
        assert!(Dims::new(&[2, 3], (0, 1), false).is_err());
        assert!(Dims::new(&[0, 2, 3], (usize::MAX, usize::MAX), true).is_err());
    }
}
