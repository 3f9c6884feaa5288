//! Moving the rows of planes into and out of their padded places.

use std::ops::Range;

use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

type Pair = (usize, usize);

/// Zeros in all lines of `pitch` outside `lines`, and in these outside `columns`.
pub fn zero_around<T: Real>(padded: &mut [T], pitch: usize, lines: &Range<usize>, columns: &Range<usize>) {
    padded[..lines.start * pitch].fill(T::ZERO);
    padded[lines.end * pitch..].fill(T::ZERO);
    for line in padded[lines.start * pitch..lines.end * pitch].chunks_exact_mut(pitch) {
        line[..columns.start].iter_mut().for_each(|x| *x = T::ZERO);
        line[columns.end..].iter_mut().for_each(|x| *x = T::ZERO);
    }
}

/// to[i, j] = factor·from[i, j] with any steps from row to row and from column to column.
pub struct Rectangle<'a, T> {
    pub from: &'a [T],
    pub from_step: Pair,
    pub to: &'a mut [T],
    pub to_step: Pair,
    pub size: Pair,
    pub factor: T,
}

impl<T: Real> Task for Rectangle<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let ((rows, width), lanes, factor) = (self.size, V::<T, I>::LANES, V::<T, I>::splat(self.factor));
        for i in 0..rows {
            let (from, to) = (&self.from[i * self.from_step.0..], &mut self.to[i * self.to_step.0..]);
            if (self.from_step.1, self.to_step.1) == (1, 1) {
                let (from, to, mut j) = (&from[..width], &mut to[..width], 0);
                while j + lanes <= width {
                    (factor * V::<T, I>::load(&from[j..])).store(&mut to[j..]);
                    j += lanes;
                }
                let rest = width - j;
                (factor * V::<T, I>::load_partial(&from[j..], rest)).store_partial(&mut to[j..], rest);
            } else {
                for j in 0..width {
                    to[j * self.to_step.1] = self.factor * from[j * self.from_step.1];
                }
            }
        }
    }
}
