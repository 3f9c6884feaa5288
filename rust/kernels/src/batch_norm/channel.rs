//! A channel of all images: its values, and what is summed and written.

use super::Dims;
use crate::gemm::Share;
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;
use crate::sums::{self, Pairwise, Products, Squares, Terms};

/// Channels of all images: an array (N, all, inner) from the first of them on.
#[derive(Clone, Copy)]
pub struct Channels<'a, T> {
    x: &'a [T],
    all: usize,
}

impl<'a, T: Real> Channels<'a, T> {
    /// Those of x (N, channels, inner) from `first` on.
    pub fn new(x: &'a [T], first: usize, d: &Dims) -> Self {
        Channels { x: x.get(first * d.inner..).unwrap_or(&[]), all: d.channels }
    }

    /// What image n of a channel will be read from, if anything and if planes are read where they are.
    pub fn plane(&self, n: usize, c: usize, d: &Dims) -> &'a [T] {
        let first = (n * self.all + c) * d.inner;
        if d.is_small() { &[] } else { self.x.get(first..first + d.inner).unwrap_or(&[]) }
    }

    /// The values of a channel: in their place, or in `held`.
    pub fn planes<'b>(&self, c: usize, d: &Dims, held: &'b mut [T]) -> Planes<'b, T>
    where
        'a: 'b,
    {
        let (step, len) = (self.all * d.inner, d.inner);
        let x = self.x.get(c * len..).unwrap_or(&[]);
        if !d.is_small() {
            return Planes { x, step, len, planes: d.images };
        }
        if len == 1 {
            for (to, &from) in held.iter_mut().zip(x.iter().step_by(step)) {
                *to = from;
            }
        } else {
            for (to, from) in held.chunks_exact_mut(len.max(1)).zip(x.chunks(step.max(1))) {
                to.copy_from_slice(&from[..len]);
            }
        }
        Planes { x: held, step: 0, len: held.len(), planes: 1 }
    }
}

/// `planes` runs of `len` values, `step` apart.
#[derive(Clone, Copy)]
pub struct Planes<'a, T> {
    pub x: &'a [T],
    pub step: usize,
    pub len: usize,
    pub planes: usize,
}

impl<'a, T> Planes<'a, T> {
    #[inline(always)]
    pub fn get(&self, plane: usize) -> &'a [T] {
        &self.x[plane * self.step..][..self.len]
    }
}

/// One plane after the other of channel c of y, or all of them through `held`.
pub fn write<T: Real>(y: &mut Share<T>, c: usize, d: &Dims, held: &mut [T], mut plane: impl FnMut(usize, &mut [T])) {
    if d.count() == 0 {
        return;
    }
    if d.is_small() {
        plane(0, held);
        for (n, from) in held.chunks_exact(d.inner).enumerate() {
            y.from_column(n * d.inner).row(c, 0..d.inner).copy_from_slice(from);
        }
        return;
    }
    for n in 0..d.images {
        plane(n, y.from_column(n * d.inner).row(c, 0..d.inner));
    }
}

pub struct Sum<'a, T>(pub Planes<'a, T>);

impl<T: Real> Task for Sum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let mut sum = Pairwise::default();
        for plane in 0..self.0.planes {
            sums::add::<T, I, &[T]>(&self.0.get(plane), self.0.len, &mut sum);
        }
        sum.total()
    }
}

pub struct SquareSum<'a, T>(pub Planes<'a, T>, pub T);

impl<T: Real> Task for SquareSum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let mut sum = Pairwise::default();
        for plane in 0..self.0.planes {
            sums::add::<T, I, Squares<T>>(&Squares { x: self.0.get(plane), m: self.1 }, self.0.len, &mut sum);
        }
        sum.total()
    }
}

pub struct ProductSum<'a, T> {
    pub dy: Planes<'a, T>,
    pub x: Planes<'a, T>,
    pub m: T,
    pub r: T,
}

impl<T: Real> Task for ProductSum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let mut sum = Pairwise::default();
        for plane in 0..self.x.planes {
            let terms = Products { dy: self.dy.get(plane), x: self.x.get(plane), m: self.m, r: self.r };
            sums::add::<T, I, Products<T>>(&terms, self.x.len, &mut sum);
        }
        sum.total()
    }
}

#[derive(Clone, Copy)]
pub struct Normalised<'a, T> {
    pub x: &'a [T],
    pub m: T,
    pub r: T,
    pub weight: T,
    pub bias: T,
}

impl<T: Real> Terms<T> for Normalised<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let x_hat = (V::<T, I>::load_partial(&self.x[k..], n) - V::<T, I>::splat(self.m)) * V::<T, I>::splat(self.r); // (F3)
        x_hat.mul_add(V::<T, I>::splat(self.weight), V::<T, I>::splat(self.bias)) // (F4)
    }
}

/// `mean` and `slope` are what the dx̂ of the channel have in common and along x̂; both 0 in evaluation.
pub struct InputGradient<'a, T> {
    pub dy: &'a [T],
    pub x: &'a [T],
    pub m: T,
    pub r: T,
    pub weight: T,
    pub mean: T,
    pub slope: T,
    pub training: bool,
}

impl<T: Real> Terms<T> for InputGradient<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let r = V::<T, I>::splat(self.r);
        let dx_hat = V::<T, I>::splat(self.weight) * V::<T, I>::load_partial(&self.dy[k..], n); // (B3)
        if !self.training {
            return r * dx_hat; // (B5)
        }
        let x_hat = (V::<T, I>::load_partial(&self.x[k..], n) - V::<T, I>::splat(self.m)) * r;
        r * (dx_hat - (V::<T, I>::splat(self.mean) + x_hat * V::<T, I>::splat(self.slope))) // (B4)
    }
}
