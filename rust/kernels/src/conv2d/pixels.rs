//! The pixels of an array as columns: the right-hand side of a pointwise convolution.

use std::ops::Range;

use crate::error::Error;
use crate::gemm::{PANEL, Source};
use crate::lanes::{Isa, V, Vector};
use crate::real::Real;

/// x (images, groups, depth, columns).
pub struct Pixels<'a, T> {
    pub x: &'a [T],
    pub groups: usize,
    pub depth: usize,
    pub columns: usize,
}

impl<T: Real> Source<T> for Pixels<'_, T> {
    fn scratch(&self, _: usize) -> Result<usize, Error> {
        Ok(0)
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, group: usize, depth: Range<usize>, columns: Range<usize>, _: &mut [T], panels: &mut [T]) {
        let mut column = columns.start;
        while column < columns.end {
            let (image, inside) = (column / self.columns, column % self.columns);
            let n = (self.columns - inside).min(columns.end - column);
            // Row by row: long runs of x.
            for (r, k) in depth.clone().enumerate() {
                let from = &self.x[((image * self.groups + group) * self.depth + k) * self.columns + inside..][..n];
                let mut done = 0;
                while done < n {
                    let at = column - columns.start + done;
                    let len = (PANEL - at % PANEL).min(n - done);
                    let to = (at / PANEL * depth.len() + r) * PANEL + at % PANEL;
                    copy::<T, I>(&from[done..done + len], &mut panels[to..to + len]);
                    done += len;
                }
            }
            column += n;
        }
    }
}

/// Copies at most a panel's row.
#[inline(always)]
pub fn copy<T: Real, I: Isa>(x: &[T], y: &mut [T]) {
    let lanes = V::<T, I>::LANES;
    let (n, x) = (y.len(), &x[..y.len()]);
    let mut k = 0;
    while k + lanes <= n {
        V::<T, I>::load(&x[k..]).store(&mut y[k..]);
        k += lanes;
    }
    if k < n {
        V::<T, I>::load_partial(&x[k..], n - k).store_partial(&mut y[k..], n - k);
    }
}
