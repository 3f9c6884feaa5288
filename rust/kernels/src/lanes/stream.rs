//! Results larger than a cache go past it. An ordinary store first fetches the line that it is about to overwrite, and the line then takes
//! the place of another that may still be needed.

#![allow(unsafe_code)] // `Row::put` says where a vector begins

use super::{Isa, V, Vector};
use crate::real::Real;

/// Bytes of a result from which on it goes past the caches: those of the second cache of a core. Tests do it in the small.
const LARGE: usize = if cfg!(test) { 1 << 10 } else { 1 << 21 };

/// Bytes of a cache line; no vector is longer.
pub const LINE: usize = 64;

/// Whether a result goes past the caches, where its rows let it.
pub fn is_large<T>(y: &[T]) -> bool {
    size_of_val(y) >= LARGE
}

/// A row of a result that is written once, vector by vector.
pub struct Row<'a, T> {
    y: &'a mut [T],
    past: bool,
}

impl<'a, T: Real> Row<'a, T> {
    /// `large` says of the whole result what [`is_large`] does; a row that begins inside a line is stored as usual.
    #[inline(always)]
    pub fn new(y: &'a mut [T], large: bool) -> Self {
        Row { past: large && y.as_ptr().addr().is_multiple_of(LINE), y }
    }

    /// y[k..k + LANES] = v
    #[inline(always)]
    pub fn put<I: Isa>(&mut self, k: usize, v: V<T, I>) {
        let y = &mut self.y[k..];
        if self.past && k.is_multiple_of(V::<T, I>::LANES) {
            // SAFETY: the row begins on a line, whose length is a multiple of a vector's, and this is a multiple of vectors further on.
            unsafe { v.stream(y) }
        } else {
            v.store(y);
        }
    }

    /// y[k..k + n] = the first n lanes, n <= LANES
    #[inline(always)]
    pub fn put_partial<I: Isa>(&mut self, k: usize, n: usize, v: V<T, I>) {
        if n > 0 {
            v.store_partial(&mut self.y[k..], n);
        }
    }

    /// The row = x.
    #[inline(always)]
    pub fn copy<I: Isa>(self, x: &[T]) {
        let (n, lanes) = (self.y.len(), V::<T, I>::LANES);
        let (x, y, whole) = (&x[..n], self.y, n / lanes * lanes);
        let mut k = 0;
        if self.past {
            while k < whole {
                // SAFETY: as above.
                unsafe { V::<T, I>::load(&x[k..]).stream(&mut y[k..]) }
                k += lanes;
            }
        } else {
            while k < whole {
                V::<T, I>::load(&x[k..]).store(&mut y[k..]);
                k += lanes;
            }
        }
        if k < n {
            V::<T, I>::load_partial(&x[k..], n - k).store_partial(&mut y[k..], n - k);
        }
    }
}

/// Lets other threads see what went past the caches, before anything tells them that it is there.
pub fn settle() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a fence; every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::zeros;
    use crate::lanes::Task;
    use crate::testing::{each_exec, random};

    struct Copy<'a, T> {
        x: &'a [T],
        y: &'a mut [T],
        large: bool,
    }

    impl<T: Real> Task for Copy<'_, T> {
        type Out = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            Row::new(self.y, self.large).copy::<I>(self.x);
        }
    }

    fn check<T: Real>() {
        for (start, n, large) in (0..20).flat_map(|start| [(start, 7, true), (start, 131, true), (start, 131, false)]) {
            let x = random::<T>(n, 1);
            each_exec(|exec| {
                let mut y = zeros::<T>(start + n + 1).unwrap();
                exec.run(Copy { x: &x, y: &mut y[start..start + n], large });
                settle();
                assert!(y[start..start + n] == x[..], "{start} {n} {:?}", exec.level());
                assert!(y[..start].iter().chain(&y[start + n..]).all(|&y| y == T::ZERO));
            });
        }
    }

    #[test]
    fn rows_that_begin_anywhere() {
        check::<f32>();
        check::<f64>();
    }
}
