//! Features and their derivatives, row by row, as vector tasks.

use super::products::Matrix;
use crate::elu_plus_one::value_and_slope;
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::real::Real;

/// y = φ(x); x without padding.
pub struct Map<'a, T> {
    pub x: &'a [T],
    pub y: &'a mut Matrix<T>,
}

impl<T: Real> Task for Map<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.y.columns;
        for row in 0..self.y.rows {
            let (x, y) = (&self.x[row * width..][..width], self.y.row_mut(row));
            let mut k = 0;
            while k < width {
                let n = V::<T, I>::LANES.min(width - k);
                value_and_slope(V::<T, I>::load_partial(&x[k..], n)).0.store_partial(&mut y[k..], n);
                k += n;
            }
        }
    }
}

/// dx = dy·φ'(x)
pub struct MapBackward<'a, T> {
    pub dy: &'a Matrix<T>,
    pub x: &'a [T],
    pub dx: &'a mut [T],
}

impl<T: Real> Task for MapBackward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.dy.columns;
        for row in 0..self.dy.rows {
            let (x, dx) = (&self.x[row * width..][..width], &mut self.dx[row * width..][..width]);
            let (dy, mut k) = (self.dy.row(row), 0);
            while k < width {
                let n = V::<T, I>::LANES.min(width - k);
                let slope = value_and_slope(V::<T, I>::load_partial(&x[k..], n)).1;
                (V::<T, I>::load_partial(&dy[k..], n) * slope).store_partial(&mut dx[k..], n);
                k += n;
            }
        }
    }
}

/// y = softmax of every row of x.
pub struct Rows<'a, T> {
    pub x: &'a [T],
    pub y: &'a mut Matrix<T>,
}

impl<T: Real> Task for Rows<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.y.columns;
        for row in 0..self.y.rows {
            let (x, y) = (&self.x[row * width..][..width], self.y.row_mut(row));
            let top = lanes::max::<T, I>(x);
            let sum = lanes::exp_sum::<T, I>(x, top, y);
            lanes::scale::<T, I>(T::ONE / sum, y);
        }
    }
}

/// dx = a·(dy − Σ a·dy) in every row.
pub struct RowsBackward<'a, T> {
    pub dy: &'a Matrix<T>,
    pub a: &'a Matrix<T>,
    pub dx: &'a mut [T],
}

impl<T: Real> Task for RowsBackward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.dy.columns;
        for row in 0..self.dy.rows {
            let (dy, a) = (self.dy.row(row), self.a.row(row));
            let (dx, mut k) = (&mut self.dx[row * width..][..width], 0);
            let mean = V::<T, I>::splat(lanes::dot::<T, I>(a, dy));
            while k < width {
                let n = V::<T, I>::LANES.min(width - k);
                let (dy, a) = (V::<T, I>::load_partial(&dy[k..], n), V::<T, I>::load_partial(&a[k..], n));
                (a * (dy - mean)).store_partial(&mut dx[k..], n);
                k += n;
            }
        }
    }
}

/// y = softmax of every column of x.
pub struct Columns<'a, T> {
    pub x: &'a [T],
    pub y: &'a mut Matrix<T>,
    pub columns: &'a mut [T],
}

impl<T: Real> Task for Columns<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.y.columns;
        let mut k = 0;
        while k < width {
            let n = V::<T, I>::LANES.min(width - k);
            let mut top = V::<T, I>::splat(T::NEG_INFINITY);
            for row in 0..self.y.rows {
                top = top.max(V::<T, I>::load_partial(&self.x[row * width + k..], n));
            }
            let mut sum = V::<T, I>::zero();
            for row in 0..self.y.rows {
                let e = (V::<T, I>::load_partial(&self.x[row * width + k..], n) - top).exp();
                e.store_partial(&mut self.y.row_mut(row)[k..], n);
                sum = sum + e;
            }
            (V::<T, I>::splat(T::ONE) / sum).store_partial(&mut self.columns[k..], n);
            k += n;
        }
        for row in 0..self.y.rows {
            let (y, mut k) = (self.y.row_mut(row), 0);
            while k < width {
                let n = V::<T, I>::LANES.min(width - k);
                let factor = V::<T, I>::load_partial(&self.columns[k..], n);
                (V::<T, I>::load_partial(&y[k..], n) * factor).store_partial(&mut y[k..], n);
                k += n;
            }
        }
    }
}

/// dx = a·(dy − Σ a·dy) in every column.
pub struct ColumnsBackward<'a, T> {
    pub dy: &'a Matrix<T>,
    pub a: &'a Matrix<T>,
    pub dx: &'a mut [T],
    pub columns: &'a mut [T],
}

impl<T: Real> Task for ColumnsBackward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.dy.columns;
        let means = &mut self.columns[..width];
        means.fill(T::ZERO);
        for row in 0..self.dy.rows {
            let (dy, a, mut k) = (self.dy.row(row), self.a.row(row), 0);
            while k < width {
                let n = V::<T, I>::LANES.min(width - k);
                let (dy, a) = (V::<T, I>::load_partial(&dy[k..], n), V::<T, I>::load_partial(&a[k..], n));
                a.mul_add(dy, V::<T, I>::load_partial(&means[k..], n)).store_partial(&mut means[k..], n);
                k += n;
            }
        }
        for row in 0..self.dy.rows {
            let (dy, a, mut k) = (self.dy.row(row), self.a.row(row), 0);
            let dx = &mut self.dx[row * width..][..width];
            while k < width {
                let n = V::<T, I>::LANES.min(width - k);
                let (dy, a) = (V::<T, I>::load_partial(&dy[k..], n), V::<T, I>::load_partial(&a[k..], n));
                (a * (dy - V::<T, I>::load_partial(&means[k..], n))).store_partial(&mut dx[k..], n);
                k += n;
            }
        }
    }
}

/// y = x without its last column, over that and eps.
pub struct Quotients<'a, T> {
    pub x: &'a Matrix<T>,
    pub eps: T,
    pub y: &'a mut [T],
    pub width: usize,
}

impl<T: Real> Task for Quotients<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (row, y) in self.y.chunks_exact_mut(self.width).enumerate() {
            let (x, mut k) = (self.x.row(row), 0);
            let total = V::<T, I>::splat(x[self.width] + self.eps);
            while k < self.width {
                let n = V::<T, I>::LANES.min(self.width - k);
                (V::<T, I>::load_partial(&x[k..], n) / total).store_partial(&mut y[k..], n);
                k += n;
            }
        }
    }
}

/// y / D in the place of y, g = dy / D in the place of dy, and c = −Σ g·y in the last column of g.
pub struct Spread<'a, T> {
    pub y: &'a mut Matrix<T>,
    pub eps: T,
    pub g: &'a mut Matrix<T>,
    pub width: usize,
}

impl<T: Real> Task for Spread<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for row in 0..self.g.rows {
            let (y, g) = (self.y.row_mut(row), self.g.row_mut(row));
            let (total, mut k) = (V::<T, I>::splat(y[self.width] + self.eps), 0);
            while k < self.width {
                let n = V::<T, I>::LANES.min(self.width - k);
                (V::<T, I>::load_partial(&y[k..], n) / total).store_partial(&mut y[k..], n);
                (V::<T, I>::load_partial(&g[k..], n) / total).store_partial(&mut g[k..], n);
                k += n;
            }
            g[self.width] = -lanes::dot::<T, I>(&g[..self.width], &y[..self.width]);
        }
    }
}
