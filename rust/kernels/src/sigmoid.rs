//! Logistic sigmoid; the lanes are computed in `lanes/erf.rs`.
//!
//! Shapes       x (any) -> y, same shape
//! Forward      (F1) e = exp(−|x|)    (F2) y = σ(x), which is 1/(1+e) for x > 0 and e/(1+e) for x <= 0
//! Backward     (B1) dx = dy·σ(1−σ) with σ(1−σ) = e/(1+e)²
//!
//! σ(−∞) = 0, σ(∞) = 1, NaN stays NaN.

use crate::elementwise::{self, Function};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{self, Vector};
use crate::real::Real;

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        lanes::logistic(x).0 // (F1) (F2)
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        dy * lanes::logistic(x).1 // (B1)
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::forward(Sigmoid, x, y, exec)
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::backward(Sigmoid, dy, x, dx, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard() {
        let value = |x: f64| 1.0 / (1.0 + (-x).exp());
        elementwise::check(Sigmoid, value, |x| value(x) * value(-x));
    }
}
