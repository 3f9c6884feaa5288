//! GELU: x times the chance that a standard normal number is below x, exactly or by a sigmoid.
//!
//! Shapes       x (any), approximate -> y, same shape
//! Forward      (F1) "none": Φ from its tail Φ(−|x|) = ½·exp(−x²/2)·R(|x|/√2)
//!              (F2) "tanh": Φ = σ(2u), u = √(2/π)·(x + 0.044715·x³)    (F3) y = x·Φ, by the tail max(x, 0) − |x|·Φ(−|x|)
//! Backward     (B1) "none": φ = exp(−x²/2)/√(2π)    (B2) "tanh": φ = σ(2u)·(1−σ(2u))·2u'    (B3) dx = dy·(Φ + x·φ), where
//!              Φ + x·φ is Φ(−|x|) − |x|·φ below zero and one minus that above
//! Constraints  (C1) approximate is "none" or "tanh"
//!
//! |x| is held below a bound from which on Φ is 0 or 1: the limits −0 and 0 at −∞, ∞ and 1 at ∞. NaN stays NaN.

use crate::elementwise::{self, Function, Smooth};
use crate::error::{Error, require};
use crate::exec::Exec;
use crate::lanes::{self, Vector};
use crate::real::Real;

const FAR: f64 = 40.0;
const CUBIC: f64 = 0.044715;
/// 2·√(2/π)
const TWICE: f64 = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

pub struct Form {
    by_tanh: bool,
}

impl Form {
    pub fn new(approximate: &str) -> Result<Form, Error> {
        let known = approximate == "none" || approximate == "tanh";
        require(known, || format!("(C1) approximate: expected \"none\" or \"tanh\", got {approximate:?}"))?;
        Ok(Form { by_tanh: approximate == "tanh" })
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], form: &Form, exec: &Exec) -> Result<(), Error> {
    if form.by_tanh { elementwise::forward(ByTanh, x, y, exec) } else { elementwise::forward(Exact, x, y, exec) }
}

pub fn backward<T: Real>(dy: &[T], x: &[T], dx: &mut [T], form: &Form, exec: &Exec) -> Result<(), Error> {
    if form.by_tanh {
        elementwise::backward(ByTanh, dy, x, dx, exec)
    } else {
        elementwise::backward(Exact, dy, x, dx, exec)
    }
}

#[derive(Clone, Copy)]
pub struct Exact;

impl Function for Exact {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        exact(x).0
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        dy * exact(x).1 // (B3)
    }
}

impl Smooth for Exact {
    #[inline(always)]
    fn value_and_slope<A: Vector>(self, x: A) -> (A, A) {
        exact(x)
    }
}

/// GELU and its derivative.
#[inline(always)]
pub fn exact<A: Vector>(x: A) -> (A, A) {
    let far = A::splat(A::Elem::from_f64(std::f64::consts::SQRT_2 * A::Elem::ERF.far));
    let z = A::at_most(far, x.abs());
    let (tail, bell) = lanes::normal_tail(z); // (F1) (B1)
    let y = (-z).mul_add(tail, A::at_least(-A::zero(), x)); // (F3)
    let below = (-z).mul_add(bell, tail);
    (y, A::if_le(x, A::zero(), below, A::splat(A::Elem::ONE) - below))
}

#[derive(Clone, Copy)]
struct ByTanh;

/// Φ and φ.
#[inline(always)]
fn by_sigmoid<A: Vector>(b: A) -> (A, A) {
    let (twice, cubic) = (A::splat(A::Elem::from_f64(TWICE)), A::splat(A::Elem::from_f64(TWICE * CUBIC)));
    let slope = A::splat(A::Elem::from_f64(3.0 * TWICE * CUBIC)).mul_add(b * b, twice); // 2u'
    let (s, product) = lanes::logistic(b * cubic.mul_add(b * b, twice)); // (F2)
    (s, product * slope) // (B2)
}

impl Function for ByTanh {
    #[inline(always)]
    fn value<A: Vector>(self, x: A) -> A {
        let (below, _) = by_sigmoid(lanes::within(x, FAR));
        A::at_least(A::splat(A::Elem::from_f64(-FAR)), x) * below // (F3)
    }

    #[inline(always)]
    fn gradient<A: Vector>(self, dy: A, x: A) -> A {
        let b = lanes::within(x, FAR);
        let (below, bell) = by_sigmoid(b);
        dy * b.mul_add(bell, below) // (B3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact() {
        let bell = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        // Φ(x) = ½ + φ(x)·Σ x²ⁿ⁺¹ / (1·3·…·(2n+1)); far out the continued fraction Φ(−a) = φ(a)/(a + 1/(a + 2/(a + …))).
        let below = |x: f64| {
            if x.abs() < 2.0 {
                let terms = (1..100).scan(x, |term, n| {
                    *term *= x * x / (2 * n + 1) as f64;
                    Some(*term)
                });
                return 0.5 + bell(x) * (x + terms.sum::<f64>());
            }
            let tail = bell(x) / (1..300).rev().fold(x.abs(), |tail, n| x.abs() + n as f64 / tail);
            if x < 0.0 { tail } else { 1.0 - tail }
        };
        elementwise::check(Exact, |x| x * below(x), |x| below(x) + x * bell(x));
    }

    #[test]
    fn by_tanh() {
        let u = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + CUBIC * x * x * x);
        let slope = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * CUBIC * x * x);
        let below = |x: f64| 0.5 * (1.0 + u(x).tanh());
        let bell = |x: f64| 0.5 * (1.0 - u(x).tanh() * u(x).tanh()) * slope(x);
        elementwise::check(ByTanh, |x| x * below(x), |x| below(x) + x * bell(x));
    }

    #[test]
    fn other_names_are_refused() {
        assert!(Form::new("none").is_ok() && Form::new("tanh").is_ok() && Form::new("sigmoid").is_err());
    }
}
