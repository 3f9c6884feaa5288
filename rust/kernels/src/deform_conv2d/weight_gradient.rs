//! dweight = Σ_n dy·colᵀ: a task owns some channels of the weight, and adds images and pixels in order.

use std::ops::Range;

use super::sample::Sample;
use super::{Arguments, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{
    Bias, DEPTH, MAX_ROWS, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, in_images, pieces, tile_rows,
};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Channels of a task.
const MOST_CHANNELS: usize = 32;

/// Multiply-adds of one task: about 20 ms.
const MOST_WORK: usize = 1 << 29;

struct Space<T> {
    columns: Buffer<T>,
    totals: Buffer<T>,
    row: Buffer<T>,
    starts: Vec<usize>,
}

pub fn weight_gradient<T: Real>(
    dy: &[T],
    x_last: &[T],
    arrays: &Arguments<&[T]>,
    dweight: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let ((inputs, outputs), taps, pixels) = (d.per_group(), d.conv.taps(), d.pixels());
    dweight.fill(T::ZERO);
    if dweight.is_empty() {
        return Ok(());
    }
    let channels_each = inputs.min(MOST_CHANNELS);
    let most = product(&[taps, channels_each])?.next_multiple_of(PANEL);
    let blocks_of_group = inputs.div_ceil(MOST_CHANNELS);
    // A second task for the same channels samples them again.
    let wanted = exec.threads().div_ceil(d.conv.groups * blocks_of_group).max(outputs.div_ceil(64 * MAX_ROWS));
    let outputs_each = outputs.div_ceil(wanted.min(outputs.div_ceil(2 * MAX_ROWS)).max(1));
    let lengths = [product(&[DEPTH.min(d.conv.images * pixels), most])?, product(&[outputs_each, most])?];
    let space = || {
        let starts = reserved(most / PANEL)?;
        let (columns, totals) = (zeros(lengths[0] + PANEL)?, zeros(lengths[1])?);
        Ok(Space { columns, totals, row: zeros(most)?, starts })
    };
    let per_image = product(&[outputs_each, most, pixels]).unwrap_or(usize::MAX);
    let images_each = (MOST_WORK / per_image.max(1)).max(1);
    for images in pieces(0..d.conv.images, images_each) {
        let cost = (outputs * d.conv.inputs * taps).saturating_mul(pixels * images.len()) / 20;
        let groups = Share::new(dweight, 1, d.conv.outputs, inputs * taps).by_rows(outputs);
        let tasks =
            groups.flat_map(|group| group.by_columns(channels_each * taps)).flat_map(|part| part.by_rows(outputs_each));
        let dy_rows = upstream(dy, &images, d, exec)?;
        let (dy_rows, _) = dy_rows.as_chunks::<PITCH>();
        exec.for_each_with(cost, tasks, space, |space, mut share| {
            let (rows, columns) = (share.rows(), share.columns());
            let first = rows.start / outputs * inputs;
            let channels = first + columns.start / taps..first + columns.end / taps;
            let width = taps * channels.len();
            let pitch = width.next_multiple_of(PANEL);
            space.totals[..rows.len() * pitch].fill(T::ZERO);
            let (from, count) = (images.start * pixels, images.len() * pixels);
            for (at, own) in even(count, count.div_ceil(DEPTH)).enumerate() {
                let depth = own.len();
                let dy = &dy_rows[at * d.conv.outputs + rows.start..][..rows.len()];
                // Where the channels of a tap fill a panel, the columns are made as panels.
                let panels = channels.len() == PANEL;
                let (pitch, jump, panel) =
                    if panels { (PANEL, depth * PANEL, depth * PANEL) } else { (pitch, channels.len(), PANEL) };
                exec.run(Sample {
                    x_last,
                    arrays,
                    pixels: from + own.start..from + own.end,
                    taps: 0..taps,
                    channels: channels.clone(),
                    to: &mut space.columns,
                    pitch,
                    jump,
                    d,
                });
                space.starts.clear();
                space.starts.extend((0..width.div_ceil(PANEL)).map(|i| i * panel));
                let width = width.next_multiple_of(PANEL);
                let mut totals = Share::new(&mut space.totals[..rows.len() * width], 1, rows.len(), width);
                for tile in even(rows.len(), rows.len().div_ceil(tile_rows(exec))) {
                    exec.run(Tiles {
                        a: &dy[tile.start..tile.end],
                        depth,
                        b: Panels { data: &space.columns, starts: &space.starts, pitch, run: depth, jump: 0 },
                        c: &mut totals,
                        row: tile.start,
                        columns: 0..width,
                        add: true,
                        bias: Bias::None,
                    });
                }
            }
            let mut to = share.from_column(columns.start);
            for (r, x) in rows.zip(space.totals.chunks_exact(pitch)) {
                let (count, y) = (channels.len(), &mut space.row);
                exec.run(Transpose { x, x_pitch: count, rows: taps, columns: count, y, y_pitch: taps });
                for (to, &total) in to.row(r, 0..width).iter_mut().zip(&space.row[..]) {
                    *to += total; // (B2)
                }
            }
        })?;
    }
    Ok(())
}

/// dy of some images as rows of the product: for every block of pixels, all outputs, rows [`PITCH`] apart.
fn upstream<T: Real>(dy: &[T], images: &Range<usize>, d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let (pixels, outputs) = (d.pixels(), d.conv.outputs);
    let (count, first) = (images.len() * pixels, images.start * pixels);
    let blocks = count.div_ceil(DEPTH);
    let mut y = zeros(product(&[blocks, outputs, PITCH])?)?;
    let tasks = y.chunks_exact_mut(outputs * PITCH).zip(even(count, blocks));
    exec.for_each(images.len() * outputs * pixels, tasks, |(rows, own)| {
        for (o, row) in rows.chunks_exact_mut(PITCH).enumerate() {
            for (image, inside, before) in in_images(first + own.start..first + own.end, pixels) {
                let from = &dy[(image * outputs + o) * pixels..][inside];
                row[before..before + from.len()].copy_from_slice(from);
            }
        }
    })?;
    Ok(y)
}
