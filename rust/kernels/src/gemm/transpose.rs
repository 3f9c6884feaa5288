//! Transpose of a strided matrix.

#![allow(unsafe_code)] // `shuffled`: left to the compiler, a block goes element by element, four times slower

#[cfg(target_arch = "x86_64")]
use std::any::TypeId;

use crate::lanes::{Isa, Task};
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
        transpose(self.x, self.x_pitch, self.rows, self.columns, self.y, self.y_pitch);
    }
}

/// Side of a block that is transposed in registers.
const SIDE: usize = 4;

/// Side of a tile of such blocks: it writes whole lines of the cache while they are there.
const TILE: usize = 16;

/// The body of [`Transpose`], for use inside a task. The last blocks overlap those before them.
#[inline(always)]
pub fn transpose<T: Real>(x: &[T], x_pitch: usize, rows: usize, columns: usize, y: &mut [T], y_pitch: usize) {
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
            for r in (row..rows.min(row + TILE)).step_by(SIDE) {
                let r = r.min(rows - SIDE);
                for c in (column..columns.min(column + TILE)).step_by(SIDE) {
                    let c = c.min(columns - SIDE);
                    block(&x[r * x_pitch + c..], x_pitch, &mut y[c * y_pitch + r..], y_pitch);
                }
            }
        }
    }
}

#[inline(always)]
fn block<T: Real>(x: &[T], x_pitch: usize, y: &mut [T], y_pitch: usize) {
    let (x, y) = (&x[..3 * x_pitch + SIDE], &mut y[..3 * y_pitch + SIDE]);
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<T>() == TypeId::of::<f32>() {
        // SAFETY: T is f32, as was just asked, and both slices hold four rows of four.
        unsafe { shuffled(x.as_ptr().cast(), x_pitch, y.as_mut_ptr().cast(), y_pitch) };
        return;
    }
    for i in 0..SIDE {
        for j in 0..SIDE {
            y[j * y_pitch + i] = x[i * x_pitch + j];
        }
    }
}

/// One block of f32 by 128-bit shuffles, which every x86-64 has.
///
/// # Safety
/// Four elements can be read at x, x + x_pitch, x + 2·x_pitch, x + 3·x_pitch, and written likewise at y.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shuffled(x: *const f32, x_pitch: usize, y: *mut f32, y_pitch: usize) {
    use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
    // SAFETY: as the caller promises.
    unsafe {
        let (mut a, mut b) = (_mm_loadu_ps(x), _mm_loadu_ps(x.add(x_pitch)));
        let (mut c, mut d) = (_mm_loadu_ps(x.add(2 * x_pitch)), _mm_loadu_ps(x.add(3 * x_pitch)));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        _mm_storeu_ps(y, a);
        _mm_storeu_ps(y.add(y_pitch), b);
        _mm_storeu_ps(y.add(2 * y_pitch), c);
        _mm_storeu_ps(y.add(3 * y_pitch), d);
    }
}
