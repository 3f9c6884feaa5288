//! dK of a convolution: dy times x with its channels last, where every tap of a pixel is one run of memory.

use std::ops::Range;

use super::Dims;
use super::slab::{ChannelsLast, Region};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{
    Ahead, DEPTH, MAX_ROWS, Onto, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, in_images, pieces, tile_rows,
};
use crate::planes::product;
use crate::real::Real;

/// Channels times taps per row of the kernel that a task puts side by side: dy is copied once for all of them.
const MOST_CHANNELS: usize = 8 * PANEL;

/// Multiply-adds of one task: about 20 ms.
const MOST_WORK: usize = 1 << 29;

/// How the taps of one pixel lie in memory: `strips` runs of memory, in panels.
#[derive(Clone, Copy)]
struct Layout {
    strips: usize,
    panels: usize,
}

impl Layout {
    /// Without dilation the taps (p, 0), (p, 1), … of a pixel follow one another.
    fn new(channels: usize, d: &Dims) -> Layout {
        let (strips, len) = if d.dilation.1 == 1 { (d.kernel.0, d.kernel.1 * channels) } else { (d.taps(), channels) };
        Layout { strips, panels: len.div_ceil(PANEL) }
    }

    /// Columns of the product.
    fn columns(&self) -> usize {
        self.strips * self.panels * PANEL
    }

    /// Column of the first of so many channels at tap (p, q).
    fn column(&self, p: usize, q: usize, channels: usize, d: &Dims) -> usize {
        let (strip, inside) = if d.dilation.1 == 1 { (p, q * channels) } else { (p * d.kernel.1 + q, 0) };
        strip * self.panels * PANEL + inside
    }
}

struct Space<T> {
    slab: Buffer<T>,
    a: Buffer<T>,
    totals: Buffer<T>,
    starts: Vec<usize>,
}

/// dweight = Σ_n dy x_pqᵀ                                                                                                          (B2)
pub fn weight_gradient<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (inputs, outputs, pixels) = (d.inputs / d.groups, d.outputs / d.groups, d.out_size.0 * d.out_size.1);
    if dweight.is_empty() || d.images * pixels == 0 {
        dweight.fill(T::ZERO);
        return Ok(());
    }
    let channels_each = inputs.min((MOST_CHANNELS / d.taps()).max(1).next_multiple_of(PANEL));
    let blocks = d.groups * inputs.div_ceil(channels_each);
    // A second task for the same channels puts them side by side again, which pays when there are several taps.
    let wanted = if d.taps() > 1 { 3 * exec.threads() } else { exec.threads() };
    let parts = wanted.div_ceil(blocks).max(outputs.div_ceil(16 * MAX_ROWS)).min(outputs.div_ceil(2 * MAX_ROWS));
    let outputs_each = outputs.div_ceil(parts.max(1));
    let (region, layout) = (Region::new(channels_each, d)?, Layout::new(channels_each, d));
    let slab_len = if d.is_pointwise() { product(&[DEPTH, layout.columns()])? } else { region.slab };
    let totals_len = if d.is_pointwise() { 0 } else { product(&[outputs_each, layout.columns()])? };
    let per_image = product(&[outputs_each, channels_each, d.taps(), pixels]).unwrap_or(usize::MAX);
    let images_each = (MOST_WORK / per_image.max(1)).max(1);
    let space = || {
        let mut starts = Vec::new();
        starts.try_reserve_exact(layout.strips * layout.panels).map_err(|_| Error::OutOfMemory)?;
        Ok(Space { slab: zeros(slab_len + PANEL)?, a: zeros(MAX_ROWS * PITCH)?, totals: zeros(totals_len)?, starts })
    };
    for images in pieces(0..d.images, images_each) {
        let cost = (outputs * d.inputs * d.taps() * pixels / 50).saturating_mul(images.len());
        let groups = Share::new(dweight, 1, d.outputs, d.depth()).by_rows(outputs);
        let tasks = groups
            .flat_map(|group| group.by_columns(channels_each * d.taps()))
            .flat_map(|part| part.by_rows(outputs_each));
        exec.for_each_with(cost, tasks, space, |space, mut share| {
            let (rows, columns) = (share.rows(), share.columns());
            let group = rows.start / outputs;
            let channels = columns.start / d.taps()..columns.end / d.taps();
            let count = channels.len();
            let layout = Layout::new(count, d);
            if d.is_pointwise() {
                return add_pixels(x, dy, images.clone(), (group, channels), &mut share, space, d, exec);
            }
            space.totals.fill(T::ZERO);
            let own = Own { channels: group * inputs + channels.start, count, outputs: rows.clone() };
            for images in pieces(images.clone(), region.images) {
                add_images(x, dy, images, &own, &region, &layout, space, d, exec);
            }
            let mut to = share.from_column(columns.start);
            for (r, totals) in rows.zip(space.totals.chunks_exact(layout.columns())) {
                let to = to.row(r, 0..columns.len());
                for p in 0..d.kernel.0 {
                    for q in 0..d.kernel.1 {
                        let totals = &totals[layout.column(p, q, count, d)..][..count];
                        for (c, &total) in totals.iter().enumerate() {
                            let to = &mut to[c * d.taps() + p * d.kernel.1 + q];
                            *to = if images.start == 0 { total } else { *to + total };
                        }
                    }
                }
            }
        })?;
    }
    Ok(())
}

