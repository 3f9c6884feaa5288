//! How the backward is cut into tasks, and where each finds room for its sums.

use std::ops::Range;

use super::super::Dims;
use crate::gemm::{DEPTH, PANEL};

/// Columns of a part, roughly.
const PART: usize = 1024;

/// Expanded channels of a block, roughly: their maps and those of a tile's dy stay in the second cache.
const BLOCK: usize = 128;

/// A task takes a part of the columns, tile by tile, and a block of groups. For each part there are `part_sums` sums: those of every
/// block, one after the other, then Σ dy.
pub struct Layout {
    /// Columns of a tile.
    pub tile: usize,
    /// Columns of a part, a multiple of a tile's.
    pub part: usize,
    pub parts: usize,
    /// Groups of a block.
    pub block: usize,
    /// Sums of a block, the last one fewer.
    pub block_sums: usize,
    /// Sums of all blocks.
    pub all_blocks: usize,
    pub part_sums: usize,
}

impl Layout {
    pub fn new(d: &Dims) -> Layout {
        let total = d.images * d.pixels();
        let block = (BLOCK / d.rows()).clamp(1, d.groups);
        let tile = (BLOCK * DEPTH / (block * d.rows())).clamp(PANEL, DEPTH) / PANEL * PANEL;
        let part = total.div_ceil(total.div_ceil(PART)).next_multiple_of(tile);
        let group_sums = d.rows() * (d.outputs + 2 + d.heads) + d.heads * (1 + d.heads);
        let all_blocks = d.groups * group_sums;
        Layout {
            tile,
            part,
            parts: total.div_ceil(part),
            block,
            block_sums: block * group_sums,
            all_blocks,
            part_sums: all_blocks + d.outputs,
        }
    }

    /// The sums of every block in those of a part.
    pub fn blocks<'a, T>(&self, sums: &'a mut [T], d: &'a Dims) -> impl Iterator<Item = Sums<'a, T>> {
        let (block, blocks) = (self.block, sums[..self.all_blocks].chunks_mut(self.block_sums));
        blocks.enumerate().map(move |(k, sums)| Sums::new(sums, k * block..d.groups.min((k + 1) * block), d))
    }
}

/// The sums of a block of groups.
pub struct Sums<'a, T> {
    pub groups: Range<usize>,
    /// Columns of dproj1_weight, each of O numbers.
    pub product: &'a mut [T],
    /// Σ du and Σ du·x̂ of each expanded channel.
    pub du: &'a mut [T],
    pub du_hat: &'a mut [T],
    /// Σ du·x_t of each expanded channel and head t.
    pub du_x: &'a mut [T],
    /// Σ x_t and Σ x_t·x_s, t >= s, of each group: `heads` rows of 1 + heads.
    pub xx: &'a mut [T],
}

impl<'a, T> Sums<'a, T> {
    fn new(sums: &'a mut [T], groups: Range<usize>, d: &Dims) -> Self {
        let rows = groups.len() * d.rows();
        let (product, sums) = sums.split_at_mut(rows * d.outputs);
        let (du, sums) = sums.split_at_mut(rows);
        let (du_hat, sums) = sums.split_at_mut(rows);
        let (du_x, xx) = sums.split_at_mut(rows * d.heads);
        Sums { groups, product, du, du_hat, du_x, xx }
    }
}
