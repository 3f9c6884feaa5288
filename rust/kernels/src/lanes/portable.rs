//! The level of every processor: arrays as wide as the 128-bit registers that x86-64 and aarch64 always have.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Isa, Task, Vector};
use crate::real::Real;

pub struct Portable;

impl Isa for Portable {
    type F32 = F32x4;
    type F64 = F64x2;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn call<K: Task>(part: K) -> K::Out {
        enter(part)
    }
}

/// A function of its own, as at the other levels: inlined, a task would be compiled again wherever it is run.
#[inline(never)]
pub fn enter<K: Task>(task: K) -> K::Out {
    task.run::<Portable>()
}

// Lane by lane, written out: a loop for each of the thousands of operations in a task takes the compiler longer than all else.
macro_rules! vector {
    ($Name:ident: $T:ident x $lanes:literal, $($l:literal)*; |$x:ident| $sum:expr) => {
        #[derive(Clone, Copy)]
        pub struct $Name([$T; $lanes]);

        impl Vector for $Name {
            type Elem = $T;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(x: $T) -> Self {
                Self([x; $lanes])
            }
            #[inline(always)]
            fn load(x: &[$T]) -> Self {
                let x = &x[..$lanes];
                Self([$(x[$l]),*])
            }
            #[inline(always)]
            fn load_partial(x: &[$T], n: usize) -> Self {
                if n == $lanes {
                    return Self::load(x);
                }
                let mut lanes = [0.0; $lanes];
                lanes[..n].copy_from_slice(&x[..n]);
                Self(lanes)
            }
            #[inline(always)]
            fn store(self, y: &mut [$T]) {
                let y = &mut y[..$lanes];
                $(y[$l] = self.0[$l];)*
            }
            #[inline(always)]
            fn store_partial(self, y: &mut [$T], n: usize) {
                if n == $lanes {
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
                Self([$(Real::abs(self.0[$l])),*])
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Self([$(if self.0[$l] > other.0[$l] || self.0[$l].is_nan() { self.0[$l] } else { other.0[$l] }),*])
            }
            #[inline(always)]
            fn keep(self, n: usize, other: Self) -> Self {
                let mut lanes = other.0;
                lanes[..n].copy_from_slice(&self.0[..n]);
                Self(lanes)
            }
            #[inline(always)]
            fn at_least(bound: Self, x: Self) -> Self {
                Self([$(if bound.0[$l] > x.0[$l] { bound.0[$l] } else { x.0[$l] }),*])
            }
            #[inline(always)]
            fn at_most(bound: Self, x: Self) -> Self {
                Self([$(if bound.0[$l] < x.0[$l] { bound.0[$l] } else { x.0[$l] }),*])
            }
            #[inline(always)]
            fn floor(self) -> Self {
                Self([$(Real::floor(self.0[$l])),*])
            }
            #[inline(always)]
            fn if_le(a: Self, b: Self, then: Self, otherwise: Self) -> Self {
                Self([$(if a.0[$l] <= b.0[$l] { then.0[$l] } else { otherwise.0[$l] }),*])
            }
            #[inline(always)]
            fn scale_pow2(self, n: Self) -> Self {
                Self([$(self.0[$l].scale_pow2(n.0[$l])),*])
            }
            #[inline(always)]
            fn reduce_sum(self) -> $T {
                let $x = self.0;
                $sum
            }
            #[inline(always)]
            fn reduce_max(self) -> $T {
                let mut best = self.0[0];
                $(best = if best > self.0[$l] || best.is_nan() { best } else { self.0[$l] };)*
                best
            }
        }

        impl Add for $Name {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Self([$(self.0[$l] + other.0[$l]),*])
            }
        }
        impl Sub for $Name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Self([$(self.0[$l] - other.0[$l]),*])
            }
        }
        impl Mul for $Name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Self([$(self.0[$l] * other.0[$l]),*])
            }
        }
        impl Div for $Name {
            type Output = Self;
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                Self([$(self.0[$l] / other.0[$l]),*])
            }
        }
        impl Neg for $Name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self([$(-self.0[$l]),*])
            }
        }
    };
}

vector! { F32x4: f32 x 4, 0 1 2 3; |x| (x[0] + x[2]) + (x[1] + x[3]) }
vector! { F64x2: f64 x 2, 0 1; |x| x[0] + x[1] }
