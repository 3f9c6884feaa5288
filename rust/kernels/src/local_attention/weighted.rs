//! Weighted sums over a window, a few rows × channels × one vector of pixels in registers.

use super::layout::MAX_ROWS;
use super::maps::write;
use super::tile::Tile;
use crate::lanes::{Isa, V, Vector};
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

    /// Channels beyond the last repeat it.
    #[inline(always)]
    fn sums<I: Isa, const R: usize>(&self, e: usize) -> Sums<T, I, R> {
        let (tile, d, l, k, lanes) = (self.tile, self.tile.d, self.tile.l, self.tile.d.window, V::<T, I>::LANES);
        let (row_len, step) = (d.depth * l.pitch, R * lanes);
        // With a stride, tap after tap: the order of the sum must not depend on the stride.
        let (pieces, taps) = if d.stride.1 == 1 { (1, k) } else { (k, 1) };
        let mut sums = [[V::<T, I>::zero(); CHANNELS]; R];
        let mut weights = self.weights.chunks_exact(k * step);
        for y in 0..tile.height() {
            let seeing = tile.seeing(y);
            if seeing.0 >= seeing.1 {
                continue;
            }
            let (values, Some(weights)) = (&self.values[y * row_len..][..row_len], weights.next()) else { break };
            for v in 0..pieces {
                let (mut value, mut weight) = ([values; CHANNELS], [weights; R]);
                for c in 0..CHANNELS {
                    value[c] =
                        &values[(e + c).min(d.depth - 1) * l.pitch + tile.x + l.offsets[v]..][..lanes + taps - 1];
                }
                for r in 0..R {
                    weight[r] = &weights[v * step + r * lanes..][..lanes + (taps - 1) * step];
                }
                gather::<T, I, R>(seeing, &mut sums, taps, (&weight, step), &value);
            }
        }
        sums
    }
}

/// sums[r][c] += Σ_t weights[r][t·step] · values[c][t] for the rows `from..to`. The slices of a kind have one length: one check for all.
#[inline(always)]
pub fn gather<T: Real, I: Isa, const R: usize>(
    (from, to): (usize, usize),
    sums: &mut Sums<T, I, R>,
    taps: usize,
    weights: (&[&[T]; R], usize),
    values: &[&[T]; CHANNELS],
) {
    macro_rules! dispatch {
        ($(($FROM:literal $TO:literal))*) => {
            match (from, to) {
                $(($FROM, $TO) if const { $TO <= R } => gather_rows::<T, I, R, $FROM, $TO>(sums, taps, weights, values),)*
                _ => {}
            }
        };
    }
    dispatch! { (0 1) (0 2) (0 3) (0 4) (1 2) (1 3) (1 4) (2 3) (2 4) (3 4) }
}

#[inline(always)]
fn gather_rows<T: Real, I: Isa, const R: usize, const FROM: usize, const TO: usize>(
    sums: &mut Sums<T, I, R>,
    taps: usize,
    (weights, step): (&[&[T]; R], usize),
    values: &[&[T]; CHANNELS],
) {
    for t in 0..taps {
        let mut x = [V::<T, I>::zero(); CHANNELS];
        for c in 0..CHANNELS {
            x[c] = V::<T, I>::load(&values[c][t..]);
        }
        for r in FROM..TO {
            let a = V::<T, I>::load(&weights[r][t * step..]);
            for c in 0..CHANNELS {
                sums[r][c] = a.mul_add(x[c], sums[r][c]);
            }
        }
    }
}

const _: () = assert!(MAX_ROWS == 4, "the table of `gather` stops at four rows");
