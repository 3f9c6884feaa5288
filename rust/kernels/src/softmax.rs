//! Softmax along one axis of an array seen as (outer, axis, inner).
//!
//! Shapes       x (outer, axis, inner) -> a (outer, axis, inner)
//! Forward      (F1) e = exp(x − max x)    (F2) a = e / Σ e; max and Σ along the axis
//! Backward     (B1) dx = a·(da − Σ a·da)
//! Constraints  (C1) x has that axis
//!
//! NaN or +∞ anywhere along the axis, or −∞ everywhere, gives NaN everywhere along it.

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    len: usize,
    axis: usize,
    inner: usize,
}

impl Dims {
    pub fn new(x: &[usize], axis: isize) -> Result<Dims, Error> {
        let from_start = if axis < 0 { axis.checked_add_unsigned(x.len()).unwrap_or(-1) } else { axis };
        let axis = usize::try_from(from_start).unwrap_or(usize::MAX);
        require(axis < x.len(), || format!("(C1) axis: {from_start} is not an axis of x with shape {x:?}"))?;
        Ok(Dims { len: product(x)?, axis: x[axis], inner: product(&x[axis + 1..])? })
    }
}

/// Columns of one task when the axis is not the last.
const STRIP: usize = 256;

pub fn forward<T: Real>(x: &[T], a: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("x", x, d.len)?;
    require_len("a", a, d.len)?;
    if d.len == 0 {
        return Ok(());
    }
    if d.inner == 1 {
        let rows = Exec::batch(d.axis) * d.axis;
        let tasks = x.chunks(rows).zip(a.chunks_mut(rows));
        return exec.for_each(d.len, tasks, |(x, a)| exec.run(ForwardRows { x, a, axis: d.axis }));
    }
    // Maximum and sum of every column first, from x alone: then every row of `a` is written once, by its own task.
    let (plane, columns) = (d.axis * d.inner, d.len / d.axis);
    let (mut max, mut scale) = (zeros::<T>(columns)?, zeros::<T>(columns)?);
    let strips = x.chunks(plane).zip(max.chunks_mut(d.inner).zip(scale.chunks_mut(d.inner)));
    let strips = strips.flat_map(|(x, (max, scale))| {
        let pieces = max.chunks_mut(STRIP).zip(scale.chunks_mut(STRIP)).enumerate();
        pieces.map(move |(k, (max, scale))| (&x[k * STRIP..], max, scale))
    });
    exec.for_each(d.len, strips, |(x, max, scale)| exec.run(ForwardColumns { x, max, scale, d }))?;
    let rows = Exec::batch(d.inner);
    let tasks = x.chunks(rows * d.inner).zip(a.chunks_mut(rows * d.inner)).enumerate();
    let (max, scale) = (&max, &scale);
    exec.for_each(d.len, tasks, |(k, (x, a))| exec.run(Normalise { x, max, scale, a, first: k * rows, d }))
}

pub fn backward<T: Real>(da: &[T], a: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("da", da, d.len)?;
    require_len("a", a, d.len)?;
    require_len("dx", dx, d.len)?;
    if d.len == 0 {
        return Ok(());
    }
    if d.inner == 1 {
        let rows = Exec::batch(d.axis) * d.axis;
        let tasks = da.chunks(rows).zip(a.chunks(rows)).zip(dx.chunks_mut(rows));
        return exec.for_each(d.len, tasks, |((da, a), dx)| exec.run(BackwardRows { da, a, dx, axis: d.axis }));
    }
    let (plane, columns) = (d.axis * d.inner, d.len / d.axis);
    let mut c = zeros::<T>(columns)?;
    let strips = da.chunks(plane).zip(a.chunks(plane)).zip(c.chunks_mut(d.inner));
    let strips = strips.flat_map(|((da, a), c)| {
        let pieces = c.chunks_mut(STRIP).enumerate();
        pieces.map(move |(k, c)| (&da[k * STRIP..], &a[k * STRIP..], c))
    });
    exec.for_each(d.len, strips, |(da, a, c)| exec.run(Products { da, a, c, d }))?;
    let rows = Exec::batch(d.inner);
    let inputs = da.chunks(rows * d.inner).zip(a.chunks(rows * d.inner));
    let tasks = inputs.zip(dx.chunks_mut(rows * d.inner)).enumerate();
    let c = &c;
    exec.for_each(d.len, tasks, |(k, ((da, a), dx))| exec.run(Spread { da, a, c, dx, first: k * rows, d }))
}

struct ForwardRows<'a, T> {
    x: &'a [T],
    a: &'a mut [T],
    axis: usize,
}