/// dweight of a pointwise convolution, or more of it after the first image: its columns are the channels. Pixels follow one another
/// through all images, so that small images make no small blocks.
#[allow(clippy::too_many_arguments)]
fn add_pixels<T: Real>(
    x: &[T],
    dy: &[T],
    images: Range<usize>,
    (group, channels): (usize, Range<usize>),
    dweight: &mut Share<T>,
    space: &mut Space<T>,
    d: &Dims,
    exec: &Exec,
) {
    let (pixels, outputs, columns) = (d.out_size.0 * d.out_size.1, dweight.rows(), dweight.columns());
    for block in pieces(images.start * pixels..images.end * pixels, DEPTH) {
        let n = block.len();
        space.starts.clear();
        for (panel, channels) in pieces(channels.clone(), PANEL).enumerate() {
            space.starts.push(panel * n * PANEL);
            for (image, inside, before) in in_images(block.clone(), pixels) {
                let first = (image * d.groups + group) * (d.inputs / d.groups) + channels.start;
                exec.run(Transpose {
                    x: &x[first * pixels + inside.start..],
                    x_pitch: pixels,
                    rows: channels.len(),
                    columns: inside.len(),
                    y: &mut space.slab[(panel * n + before) * PANEL..],
                    y_pitch: PANEL,
                });
            }
        }
        let following = in_images(block.end..(block.end + DEPTH).min(images.end * pixels), pixels).next();
        let next = following.map_or(Ahead::NOTHING, |(image, inside, _)| {
            let first = (image * d.groups + group) * (d.inputs / d.groups) + channels.start;
            let x = &x[first * pixels + inside.start..];
            let dy = &dy[(image * d.outputs + outputs.start) * pixels + inside.start..];
            Ahead::new([(x, channels.len()), (dy, outputs.len())], pixels, inside.len())
        });
        let (a_rows, _) = space.a.as_chunks_mut::<PITCH>();
        let tiles = outputs.len().div_ceil(tile_rows(exec));
        for (i, tile) in even(outputs.len(), tiles).enumerate() {
            let row = outputs.start + tile.start;
            for (to, r) in a_rows.iter_mut().zip(row..outputs.start + tile.end) {
                for (image, inside, before) in in_images(block.clone(), pixels) {
                    let dy = &dy[(image * d.outputs + r) * pixels..][inside];
                    to[before..before + dy.len()].copy_from_slice(dy);
                }
            }
            exec.run(Tiles {
                a: &a_rows[..tile.len()],
                depth: n,
                b: Panels { data: &space.slab, starts: &space.starts, pitch: PANEL, run: n, jump: 0 },
                c: dweight,
                row,
                columns: columns.clone(),
                onto: Onto::c(block.start > 0),
                next: next.part(i, tiles),
            });
        }
    }
}

