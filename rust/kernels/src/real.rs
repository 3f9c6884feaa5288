//! The two element types. A kernel is written once for `T: Real`; nothing narrows inside it.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use crate::lanes::{ErfConstants, ExpConstants, Isa, Vector};

pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// The vector of this element type at level `I`; spelled `V<T, I>` in kernels.
    type Vector<I: Isa>: Vector<Elem = Self>;

    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;
    const NAN: Self;
    const EXP: ExpConstants<Self>;
    const ERF: ErfConstants<Self>;

    fn from_f64(x: f64) -> Self;
    fn from_usize(n: usize) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn is_nan(self) -> bool;
    fn floor(self) -> Self;

    /// 2ⁿ for an integer n inside the exponent range of normal numbers; any number for others.
    fn pow2(n: i32) -> Self;

    /// An integral number of magnitude below 2²², as an integer; any integer for others. Without the range check of `as`, which
    /// keeps loops from becoming vector code.
    fn to_int(self) -> i32;

    /// self·2ⁿ in two exact steps and one rounding, so that results may be denormal or overflow. n is integral, |n| < 2·bias.
    #[inline(always)]
    fn scale_pow2(self, n: Self) -> Self {
        let n = n.to_int();
        let half = n >> 1;
        self * Self::pow2(half) * Self::pow2(n.wrapping_sub(half))
    }
}

/// Whether all numbers are finite. A part without branches at a time, so that it becomes vector code.
pub fn finite<T: Real>(x: &[T]) -> bool {
    x.chunks(1024).all(|part| part.iter().fold(true, |all, &x| all & (x * T::ZERO == T::ZERO)))
}

macro_rules! real {
    ($T:ident, $Bits:ident, $vector:ident, $exp:ident, $erf:ident) => {
        impl Real for $T {
            type Vector<I: Isa> = I::$vector;

            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INFINITY: Self = $T::NEG_INFINITY;
            const NAN: Self = $T::NAN;
            const EXP: ExpConstants<Self> = crate::lanes::$exp;
            const ERF: ErfConstants<Self> = crate::lanes::$erf;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $T
            }
            #[inline(always)]
            fn from_usize(n: usize) -> Self {
                n as $T
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn floor(self) -> Self {
                self.floor()
            }
            #[inline(always)]
            fn pow2(n: i32) -> Self {
                let bias = $T::MAX_EXP - 1;
                $T::from_bits((n.wrapping_add(bias) as $Bits) << ($T::MANTISSA_DIGITS - 1))
            }
            #[inline(always)]
            fn to_int(self) -> i32 {
                // 1.5·2^(fraction bits): the sum has the integer in its last bits.
                let rounder = (1.5 * (1u64 << ($T::MANTISSA_DIGITS - 1)) as f64) as $T;
                ((self + rounder).to_bits() as i32).wrapping_sub(rounder.to_bits() as i32)
            }
        }
    };
}

real!(f32, u32, F32, EXP_F32, ERF_F32);
real!(f64, u64, F64, EXP_F64, ERF_F64);
