//! The scores of a tile: up to [`Layout::rows`] output rows × one vector of pixels. Rows of a tile share the padded rows they see: a
//! vector of keys is loaded once for all of them. Every sum runs in one fixed order, whatever the tile.

use std::ops::Range;

use super::layout::Layout;
use super::maps::Maps;
use super::{Border, Dims};
use crate::error::Error;
use crate::lanes::{Isa, Task, V, Vector, add_scores};
use crate::planes::product;
use crate::real::Real;

/// Output rows `rows`, pixels from `x` on.
#[derive(Clone)]
pub struct Tile<'a> {
    pub d: &'a Dims,
    pub l: &'a Layout,
    pub rows: Range<usize>,
    pub x: usize,
}

/// A task whose body `tile::<I, R>` is compiled for the rows that the registers of a level hold; [`super::layout::tile_rows`] agrees.
macro_rules! tile_task {
    ($Name:ident) => {
        impl<T: $crate::real::Real> $crate::lanes::Task for $Name<'_, T> {
            type Out = ();

            #[inline(always)]
            fn run<I: $crate::lanes::Isa>(self) {
                if const { I::REGISTERS >= 32 } { self.tile::<I, 4>() } else { self.tile::<I, 2>() }
            }
        }
    };
}
pub(super) use tile_task;

impl Tile<'_> {
    /// Rows r of the tile that see its padded row y, which is row u = y − r·sh of their window: 0 <= u < window.
    #[inline(always)]
    pub fn seeing(&self, y: usize) -> (usize, usize) {
        let (k, sh, rows) = (self.d.window, self.d.stride.0, self.rows.len());
        if sh == 1 {
            return ((y + 1).saturating_sub(k), rows.min(y + 1)); // without divisions
        }
        (if y < k { 0 } else { (y - k) / sh + 1 }, rows.min(y / sh + 1))
    }

    /// Padded rows from the first to the last that the tile sees.
    #[inline(always)]
    pub fn height(&self) -> usize {
        (self.rows.len() - 1) * self.d.stride.0 + self.d.window
    }

    /// Pixels of the tile in a row.
    #[inline(always)]
    pub fn pixels(&self) -> usize {
        self.l.lanes.min(self.d.out_width - self.x)
    }

    /// Elements of the scores of a tile. They are (padded row that some window sees, tap v, R, lane): what one row of keys gives lies
    /// together.
    pub fn scores_len(d: &Dims, l: &Layout) -> Result<usize, Error> {
        product(&[(l.rows - 1) * d.stride.0.min(d.window) + d.window, d.window, l.rows, l.lanes])
    }

    /// Where the k·k taps of row `r` begin, every one R vectors after the last; vector r is the row's.
    #[inline(always)]
    pub fn window<'x, T: Real, I: Isa, const R: usize>(&self, scores: &'x mut [T], r: usize) -> &'x mut [T] {
        let (k, step) = (self.d.window, R * V::<T, I>::LANES);
        &mut scores[r * self.d.stride.0.min(k) * k * step..][..k * k * step]
    }
}

/// The pixels of a row of tiles as (tile, channel, R, lane); `start` (tile, R, lane) is where the scores of a row start: Σ_e q·pe_ij,
/// 0 without pe. Plane after plane, as they lie in memory.
pub struct Read<'a, T> {
    pub d: &'a Dims,
    pub rows: Range<usize>,
    pub maps: Maps<'a, T>,
    pub pe: Option<Maps<'a, T>>,
    pub queries: &'a mut [T],
    pub start: &'a mut [T],
}

tile_task!(Read);

impl<T: Real> Read<'_, T> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(self) {
        let Read { d, rows, maps, pe, queries, start } = self;
        let (lanes, step) = (V::<T, I>::LANES, R * V::<T, I>::LANES);
        let tiles = queries.chunks_exact_mut((d.depth * step).max(1)).zip(start.chunks_exact_mut(step));
        for (tile, (queries, start)) in tiles.take(d.out_width.div_ceil(lanes)).enumerate() {
            let (x, mut sums) = (tile * lanes, [V::<T, I>::zero(); R]);
            let n = lanes.min(d.out_width - x);
            for (e, queries) in queries.chunks_exact_mut(step).enumerate() {
                let channel = maps.channel(e, rows.start);
                let beside = pe.as_ref().map(|pe| pe.channel(e, rows.start));
                for r in 0..R {
                    if r < rows.len() {
                        let q = channel.read::<I>(r, x, n);
                        q.store(&mut queries[r * lanes..]);
                        channel.soon(r + R, x);
                        if let Some(pe) = &beside {
                            sums[r] = q.mul_add(pe.read::<I>(r, x, n), sums[r]);
                        }
                    }
                }
            }
            for r in 0..R {
                sums[r].store(&mut start[r * lanes..]);
            }
        }
    }
}

/// Scores of row r and tap (u, v): scale·(start_r + Σ_e queries[e][r] · keys[r·sh + u][e][x + offset of v]).
///
/// `queries` and `start` are those of the row of tiles; `keys` begins at the first padded row of the tile.
pub struct Scores<'a, T> {
    pub tile: &'a Tile<'a>,
    pub queries: &'a [T],
    pub start: &'a [T],
    pub keys: &'a [T],
    pub scale: T,
    pub scores: &'a mut [T],
}

