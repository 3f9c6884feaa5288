//! The exponential: eˣ = 2ⁿ·eʳ with n = round(x/ln 2), r = x − n·ln 2 and a polynomial for eʳ, |r| <= ln 2 / 2.

use super::Vector;
use crate::real::Real;

pub struct ExpConstants<T: 'static> {
    /// Below this the result is 0, above `max` it is ∞.
    min: T,
    max: T,
    log2_e: T,
    /// ln 2 in two parts (Cody and Waite): n·ln2_hi is exact because ln2_hi has few bits.
    ln2_hi: T,
    ln2_lo: T,
    /// 1.5·2^(bits of the fraction): adding and subtracting it rounds to an integer.
    rounder: T,
    /// Coefficients of 1 + r + r²·q(r), highest power first; q interpolates (eʳ − 1 − r)/r² at Chebyshev nodes. The relative
    /// error of the polynomial is 1.1e-8 in f32 and 1.7e-17 in f64.
    polynomial: &'static [T],
}

pub const EXP_F32: ExpConstants<f32> = ExpConstants {
    min: -104.0,
    max: 89.0,
    log2_e: std::f32::consts::LOG2_E,
    ln2_hi: 355.0 / 512.0,
    ln2_lo: -2.121_944_4e-4,
    rounder: 12_582_912.0,
    polynomial: &[1.392_621_3e-3, 8.363_203e-3, 4.166_655_6e-2, 1.666_657_6e-1, 0.5, 1.0, 1.0],
};

pub const EXP_F64: ExpConstants<f64> = ExpConstants {
    min: -746.0,
    max: 710.0,
    log2_e: std::f64::consts::LOG2_E,
    ln2_hi: 6.931_471_803_691_238e-1,
    ln2_lo: 1.908_214_929_270_587_7e-10,
    rounder: 6_755_399_441_055_744.0,
    polynomial: &[
        2.510_042_415_700_506_7e-8,
        2.762_013_871_973_399_4e-7,
        2.755_726_837_868_421_9e-6,
        2.480_152_119_021_773e-5,
        1.984_126_986_310_596_8e-4,
        1.388_888_891_728_179_4e-3,
        8.333_333_333_330_051e-3,
        4.166_666_666_662_399e-2,
        1.666_666_666_666_666_9e-1,
        0.5,
        1.0,
        1.0,
    ],
};

#[inline(always)]
pub fn exp<A: Vector>(x: A) -> A {
    let c = &A::Elem::EXP;
    exp_near(A::at_most(A::splat(c.max), A::at_least(A::splat(c.min), x)))
}

/// [`exp`] for x <= 0.
#[inline(always)]
pub fn exp_nonpositive<A: Vector>(x: A) -> A {
    exp_near(A::at_least(A::splat(A::Elem::EXP.min), x))
}

/// [`exp`] for x in the range of `scale_pow2`.
#[inline(always)]
pub fn exp_near<A: Vector>(x: A) -> A {
    let c = &A::Elem::EXP;
    let n = powers(x);
    let r = n.mul_add(A::splat(-c.ln2_lo), n.mul_add(A::splat(-c.ln2_hi), x));
    scaled(r, n)
}

/// exp(a·b) for a·b as in [`exp_near`]. The product is not rounded, except at the portable level: n·ln2_hi is exact, so one fused operation
/// takes the leading digits off a·b.
#[inline(always)]
pub fn exp_product<A: Vector>(a: A, b: A) -> A {
    let c = &A::Elem::EXP;
    let n = powers(a * b);
    let r = n.mul_add(A::splat(-c.ln2_lo), a.mul_add(b, A::splat(-c.ln2_hi) * n));
    scaled(r, n)
}

/// round(x/ln 2)
#[inline(always)]
fn powers<A: Vector>(x: A) -> A {
    let (log2_e, rounder) = (A::splat(A::Elem::EXP.log2_e), A::splat(A::Elem::EXP.rounder));
    x.mul_add(log2_e, rounder) - rounder
}

/// 2ⁿ·eʳ
#[inline(always)]
fn scaled<A: Vector>(r: A, n: A) -> A {
    let c = &A::Elem::EXP;
    let mut p = A::splat(c.polynomial[0]);
    for &coefficient in &c.polynomial[1..] {
        p = p.mul_add(r, A::splat(coefficient));
    }
    p.scale_pow2(n)
}

#[cfg(test)]
mod tests {
    use crate::lanes::{Isa, Level, Task, V, Vector};
    use crate::real::Real;

