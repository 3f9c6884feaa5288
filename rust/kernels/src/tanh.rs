//! Hyperbolic tangent.
//!
//! Shapes       x (any) -> y, same shape
//! Forward      (F1) y = tanh x = ±(1 − e)/(1 + e), e = exp(−2|x|)
//! Backward     (B1) dx = dy·4·σ(2x)·(1 − σ(2x))
//!
//! Near zero 1 − e loses digits: there the power series takes its place. tanh(±∞) = ±1, NaN stays NaN.

use crate::elementwise::{self, Function};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{self, Vector};
use crate::real::Real;

/// Up to here the series is used: its next term is 1e-17 of the first.
const NEAR: f64 = 0.25;

/// tanh x = Σ SERIES[n]·x²ⁿ⁺¹: t' = 1 − t², term by term.
#[allow(clippy::excessive_precision)]
const SERIES: [f64; 11] = [
    1.0,
    -1.0 / 3.0,
    2.0 / 15.0,
    -17.0 / 315.0,
    62.0 / 2835.0,
    -1382.0 / 155_925.0,
    21_844.0 / 6_081_075.0,
    -929_569.0 / 638_512_875.0,
    6_404_582.0 / 10_854_718_875.0,
    -443_861_162.0 / 1_856_156_927_625.0,
    18_888_466_084.0 / 194_896_477_400_625.0,
];

#[derive(Clone, Copy)]
struct Tanh;

impl Function for Tanh {
    const COST: usize = 2;

    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        let (zero, one, number) = (A::zero(), A::splat(A::Elem::ONE), |c: f64| A::splat(A::Elem::from_f64(c)));
        let z = A::if_le(x, zero, -x, x);
        let e = (-(z + z)).exp();
        let far = (one - e) / (one + e);
        let square = x * x;
        let mut series = number(SERIES[SERIES.len() - 1]);
        for &c in SERIES[..SERIES.len() - 1].iter().rev() {
            series = series.mul_add(square, number(c));
        }
        let far = A::if_le(x, zero, -far, far);
        A::if_le(z, number(NEAR), x * series, far) // (F1)
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        let (_, slope) = lanes::logistic(x + x);
        dy * (A::splat(A::Elem::from_f64(4.0)) * slope) // (B1)
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::forward(Tanh, x, y, exec)
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], exec: &Exec) -> Result<(), Error> {
    elementwise::backward(Tanh, dy, x, dx, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard() {
        elementwise::check(Tanh, f64::tanh, |x| 1.0 / (x.cosh() * x.cosh()));
    }
}
