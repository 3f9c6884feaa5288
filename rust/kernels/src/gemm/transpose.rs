//! Transpose of a strided matrix.

#![allow(unsafe_code)] // `shuffled`: left to the compiler, a block goes element by element, four times slower

#[cfg(target_arch = "x86_64")]
use std::any::TypeId;

use crate::lanes::{Isa, LINE, Task, V, Vector};
use crate::real::Real;

/// y[c·y_pitch + r] = x[r·x_pitch + c] for r < rows, c < columns.
pub struct Transpose<'a, T> {
    pub x: &'a [T],
    pub x_pitch: usize,
    pub rows: usize,
    pub columns: usize,
    pub y: &'a mut [T],
    pub y_pitch: usize,
}

impl<T: Real> Task for Transpose<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        transpose::<T, I>(self.x, self.x_pitch, self.rows, self.columns, self.y, self.y_pitch);
    }
}

/// The same for a part of a large result: where y lies on lines of the cache, it goes past it.
pub struct TransposePast<'a, T>(pub Transpose<'a, T>);

impl<T: Real> Task for TransposePast<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Transpose { x, x_pitch, rows, columns, y, y_pitch } = self.0;
        if (y.as_ptr().addr() | (y_pitch * size_of::<T>())).is_multiple_of(LINE) {
            blocks::<T, I, true>(x, x_pitch, rows, columns, y, y_pitch);
        } else {
            blocks::<T, I, false>(x, x_pitch, rows, columns, y, y_pitch);
        }
    }
}

/// Columns of a block that is transposed in registers, and the fewest rows.
const SIDE: usize = 4;

/// Side of a tile of such blocks: it writes whole lines of the cache while they are there.
const TILE: usize = 16;

/// The body of [`Transpose`], for use inside a task. The last blocks overlap those before them.
#[inline(always)]
pub fn transpose<T: Real, I: Isa>(x: &[T], x_pitch: usize, rows: usize, columns: usize, y: &mut [T], y_pitch: usize) {
    blocks::<T, I, false>(x, x_pitch, rows, columns, y, y_pitch);
}

#[inline(always)]
fn blocks<T: Real, I: Isa, const PAST: bool>(
    x: &[T],
    x_pitch: usize,
    rows: usize,
    columns: usize,
    y: &mut [T],
    y_pitch: usize,
) {
    if rows < SIDE || columns < SIDE {
        for r in 0..rows {
            for c in 0..columns {
                y[c * y_pitch + r] = x[r * x_pitch + c];
            }
        }
        return;
    }
    for row in (0..rows).step_by(TILE) {
        for column in (0..columns).step_by(TILE) {
            let mut r = row;
            while r < rows.min(row + TILE) {
                let tall = tall::<T, I>(rows, rows - r);
                let first = r.min(rows - tall);
                for c in (column..columns.min(column + TILE)).step_by(SIDE) {
                    let c = c.min(columns - SIDE);
                    block::<T, I, PAST>(
                        tall,
                        &x[first * x_pitch + c..],
                        x_pitch,
                        &mut y[c * y_pitch + first..],
                        y_pitch,
                    );
                }
                r += tall;
            }
        }
    }
}

/// Rows of a block where `left` of `rows` are to be done: of f32 as many as a vector of the level has lanes, or half or a quarter.
#[inline(always)]
fn tall<T: Real, I: Isa>(rows: usize, left: usize) -> usize {
    let lanes = if size_of::<T>() == size_of::<f32>() { V::<T, I>::LANES } else { SIDE };
    if lanes >= 16 && rows >= 16 && left > 8 {
        16
    } else if lanes >= 8 && rows >= 8 && left > 4 {
        8
    } else {
        SIDE
    }
}