impl<T: Real> Task for ForwardRows<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (x, a) in self.x.chunks_exact(self.axis).zip(self.a.chunks_exact_mut(self.axis)) {
            let max = lanes::max::<T, I>(x); // (F1)
            let sum = lanes::exp_sum::<T, I>(x, max, a); // (F1) and Σ e
            lanes::scale::<T, I>(T::ONE / sum, a); // (F2)
        }
    }
}

struct BackwardRows<'a, T> {
    da: &'a [T],
    a: &'a [T],
    dx: &'a mut [T],
    axis: usize,
}

impl<T: Real> Task for BackwardRows<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inputs = self.da.chunks_exact(self.axis).zip(self.a.chunks_exact(self.axis));
        for ((da, a), dx) in inputs.zip(self.dx.chunks_exact_mut(self.axis)) {
            let c = V::<T, I>::splat(lanes::dot::<T, I>(a, da)); // (B1)
            let mut k = 0;
            while k < dx.len() {
                let n = V::<T, I>::LANES.min(dx.len() - k);
                let (da, a) = (V::<T, I>::load_partial(&da[k..], n), V::<T, I>::load_partial(&a[k..], n));
                (a * (da - c)).store_partial(&mut dx[k..], n); // (B1)
                k += n;
            }
        }
    }
}

/// `max` and `scale` = 1/s of a strip of columns; `x` starts at the first of them.
struct ForwardColumns<'a, T> {
    x: &'a [T],
    max: &'a mut [T],
    scale: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for ForwardColumns<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut k = 0;
        while k < self.max.len() {
            let n = V::<T, I>::LANES.min(self.max.len() - k);
            let mut max = V::<T, I>::splat(T::NEG_INFINITY);
            for row in 0..self.d.axis {
                max = max.max(V::<T, I>::load_partial(&self.x[row * self.d.inner + k..], n)); // (F1)
            }
            let mut sum = V::<T, I>::zero();
            for row in 0..self.d.axis {
                sum = sum + (V::<T, I>::load_partial(&self.x[row * self.d.inner + k..], n) - max).exp(); // Σ e
            }
            max.store_partial(&mut self.max[k..], n);
            (V::<T, I>::splat(T::ONE) / sum).store_partial(&mut self.scale[k..], n);
            k += n;
        }
    }
}

/// Rows of `a` from row number `first` on.
struct Normalise<'a, T> {
    x: &'a [T],
    max: &'a [T],
    scale: &'a [T],
    a: &'a mut [T],
    first: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Normalise<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inner = self.d.inner;
        for (row, (x, a)) in self.x.chunks_exact(inner).zip(self.a.chunks_exact_mut(inner)).enumerate() {
            let column = (self.first + row) / self.d.axis * inner;
            let (max, scale) = (&self.max[column..], &self.scale[column..]);
            let mut k = 0;
            while k < inner {
                let n = V::<T, I>::LANES.min(inner - k);
                let e = (V::<T, I>::load_partial(&x[k..], n) - V::<T, I>::load_partial(&max[k..], n)).exp();
                (e * V::<T, I>::load_partial(&scale[k..], n)).store_partial(&mut a[k..], n); // (F2)
                k += n;
            }
        }
    }
}

/// c of a strip of columns.
struct Products<'a, T> {
    da: &'a [T],
    a: &'a [T],
    c: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for Products<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut k = 0;
        while k < self.c.len() {
            let n = V::<T, I>::LANES.min(self.c.len() - k);
            let mut c = V::<T, I>::zero();
            for row in 0..self.d.axis {
                let at = row * self.d.inner + k;
                c = V::<T, I>::load_partial(&self.a[at..], n).mul_add(V::<T, I>::load_partial(&self.da[at..], n), c); // (B1)
            }
            c.store_partial(&mut self.c[k..], n);
            k += n;
        }
    }
}

/// Rows of `dx` from row number `first` on, each with the c of its columns.
struct Spread<'a, T> {
    da: &'a [T],
    a: &'a [T],
    c: &'a [T],
    dx: &'a mut [T],
    first: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Spread<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let inner = self.d.inner;
        let inputs = self.da.chunks_exact(inner).zip(self.a.chunks_exact(inner));
        for (row, ((da, a), dx)) in inputs.zip(self.dx.chunks_exact_mut(inner)).enumerate() {
            let c = &self.c[(self.first + row) / self.d.axis * inner..];
            let mut k = 0;
            while k < inner {
                let n = V::<T, I>::LANES.min(inner - k);
                let (da, a) = (V::<T, I>::load_partial(&da[k..], n), V::<T, I>::load_partial(&a[k..], n));
                (a * (da - V::<T, I>::load_partial(&c[k..], n))).store_partial(&mut dx[k..], n); // (B1)
                k += n;
            }
        }
    }
}

#[cfg(test)]
mod tests;