/// What a task owns of dweight: `count` channels of x from `channels` on, and outputs.
struct Own {
    channels: usize,
    count: usize,
    outputs: Range<usize>,
}

/// Adds the products of one image, or of several small ones, to the totals, block by block of pixels.
#[allow(clippy::too_many_arguments)]
fn add_images<T: Real>(
    x: &[T],
    dy: &[T],
    images: Range<usize>,
    own: &Own,
    region: &Region,
    layout: &Layout,
    space: &mut Space<T>,
    d: &Dims,
    exec: &Exec,
) {
    let (pixels, plane, channels, together) =
        (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1, own.count, images.len());
    for columns in pieces(0..d.out_size.1, region.columns) {
        let width = (columns.len() - 1) * d.stride.1 + (d.kernel.1 - 1) * d.dilation.1 + 1;
        for rows in pieces(0..d.out_size.0, region.rows) {
            let height = (rows.len() - 1) * d.stride.0 + (d.kernel.0 - 1) * d.dilation.0 + 1;
            let (top, left) = (rows.start * d.stride.0, columns.start * d.stride.1);
            for (first, image) in images.clone().enumerate() {
                let x = &x[(image * d.inputs + own.channels) * plane..][..channels * plane];
                let slab = &mut space.slab;
                exec.run(ChannelsLast { x, slab, first, step: together, channels, top, left, height, width, d });
            }
            // A block is a number of whole rows of all images, or a part of one: at most DEPTH pixels.
            let each = if columns.len() == d.out_size.1 { DEPTH / (columns.len() * together) } else { 1 };
            for block in pieces(rows.clone(), each) {
                let n = block.len() * together * columns.len();
                let row_len = width * channels;
                let corner = (block.start - rows.start) * d.stride.0 * together * row_len;
                space.starts.clear();
                for strip in 0..layout.strips {
                    let (p, q) = if d.dilation.1 == 1 { (strip, 0) } else { (strip / d.kernel.1, strip % d.kernel.1) };
                    let start = corner + p * d.dilation.0 * together * row_len + q * d.dilation.1 * channels;
                    for panel in 0..layout.panels {
                        space.starts.push(start + panel * PANEL);
                    }
                }
                let (a_rows, _) = space.a.as_chunks_mut::<PITCH>();
                let outputs = own.outputs.len();
                let mut totals =
                    Share::new(&mut space.totals[..outputs * layout.columns()], 1, outputs, layout.columns());
                for tile in even(outputs, outputs.div_ceil(tile_rows(exec))) {
                    for (to, r) in a_rows.iter_mut().zip(own.outputs.start + tile.start..own.outputs.start + tile.end) {
                        let from = |image: usize, row: usize| {
                            &dy[(image * d.outputs + r) * pixels + row * d.out_size.1 + columns.start..]
                        };
                        if together == 1 {
                            to[..n].copy_from_slice(&from(images.start, block.start)[..n]);
                            continue;
                        }
                        let order = block.clone().flat_map(|row| images.clone().map(move |image| (image, row)));
                        for ((image, row), to) in order.zip(to.chunks_exact_mut(columns.len())) {
                            to.copy_from_slice(&from(image, row)[..columns.len()]);
                        }
                    }
                    let (pitch, jump) = (d.stride.1 * channels, d.stride.0 * row_len);
                    exec.run(Tiles {
                        a: &a_rows[..tile.len()],
                        depth: n,
                        b: Panels { data: &space.slab, starts: &space.starts, pitch, run: columns.len(), jump },
                        c: &mut totals,
                        row: tile.start,
                        columns: 0..layout.columns(),
                        onto: Onto::c(true),
                        next: Ahead::NOTHING,
                    });
                }
            }
        }
    }
}