/// `tall` rows, as said by [`tall`], and [`SIDE`] columns.
#[inline(always)]
fn block<T: Real, I: Isa, const PAST: bool>(tall: usize, x: &[T], x_pitch: usize, y: &mut [T], y_pitch: usize) {
    let (x, y) = (&x[..(tall - 1) * x_pitch + SIDE], &mut y[..(SIDE - 1) * y_pitch + tall]);
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<T>() == TypeId::of::<f32>() {
        let (x, y): (*const f32, *mut f32) = (x.as_ptr().cast(), y.as_mut_ptr().cast());
        // SAFETY: T is f32, as was just asked; x holds `tall` rows of four, y four of `tall`, at least SIDE; and a level whose vectors
        // of f32 have 16 or 8 lanes is AVX-512 or AVX2.
        unsafe {
            match (tall, V::<T, I>::LANES) {
                (16, 16) if PAST && y.addr().is_multiple_of(LINE) => sixteen_rows_past(x, x_pitch, y, y_pitch),
                (16, 16) => sixteen_rows(x, x_pitch, y, y_pitch),
                (8, 8 | 16) => eight_rows(x, x_pitch, y, y_pitch),
                _ => four_rows(x, x_pitch, y, y_pitch),
            }
        }
        return;
    }
    for i in 0..tall {
        for j in 0..SIDE {
            y[j * y_pitch + i] = x[i * x_pitch + j];
        }
    }
}

/// A block of f32 whose rows are quarters of vectors: row 4q + k is quarter q of vector k. Each quarter of four vectors is transposed.
#[cfg(target_arch = "x86_64")]
macro_rules! shuffled {
    (
        $name:ident: $features:literal, $load:ident $($insert:ident $quarter:literal)*;
        $unpacklo:ident $unpackhi:ident $unpacklo_pd:ident $unpackhi_pd:ident $to_pd:ident $to_ps:ident $store:ident
    ) => {
        /// # Safety
        #[doc = concat!("The processor has ", $features, "; rows of four can be read at x, four vectors written at y, at these pitches.")]
        #[inline(always)]
        unsafe fn $name(x: *const f32, x_pitch: usize, y: *mut f32, y_pitch: usize) {
            use std::arch::x86_64::*;
            macro_rules! rows {
                ($k:literal) => {{
                    let rows = $load(_mm_loadu_ps(x.add($k * x_pitch)));
                    $(let rows = $insert::<$quarter>(rows, _mm_loadu_ps(x.add((4 * $quarter + $k) * x_pitch)));)*
                    rows
                }};
            }
            // SAFETY: as the caller promises.
            unsafe {
                let (a, b, c, d) = (rows!(0), rows!(1), rows!(2), rows!(3));
                let (ab, cd) = ($to_pd($unpacklo(a, b)), $to_pd($unpacklo(c, d))); // columns 0 and 1
                $store(y, $to_ps($unpacklo_pd(ab, cd)));
                $store(y.add(y_pitch), $to_ps($unpackhi_pd(ab, cd)));
                let (ab, cd) = ($to_pd($unpackhi(a, b)), $to_pd($unpackhi(c, d))); // columns 2 and 3
                $store(y.add(2 * y_pitch), $to_ps($unpacklo_pd(ab, cd)));
                $store(y.add(3 * y_pitch), $to_ps($unpackhi_pd(ab, cd)));
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
shuffled! {
    four_rows: "SSE2, as every x86-64", identity;
    _mm_unpacklo_ps _mm_unpackhi_ps _mm_unpacklo_pd _mm_unpackhi_pd _mm_castps_pd _mm_castpd_ps _mm_storeu_ps
}
#[cfg(target_arch = "x86_64")]
shuffled! {
    eight_rows: "AVX", _mm256_castps128_ps256 _mm256_insertf128_ps 1;
    _mm256_unpacklo_ps _mm256_unpackhi_ps _mm256_unpacklo_pd _mm256_unpackhi_pd _mm256_castps_pd _mm256_castpd_ps _mm256_storeu_ps
}
#[cfg(target_arch = "x86_64")]
shuffled! {
    sixteen_rows: "AVX-512", _mm512_castps128_ps512 _mm512_insertf32x4 1 _mm512_insertf32x4 2 _mm512_insertf32x4 3;
    _mm512_unpacklo_ps _mm512_unpackhi_ps _mm512_unpacklo_pd _mm512_unpackhi_pd _mm512_castps_pd _mm512_castpd_ps _mm512_storeu_ps
}

#[cfg(target_arch = "x86_64")]
shuffled! {
    sixteen_rows_past: "AVX-512", _mm512_castps128_ps512 _mm512_insertf32x4 1 _mm512_insertf32x4 2 _mm512_insertf32x4 3;
    _mm512_unpacklo_ps _mm512_unpackhi_ps _mm512_unpacklo_pd _mm512_unpackhi_pd _mm512_castps_pd _mm512_castpd_ps _mm512_stream_ps
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn identity<A>(x: A) -> A {
    x
}
