//! The error function and its relatives: Gaussian, complement, normal distribution, logistic function. All are lane by lane.
//!
//! Errors: the Gaussian and the complement within 6 ulp of their own size, so that tails keep their digits; erf within 3 ulp.
//! At the portable level the tails err by x²/2 ulp more.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use super::{Vector, exp};
use crate::real::Real;

pub struct ErfConstants<T: 'static> {
    /// erfc is 0 from here on, Φ(−x) from √2 times as far.
    pub far: f64,
    pole: f64,
    /// t = slope·q + offset, q = 1/(z + pole), maps 0 … far to −1 … 1, nearly: t is −1 at z = 0.
    slope: f64,
    offset: f64,
    /// exp(z²)·erfc(z)/q as a polynomial in t; highest power first. It interpolates at the Chebyshev nodes, with values in arithmetic of
    /// 60 digits. Relative error 4.2e-8 in f32, 1.1e-17 in f64.
    complement: &'static [T],
    /// erf(x)/x − 1 as a polynomial in x², |x| <= 1, made in the same way. Relative error 1.4e-9 in f32, 1.5e-19 in f64.
    series: &'static [T],
}

pub const ERF_F32: ErfConstants<f32> = ErfConstants {
    far: 10.5,
    pole: 2.671875,
    slope: -6.703_125,
    offset: 1.508_771_896_362_304_7,
    complement: &[
        1.067_255_14e-4,
        -2.920_542_1e-5,
        -1.668_813e-3,
        2.651_920_5e-3,
        2.107_532_9e-2,
        -1.340_729_3e-1,
        4.146_826_3e-1,
        -8.522_14e-1,
        1.254_014_8,
    ],
    series: &[
        7.875_875e-5,
        -8.016_864_3e-4,
        5.189_087_2e-3,
        -2.685_421_1e-2,
        1.128_359_4e-1,
        -3.761_262_6e-1,
        1.283_791_7e-1,
    ],
};

pub const ERF_F64: ErfConstants<f64> = ErfConstants {
    far: 27.5,
    pole: 3.875,
    slope: -8.843_75,
    offset: 1.282_258_064_516_129,
    complement: &[
        -2.228_337_548_851_48e-10,
        1.719_913_593_492_943e-10,
        3.199_023_761_056_979_4e-9,
        -2.706_110_863_738_780_2e-9,
        -3.181_089_712_140_782e-8,
        3.847_501_324_128_508e-8,
        2.923_305_521_257_866e-7,
        -6.260_349_563_540_475e-7,
        -2.377_957_928_455_84e-6,
        1.034_254_448_087_694_7e-5,
        7.998_992_387_391_381e-6,
        -1.447_746_328_650_827_3e-4,
        3.248_539_442_998_889_4e-4,
        8.113_363_476_985_73e-4,
        -8.604_014_743_675_824e-3,
        3.616_686_430_411_03e-2,
        -1.061_195_840_395_719e-1,
        2.448_890_237_086_749e-1,
        -4.664_480_603_974_618e-1,
        7.510_901_859_957_945e-1,
        -1.034_965_594_872_482_5,
        1.226_371_096_247_580_2,
    ],
    series: &[
        5.957_176_147_748_911e-11,
        -1.137_284_885_679_167_4e-9,
        1.465_977_527_404_743_6e-8,
        -1.635_031_270_105_469_5e-7,
        1.646_100_048_412_136_8e-6,
        -1.492_559_526_683_118_2e-5,
        1.205_533_111_164_271e-4,
        -8.548_326_980_833_79e-4,
        5.223_977_624_818_014_5e-3,
        -2.686_617_064_507_679_2e-2,
        1.128_379_167_095_487_9e-1,
        -3.761_263_890_318_375e-1,
        1.283_791_670_955_125_7e-1,
    ],
};

/// x held in −bound … bound; NaN stays NaN.
#[inline(always)]
pub fn within<A: Vector>(x: A, bound: f64) -> A {
    let bound = A::splat(A::Elem::from_f64(bound));
    A::at_most(bound, A::at_least(-bound, x))
}

/// exp(c·x²) for −far² <= c·x² <= 0, of c·x² without its rounding; c is a power of two. At the portable level it errs by |c|·x² units
/// more.
#[inline(always)]
pub fn gauss<A: Vector>(x: A, c: f64) -> A {
    exp::exp_product(A::splat(A::Elem::from_f64(c)) * x, x)
}

/// exp(z²)·erfc(z), 0 <= z <= far.
#[inline(always)]
pub fn complement<A: Vector>(z: A) -> A {
    let constant = |c: f64| A::splat(A::Elem::from_f64(c));
    let c = &A::Elem::ERF;
    let q = constant(1.0) / (z + constant(c.pole));
    polynomial(c.complement, constant(c.slope).mul_add(q, constant(c.offset))) * q
}

#[inline(always)]
pub fn erf<A: Vector>(x: A) -> A {
    let (zero, one) = (A::zero(), A::splat(A::Elem::ONE));
    let b = within(x, A::Elem::ERF.far);
    let z = b.abs();
    let series = polynomial(A::Elem::ERF.series, b * b).mul_add(x, x);
    let far = one - gauss(z, -1.0) * complement(z);
    A::if_le(z, one, series, A::if_le(x, zero, -far, far))
}

