//! AVX2 with FMA: 8 or 4 lanes, partial access by mask vectors.

#![allow(unsafe_code)] // intrinsics; see the macro's safety comment

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Isa, Task, Vector};

pub struct Avx2;

impl Isa for Avx2 {
    type F32 = F32;
    type F64 = F64;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn call<K: Task>(part: K) -> K::Out {
        // SAFETY: `Avx2` cannot be named where the processor was not asked.
        unsafe { apart(part) }
    }
}

/// The compiler forgets `inline(never)` of a function with target features where the caller's source has none; here it cannot.
///
/// # Safety
/// That of [`enter`].
#[inline(never)]
unsafe fn apart<K: Task>(part: K) -> K::Out {
    // SAFETY: the caller's.
    unsafe { enter(part) }
}

pub fn detected() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2")
}

/// # Safety
/// The processor has the features that [`detected`] asks for.
#[target_feature(enable = "avx2,fma,bmi2")]
#[inline(never)]
pub unsafe fn enter<K: Task>(task: K) -> K::Out {
    task.run::<Avx2>()
}

/// Read from `8 − n` on, this is a mask of `n` 32-bit lanes.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// 2ⁿ in each lane; n is inside the exponent range of normal numbers.
#[inline(always)]
unsafe fn pow2_ps(n: __m256i) -> __m256 {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)))) }
}

#[inline(always)]
unsafe fn pow2_pd(n: __m128i) -> __m256d {
    // SAFETY: the caller has AVX2.
    unsafe {
        _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_add_epi64(
            _mm256_cvtepi32_epi64(n),
            _mm256_set1_epi64x(1023),
        )))
    }
}

// Horizontal reductions by halving. The AVX-512 level ends with them too.

/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub unsafe fn sum_ps(x: __m256) -> f32 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
    }
}

/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub unsafe fn sum_pd(x: __m256d) -> f64 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let x = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
        _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)))
    }
}

/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub unsafe fn max_ps(x: __m256) -> f32 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let nan = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)) != 0;
        let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
        if nan { f32::NAN } else { _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x))) }
    }
}

/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub unsafe fn max_pd(x: __m256d) -> f64 {
    // SAFETY: the caller has AVX2.
    unsafe {
        let nan = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_UNORD_Q>(x, x)) != 0;
        let x = _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
        if nan { f64::NAN } else { _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x))) }
    }
}

