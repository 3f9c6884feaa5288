//! Vector code in one room. An algorithm is written once, generic over an instruction set `I: Isa`, as the body of a [`Task`];
//! [`Level::run`] compiles it once per level and picks the level at run time.
//!
//! * `V<T, I>` is the vector of `T: Real` at level `I`; its methods are those of [`Vector`] and the operators `+ - * /` and unary `-`.
//! * Every function between `Task::run` and the inner loop is `#[inline(always)]`: only then do the intrinsics compile into the
//!   function that carries the target features. Inside, plain `for` loops, no closures. [`Isa::call`] makes a part a function of its own.
//! * The levels avx2 and avx512 give the same bits wherever lanes are independent; portable multiplies and adds in two roundings.

#![allow(unsafe_code)] // entering a function with target features is unsafe; `Level` proves that the processor has them

use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::real::Real;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod corners;
mod erf;
mod exp;
mod portable;
mod products;
mod rows;
mod stream;
#[cfg(test)]
mod tests;

pub use corners::{AtCorners, Corners, Pieces, at_corners};
pub use erf::{ERF_F32, ERF_F64, ErfConstants, complement, erf, gauss, logistic, normal_tail, within};
pub use exp::{EXP_F32, EXP_F64, ExpConstants};
pub use products::{add_products, add_scores, prefetch, prefetch_far};
pub use rows::{add_assign, axpy, dot, exp_sum, halved, max, scale, sum};
pub use stream::{LINE, Row, is_large, settle};

/// The vector of element type `T` at level `I`.
pub type V<T, I> = <T as Real>::Vector<I>;

/// No vector has more lanes than this, and reductions over slices keep this many partial results at every level.
pub const MAX_LANES: usize = 16;

/// An instruction set. Its vector types cannot be named outside this module: code receives them as the parameter of [`Task::run`],
/// after the processor was asked. This is what makes the methods of [`Vector`] safe to call.
pub trait Isa: 'static {
    type F32: Vector<Elem = f32>;
    type F64: Vector<Elem = f64>;
    /// Vector registers, for the choice of a register block.
    const REGISTERS: usize;

    /// Runs a part of a task in a function of its own. All else of a task becomes one function, and what the compiler takes for it grows
    /// with the square of its length: for large bodies that several places share, or of which only one of many is run.
    fn call<K: Task>(part: K) -> K::Out;
}

/// `LANES` numbers in one register. Loads and stores check their slice; a partial one touches its first `n` elements only.
pub trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self> + 'static
{
    type Elem: Real;
    const LANES: usize;

    fn splat(x: Self::Elem) -> Self;
    /// The first `LANES` elements of `x`.
    fn load(x: &[Self::Elem]) -> Self;
    /// The first `n` elements of `x`, n <= LANES; the other lanes are zero.
    fn load_partial(x: &[Self::Elem], n: usize) -> Self;
    fn store(self, y: &mut [Self::Elem]);
    /// Lanes `0..n` into the first `n` elements of `y`, n <= LANES.
    fn store_partial(self, y: &mut [Self::Elem], n: usize);
    /// As `store`, past the caches where the level can.
    ///
    /// # Safety
    /// y begins at a multiple of the bytes of a vector.
    #[inline(always)]
    unsafe fn stream(self, y: &mut [Self::Elem]) {
        self.store(y);
    }
    /// self·a + b, fused except at the portable level.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The magnitude; NaN stays NaN.
    fn abs(self) -> Self;
    /// The larger of two lanes; NaN if either is NaN.
    fn max(self, other: Self) -> Self;
    /// Lanes `0..n` of self, the others of `other`, n <= LANES.
    fn keep(self, n: usize, other: Self) -> Self;
    /// The larger of two numbers, the argument wherever it is NaN. For clamping.
    fn at_least(bound: Self, x: Self) -> Self;
    /// The smaller of two numbers, the argument wherever it is NaN. For clamping.
    fn at_most(bound: Self, x: Self) -> Self;
    /// The largest whole number that is not above; NaN stays NaN, ±∞ stays ±∞.
    fn floor(self) -> Self;
    /// `then` in the lanes where a <= b; `otherwise` in the others, and where either is NaN.
    fn if_le(a: Self, b: Self, then: Self, otherwise: Self) -> Self;
    /// self·2ⁿ for integral n with |n| < 2·bias, rounded once. NaN stays NaN.
    fn scale_pow2(self, n: Self) -> Self;

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Elem::ZERO)
    }

    /// Elements `0, stride, 2·stride, …` of `x`, `n` of them, n <= LANES; the other lanes are zero.
    #[inline(always)]
    fn load_strided(x: &[Self::Elem], stride: usize, n: usize) -> Self {
        let mut lanes = [Self::Elem::ZERO; MAX_LANES];
        for (l, lane) in lanes[..Self::LANES].iter_mut().enumerate() {
            if l < n {
                *lane = x[l * stride];
            }
        }
        Self::load(&lanes)
    }

    /// eˣ within 2 ulp, for every x including ±∞, NaN and results that are denormal.
    #[inline(always)]
    fn exp(self) -> Self {
        exp::exp(self)
    }

    /// eˣ as above where |x| <= 170 (f32) or 1400 (f64), NaN where x is; any number for others.
    #[inline(always)]
    fn exp_near(self) -> Self {
        exp::exp_near(self)
    }

    /// eˣ as above where x <= 0, NaN where x is; any number for others.
    #[inline(always)]
    fn exp_nonpositive(self) -> Self {
        exp::exp_nonpositive(self)
    }

    /// Sum of the lanes; lane l meets lane l + LANES/2 first, then l + LANES/4, …
    fn reduce_sum(self) -> Self::Elem;
    /// Maximum of the lanes, NaN if one of them is.
    fn reduce_max(self) -> Self::Elem;
}

/// Work that can be compiled for any instruction set: a struct with its arguments, and a `run` marked `#[inline(always)]`.
pub trait Task {
    type Out;
    fn run<I: Isa>(self) -> Self::Out;
}

/// An instruction-set level that this processor has; there is no way to make one that it has not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kind {
    fn detected(self) -> bool {
        match self {
            Kind::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2::detected(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx2::detected() && avx512::detected(),
        }
    }
}

impl Level {
    pub const PORTABLE: Level = Level(Kind::Portable);

    /// The levels of this processor, slowest first; portable is always there.
    pub fn available() -> Vec<Level> {
        let kinds = [
            Kind::Portable,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512,
        ];
        kinds.into_iter().filter(|kind| kind.detected()).map(Level).collect()
    }

    pub fn best() -> Level {
        *Self::available().last().unwrap_or(&Self::PORTABLE)
    }

    /// The available level of that name; the error says which there are.
    pub fn from_name(name: &str) -> Result<Level, String> {
        let levels = Self::available();
        levels.iter().copied().find(|level| level.name() == name).ok_or_else(|| {
            let names: Vec<_> = levels.iter().map(|level| level.name()).collect();
            format!(
                "SIMD level {name:?} is unknown or not available on this processor; available: {}",
                names.join(", ")
            )
        })
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// Runs the version of `task` that was compiled for this level.
    #[inline]
    pub fn run<K: Task>(self, task: K) -> K::Out {
        match self.0 {
            Kind::Portable => portable::enter(task),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this level is only handed out after `detected()` said that the processor has its features.
            Kind::Avx2 => unsafe { avx2::enter(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx512 => unsafe { avx512::enter(task) },
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