/// Φ(−z) and φ(z) of the standard normal distribution, 0 <= z <= far·√2: half of [`complement`] at z/√2, with q/2 for q.
#[inline(always)]
pub fn normal_tail<A: Vector>(z: A) -> (A, A) {
    let constant = |c: f64| A::splat(A::Elem::from_f64(c));
    let c = &A::Elem::ERF;
    let bell = gauss(z, -0.5);
    let q = constant(FRAC_1_SQRT_2) / (z + constant(SQRT_2 * c.pole));
    let t = constant(2.0 * c.slope).mul_add(q, constant(c.offset));
    let tail = bell * (polynomial(c.complement, t) * q);
    (tail, constant(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * bell)
}

/// σ(x) = 1/(1 + exp(−x)) and its derivative, from e = exp(−|x|), so that both tails keep their digits.
#[inline(always)]
pub fn logistic<A: Vector>(x: A) -> (A, A) {
    let (zero, one) = (A::zero(), A::splat(A::Elem::ONE));
    let e = (-x.abs()).exp_nonpositive();
    let r = one / (one + e);
    let other = e * r;
    (A::if_le(x, zero, other, r), other * r)
}

/// Even and odd powers apart: half as long a chain as Horner's rule.
#[inline(always)]
fn polynomial<A: Vector>(coefficients: &[A::Elem], t: A) -> A {
    let square = t * t;
    let (mut p, mut q) = (A::splat(coefficients[0]), A::splat(coefficients[1]));
    let pairs = coefficients[2..].chunks_exact(2);
    let last = pairs.remainder().first();
    for pair in pairs {
        p = p.mul_add(square, A::splat(pair[0]));
        q = q.mul_add(square, A::splat(pair[1]));
    }
    match last {
        Some(&c) => q.mul_add(t, p.mul_add(square, A::splat(c))),
        None => p.mul_add(t, q),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{Isa, Level, Task, V};

    /// erf, erfc(|x|), Φ(−|x|) and σ of every element.
    struct All<'a, T>(&'a [T], &'a mut [[T; 4]]);

    impl<T: Real> Task for All<'_, T> {
        type Out = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            for (x, y) in self.0.iter().zip(self.1) {
                let x = V::<T, I>::splat(*x);
                let z = within(x.abs(), T::ERF.far);
                let below = normal_tail(within(x.abs(), SQRT_2 * T::ERF.far)).0;
                let results = [erf(x), gauss(z, -1.0) * complement(z), below, logistic(x).0];
                for (y, result) in y.iter_mut().zip(results) {
                    result.store_partial(std::slice::from_mut(y), 1);
                }
            }
        }
    }

    fn all_at<T: Real>(level: Level, x: &[T]) -> Vec<[T; 4]> {
        let mut y = vec![[T::NAN; 4]; x.len()];
        level.run(All(x, &mut y));
        y
    }

    /// erfc(z), z >= 0: the series of erf in f64 up to 2, then the continued fraction from its 200th term.
    fn erfc(z: f64) -> f64 {
        if z < 2.0 {
            // erf(z) = 2/√π·exp(−z²)·Σ 2ⁿ z²ⁿ⁺¹ / (1·3·…·(2n+1)): no cancellation.
            let (mut term, mut sum) = (z, z);
            for n in 1..100 {
                term *= 2.0 * z * z / (2 * n + 1) as f64;
                sum += term;
            }
            return 1.0 - std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum;
        }
        let mut tail = z;
        for n in (1..200).rev() {
            tail = z + n as f64 / 2.0 / tail;
        }
        (-z * z).exp() / (tail * std::f64::consts::PI.sqrt())
    }

    /// In units of `ulp`; `reference` is what the expected values err by themselves.
    fn check<T: Real>(ulp: f64, reference: impl Fn(f64) -> f64, far: f64) {
        let x: Vec<T> = (-4000..=4000).map(|k| T::from_f64(k as f64 * far / 4000.0)).collect();
        for level in Level::available() {
            let unfused = if level == Level::PORTABLE { 1.0 } else { 0.0 };
            for (x, [erf, complement, below, logistic]) in x.iter().zip(all_at(level, &x)) {
                let x = x.to_f64();
                let near = |got: T, exact: f64, units: f64| {
                    let error = (got.to_f64() - exact).abs();
                    assert!(error <= units * ulp * exact.abs(), "{x} {got:?} {exact:e} {level:?}");
                };
                let (z, loss) = (x.abs(), unfused * x * x);
                if z >= 0.1 {
                    near(erf, (1.0 - erfc(z)).copysign(x), 2.0 + reference(0.1) + unfused);
                }
                near(complement, erfc(z), 6.0 + reference(z) + loss);
                near(below, erfc(z / 2f64.sqrt()) / 2.0, 6.0 + reference(z) + loss);
                near(logistic, 1.0 / (1.0 + (-x).exp()), 4.0);
            }
        }
    }

    #[test]
    fn a_few_ulp_of_their_own_size() {
        check::<f32>(f32::EPSILON as f64, |_| 0.0, 9.0);
        // The expected values: z² units where exp(−z²) is taken, and below 2 what 1 − erf leaves of one.
        check::<f64>(f64::EPSILON, |z| 4.0 + z * z + if z < 3.0 { 4.0 / erfc(z.min(2.0)) } else { 0.0 }, 26.5);
    }

    #[test]
    fn special_values() {
        for level in Level::available() {
            let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::MAX, f32::MIN, 1e-45];
            let y = all_at(level, &x);
            assert!(y[0].iter().all(|y| y.is_nan()));
            assert_eq!(y[1], [1.0, 0.0, 0.0, 1.0]);
            assert_eq!(y[2], [-1.0, 0.0, 0.0, 0.0]);
            assert_eq!(y[3], [0.0, 1.0, 0.5, 0.5]);
            assert_eq!((y[4], y[5]), (y[1], y[2]));
            assert_eq!(y[6][0], 1e-45);
        }
    }
}
