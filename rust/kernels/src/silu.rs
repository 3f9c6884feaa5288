//! SiLU: x times its sigmoid.
//!
//! Shapes       x (any) -> y, same shape
//! Forward      (F1) s = σ(x)    (F2) y = x·s
//! Backward     (B1) dx = dy·(s + x·s(1−s))
//!
//! x is held above −1000, where s is 0: the limits −0 and 0 at −∞, ∞ and 1 at ∞. NaN stays NaN.

use crate::elementwise::{self, Function, Smooth};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{self, Vector};
use crate::real::Real;

const FAR: f64 = 1000.0;

#[derive(Clone, Copy)]
pub struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        self.value_and_slope(x).0
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        dy * self.value_and_slope(x).1 // (B1)
    }
}

impl Smooth for Silu {
    #[inline(always)]
    fn value_and_slope<A: Vector>(self, x: A) -> (A, A) {
        let (s, slope) = lanes::logistic(x); // (F1)
        let y = A::at_least(A::splat(A::Elem::from_f64(-FAR)), x) * s; // (F2)
        (y, lanes::within(x, FAR).mul_add(slope, s)) // (B1)
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::forward(Silu, x, y, exec)
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::backward(Silu, dy, x, dx, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard() {
        let s = |x: f64| 1.0 / (1.0 + (-x).exp());
        elementwise::check(Silu, |x| x * s(x), |x| s(x) + x * s(x) * s(-x));
    }
}
