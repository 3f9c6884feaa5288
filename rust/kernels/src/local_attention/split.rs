//! How the output is split into tasks.

use std::ops::Range;

use super::layout::MAX_ROWS;
use crate::error::Error;

/// The maps of every head are cut into `bands` tasks of `rows` rows.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    pub rows: usize,
    pub bands: usize,
}

impl Split {
    /// Tasks for all threads, but none below 50 µs or much above 10 ms. `row_cost`: nanoseconds for one row of a head.
    pub fn new(height: usize, row_cost: usize, pairs: usize, threads: usize) -> Split {
        let cost = row_cost.saturating_mul(height);
        let wanted = if threads > 1 { (4 * threads).div_ceil(pairs.max(1)) } else { 1 };
        let bands = wanted.min(cost / 50_000).max(cost / 10_000_000).max(1);
        let rows = height.div_ceil(bands).next_multiple_of(MAX_ROWS).clamp(1, height.max(1));
        Split { rows, bands: height.div_ceil(rows) }
    }

    /// Head and rows of task number `task`.
    pub fn task(&self, task: usize, height: usize) -> (usize, Range<usize>) {
        let first = task % self.bands * self.rows;
        (task / self.bands, first..height.min(first + self.rows))
    }
}

/// Cuts planes of `plane` elements into bands of `band`, in the order (head, band, plane), with `depth` planes per head: a task owns
/// `depth` slices in a row.
pub fn deal<T>(x: &mut [T], (plane, band): (usize, usize), depth: usize) -> Result<Vec<&mut [T]>, Error> {
    let mut dealt: Vec<&mut [T]> = Vec::new();
    if x.is_empty() {
        return Ok(dealt);
    }
    let (planes, bands) = (x.len() / plane, plane.div_ceil(band));
    dealt.try_reserve_exact(planes * bands).map_err(|_| Error::OutOfMemory)?;
    dealt.resize_with(planes * bands, Default::default);
    for (p, x) in x.chunks_exact_mut(plane).enumerate() {
        for (b, x) in x.chunks_mut(band).enumerate() {
            dealt[(p / depth * bands + b) * depth + p % depth] = x;
        }
    }
    Ok(dealt)
}
