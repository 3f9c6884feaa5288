//! y: the columns of some pixels, at most [`DEPTH`] terms at a time, times the weight packed for them.

use std::ops::Range;

use super::sample::Sample;
use super::{Arguments, Block, Dims, blocks, channels_last};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, pieces, tile_rows};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Most pixels of a task.
const MOST_PIXELS: usize = 224;

/// Elements of a task's columns and sums: they stay in the second cache.
const MOST_HELD: usize = 1 << 17;

/// Terms of the sum (F4) that are added in one chain, and where their packed weights begin.
struct Terms {
    block: Block,
    taps: Range<usize>,
    start: usize,
}

impl Terms {
    fn depth(&self) -> usize {
        self.taps.len() * self.block.channels.len()
    }
}

/// All terms of all groups; they follow from the weight's shape alone.
fn terms(d: &Dims) -> Result<Vec<Terms>, Error> {
    let (inputs, outputs) = d.per_group();
    let taps_each = (DEPTH / inputs.max(1)).clamp(1, d.conv.taps());
    let count = d.conv.taps().div_ceil(taps_each) * inputs.div_ceil(DEPTH) * d.conv.groups;
    let (mut list, mut start) = (reserved(count)?, 0);
    for group in 0..d.conv.groups {
        for taps in pieces(0..d.conv.taps(), taps_each) {
            for block in blocks(group, DEPTH, d) {
                let terms = Terms { block, taps: taps.clone(), start };
                start += terms.depth() * outputs.div_ceil(PANEL) * PANEL;
                list.push(terms);
            }
        }
    }
    Ok(list)
}

/// The weight as panels of outputs: for every block of terms, panel by panel, row by row.
fn packed<T: Real>(weight: &[T], terms: &[Terms], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let ((inputs, outputs), taps) = (d.per_group(), d.conv.taps());
    let len = product(&[d.conv.groups, inputs, taps, outputs.div_ceil(PANEL) * PANEL])?;
    let mut y = zeros(len + PANEL)?;
    let mut parts = reserved(terms.len())?;
    let mut rest = &mut y[..len];
    for terms in terms {
        let (part, after) = rest.split_at_mut(terms.depth() * outputs.div_ceil(PANEL) * PANEL);
        parts.push((terms, part));
        rest = after;
    }
    exec.for_each(4 * weight.len(), parts.into_iter(), |(terms, part)| {
        let (depth, width) = (terms.depth(), terms.block.channels.len());
        if depth == 0 {
            return;
        }
        for (panel, part) in part.chunks_exact_mut(depth * PANEL).enumerate() {
            for o in panel * PANEL..outputs.min((panel + 1) * PANEL) {
                let from = &weight[(terms.block.group * outputs + o) * inputs * taps..][..inputs * taps];
                for (at, tap) in terms.taps.clone().enumerate() {
                    for (k, c) in terms.block.channels.clone().enumerate() {
                        let c = c - terms.block.group * inputs;
                        part[(at * width + k) * PANEL + o % PANEL] = from[c * taps + tap];
                    }
                }
            }
        }
    })?;
    Ok(y)
}

struct Space<T> {
    columns: Buffer<T>,
    sums: Buffer<T>,
    turned: Buffer<T>,
}

pub fn forward<T: Real>(arrays: &Arguments<&[T]>, y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    if y.is_empty() {
        return Ok(());
    }
    let (outputs, pixels) = (d.per_group().1, d.pixels());
    let x_last = channels_last(arrays.x, d, exec)?;
    let terms = terms(d)?;
    let weight = packed(arrays.weight, &terms, d, exec)?;
    let total = d.conv.images * pixels;
    let tile = tile_rows(exec);
    let each =
        (MOST_HELD / (PITCH + outputs)).clamp(tile, MOST_PIXELS).min(total.div_ceil(4 * exec.threads()).max(tile));
    let each = each.next_multiple_of(tile);
    let space = || {
        let sums = product(&[each, outputs])?;
        Ok(Space { columns: zeros(each * PITCH)?, sums: zeros(sums)?, turned: zeros(sums)? })
    };
    let cost = (total * d.conv.outputs / 20).saturating_mul(d.per_group().0 * d.conv.taps());
    let tasks = Share::new(y, d.conv.images, d.conv.outputs, pixels).by_columns(each);
    exec.for_each_with(cost.max(total), tasks, space, |space, mut share| {
        let columns = share.columns();
        let count = columns.len();
        for group in 0..d.conv.groups {
            space.sums[..count * outputs].fill(T::ZERO);
            let mut add = false;
            for terms in terms.iter().filter(|terms| terms.block.group == group) {
                exec.run(Sample {
                    x_last: &x_last,
                    arrays,
                    pixels: columns.clone(),
                    taps: terms.taps.clone(),
                    channels: terms.block.channels.clone(),
                    to: &mut space.columns,
                    pitch: PITCH,
                    d,
                });
                multiply(space, terms, &weight, count, outputs, add, exec);
                add = true;
            }
            let (x, turned) = (&space.sums, &mut space.turned);
            exec.run(Transpose { x, x_pitch: outputs, rows: count, columns: outputs, y: turned, y_pitch: count });
            let mut column = columns.start;
            while column < columns.end {
                let mut to = share.from_column(column);
                let room = to.room();
                for (o, from) in turned.chunks_exact(count).take(outputs).enumerate() {
                    let o = group * outputs + o;
                    let to = to.row(o, 0..room);
                    to.copy_from_slice(&from[column - columns.start..][..room]);
                    if let Some(bias) = arrays.bias {
                        for y in to {
                            *y += bias[o]; // (F4)
                        }
                    }
                }
                column += room;
            }
        }
    })
}

/// sums (+)= columns·weightᵀ                                                                                                        (F4)
fn multiply<T: Real>(
    space: &mut Space<T>,
    terms: &Terms,
    weight: &[T],
    count: usize,
    outputs: usize,
    add: bool,
    exec: &Exec,
) {
    /// Panels of one call.
    const MOST: usize = 16;
    let depth = terms.depth();
    let (rows, _) = space.columns.as_chunks::<PITCH>();
    let mut sums = Share::new(&mut space.sums[..count * outputs], 1, count, outputs);
    for first in (0..outputs.div_ceil(PANEL)).step_by(MOST) {
        let starts: [usize; MOST] = std::array::from_fn(|i| terms.start + (first + i) * depth * PANEL);
        let columns = first * PANEL..outputs.min((first + MOST) * PANEL);
        let starts = &starts[..columns.len().div_ceil(PANEL)];
        for tile in even(count, count.div_ceil(tile_rows(exec))) {
            exec.run(Tiles {
                a: &rows[tile.clone()],
                depth,
                b: Panels { data: weight, starts, pitch: PANEL, run: depth, jump: 0 },
                c: &mut sums,
                row: tile.start,
                columns: columns.clone(),
                add,
                bias: None,
            });
        }
    }
}
