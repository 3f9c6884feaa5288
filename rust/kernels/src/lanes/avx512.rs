//! AVX-512: 16 or 8 lanes, partial access by mask registers.

#![allow(unsafe_code)] // intrinsics; see the macro's safety comment

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Isa, Task, Vector, avx2};

pub struct Avx512;

impl Isa for Avx512 {
    type F32 = F32;
    type F64 = F64;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn call<K: Task>(part: K) -> K::Out {
        // SAFETY: `Avx512` cannot be named where the processor was not asked.
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
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
}

/// # Safety
/// The processor has the features that [`detected`] asks for, and those of AVX2 with FMA.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2")]
#[inline(never)]
pub unsafe fn enter<K: Task>(task: K) -> K::Out {
    task.run::<Avx512>()
}

// SAFETY, for every block below: these types are reached only through `enter`, so the processor has AVX-512; pointers come from
// slices that were just cut to the length that is accessed, and masked-out lanes are not accessed at all.
macro_rules! vector {
    (
        $Name:ident: $T:ident x $lanes:literal, $Register:ident, $Mask:ident;
        $set1:ident $loadu:ident $maskz_loadu:ident $storeu:ident $stream:ident $mask_storeu:ident $mask_mov:ident $cmp:ident
        $fmadd:ident $abs:ident $max:ident $min:ident $roundscale:ident $scalef:ident $add:ident $sub:ident $mul:ident $div:ident
        $low:ident $high:ident $add256:ident $max256:ident $blend256:ident $cmp256:ident $sum:ident $reduce_max:ident
    ) => {
        #[derive(Clone, Copy)]
        pub struct $Name($Register);

        impl $Name {
            #[inline(always)]
            fn mask(n: usize) -> $Mask {
                ((1u32 << n) - 1) as $Mask
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
                unsafe { Self($maskz_loadu(Self::mask(n), x.as_ptr())) }
            }
            #[inline(always)]
            fn store(self, y: &mut [$T]) {
                let y = &mut y[..$lanes];
                unsafe { $storeu(y.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn store_partial(self, y: &mut [$T], n: usize) {
                let y = &mut y[..n];
                assert!(n <= $lanes);
                unsafe { $mask_storeu(y.as_mut_ptr(), Self::mask(n), self.0) }
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
                unsafe { Self($abs(self.0)) }
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                // The instruction returns its second operand if either is NaN: right for `other`, mended for `self`.
                unsafe { Self($mask_mov($max(self.0, other.0), $cmp::<_CMP_UNORD_Q>(self.0, self.0), self.0)) }
            }
            #[inline(always)]
            fn keep(self, n: usize, other: Self) -> Self {
                assert!(n <= $lanes);
                unsafe { Self($mask_mov(other.0, Self::mask(n), self.0)) }
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
                unsafe { Self($roundscale::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self.0)) }
            }
            #[inline(always)]
            fn if_le(a: Self, b: Self, then: Self, otherwise: Self) -> Self {
                unsafe { Self($mask_mov(otherwise.0, $cmp::<_CMP_LE_OQ>(a.0, b.0), then.0)) }
            }
            #[inline(always)]
            fn scale_pow2(self, n: Self) -> Self {
                unsafe { Self($scalef(self.0, n.0)) }
            }
            #[inline(always)]
            fn reduce_sum(self) -> $T {
                unsafe { avx2::$sum($add256($low(self.0), $high::<1>(self.0))) }
            }
            #[inline(always)]
            fn reduce_max(self) -> $T {
                // As in `max`: a NaN of the lower half is kept by hand.
                let (low, high) = unsafe { ($low(self.0), $high::<1>(self.0)) };
                unsafe { avx2::$reduce_max($blend256($max256(low, high), low, $cmp256::<_CMP_UNORD_Q>(low, low))) }
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
    F32: f32 x 16, __m512, __mmask16;
    _mm512_set1_ps _mm512_loadu_ps _mm512_maskz_loadu_ps _mm512_storeu_ps _mm512_stream_ps _mm512_mask_storeu_ps _mm512_mask_mov_ps _mm512_cmp_ps_mask
    _mm512_fmadd_ps _mm512_abs_ps _mm512_max_ps _mm512_min_ps _mm512_roundscale_ps _mm512_scalef_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps
    _mm512_castps512_ps256 _mm512_extractf32x8_ps _mm256_add_ps _mm256_max_ps _mm256_blendv_ps _mm256_cmp_ps sum_ps max_ps
}

vector! {
    F64: f64 x 8, __m512d, __mmask8;
    _mm512_set1_pd _mm512_loadu_pd _mm512_maskz_loadu_pd _mm512_storeu_pd _mm512_stream_pd _mm512_mask_storeu_pd _mm512_mask_mov_pd _mm512_cmp_pd_mask
    _mm512_fmadd_pd _mm512_abs_pd _mm512_max_pd _mm512_min_pd _mm512_roundscale_pd _mm512_scalef_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd
    _mm512_castpd512_pd256 _mm512_extractf64x4_pd _mm256_add_pd _mm256_max_pd _mm256_blendv_pd _mm256_cmp_pd sum_pd max_pd
}
