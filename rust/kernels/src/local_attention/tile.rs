//! The inner loops, on a tile of up to `MAX_ROWS` output rows × one vector of pixels. Rows of a tile share the padded rows they see: a
//! vector of keys is loaded once for all of them. Every sum runs in one fixed order, whatever the tile.

use std::ops::Range;

use super::layout::Layout;
use super::{Border, Dims};
use crate::lanes::{Isa, V, Vector};
use crate::real::Real;

/// Channels whose sums are formed together.
pub const CHANNELS: usize = 4;

/// A tile of `R` rows.
#[derive(Clone, Copy)]
pub struct Tile<'a, const R: usize> {
    pub d: &'a Dims,
    pub l: &'a Layout,
}

impl<const R: usize> Tile<'_, R> {
    /// Rows r of the tile that see its padded row y, which is row u = y − r·sh of their window: 0 <= u < window.
    #[inline(always)]
    fn seeing(&self, y: usize, rows: usize) -> (usize, usize) {
        let (k, sh) = (self.d.window, self.d.stride.0);
        if sh == 1 {
            return ((y + 1).saturating_sub(k), rows.min(y + 1)); // without divisions
        }
        (if y < k { 0 } else { (y - k) / sh + 1 }, rows.min(y / sh + 1))
    }

    /// scores[r][u·k + v] = scale·(start_r + Σ_e queries[e][r] · keys[r·sh + u][e][x + offset of v]), one pixel vector each.
    ///
    /// `queries` is (depth, R, lanes), `start` (R, lanes), `scores` (R, k·k, lanes); `keys` begins at the first padded row of the tile.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub fn scores<T: Real, I: Isa, const H: usize>(
        &self,
        rows: usize,
        queries: &[T],
        start: &[T],
        keys: &[T],
        x: usize,
        scale: T,
        scores: &mut [T],
    ) {
        let (k, (sh, sw), lanes, row_len) =
            (self.d.window, self.d.stride, V::<T, I>::LANES, self.d.depth * self.l.pitch);
        for y in 0..(rows - 1) * sh + k {
            let (from, to) = self.seeing(y, rows);
            if from >= to {
                continue; // a row between two windows
            }
            let keys = &keys[y * row_len..][..row_len];
            for run in &self.l.runs {
                let part = Part {
                    keys,
                    pitch: self.l.pitch,
                    x: x + run.offset,
                    step: self.l.group,
                    rows: (from, to),
                    // Row r stores row y − r·sh of its window.
                    first: ((from * k + y - from * sh) * k + run.first) * lanes,
                    row_step: (k * k).wrapping_sub(sh * k).wrapping_mul(lanes),
                    tap_step: sw * lanes,
                };
                // Where the tile begins and ends, half of its rows will do; more rows or taps than needed are not stored.
                match (to - from > R / 2, run.count) {
                    (true, 1) => part.scores::<I, R, R, 1>(queries, start, scale, scores),
                    (true, 3) => part.scores::<I, R, R, 3>(queries, start, scale, scores),
                    (true, 5) => part.scores::<I, R, R, 5>(queries, start, scale, scores),
                    (true, _) => part.scores::<I, R, R, 7>(queries, start, scale, scores),
                    (false, 1) => part.scores::<I, R, H, 1>(queries, start, scale, scores),
                    (false, 3) => part.scores::<I, R, H, 3>(queries, start, scale, scores),
                    (false, 5) => part.scores::<I, R, H, 5>(queries, start, scale, scores),
                    (false, _) => part.scores::<I, R, H, 7>(queries, start, scale, scores),
                }
            }
        }
    }

    /// Scores with −∞ for the taps outside the map, for border "mask". Output rows `rows`, positions from `x` on.
    #[inline(always)]
    pub fn mask<T: Real, I: Isa>(&self, rows: Range<usize>, x: usize, scores: &mut [T]) {
        let (d, l, k, lanes) = (self.d, self.l, self.d.window, V::<T, I>::LANES);
        if d.border != Border::Mask {
            return;
        }
        let (radius, sw, lowest) = (d.radius(), d.stride.1, V::<T, I>::splat(T::NEG_INFINITY));
        for (m, score) in scores[..rows.len() * k * k * lanes].chunks_exact_mut(lanes).enumerate() {
            let (i, u, v) = (rows.start + m / (k * k), m / k % k, m % k);
            // Output pixels from..to have tap v inside: 0 <= j·sw + v − radius < width.
            let (from, to) = (radius.saturating_sub(v).div_ceil(sw), (d.width + radius).saturating_sub(v).div_ceil(sw));
            let (from, to) =
                ((from * l.group).saturating_sub(x).min(lanes), (to * l.group).saturating_sub(x).min(lanes));
            if d.shown(i * d.stride.0 + u, d.height).is_none() {
                lowest.store(score);
            } else if from > 0 || to < lanes {
                lowest.keep(from, V::<T, I>::load(score).keep(to, lowest)).store(score);
            }
        }
    }

    /// Σ_m weights[r][m] · values[r·sh + u][e + c][x + offset of v], taps in reading order. `weights` is (R, k·k, lanes). Channels beyond
    /// the last repeat it.
    #[inline(always)]
    pub fn weighted<T: Real, I: Isa>(
        &self,
        rows: usize,
        weights: &[T],
        values: &[T],
        e: usize,
        x: usize,
    ) -> Sums<T, I, R> {
        let (d, l, k, (sh, sw), lanes) = (self.d, self.l, self.d.window, self.d.stride, V::<T, I>::LANES);
        let mut sums = [[V::<T, I>::zero(); CHANNELS]; R];
        // With a stride, tap after tap: the order of the sum must not depend on the stride.
        let (pieces, taps) = if sw == 1 { (1, k) } else { (k, 1) };
        for y in 0..(rows - 1) * sh + k {
            let (from, to) = self.seeing(y, rows);
            if from >= to {
                continue;
            }
            for v in 0..pieces {
                let (mut value, mut weight) = ([values; CHANNELS], [weights; R]);
                for c in 0..CHANNELS {
                    value[c] = &values[(y * d.depth + (e + c).min(d.depth - 1)) * l.pitch + x + l.offsets[v]..];
                }
                for r in from..to {
                    weight[r] = &weights[((r * k + y - r * sh) * k + v) * lanes..];
                }
                gather::<T, I, R>((from, to), &mut sums, taps, (&weight, lanes), (&value, l.group));
            }
        }
        sums
    }
}

