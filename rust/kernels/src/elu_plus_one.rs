//! ELU plus one, a positive feature map.
//!
//! Shapes       x (any) -> y, same shape
//! Forward      (F1) y = x + 1 for x > 0, exp(x) elsewhere
//! Backward     (B1) dx = dy for x > 0, dy·exp(x) elsewhere
//!
//! The exponential sees no positive number, and exp(0) is the slope on the right. NaN stays NaN.

use crate::elementwise::{self, Function};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::Vector;
use crate::real::Real;

#[derive(Clone, Copy)]
struct EluPlusOne;

/// φ(x) and φ'(x).
#[inline(always)]
pub(crate) fn value_and_slope<A: Vector>(x: A) -> (A, A) {
    let e = A::at_most(A::zero(), x).exp();
    (A::if_le(x, A::zero(), e, x + A::splat(A::Elem::ONE)), e) // (F1) (B1)
}

impl Function for EluPlusOne {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        value_and_slope(x).0
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        dy * value_and_slope(x).1
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::forward(EluPlusOne, x, y, exec)
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::backward(EluPlusOne, dy, x, dx, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard() {
        elementwise::check(EluPlusOne, |x| if x > 0.0 { x + 1.0 } else { x.exp() }, |x| x.min(0.0).exp());
    }
}
