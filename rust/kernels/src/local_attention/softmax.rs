//! From scores to weights, and back: lane by lane, without a sum across lanes.

use super::gathered::ring;
use super::maps::{Maps, write};
use super::tile::{Tile, tile_task};
use crate::lanes::{Isa, MAX_LANES, V, Vector};
use crate::real::Real;

/// Scores become exp(score − max); `inverse` (R, lane) is one over their sum. Row r of `lse` begins at `r · out_width`.
pub struct Exponentials<'a, T> {
    pub tile: &'a Tile<'a>,
    pub scores: &'a mut [T],
    pub inverse: &'a mut [T],
    pub lse: &'a mut [T],
}

tile_task!(Exponentials);

impl<T: Real> Exponentials<'_, T> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(self) {
        let (tile, lanes, width) = (self.tile, V::<T, I>::LANES, self.tile.d.out_width);
        for r in 0..tile.rows.len() {
            let scores = tile.window::<T, I, R>(self.scores, r);
            let mut top = [V::<T, I>::splat(T::NEG_INFINITY); 2];
            for score in scores.chunks_exact(R * lanes) {
                // A NaN may be lost here; it comes back through exp.
                top = [top[1], V::<T, I>::at_least(top[0], V::<T, I>::load(&score[r * lanes..]))];
            }
            let top = top[0].max(top[1]);
            let mut sum = V::<T, I>::zero();
            for score in scores.chunks_exact_mut(R * lanes) {
                let score = &mut score[r * lanes..][..lanes];
                let e = (V::<T, I>::load(score) - top).exp(); // (F5) without its denominator
                e.store(score);
                sum = sum + e;
            }
            (V::<T, I>::splat(T::ONE) / sum).store(&mut self.inverse[r * lanes..]);
            let mut logs = [T::ZERO; MAX_LANES];
            sum.store(&mut logs);
            for log in &mut logs[..tile.pixels()] {
                *log = log.ln();
            }
            write::<T, I>(top + V::<T, I>::load(&logs), &mut self.lse[r * width + tile.x..(r + 1) * width], 1); // (F4)
        }
    }
}

/// From scores, da and lse: `scores` become scale·dS; a and scale·dS are kept at the columns of the keys, see [`super::gathered`].
pub struct Derivatives<'a, T> {
    pub tile: &'a Tile<'a>,
    pub lse: Maps<'a, T>,
    pub scale: T,
    pub scores: &'a mut [T],
    pub da: &'a mut [T],
    pub kept_a: &'a mut [T],
    pub kept_ds: &'a mut [T],
}

tile_task!(Derivatives);

impl<T: Real> Derivatives<'_, T> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(self) {
        let (tile, d, l, lanes, n) = (self.tile, self.tile.d, self.tile.l, V::<T, I>::LANES, self.tile.pixels());
        for (r, i) in tile.rows.clone().enumerate() {
            let lse = self.lse.read::<I>(0, i, tile.x, n);
            let (scores, da) = (tile.window::<T, I, R>(self.scores, r), tile.window::<T, I, R>(self.da, r));
            let (mut sum, mut mean) = (V::<T, I>::zero(), V::<T, I>::zero());
            for (score, da) in scores.chunks_exact_mut(R * lanes).zip(da.chunks_exact(R * lanes)) {
                let a = (V::<T, I>::load(&score[r * lanes..]) - lse).exp(); // (F5)
                a.store(&mut score[r * lanes..]);
                sum = sum + a;
                mean = a.mul_add(V::<T, I>::load(&da[r * lanes..]), mean);
            }
            // The sum is 1 up to the rounding of lse, which matters where scores are in the thousands.
            let inverse = V::<T, I>::splat(T::ONE) / sum;
            let (mean, scale) = (mean * inverse, V::<T, I>::splat(self.scale));
            let (row, kept) = (d.window * R * lanes, d.window * l.weight_pitch);
            let mut at = i % ring(d, l) * d.window * kept + tile.x;
            for (scores, da) in scores.chunks_exact_mut(row).zip(da.chunks_exact(row)) {
                let (kept_a, kept_ds) = (&mut self.kept_a[at..], &mut self.kept_ds[at..]);
                let taps = scores.chunks_exact_mut(R * lanes).zip(da.chunks_exact(R * lanes));
                for ((score, da), &place) in taps.zip(&l.places) {
                    let a = V::<T, I>::load(&score[r * lanes..]) * inverse;
                    let ds = scale * (a * (V::<T, I>::load(&da[r * lanes..]) - mean)); // (B3)
                    ds.store(&mut score[r * lanes..]);
                    a.store_partial(&mut kept_a[place..], n);
                    ds.store_partial(&mut kept_ds[place..], n);
                }
                at += kept;
            }
        }
    }
}
