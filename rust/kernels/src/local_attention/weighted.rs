//! Weighted sums over a window, a few rows × channels × one vector of pixels in registers.

use super::layout::MAX_ROWS;
use super::maps::write;
use super::tile::Tile;
use crate::lanes::{Isa, V, Vector, add_products};
use crate::real::Real;

/// Channels whose sums are formed together.
pub const CHANNELS: usize = 4;

/// For `R` rows, the sums of `CHANNELS` channels.
pub type Sums<T, I, const R: usize> = [[V<T, I>; CHANNELS]; R];

/// out[e][r] = factor[r] · Σ_{u, v} weights[r][u, v] · values[r·sh + u][e][x + offset of v], taps in reading order.
///
/// `weights` lie as the scores do, `factor` is (R, lane). Row r begins at `at[r]` in every plane of `out`; its pixels are `step` apart.
pub struct Weighted<'a, 'o, T> {
    pub tile: &'a Tile<'a>,
    pub weights: &'a [T],
    pub factor: &'a [T],
    pub values: &'a [T],
    pub out: &'a mut [&'o mut [T]],
    pub at: [Option<usize>; MAX_ROWS],
    pub step: usize,
    pub width: usize,
}

impl<T: Real> crate::lanes::Task for Weighted<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if const { I::REGISTERS >= 32 } { self.tile::<I, 4>() } else { self.tile::<I, 2>() }
    }
}

impl<T: Real> Weighted<'_, '_, T> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(self) {
        let (x, lanes, depth) = (self.tile.x * self.step, V::<T, I>::LANES, self.tile.d.depth);
        for e in (0..depth).step_by(CHANNELS) {
            let sums = self.sums::<I, R>(e);
            for r in 0..R {
                let (Some(at), true) = (self.at[r], r < self.tile.rows.len()) else { continue };
                let factor = V::<T, I>::load(&self.factor[r * lanes..]);
                for c in 0..CHANNELS {
                    if e + c < depth {
                        write::<T, I>(sums[r][c] * factor, &mut self.out[e + c][at + x..at + self.width], self.step);
                    }
                }
            }
        }
    }

    /// Channels beyond the last are not used.
    #[inline(always)]
    #[allow(unused_assignments)] // the last row has no next one
    fn sums<I: Isa, const R: usize>(&self, e: usize) -> Sums<T, I, R> {
        let (tile, d, l, k, lanes) = (self.tile, self.tile.d, self.tile.l, self.tile.d.window, V::<T, I>::LANES);
        let mut sums = [[V::<T, I>::zero(); CHANNELS]; R];
        let (mut weights, mut values) = (self.weights, &self.values[e * l.pitch + tile.x..]);
        let (step, row_len, pitch, height) = (R * lanes, l.row_len, l.pitch, tile.height());
        if d.stride == (1, 1) && tile.rows.len() == R && k == 7 {
            // The same without decisions.
            macro_rules! rows {
                ($FROM:literal $TO:literal) => {
                    let first = (&weights[$FROM * lanes..], lanes, step);
                    add_products::<T, I, R, CHANNELS, $FROM, $TO, 7>(&mut sums, first, (values, pitch));
                    (weights, values) = (&weights[7 * step..], values.get(row_len..).unwrap_or_default());
                };
            }
            if const { R == 4 } {
                rows! { 0 1 }
                rows! { 0 2 }
                rows! { 0 3 }
                for _ in 0..4 {
                    rows! { 0 4 }
                }
                rows! { 1 4 }
                rows! { 2 4 }
                rows! { 3 4 }
            } else {
                rows! { 0 1 }
                for _ in 0..6 {
                    rows! { 0 2 }
                }
                rows! { 1 2 }
            }
            return sums;
        }
        for y in 0..height {
            let seeing = tile.seeing(y);
            if seeing.0 < seeing.1 {
                if d.stride.1 == 1 {
                    gather::<T, I, R>(
                        seeing,
                        &mut sums,
                        k,
                        (&weights[seeing.0 * lanes..], lanes, step),
                        (values, pitch),
                    );
                } else {
                    // Tap after tap: the order of the sum must not depend on the stride.
                    for v in 0..k {
                        let values = (&values[l.offsets[v]..], pitch);
                        let weights = &weights[v * step + seeing.0 * lanes..];
                        gather::<T, I, R>(seeing, &mut sums, 1, (weights, lanes, step), values);
                    }
                }
                weights = &weights[k * step..];
            }
            values = values.get(row_len..).unwrap_or_default();
        }
        sums
    }
}

/// sums[r][c] += Σ_t weights[(r − from)·row + t·tap] · values[c·channel + t] for the rows `from..to`.
#[inline(always)]
pub fn gather<T: Real, I: Isa, const R: usize>(
    (from, to): (usize, usize),
    sums: &mut Sums<T, I, R>,
    taps: usize,
    (weights, row, tap): (&[T], usize, usize),
    (values, channel): (&[T], usize),
) {
    macro_rules! dispatch {
        ($(($CODE:literal $FROM:literal $TO:literal))*) => {
            match 5 * from + to {
                $($CODE if const { $TO <= R } => {
                    if taps == 7 {
                        add_products::<T, I, R, CHANNELS, $FROM, $TO, 7>(sums, (weights, row, tap), (values, channel));
                    } else if taps == 3 {
                        add_products::<T, I, R, CHANNELS, $FROM, $TO, 3>(sums, (weights, row, tap), (values, channel));
                    } else {
                        for t in 0..taps {
                            let (weights, values) = (&weights[t * tap..], &values[t..]);
                            add_products::<T, I, R, CHANNELS, $FROM, $TO, 1>(sums, (weights, row, tap), (values, channel));
                        }
                    }
                })*
                _ => {}
            }
        };
    }
    dispatch! { (1 0 1) (2 0 2) (3 0 3) (4 0 4) (7 1 2) (8 1 3) (9 1 4) (13 2 3) (14 2 4) (19 3 4) }
}

const _: () = assert!(MAX_ROWS == 4, "the table of `gather` stops at four rows");
