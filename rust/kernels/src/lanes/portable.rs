//! The level of every processor: arrays as wide as the 128-bit registers that x86-64 and aarch64 always have.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Isa, Vector};
use crate::real::Real;

pub struct Portable;

impl Isa for Portable {
    type F32 = Array<f32, 4>;
    type F64 = Array<f64, 2>;
    const REGISTERS: usize = 16;
}

#[derive(Clone, Copy)]
pub struct Array<T, const N: usize>([T; N]);

macro_rules! lanewise {
    ($a:ident, $b:ident => $each:expr) => {{
        let (left, right) = ($a.0, $b.0);
        let mut out = left;
        for l in 0..N {
            let ($a, $b) = (left[l], right[l]);
            out[l] = $each;
        }
        Self(out)
    }};
}

impl<T: Real, const N: usize> Vector for Array<T, N> {
    type Elem = T;
    const LANES: usize = N;

    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; N])
    }
    #[inline(always)]
    fn load(x: &[T]) -> Self {
        let mut lanes = [T::ZERO; N];
        lanes.copy_from_slice(&x[..N]);
        Self(lanes)
    }
    #[inline(always)]
    fn load_partial(x: &[T], n: usize) -> Self {
        if n == N {
            return Self::load(x);
        }
        let mut lanes = [T::ZERO; N];
        lanes[..n].copy_from_slice(&x[..n]);
        Self(lanes)
    }
    #[inline(always)]
    fn store(self, y: &mut [T]) {
        y[..N].copy_from_slice(&self.0);
    }
    #[inline(always)]
    fn store_partial(self, y: &mut [T], n: usize) {
        if n == N {
            return self.store(y);
        }
        y[..n].copy_from_slice(&self.0[..n]);
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        self * a + b
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(T::abs))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let x = self;
        lanewise!(x, other => if x > other || x.is_nan() { x } else { other })
    }
    #[inline(always)]
    fn keep(self, n: usize, other: Self) -> Self {
        let mut lanes = other.0;
        lanes[..n].copy_from_slice(&self.0[..n]);
        Self(lanes)
    }
    #[inline(always)]
    fn at_least(bound: Self, x: Self) -> Self {
        lanewise!(bound, x => if bound > x { bound } else { x })
    }
    #[inline(always)]
    fn at_most(bound: Self, x: Self) -> Self {
        lanewise!(bound, x => if bound < x { bound } else { x })
    }
    #[inline(always)]
    fn floor(self) -> Self {
        Self(self.0.map(T::floor))
    }
    #[inline(always)]
    fn if_le(a: Self, b: Self, then: Self, otherwise: Self) -> Self {
        let mut lanes = otherwise.0;
        for l in 0..N {
            if a.0[l] <= b.0[l] {
                lanes[l] = then.0[l];
            }
        }
        Self(lanes)
    }
    #[inline(always)]
    fn scale_pow2(self, n: Self) -> Self {
        let x = self;
        lanewise!(x, n => x.scale_pow2(n))
    }
    #[inline(always)]
    fn reduce_sum(self) -> T {
        let Self(mut lanes) = self;
        let mut half = N / 2;
        while half > 0 {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
            half /= 2;
        }
        lanes[0]
    }
    #[inline(always)]
    fn reduce_max(self) -> T {
        let mut best = self.0[0];
        for x in self.0 {
            best = if best > x || best.is_nan() { best } else { x };
        }
        best
    }
}

impl<T: Real, const N: usize> Add for Array<T, N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let x = self;
        lanewise!(x, other => x + other)
    }
}
impl<T: Real, const N: usize> Sub for Array<T, N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let x = self;
        lanewise!(x, other => x - other)
    }
}
impl<T: Real, const N: usize> Mul for Array<T, N> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let x = self;
        lanewise!(x, other => x * other)
    }
}
impl<T: Real, const N: usize> Div for Array<T, N> {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let x = self;
        lanewise!(x, other => x / other)
    }
}
impl<T: Real, const N: usize> Neg for Array<T, N> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        let (x, other) = (self, self);
        lanewise!(x, other => { let _ = other; -x })
    }
}