    struct Exp<'a, T>(&'a mut [T]);

    /// For x <= 0.
    struct Nonpositive<'a, T>(&'a mut [T]);

    impl<T: Real> Task for Nonpositive<'_, T> {
        type Out = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            for x in self.0.chunks_mut(V::<T, I>::LANES) {
                let n = x.len();
                V::<T, I>::load_partial(x, n).exp_nonpositive().store_partial(x, n);
            }
        }
    }

    impl<T: Real> Task for Exp<'_, T> {
        type Out = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            for x in self.0.chunks_mut(V::<T, I>::LANES) {
                let n = x.len();
                V::<T, I>::load_partial(x, n).exp().store_partial(x, n);
            }
        }
    }

    fn exp_at<T: Real>(level: Level, x: &[T]) -> Vec<T> {
        let mut y = x.to_vec();
        level.run(Exp(&mut y));
        y
    }

    /// Finite numbers of all magnitudes and signs, by stepping through the bit patterns.
    #[test]
    fn f32_within_2_ulp() {
        let x: Vec<f32> = (0..=u32::MAX).step_by(997).map(f32::from_bits).filter(|x| x.is_finite()).collect();
        for level in Level::available() {
            for (&x, y) in x.iter().zip(exp_at(level, &x)) {
                let exact = (x as f64).exp();
                // The spacing of f32 near the result; where the result overflows, infinity is the only answer.
                let ulp = ((exact as f32).next_up() as f64 - (exact as f32) as f64).abs();
                let overflow = exact as f32 == f32::INFINITY;
                assert!(
                    if overflow { y == f32::INFINITY } else { (y as f64 - exact).abs() <= 2.0 * ulp },
                    "{x:e} {y:e} {level:?}"
                );
            }
        }
    }

    #[test]
    fn f64_within_2_ulp() {
        let bits = (0..=u64::MAX).step_by(0x0000_1003_0507_0b0d).map(f64::from_bits).filter(|x| x.is_finite());
        let x: Vec<f64> = bits.chain((-760_000..760_000).map(|k| k as f64 / 1013.0)).collect();
        for level in Level::available() {
            for (&x, y) in x.iter().zip(exp_at(level, &x)) {
                // The library function errs by less than one ulp itself, so two are allowed here only together with it.
                let exact = x.exp();
                let near = y == exact || y.to_bits().abs_diff(exact.to_bits()) <= 1;
                assert!(near, "{x:e} {y:e} {exact:e} {level:?}");
            }
        }
    }

    #[test]
    fn nonpositive_arguments() {
        fn check<T: Real>(x: &[T]) {
            for level in Level::available() {
                let mut y = x.to_vec();
                level.run(Nonpositive(&mut y));
                for (y, expected) in y.iter().zip(exp_at(level, x)) {
                    assert!(y.to_f64().to_bits() == expected.to_f64().to_bits() || y.is_nan() && expected.is_nan());
                }
            }
        }
        let bits = (f32::NEG_INFINITY.to_bits()..=u32::MAX).chain(1 << 31..f32::NEG_INFINITY.to_bits());
        check::<f32>(&bits.step_by(1009).map(f32::from_bits).chain([0.0, f32::NEG_INFINITY]).collect::<Vec<_>>());
        let special = [0.0, -0.0, f64::NEG_INFINITY, f64::NAN, f64::MIN, -1e-310, -745.1, -746.0, -1e9];
        check::<f64>(&(0..80_000).map(|k| k as f64 / -103.0).chain(special).collect::<Vec<_>>());
    }

    #[test]
    fn special_values() {
        for level in Level::available() {
            let y = exp_at(level, &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, f32::MAX, f32::MIN, -103.9]);
            assert!(y[2].is_nan());
            assert_eq!(
                (y[0], y[1], y[3], y[4], y[5], y[6], y[7]),
                (f32::INFINITY, 0.0, 1.0, 1.0, f32::INFINITY, 0.0, 1e-45)
            );
            let y = exp_at(level, &[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, f64::MAX, f64::MIN, -745.1]);
            assert!(y[2].is_nan());
            assert_eq!((y[0], y[1], y[3], y[4], y[5], y[6]), (f64::INFINITY, 0.0, 1.0, f64::INFINITY, 0.0, 5e-324));
        }
    }

    /// Levels with a fused multiply-add compute lane by lane the same.
    #[test]
    fn fused_levels_agree_bit_by_bit() {
        let x: Vec<f32> = (0..100_000).map(|k| k as f32 * 0.0021 - 105.0).collect();
        let y: Vec<f64> = (0..100_000).map(|k| k as f64 * 0.0147 - 750.0).collect();
        let fused: Vec<_> = Level::available().into_iter().filter(|&level| level != Level::PORTABLE).collect();
        for pair in fused.windows(2) {
            assert_eq!(exp_at(pair[0], &x), exp_at(pair[1], &x));
            assert_eq!(exp_at(pair[0], &y), exp_at(pair[1], &y));
        }
    }
}
