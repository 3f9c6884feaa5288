//! Where pixels lie in work space. A lane is one output pixel.
//!
//! A padded row is de-interleaved by the horizontal stride: column j·sw + v is stored in phase v mod sw at v / sw + j, so that tap v of
//! consecutive output pixels reads consecutive elements. Padded rows are stored as (row, channel, column), `pitch` elements each.

use std::marker::PhantomData;

use super::Dims;
use super::weighted::CHANNELS;
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::product;
use crate::real::Real;

/// Most rows of a tile, at any level.
pub const MAX_ROWS: usize = 4;
/// Taps of a run: what `rows` rows of sums, the queries and a key leave in registers.
const RUNS: [usize; 4] = [4, 3, 2, 1];

/// Taps first, first + sw, … of one row of the window: output pixel 0 reads them at `offset`, offset + 1, …
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub first: usize,
    pub count: usize,
    pub offset: usize,
}

#[derive(Debug)]
pub struct Layout {
    pub lanes: usize,
    /// Rows of a tile.
    pub rows: usize,
    /// Columns of a phase: one per output pixel, and those that taps see beyond.
    pub span: usize,
    /// Elements from one phase to the next, and of a padded row.
    pub phase: usize,
    pub pitch: usize,
    /// From one padded row to the next: `depth` channels rounded up to a block of sums, and a line more where rows would compete for the same part of a cache.
    pub row_len: usize,
    /// All taps of a row, and where output pixel 0 reads tap v.
    pub runs: Vec<Run>,
    pub offsets: Vec<usize>,
    /// For the gradients of keys and values: the weights of tap v are stored at the column of the key, from `places[v]` on in rows of
    /// `weight_pitch`, in a phase the last tap first. Queries are rows of `row_pitch` that begin with `margin` zeros.
    pub weight_pitch: usize,
    pub places: Vec<usize>,
    pub row_pitch: usize,
    /// From one output row of queries to the next.
    pub block_pitch: usize,
    pub margin: usize,
}

impl Layout {
    /// The layout for the vectors of this level.
    pub fn new<T: Real>(d: &Dims, exec: &Exec) -> Result<Layout, Error> {
        let (k, sw, (lanes, rows)) = (d.window, d.stride.1, exec.run(Sizes::<T>(PhantomData)));
        let (phases, margin) = (sw.min(k), (k - 1) / sw);
        let span = d.out_width + margin;
        // Whole vectors can be read from any tap on, and whole vectors cover a phase.
        let phase =
            (d.out_width.next_multiple_of(lanes) + margin).max(span.next_multiple_of(lanes)).next_multiple_of(16);
        let (pitch, weight_pitch) = (product(&[phase, phases])?, span.next_multiple_of(lanes));
        let row_len = product(&[pitch, d.depth.next_multiple_of(CHANNELS)])?;
        let row_len = if row_len % 256 == 0 { row_len + 16 } else { row_len };
        product(&[k, weight_pitch])?;
        let (mut runs, mut offsets, mut places) = (Vec::new(), Vec::new(), Vec::new());
        runs.try_reserve_exact(k).map_err(|_| Error::OutOfMemory)?;
        offsets.try_reserve_exact(k).map_err(|_| Error::OutOfMemory)?;
        places.try_reserve_exact(k).map_err(|_| Error::OutOfMemory)?;
        offsets.extend((0..k).map(|v| v % sw * phase + v / sw));
        places.resize(k, 0);
        let mut before = 0;
        for p in 0..phases {
            let (mut t, taps) = (0, (k - p).div_ceil(sw));
            while let Some(&count) = RUNS.iter().find(|&&count| count <= taps - t && (count < 4 || taps - t != 5)) {
                runs.push(Run { first: p + t * sw, count, offset: p * phase + t });
                t += count;
            }
            for t in 0..taps {
                places[p + t * sw] = (before + taps - 1 - t) * weight_pitch + t;
            }
            before += taps;
        }
        let row_pitch = (margin + weight_pitch).next_multiple_of(16);
        let block_pitch = product(&[row_pitch, d.depth.next_multiple_of(CHANNELS)])?;
        Ok(Layout {
            lanes,
            rows,
            span,
            phase,
            pitch,
            row_len,
            runs,
            offsets,
            weight_pitch,
            places,
            row_pitch,
            block_pitch,
            margin,
        })
    }
}

impl Layout {
    /// Pixels of a row of tiles, with those beyond the map.
    pub fn tiles_len(&self) -> usize {
        self.rows * self.weight_pitch
    }
}

/// Lanes and rows of a tile at a level.
struct Sizes<T>(PhantomData<T>);

impl<T: Real> Task for Sizes<T> {
    type Out = (usize, usize);

    #[inline(always)]
    fn run<I: Isa>(self) -> (usize, usize) {
        (V::<T, I>::LANES, if I::REGISTERS >= 32 { 4 } else { 2 })
    }
}
