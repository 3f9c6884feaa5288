//! The error function and its relatives: Gaussian, complement, normal distribution, logistic function. All are lane by lane.
//!
//! Errors: the Gaussian and the complement within 6 ulp of their own size, so that tails keep their digits; erf within 3 ulp.
//! At the portable level the tails err by x²/2 ulp more.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use super::Vector;
use crate::real::Real;

pub struct ErfConstants<T: 'static> {
    /// erfc is 0 from here on, Φ(−x) from √2 times as far.
    pub far: f64,
    pole: f64,
    /// (z + pole)·exp(z²)·erfc(z) as a polynomial in t = (z − pole)/(z + pole), which maps 0 … ∞ to −1 … 1; highest power first. It
    /// interpolates at the Chebyshev nodes, with values in arithmetic of 60 digits. Relative error 8.2e-9 in f32, 6.7e-18 in f64.
    complement: &'static [T],
    /// erf(x)/x − 1 as a polynomial in x², |x| <= 1, made in the same way. Relative error 1.4e-9 in f32, 1.5e-19 in f64.
    series: &'static [T],
}

pub const ERF_F32: ErfConstants<f32> = ErfConstants {
    far: 12.0,
    pole: 2.5,
    complement: &[
        -7.292_146e-5,
        2.686_559_1e-5,
        6.662_208e-4,
        -4.136_038e-4,
        -4.803_455e-3,
        8.382_888_5e-3,
        2.835_886_7e-2,
        -1.712_494_2e-1,
        4.539_142_5e-1,
        -8.046_519e-1,
        1.054_031_8,
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
    far: 28.0,
    pole: 3.75,
    complement: &[
        4.579_984_140_831_587e-10,
        -2.290_830_409_631_018_7e-10,
        -5.469_789_765_358_524e-9,
        2.770_275_311_157_831_7e-9,
        4.046_079_129_250_125e-8,
        -2.591_195_671_360_829_7e-8,
        -2.637_361_572_114_184_6e-7,
        2.786_425_585_878_482e-7,
        1.655_908_836_572_582_6e-6,
        -3.288_558_690_228_855e-6,
        -8.903_816_175_024_503e-6,
        3.747_130_406_617_445_5e-5,
        1.059_393_936_437_045_5e-5,
        -3.486_467_384_382_464e-4,
        7.948_231_103_512_32e-4,
        9.863_380_596_543_86e-4,
        -1.253_588_004_228_368_8e-2,
        4.911_877_861_726_79e-2,
        -1.319_554_011_784_689_3e-1,
        2.790_620_490_336_812_6e-1,
        -4.904_702_912_076_795_4e-1,
        7.363_189_252_217_538e-1,
        -9.587_415_766_529_096e-1,
        1.091_922_909_562_789_1,
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

/// exp(−c·x²) for c·x² <= far² and c a power of two. What the rounding of c·x² lost goes into a factor 1 − lost; only the portable level,
/// which has no fused operation to find it, leaves it out and errs by c·x²/2 units more.
#[inline(always)]
pub fn gauss<A: Vector>(x: A, c: f64) -> A {
    let cx = A::splat(A::Elem::from_f64(c)) * x;
    let square = cx * x;
    let lost = cx.mul_add(x, -square);
    let e = (-square).exp_near();
    e.mul_add(-lost, e)
}

/// exp(z²)·erfc(z) for finite z >= 0.
#[inline(always)]
pub fn complement<A: Vector>(z: A) -> A {
    let pole = A::splat(A::Elem::from_f64(A::Elem::ERF.pole));
    let q = A::splat(A::Elem::ONE) / (z + pole);
    polynomial(A::Elem::ERF.complement, (z - pole) * q) * q
}

#[inline(always)]
pub fn erf<A: Vector>(x: A) -> A {
    let (zero, one) = (A::zero(), A::splat(A::Elem::ONE));
    let b = within(x, A::Elem::ERF.far);
    let z = b.abs();
    let series = polynomial(A::Elem::ERF.series, b * b).mul_add(x, x);
    let far = one - gauss(z, 1.0) * complement(z);
    A::if_le(z, one, series, A::if_le(x, zero, -far, far))
}

/// Φ(−z) and φ(z) of the standard normal distribution, 0 <= z <= far·√2: with p = pole·√2 half of [`complement`] at z/√2 is
/// (1/√2)/(z + p)·polynomial(t), t = 1 − 2p/(z + p).
#[inline(always)]
pub fn normal_tail<A: Vector>(z: A) -> (A, A) {
    let constant = |c: f64| A::splat(A::Elem::from_f64(c));
    let bell = gauss(z, 0.5);
    let q = constant(FRAC_1_SQRT_2) / (z + constant(SQRT_2 * A::Elem::ERF.pole));
    let t = constant(-4.0 * A::Elem::ERF.pole).mul_add(q, constant(1.0));
    let tail = bell * (polynomial(A::Elem::ERF.complement, t) * q);
    (tail, constant(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2) * bell)
}

/// σ(x) = 1/(1 + exp(−x)) and its derivative, from e = exp(−|x|), so that both tails keep their digits.
#[inline(always)]
pub fn logistic<A: Vector>(x: A) -> (A, A) {
    let (zero, one) = (A::zero(), A::splat(A::Elem::ONE));
    let e = (-x.abs()).exp();
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
                let results = [erf(x), gauss(z, 1.0) * complement(z), below, logistic(x).0];
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
        check::<f64>(f64::EPSILON, |z| 4.0 + z * z + if z < 3.0 { 4.0 / erfc(z.min(2.0)) } else { 0.0 }, 25.0);
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
