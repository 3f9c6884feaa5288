//! Gradients of keys and values from the kept weights.
//!
//! Padded row y of dk is Σ scale·dS[i, u, v]·q[i] over the output rows i with i·sh + u = y. dS was stored shifted by its tap, at the
//! position of the key, so that the sum is one over vectors and every element has one order of summation, whatever the bands.

use std::ops::Range;

use super::layout::Layout;
use super::maps::fold_row;
use super::weighted::{CHANNELS, gather};
use super::{Border, Dims};
use crate::lanes::{Isa, Task, V, Vector, add_products};
use crate::real::Real;

/// Output rows whose weights are kept: those that a tile of keys belongs to, and the rest of the last tile.
pub fn ring(d: &Dims, l: &Layout) -> usize {
    (d.window - 1 + l.rows - 1) / d.stride.0 + l.rows
}

/// Adds Σ_{i, v} weights[i][y + r − i·sh][v][x] · maps[i][e][x − v] to what row y + r of the padded gradient shows, for r below `rows`.
pub struct Gathered<'a, 'o, T> {
    pub d: &'a Dims,
    pub l: &'a Layout,
    /// Output rows that `maps` holds, and rows of the gradient that `dx` holds.
    pub outputs: &'a Range<usize>,
    pub band: &'a Range<usize>,
    pub y: usize,
    pub rows: usize,
    pub weights: &'a [T],
    pub maps: &'a [T],
    pub sums: &'a mut [T],
    pub line: &'a mut [T],
    pub dx: &'a mut [&'o mut [T]],
}

impl<T: Real> Task for Gathered<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if const { I::REGISTERS >= 32 } { self.tile::<I, 4>() } else { self.tile::<I, 2>() }
    }
}

impl<T: Real> Gathered<'_, '_, T> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(mut self) {
        let (d, l) = (self.d, self.l);
        self.sums::<I, R>();
        for e in 0..d.depth {
            for r in 0..self.rows {
                let y = self.y + r;
                let Some(a) = d.shown(y, d.height) else { continue };
                if !self.band.contains(&a) {
                    continue;
                }
                // Padded rows above the map come first; they have written the rows next to its edge.
                let mirrored = d.border == Border::Reflect && 1 <= a && a <= d.radius();
                let added = y >= d.radius() && (a != y - d.radius() || mirrored);
                let dx = &mut self.dx[e][(a - self.band.start) * d.width..][..d.width];
                let sums = &self.sums[e * l.pitch + r * l.row_len..][..l.pitch];
                fold_row::<T, I>(d, l, sums, added, self.line, dx);
            }
        }
    }

    /// The sums of all channels, as padded rows.
    #[inline(always)]
    #[allow(unused_assignments)] // the last row has no next one
    fn sums<I: Isa, const R: usize>(&mut self) {
        let (weights, maps, out) = (self.weights, self.maps, &mut *self.sums);
        let (d, l, k, (sh, sw), lanes) = (self.d, self.l, self.d.window, self.d.stride, V::<T, I>::LANES);
        let (first, end) =
            ((self.y + 1).saturating_sub(k).div_ceil(sh), self.outputs.end.min((self.y + self.rows - 1) / sh + 1));
        let (kept, row, tap, y) = (ring(d, l), k * l.weight_pitch, l.weight_pitch, self.y);
        let (block, pitch) = (l.block_pitch, l.row_pitch);
        let mut place = 0; // of the first tap of the phase
        for phase in 0..l.pitch / l.phase {
            let taps = (k - phase).div_ceil(sw);
            for x in (0..l.weight_pitch).step_by(lanes) {
                for e in (0..d.depth).step_by(CHANNELS) {
                    let mut sums = [[V::<T, I>::zero(); CHANNELS]; R];
                    let mut slot = first % kept;
                    let at = (first - self.outputs.start) * block + e * pitch + l.margin + x - (taps - 1);
                    let mut values = maps.get(at..).unwrap_or_default();
                    let weights = &weights[place * tap + x..];
                    if k == 7 && (sh, sw) == (1, 1) {
                        // The same without decisions: output row y − 6 + step, if it exists, is seen by rows FROM to TO.
                        macro_rules! rows {
                            ($($step:literal $FROM:literal $TO:literal)*) => {$(
                                if (first..end).contains(&(y + $step).wrapping_sub(6)) {
                                    let weights = &weights[(slot * 7 + 6 - ($step - $FROM)) * row..];
                                    let weights = (weights, row, tap);
                                    add_products::<T, I, R, CHANNELS, $FROM, $TO, 7>(&mut sums, weights, (values, pitch));
                                    values = values.get(block..).unwrap_or_default();
                                    slot = if slot + 1 == kept { 0 } else { slot + 1 };
                                }
                            )*};
                        }
                        if const { R == 4 } {
                            rows! { 0 0 1  1 0 2  2 0 3  3 0 4  4 0 4  5 0 4  6 0 4  7 1 4  8 2 4  9 3 4 }
                        } else {
                            rows! { 0 0 1  1 0 2  2 0 2  3 0 2  4 0 2  5 0 2  6 0 2  7 1 2 }
                        }
                    } else {
                        for i in first..end {
                            // Row r is row u = y + r − i·sh of the window of output row i.
                            let (from, to) = ((i * sh).saturating_sub(y), self.rows.min(i * sh + k - y));
                            let weights = (&weights[(slot * k + y + from - i * sh) * row..], row, tap);
                            gather::<T, I, R>((from, to), &mut sums, taps, weights, (values, pitch));
                            values = values.get(block..).unwrap_or_default();
                            slot = if slot + 1 == kept { 0 } else { slot + 1 };
                        }
                    }
                    for r in 0..self.rows {
                        for c in 0..CHANNELS {
                            sums[r][c].store(&mut out[r * l.row_len + (e + c) * l.pitch + phase * l.phase + x..]);
                        }
                    }
                }
            }
            place += taps;
        }
    }
}
