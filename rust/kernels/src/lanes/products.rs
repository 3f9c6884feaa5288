//! Inner loops of stencils: a block of sums in registers, and one check of the lengths for all that it reads.

#![allow(unsafe_code)] // unchecked loads, after the check at the head of each function

use super::{Isa, V, Vector};
use crate::real::Real;

/// The vector `at` elements from the beginning of `x`.
///
/// # Safety
/// `at + LANES <= x.len()`
#[inline(always)]
unsafe fn at<T: Real, I: Isa>(x: &[T], at: usize) -> V<T, I> {
    // SAFETY: the caller's.
    V::<T, I>::load(unsafe { x.get_unchecked(at..at + V::<T, I>::LANES) })
}

/// Where the last vector of a block ends: `rows` steps of `row` and `taps` of `tap` further on.
#[inline(always)]
fn end<T: Real, I: Isa>(rows: usize, row: usize, taps: usize, tap: usize) -> usize {
    assert!(rows < 1 << 20 && taps < 1 << 20 && row < 1 << 40 && tap < 1 << 40); // the sums below do not overflow
    rows * row + taps * tap + V::<T, I>::LANES
}

/// sums[r][c] += Σ_t weights[(r − FROM)·row + t·tap] · values[c·channel + t], tap after tap, for r in FROM..TO and `COUNT` taps.
#[inline(always)]
pub fn add_products<
    T: Real,
    I: Isa,
    const R: usize,
    const C: usize,
    const FROM: usize,
    const TO: usize,
    const COUNT: usize,
>(
    sums: &mut [[V<T, I>; C]; R],
    (weights, row, tap): (&[T], usize, usize),
    (values, channel): (&[T], usize),
) {
    assert!(FROM < TO && TO <= R && COUNT > 0);
    assert!(end::<T, I>(TO - FROM - 1, row, COUNT - 1, tap) <= weights.len());
    assert!(end::<T, I>(C - 1, channel, COUNT - 1, 1) <= values.len());
    for t in 0..COUNT {
        let mut x = [V::<T, I>::zero(); C];
        for c in 0..C {
            // SAFETY: c <= C − 1 and t <= COUNT − 1, see above.
            x[c] = unsafe { at::<T, I>(values, c * channel + t) };
        }
        for r in FROM..TO {
            // SAFETY: r <= TO − 1 and t <= COUNT − 1, see above.
            let a = unsafe { at::<T, I>(weights, (r - FROM) * row + t * tap) };
            for c in 0..C {
                sums[r][c] = a.mul_add(x[c], sums[r][c]);
            }
        }
    }
}

/// sums[r][t] += Σ_e queries[e·step + r·LANES] · keys[e·channel + t], channel after channel, for `depth` of them.
#[inline(always)]
pub fn add_scores<T: Real, I: Isa, const R: usize, const COUNT: usize>(
    sums: &mut [[V<T, I>; COUNT]; R],
    depth: usize,
    (queries, step): (&[T], usize),
    (keys, channel): (&[T], usize),
) {
    assert!(R > 0 && COUNT > 0);
    let Some(last) = depth.checked_sub(1) else { return };
    assert!(end::<T, I>(last, step, R - 1, V::<T, I>::LANES) <= queries.len());
    assert!(end::<T, I>(last, channel, COUNT - 1, 1) <= keys.len());
    let (mut q, mut k) = (0, 0);
    for _ in 0..depth {
        let mut query = [V::<T, I>::zero(); R];
        for r in 0..R {
            // SAFETY: q <= last·step and r <= R − 1, see above.
            query[r] = unsafe { at::<T, I>(queries, q + r * V::<T, I>::LANES) };
        }
        for t in 0..COUNT {
            // SAFETY: k <= last·channel and t <= COUNT − 1, see above.
            let key = unsafe { at::<T, I>(keys, k + t) };
            for r in 0..R {
                sums[r][t] = query[r].mul_add(key, sums[r][t]);
            }
        }
        (q, k) = (q + step, k + channel);
    }
}

/// Asks for the cache line that is `at` elements from the beginning of `x`, in it or beyond, which is soon needed.
#[inline(always)]
pub fn prefetch<T>(x: &[T], at: usize) {
    ask::<3, T>(x, at);
}

/// The same for what is needed later: it comes as near as the second cache.
#[inline(always)]
pub fn prefetch_far<T>(x: &[T], at: usize) {
    ask::<2, T>(x, at);
}

/// `HINT` is that of x86: 3 for the first cache, 2 for the second.
#[inline(always)]
fn ask<const HINT: i32, T>(x: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing; every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<HINT>(x.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, at);
}