impl<T: Real> Task for Scores<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if const { I::REGISTERS >= 32 } { self.tile::<I, 4, 2>() } else { self.tile::<I, 2, 2>() }
    }
}

impl<T: Real> Scores<'_, T> {
    /// Where the tile begins and ends, `H` of its `R` rows will do; what more rows than needed give is not used.
    #[inline(always)]
    fn tile<I: Isa, const R: usize, const H: usize>(self) {
        let (tile, d, l) = (self.tile, self.tile.d, self.tile.l);
        let step = R * V::<T, I>::LANES;
        let queries = &self.queries[self.tile.x * R * d.depth..][..R * V::<T, I>::LANES * d.depth];
        let start = &self.start[self.tile.x * R..][..step];
        let mut scores = self.scores.chunks_exact_mut(d.window * step);
        for y in 0..tile.height() {
            let (from, to) = tile.seeing(y);
            if from >= to {
                continue; // a row between two windows
            }
            let (keys, Some(scores)) = (&self.keys[y * l.row_len..], scores.next()) else { return };
            for run in &l.runs {
                let (at, scores) = (tile.x + run.offset, &mut scores[run.first * step..]);
                let part = Part {
                    queries,
                    start,
                    keys,
                    depth: d.depth,
                    pitch: l.pitch,
                    at,
                    tap_step: d.stride.1,
                    scale: self.scale,
                };
                if const { H == R } || to - from > H {
                    match run.count {
                        1 => part.scores::<I, R, R, 1>(0, scores),
                        2 => part.scores::<I, R, R, 2>(0, scores),
                        3 => part.scores::<I, R, R, 3>(0, scores),
                        _ => part.scores::<I, R, R, 4>(0, scores),
                    }
                } else {
                    let from = from.min(R - H);
                    match run.count {
                        1 => part.scores::<I, R, H, 1>(from, scores),
                        2 => part.scores::<I, R, H, 2>(from, scores),
                        3 => part.scores::<I, R, H, 3>(from, scores),
                        _ => part.scores::<I, R, H, 4>(from, scores),
                    }
                }
            }
        }
    }
}

/// One padded row and one run of taps; the first is read at `at`, scores of neighbours are `tap_step` apart.
struct Part<'a, T> {
    queries: &'a [T],
    start: &'a [T],
    keys: &'a [T],
    depth: usize,
    pitch: usize,
    at: usize,
    tap_step: usize,
    scale: T,
}

impl<T: Real> Part<'_, T> {
    /// For `A` of `R` rows, from `from` on, and `COUNT` taps.
    #[inline(always)]
    fn scores<I: Isa, const R: usize, const A: usize, const COUNT: usize>(&self, from: usize, scores: &mut [T]) {
        let lanes = V::<T, I>::LANES;
        let mut sum = [[V::<T, I>::zero(); COUNT]; A];
        let start = &self.start[from * lanes..][..A * lanes];
        for r in 0..A {
            sum[r] = [V::<T, I>::load(&start[r * lanes..]); COUNT];
        }
        if self.depth > 0 {
            let queries = (&self.queries[from * lanes..], R * lanes);
            add_scores::<T, I, A, COUNT>(&mut sum, self.depth, queries, (&self.keys[self.at..], self.pitch));
        }
        let scale = V::<T, I>::splat(self.scale);
        for t in 0..COUNT {
            let scores = &mut scores[(t * self.tap_step * R + from) * lanes..][..A * lanes];
            for r in 0..A {
                (sum[r][t] * scale).store(&mut scores[r * lanes..]);
            }
        }
    }
}

/// For border "mask": scores become −∞ for the taps outside the map.
pub struct Mask<'a, T> {
    pub tile: &'a Tile<'a>,
    pub scores: &'a mut [T],
}

tile_task!(Mask);

impl<T: Real> Mask<'_, T> {
    #[inline(always)]
    fn tile<I: Isa, const R: usize>(self) {
        let (tile, d, k, lanes) = (self.tile, self.tile.d, self.tile.d.window, V::<T, I>::LANES);
        if d.border != Border::Mask {
            return;
        }
        let (radius, sw, lowest) = (d.radius(), d.stride.1, V::<T, I>::splat(T::NEG_INFINITY));
        for (r, i) in tile.rows.clone().enumerate() {
            for (m, score) in tile.window::<T, I, R>(self.scores, r).chunks_exact_mut(R * lanes).enumerate() {
                let (u, v, score) = (m / k, m % k, &mut score[r * lanes..][..lanes]);
                // Output pixels from..to have tap v inside: 0 <= j·sw + v − radius < width.
                let (from, to) =
                    (radius.saturating_sub(v).div_ceil(sw), (d.width + radius).saturating_sub(v).div_ceil(sw));
                let (from, to) = (from.saturating_sub(tile.x).min(lanes), to.saturating_sub(tile.x).min(lanes));
                if d.shown(i * d.stride.0 + u, d.height).is_none() {
                    lowest.store(score);
                } else if from > 0 || to < lanes {
                    lowest.keep(from, V::<T, I>::load(score).keep(to, lowest)).store(score);
                }
            }
        }
    }
}