/// For `R` rows, the sums of `CHANNELS` channels.
pub type Sums<T, I, const R: usize> = [[V<T, I>; CHANNELS]; R];

/// One padded row and one run of taps.
struct Part<'a, T> {
    keys: &'a [T],
    pitch: usize,
    x: usize,
    step: usize,
    rows: (usize, usize),
    first: usize,
    row_step: usize,
    tap_step: usize,
}

impl<T: Real> Part<'_, T> {
    /// [`Tile::scores`] for `A` rows and `COUNT` taps.
    #[inline(always)]
    fn scores<I: Isa, const R: usize, const A: usize, const COUNT: usize>(
        &self,
        queries: &[T],
        start: &[T],
        scale: T,
        scores: &mut [T],
    ) {
        let lanes = V::<T, I>::LANES;
        let (from, to) = self.rows;
        let base = from.min(R - A);
        let mut sum = [[V::<T, I>::zero(); COUNT]; A];
        for r in 0..A {
            sum[r] = [V::<T, I>::load(&start[(base + r) * lanes..]); COUNT];
        }
        for (keys, queries) in self.keys.chunks_exact(self.pitch).zip(queries.chunks_exact(R * lanes)) {
            let keys = &keys[self.x..][..lanes + (COUNT - 1) * self.step];
            let queries = &queries[base * lanes..][..A * lanes];
            for t in 0..COUNT {
                let key = V::<T, I>::load(&keys[t * self.step..]);
                for r in 0..A {
                    sum[r][t] = V::<T, I>::load(&queries[r * lanes..]).mul_add(key, sum[r][t]);
                }
            }
        }
        let scale = V::<T, I>::splat(scale);
        for r in 0..A {
            if (from..to).contains(&(base + r)) {
                let at = self.first.wrapping_add((base + r - from).wrapping_mul(self.row_step));
                let scores = &mut scores[at..][..lanes + (COUNT - 1) * self.tap_step];
                for t in 0..COUNT {
                    (sum[r][t] * scale).store(&mut scores[t * self.tap_step..]);
                }
            }
        }
    }
}

