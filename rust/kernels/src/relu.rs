//! ReLU: negative numbers become 0.
//!
//! Shapes       x (any) -> y, same shape
//! Forward      (F1) y = max(x, 0)
//! Backward     (B1) dx = dy where x > 0, 0 where x <= 0
//!
//! NaN stays NaN and passes its dy on.

use crate::elementwise::{self, Function};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::Vector;
use crate::real::Real;

#[derive(Clone, Copy)]
pub struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        x.max(A::zero()) // (F1)
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        A::if_le(x, A::zero(), A::zero(), dy) // (B1)
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::forward(Relu, x, y, exec)
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::backward(Relu, dy, x, dx, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard() {
        elementwise::check(Relu, |x| if x > 0.0 { x } else { 0.0 }, |x| if x > 0.0 { 1.0 } else { 0.0 });
    }
}