// SAFETY, for every block below: these types are reached only through `enter`, so the processor has AVX2 and FMA; pointers come from
// slices that were just cut to the length that is accessed, and masked-out lanes are not accessed at all.
macro_rules! vector {
    (
        $Name:ident: $T:ident x $lanes:literal, $Register:ident, $cast:ident, $words:literal words;
        $set1:ident $loadu:ident $maskload:ident $storeu:ident $stream:ident $maskstore:ident $blendv:ident $cmp:ident
        $fmadd:ident $andnot:ident $max:ident $min:ident $floor:ident $add:ident $sub:ident $mul:ident $div:ident
        $to_int:ident $sub_int:ident $half:ident $pow2:ident $sum:ident $reduce_max:ident
    ) => {
        #[derive(Clone, Copy)]
        pub struct $Name($Register);

        impl $Name {
            #[inline(always)]
            fn mask(n: usize) -> __m256i {
                let mask = &MASKS[8 - $words * n..][..8];
                unsafe { _mm256_loadu_si256(mask.as_ptr().cast()) }
            }
        }

        impl Vector for $Name {
            type Elem = $T;
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(x: $T) -> Self {
                unsafe { Self($set1(x)) }
            }
            #[inline(always)]
            fn load(x: &[$T]) -> Self {
                let x = &x[..$lanes];
                unsafe { Self($loadu(x.as_ptr())) }
            }
            #[inline(always)]
            fn load_partial(x: &[$T], n: usize) -> Self {
                let x = &x[..n];
                assert!(n <= $lanes);
                unsafe { Self($maskload(x.as_ptr(), Self::mask(n))) }
            }
            #[inline(always)]
            fn store(self, y: &mut [$T]) {
                let y = &mut y[..$lanes];
                unsafe { $storeu(y.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn store_partial(self, y: &mut [$T], n: usize) {
                // Masked stores are slow on some processors.
                if n == $lanes {
                    return self.store(y);
                }
                let y = &mut y[..n];
                assert!(n <= $lanes);
                unsafe { $maskstore(y.as_mut_ptr(), Self::mask(n), self.0) }
            }
            #[inline(always)]
            unsafe fn stream(self, y: &mut [$T]) {
                let y = &mut y[..$lanes];
                unsafe { $stream(y.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                unsafe { Self($fmadd(self.0, a.0, b.0)) }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                unsafe { Self($andnot($set1(-0.0), self.0)) }
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                // The instruction returns its second operand if either is NaN: right for `other`, mended for `self`.
                unsafe { Self($blendv($max(self.0, other.0), self.0, $cmp::<_CMP_UNORD_Q>(self.0, self.0))) }
            }
            #[inline(always)]
            fn keep(self, n: usize, other: Self) -> Self {
                assert!(n <= $lanes);
                unsafe { Self($blendv(other.0, self.0, $cast(Self::mask(n)))) }
            }
            #[inline(always)]
            fn at_least(bound: Self, x: Self) -> Self {
                unsafe { Self($max(bound.0, x.0)) }
            }
            #[inline(always)]
            fn at_most(bound: Self, x: Self) -> Self {
                unsafe { Self($min(bound.0, x.0)) }
            }
            #[inline(always)]
            fn floor(self) -> Self {
                unsafe { Self($floor(self.0)) }
            }
            #[inline(always)]
            fn if_le(a: Self, b: Self, then: Self, otherwise: Self) -> Self {
                unsafe { Self($blendv(otherwise.0, then.0, $cmp::<_CMP_LE_OQ>(a.0, b.0))) }
            }
            #[inline(always)]
            fn scale_pow2(self, n: Self) -> Self {
                // Two factors: each is a normal number where 2ⁿ itself may not be, and only the last product rounds.
                unsafe {
                    let n = $to_int(n.0);
                    let half = $half::<1>(n);
                    Self($mul($mul(self.0, $pow2(half)), $pow2($sub_int(n, half))))
                }
            }
            #[inline(always)]
            fn reduce_sum(self) -> $T {
                unsafe { $sum(self.0) }
            }
            #[inline(always)]
            fn reduce_max(self) -> $T {
                unsafe { $reduce_max(self.0) }
            }
        }

        impl Add for $Name {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                unsafe { Self($add(self.0, other.0)) }
            }
        }
        impl Sub for $Name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                unsafe { Self($sub(self.0, other.0)) }
            }
        }
        impl Mul for $Name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                unsafe { Self($mul(self.0, other.0)) }
            }
        }
        impl Div for $Name {
            type Output = Self;
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                unsafe { Self($div(self.0, other.0)) }
            }
        }
        impl Neg for $Name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self::splat(-0.0) - self
            }
        }
    };
}

vector! {
    F32: f32 x 8, __m256, _mm256_castsi256_ps, 1 words;
    _mm256_set1_ps _mm256_loadu_ps _mm256_maskload_ps _mm256_storeu_ps _mm256_stream_ps _mm256_maskstore_ps _mm256_blendv_ps _mm256_cmp_ps
    _mm256_fmadd_ps _mm256_andnot_ps _mm256_max_ps _mm256_min_ps _mm256_floor_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
    _mm256_cvtps_epi32 _mm256_sub_epi32 _mm256_srai_epi32 pow2_ps sum_ps max_ps
}

vector! {
    F64: f64 x 4, __m256d, _mm256_castsi256_pd, 2 words;
    _mm256_set1_pd _mm256_loadu_pd _mm256_maskload_pd _mm256_storeu_pd _mm256_stream_pd _mm256_maskstore_pd _mm256_blendv_pd _mm256_cmp_pd
    _mm256_fmadd_pd _mm256_andnot_pd _mm256_max_pd _mm256_min_pd _mm256_floor_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
    _mm256_cvtpd_epi32 _mm_sub_epi32 _mm_srai_epi32 pow2_pd sum_pd max_pd
}
