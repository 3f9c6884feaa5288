//! Gradients of keys and values from the kept weights.
//!
//! Padded row y of dk is Σ scale·dS[i, u, v]·q[i] over the output rows i with i·sh + u = y. dS was stored shifted by its tap, at the
//! position of the key, so that the sum is one over vectors and every element has one order of summation, whatever the bands.

use std::ops::Range;

use super::layout::Layout;
use super::maps::fold_row;
use super::weighted::{CHANNELS, gather};
use super::{Border, Dims};
use crate::lanes::{Isa, Task, V, Vector};
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
        for e in (0..d.depth).step_by(CHANNELS) {
            self.sums::<I, R>(e);
            for r in 0..self.rows {
                let y = self.y + r;
                let Some(a) = d.shown(y, d.height) else { continue };
                if !self.band.contains(&a) {
                    continue;
                }
                // Padded rows above the map come first; they have written the rows next to its edge.
                let mirrored = d.border == Border::Reflect && 1 <= a && a <= d.radius();
                let added = y >= d.radius() && (a != y - d.radius() || mirrored);
                for c in 0..CHANNELS.min(d.depth - e) {
                    let dx = &mut self.dx[e + c][(a - self.band.start) * d.width..][..d.width];
                    fold_row::<T, I>(d, l, &self.sums[(r * CHANNELS + c) * l.pitch..][..l.pitch], added, self.line, dx);
                }
            }
        }
    }

    /// The sums of some channels from e on, as (row, channel, position).
    #[inline(always)]
    fn sums<I: Isa, const R: usize>(&mut self, e: usize) {
        let (weights, maps, out) = (self.weights, self.maps, &mut *self.sums);
        let (d, l, k, (sh, sw), lanes) = (self.d, self.l, self.d.window, self.d.stride, V::<T, I>::LANES);
        let (first, end) =
            ((self.y + 1).saturating_sub(k).div_ceil(sh), self.outputs.end.min((self.y + self.rows - 1) / sh + 1));
        let mut place = 0; // of the first tap of the phase
        for phase in 0..l.pitch / l.phase {
            let taps = (k - phase).div_ceil(sw);
            for x in (0..l.weight_pitch).step_by(lanes) {
                let mut sums = [[V::<T, I>::zero(); CHANNELS]; R];
                for i in first..end {
                    // Row r is row u = y + r − i·sh of the window of output row i.
                    let (from, to) = ((i * sh).saturating_sub(self.y), self.rows.min(i * sh + k - self.y));
                    let (mut value, mut weight) =
                        ([maps; CHANNELS], [&weights[..lanes + (taps - 1) * l.weight_pitch]; R]);
                    for c in 0..CHANNELS {
                        let row = (i - self.outputs.start) * d.depth + (e + c).min(d.depth - 1);
                        value[c] = &maps[row * l.row_pitch + l.margin + x - (taps - 1)..][..lanes + taps - 1];
                    }
                    for r in from..to {
                        let at = (i % ring(d, l) * k + self.y + r - i * sh) * k + place;
                        weight[r] = &weights[at * l.weight_pitch + x..][..lanes + (taps - 1) * l.weight_pitch];
                    }
                    gather::<T, I, R>((from, to), &mut sums, taps, (&weight, l.weight_pitch), &value);
                }
                for r in 0..self.rows {
                    for c in 0..CHANNELS {
                        sums[r][c].store(&mut out[(r * CHANNELS + c) * l.pitch + phase * l.phase + x..]);
                    }
                }
            }
            place += taps;
        }
    }
}
