//! y: the columns of some pixels, at most [`DEPTH`] terms at a time, times the weight packed for them.

use std::ops::Range;

use super::sample::Sample;
use super::{Arguments, Block, Dims, channels_last};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{Ahead, DEPTH, Onto, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, pieces, tile_rows};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Most pixels of a task.
const MOST_PIXELS: usize = 224;

/// Elements of a task's columns and sums: they stay in the second cache.
const MOST_HELD: usize = 3 << 16;

/// Terms of the sum (F4) that are added in one chain.
struct Terms {
    block: Block,
    taps: Range<usize>,
}

impl Terms {
    fn depth(&self) -> usize {
        self.taps.len() * self.block.channels.len()
    }
}

/// All terms of all groups; they follow from the weight's shape alone.
fn terms(d: &Dims) -> Result<Vec<Terms>, Error> {
    let (inputs, taps) = (d.per_group().0, d.conv.taps());
    let parts = taps.div_ceil((DEPTH / inputs.max(1)).max(1));
    let mut list = reserved(product(&[parts, inputs.div_ceil(DEPTH), d.conv.groups])?)?;
    for group in 0..d.conv.groups {
        let first = group * inputs;
        for taps in even(taps, parts) {
            list.extend(even(inputs, inputs.div_ceil(DEPTH)).map(|own| {
                let block = Block { group, channels: first + own.start..first + own.end };
                Terms { block, taps: taps.clone() }
            }));
        }
    }
    Ok(list)
}

/// The weight as panels of outputs, (groups, panels, taps, inputs, [`PANEL`]).
fn packed<T: Real>(weight: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    /// Terms that are transposed at once.
    const MOST: usize = 128;
    let ((inputs, outputs), taps) = (d.per_group(), d.conv.taps());
    let (panels, depth) = (outputs.div_ceil(PANEL), inputs * taps);
    let len = product(&[d.conv.groups, panels, depth, PANEL])?;
    let mut y = zeros(len + PANEL)?;
    if len == 0 {
        return Ok(y);
    }
    let space = || zeros(MOST * PANEL);
    exec.for_each_with(weight.len(), y[..len].chunks_exact_mut(depth * PANEL).enumerate(), space, |space, (at, y)| {
        let (group, first) = (at / panels, at % panels * PANEL);
        let rows = PANEL.min(outputs - first);
        let weight = &weight[(group * outputs + first) * depth..];
        for terms in pieces(0..depth, MOST) {
            let (x, columns) = (&weight[terms.start..], terms.len());
            exec.run(Transpose { x, x_pitch: depth, rows, columns, y: space, y_pitch: PANEL });
            for (term, row) in terms.zip(space.chunks_exact(PANEL)) {
                let (c, tap) = (term / taps, term % taps);
                y[(tap * inputs + c) * PANEL..][..PANEL].copy_from_slice(row);
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
    let weight = packed(arrays.weight, d, exec)?;
    let total = d.conv.images * pixels;
    let tile = tile_rows(exec);
    let each =
        (MOST_HELD / (PITCH + outputs)).clamp(tile, MOST_PIXELS).min(total.div_ceil(2 * exec.threads()).max(tile));
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
            if terms.is_empty() {
                space.sums[..count * outputs].fill(T::ZERO);
            }
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
                    jump: terms.block.channels.len(),
                    d,
                });
                multiply(space, terms, &weight, count, add, d, exec);
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
    add: bool,
    d: &Dims,
    exec: &Exec,
) {
    /// Panels of one call: all tiles take them from the second cache.
    const MOST: usize = 4;
    let ((inputs, outputs), Block { group, channels }) = (d.per_group(), &terms.block);
    let (run, panel) = (channels.len(), d.conv.taps() * inputs * PANEL);
    let start = group * outputs.div_ceil(PANEL) * panel;
    let start = start + (terms.taps.start * inputs + channels.start - group * inputs) * PANEL;
    let (rows, _) = space.columns.as_chunks::<PITCH>();
    let mut sums = Share::new(&mut space.sums[..count * outputs], 1, count, outputs);
    for first in (0..outputs.div_ceil(PANEL)).step_by(MOST) {
        let starts: [usize; MOST] = std::array::from_fn(|i| start + (first + i) * panel);
        let columns = first * PANEL..outputs.min((first + MOST) * PANEL);
        let starts = &starts[..columns.len().div_ceil(PANEL)];
        for tile in even(count, count.div_ceil(tile_rows(exec))) {
            exec.run(Tiles {
                a: &rows[tile.clone()],
                depth: terms.depth(),
                b: Panels { data: weight, starts, pitch: PANEL, run, jump: inputs * PANEL },
                c: &mut sums,
                row: tile.start,
                columns: columns.clone(),
                onto: Onto::c(add),
                next: Ahead::NOTHING,
            });
        }
    }
}
