//! Error function; the lanes are computed in `lanes/erf.rs`.
//!
//! Shapes       x (any) -> y, same shape
//! Forward      (F1) z = |x|    (F2) a polynomial in x² for z <= 1    (F3) y = ±(1 − exp(−z²)·R(z)) elsewhere, R(z) = exp(z²)·erfc(z)
//! Backward     (B1) dx = dy·2/√π·exp(−x²)
//!
//! erf(±∞) = ±1, NaN stays NaN.

use crate::elementwise::{self, Function};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{self, Vector};
use crate::real::Real;

#[derive(Clone, Copy)]
struct Erf;

impl Function for Erf {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        lanes::erf(x) // (F1) (F2) (F3)
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        let factor = A::splat(A::Elem::from_f64(std::f64::consts::FRAC_2_SQRT_PI));
        dy * (factor * lanes::gauss(lanes::within(x, A::Elem::ERF.far), -1.0)) // (B1)
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::forward(Erf, x, y, exec)
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::backward(Erf, dy, x, dx, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard() {
        let slope = |x: f64| std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp();
        // 2/√π·exp(−x²)·Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)): no cancellation.
        let value = |x: f64| {
            let terms = (1..300).scan(x, |term, n| {
                *term *= 2.0 * x * x / (2 * n + 1) as f64;
                Some(*term)
            });
            slope(x) * (x + terms.sum::<f64>())
        };
        elementwise::check(Erf, value, slope);
    }
}
