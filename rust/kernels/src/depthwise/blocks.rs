//! The register blocks: several rows of a wide plane at a time, so that a vector that was loaded serves all taps above one another.
//!
//! Each size of the kernel and of the block is a function of its own.

use crate::lanes::{Isa, MAX_LANES, Task, V, Vector};
use crate::real::Real;

/// Some rows of y from the rows of `x` on, for columns 0..columns and some more.
pub struct Rows<'a, T> {
    pub x: &'a [T],
    pub weight: &'a [T],
    pub y: &'a mut [T],
    pub width: usize,
    pub columns: usize,
}

/// totals[q, p] += Σ_ij g[i, j]·x[i + p, j + q] over some rows; lane l of 16 sums over the columns l, l + 16, …
pub struct Taps<'a, T> {
    pub x: &'a [T],
    pub g: &'a [T],
    pub totals: &'a mut [T],
    pub width: usize,
    pub columns: usize,
}

impl<T: Real> Rows<'_, T> {
    /// For a kernel of this size and this many rows, 7 or 4.
    #[inline(always)]
    pub fn run<I: Isa>(self, kernel: usize, rows: usize) {
        macro_rules! sizes {
            ($($k:literal)*) => {
                match (kernel, rows) {
                    $(($k, 7) => I::call(RowsOf::<T, $k, 7>(self)),)*
                    $(($k, _) => I::call(RowsOf::<T, $k, 4>(self)),)*
                    _ => unreachable!("no block for a kernel of {kernel}"),
                }
            };
        }
        sizes!(3 5 7 9)
    }
}

impl<T: Real> Taps<'_, T> {
    /// For a kernel of this size and this many rows, 7 or 4.
    #[inline(always)]
    pub fn run<I: Isa>(self, kernel: usize, rows: usize) {
        macro_rules! sizes {
            ($($k:literal $columns:literal;)*) => {
                match (kernel, rows) {
                    $(($k, 7) => I::call(TapsOf::<T, $k, $columns, 7>(self)),)*
                    $(($k, _) => I::call(TapsOf::<T, $k, $columns, 4>(self)),)*
                    _ => unreachable!("no block for a kernel of {kernel}"),
                }
            };
        }
        // As many columns of taps at once as it takes to hide the latency of the sums.
        sizes!(3 3; 5 2; 7 1; 9 1;)
    }
}

struct RowsOf<'a, T, const K: usize, const R: usize>(Rows<'a, T>);

impl<T: Real, const K: usize, const R: usize> Task for RowsOf<'_, T, K, R> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Rows { x, weight, y, width, columns } = self.0;
        let lanes = V::<T, I>::LANES;
        let mut j = 0;
        while j < columns {
            if I::REGISTERS >= 32 && j + lanes < columns {
                block::<T, I, K, R, 2>(&x[j..], weight, &mut y[j..], width);
                j += 2 * lanes;
            } else {
                block::<T, I, K, R, 1>(&x[j..], weight, &mut y[j..], width);
                j += lanes;
            }
        }
    }
}

struct TapsOf<'a, T, const K: usize, const Q: usize, const R: usize>(Taps<'a, T>);

impl<T: Real, const K: usize, const Q: usize, const R: usize> Task for TapsOf<'_, T, K, Q, R> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Taps { x, g, totals, width, columns } = self.0;
        for q in (0..K).step_by(Q) {
            for part in 0..MAX_LANES / V::<T, I>::LANES {
                taps::<T, I, K, Q, R>(x, g, totals, width, columns, q, part);
            }
        }
    }
}

/// Rows of x that the largest block reads.
const MAX_ROWS: usize = 7 + 9 - 1;

/// Repeats a statement with a literal index, where a loop would not be unrolled.
macro_rules! unroll {
    ($step:ident) => {
        $step!(0);
        $step!(1);
        $step!(2);
        $step!(3);
        $step!(4);
        $step!(5);
        $step!(6);
        $step!(7);
        $step!(8);
        $step!(9);
        $step!(10);
        $step!(11);
        $step!(12);
        $step!(13);
        $step!(14);
    };
}

/// R rows by N vectors of y = Σ_q Σ_p weight[p, q]·x[i + p, j + q]                                                             (F2) (F3)
#[inline(always)]
fn block<T: Real, I: Isa, const K: usize, const R: usize, const N: usize>(
    x: &[T],
    weight: &[T],
    y: &mut [T],
    width: usize,
) {
    let lanes = V::<T, I>::LANES;
    let x: [&[T]; MAX_ROWS] =
        std::array::from_fn(|r| if r < R + K - 1 { &x[r * width..][..N * lanes + K - 1] } else { &[] });
    let mut sums = [[V::<T, I>::zero(); N]; R];
    for q in 0..weight.len() / K {
        let mut column = [V::<T, I>::zero(); K];
        for p in 0..K {
            column[p] = V::<T, I>::splat(weight[p * K + q]);
        }
        macro_rules! step {
            ($r:literal) => {
                if $r < R + K - 1 {
                    let row = &x[$r][q..q + N * lanes];
                    let mut v = [V::<T, I>::zero(); N];
                    for l in 0..N {
                        v[l] = V::<T, I>::load(&row[l * lanes..]);
                    }
                    for p in 0..K {
                        if $r >= p && $r - p < R {
                            for l in 0..N {
                                sums[$r - p][l] = column[p].mul_add(v[l], sums[$r - p][l]);
                            }
                        }
                    }
                }
            };
        }
        unroll!(step);
    }
    for i in 0..R {
        for l in 0..N {
            sums[i][l].store(&mut y[i * width + l * lanes..]);
        }
    }
}

/// The sums of one part of the lanes for Q columns of taps.                                                                         (B2)
#[inline(always)]
fn taps<T: Real, I: Isa, const K: usize, const Q: usize, const R: usize>(
    x: &[T],
    g: &[T],
    totals: &mut [T],
    width: usize,
    columns: usize,
    q: usize,
    part: usize,
) {
    let lanes = V::<T, I>::LANES;
    // Rows of one length: then a single check of the column serves them all.
    let len = columns.next_multiple_of(MAX_LANES);
    let g: [&[T]; R] = std::array::from_fn(|i| &g[i * width..][..len]);
    let x: [&[T]; MAX_ROWS] =
        std::array::from_fn(|r| if r < R + K - 1 { &x[r * width + q..][..len + Q - 1] } else { &[] });
    let mut sums = [[V::<T, I>::zero(); K]; Q];
    let mut j = part * lanes;
    while j + lanes <= len {
        let mut rows = [V::<T, I>::zero(); R];
        for i in 0..R {
            rows[i] = V::<T, I>::load(&g[i][j..]);
        }
        macro_rules! step {
            ($r:literal) => {
                if $r < R + K - 1 {
                    for c in 0..Q {
                        let v = V::<T, I>::load(&x[$r][j + c..]);
                        for p in 0..K {
                            if $r >= p && $r - p < R {
                                sums[c][p] = rows[$r - p].mul_add(v, sums[c][p]);
                            }
                        }
                    }
                }
            };
        }
        unroll!(step);
        j += MAX_LANES;
    }
    for c in 0..Q {
        for p in 0..K {
            let total = &mut totals[((q + c) * K + p) * MAX_LANES + part * lanes..][..lanes];
            (V::<T, I>::load(total) + sums[c][p]).store(total);
        }
    }
}