/// scores[m] becomes exp(scores[m] − max) for the taps of one row; returns the maximum and the sum.
#[inline(always)]
pub fn exponentials<T: Real, I: Isa>(scores: &mut [T]) -> (V<T, I>, V<T, I>) {
    let lanes = V::<T, I>::LANES;
    let mut top = [V::<T, I>::splat(T::NEG_INFINITY); 4];
    for (m, score) in scores.chunks_exact(lanes).enumerate() {
        // A NaN may be lost here; it comes back through exp.
        top[m % 4] = V::<T, I>::at_least(top[m % 4], V::<T, I>::load(score));
    }
    let top = top[0].max(top[1]).max(top[2].max(top[3]));
    let mut sum = V::<T, I>::zero();
    for score in scores.chunks_exact_mut(lanes) {
        let e = (V::<T, I>::load(score) - top).exp();
        e.store(score);
        sum = sum + e;
    }
    (top, sum)
}

/// sums[r][c] += Σ_t weights[r][t·weight_step] · values[c][t·step] for the rows `from..to`.
#[inline(always)]
pub fn gather<T: Real, I: Isa, const R: usize>(
    (from, to): (usize, usize),
    sums: &mut Sums<T, I, R>,
    taps: usize,
    (weights, weight_step): (&[&[T]; R], usize),
    (values, step): (&[&[T]; CHANNELS], usize),
) {
    let lanes = V::<T, I>::LANES;
    // Slices of one length: one check serves them all.
    let (mut weight, mut value) = ([weights[0]; R], [values[0]; CHANNELS]);
    for r in 0..R {
        weight[r] = &weights[r][..lanes + (taps - 1) * weight_step];
    }
    for c in 0..CHANNELS {
        value[c] = &values[c][..lanes + (taps - 1) * step];
    }
    if from == 0 && to == R {
        for t in 0..taps {
            let x = load_all::<T, I>(&value, t * step);
            for r in 0..R {
                add_product::<T, I>(V::<T, I>::load(&weight[r][t * weight_step..]), &x, &mut sums[r]);
            }
        }
    } else {
        for t in 0..taps {
            let x = load_all::<T, I>(&value, t * step);
            for r in 0..R {
                if from <= r && r < to {
                    add_product::<T, I>(V::<T, I>::load(&weight[r][t * weight_step..]), &x, &mut sums[r]);
                }
            }
        }
    }
}

#[inline(always)]
fn load_all<T: Real, I: Isa>(values: &[&[T]; CHANNELS], at: usize) -> [V<T, I>; CHANNELS] {
    let mut x = [V::<T, I>::zero(); CHANNELS];
    for c in 0..CHANNELS {
        x[c] = V::<T, I>::load(&values[c][at..]);
    }
    x
}

#[inline(always)]
fn add_product<T: Real, I: Isa>(a: V<T, I>, x: &[V<T, I>; CHANNELS], sum: &mut [V<T, I>; CHANNELS]) {
    for c in 0..CHANNELS {
        sum[c] = a.mul_add(x[c], sum[c]);
    }
}
