//! dweight = Σ_n dy·colᵀ: a task owns some channels of the weight, and adds images and pixels in order.

use super::sample::Sample;
use super::{Arguments, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, MAX_ROWS, PANEL, PITCH, Panels, Share, Tiles, even, pieces, tile_rows};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Channels of a task.
const MOST_CHANNELS: usize = 32;

/// Multiply-adds of one task: about 20 ms.
const MOST_WORK: usize = 1 << 29;

struct Space<T> {
    columns: Buffer<T>,
    a: Buffer<T>,
    totals: Buffer<T>,
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
    let lengths = [product(&[DEPTH.min(pixels), most])?, product(&[outputs_each, most])?];
    let space = || {
        let starts = reserved(most / PANEL)?;
        let (columns, totals) = (zeros(lengths[0] + PANEL)?, zeros(lengths[1])?);
        Ok(Space { columns, a: zeros(MAX_ROWS * PITCH)?, totals, starts })
    };
    let per_image = product(&[outputs_each, most, pixels]).unwrap_or(usize::MAX);
    let images_each = (MOST_WORK / per_image.max(1)).max(1);
    for images in pieces(0..d.conv.images, images_each) {
        let cost = (outputs * d.conv.inputs * taps).saturating_mul(pixels * images.len()) / 20;
        let groups = Share::new(dweight, 1, d.conv.outputs, inputs * taps).by_rows(outputs);
        let tasks =
            groups.flat_map(|group| group.by_columns(channels_each * taps)).flat_map(|part| part.by_rows(outputs_each));
        exec.for_each_with(cost, tasks, space, |space, mut share| {
            let (rows, columns) = (share.rows(), share.columns());
            let first = rows.start / outputs * inputs;
            let channels = first + columns.start / taps..first + columns.end / taps;
            let width = taps * channels.len();
            let pitch = width.next_multiple_of(PANEL);
            space.totals[..rows.len() * pitch].fill(T::ZERO);
            for image in images.clone() {
                for own in pieces(0..pixels, DEPTH) {
                    exec.run(Sample {
                        x_last,
                        arrays,
                        pixels: image * pixels + own.start..image * pixels + own.end,
                        taps: 0..taps,
                        channels: channels.clone(),
                        to: &mut space.columns,
                        pitch,
                        d,
                    });
                    space.starts.clear();
                    space.starts.extend((0..pitch / PANEL).map(|i| i * PANEL));
                    let (a_rows, _) = space.a.as_chunks_mut::<PITCH>();
                    let mut totals = Share::new(&mut space.totals[..rows.len() * pitch], 1, rows.len(), pitch);
                    for tile in even(rows.len(), rows.len().div_ceil(tile_rows(exec))) {
                        for (to, r) in a_rows.iter_mut().zip(tile.clone()) {
                            let from = (image * d.conv.outputs + rows.start + r) * pixels + own.start;
                            to[..own.len()].copy_from_slice(&dy[from..][..own.len()]);
                        }
                        exec.run(Tiles {
                            a: &a_rows[..tile.len()],
                            depth: own.len(),
                            b: Panels { data: &space.columns, starts: &space.starts, pitch, run: own.len(), jump: 0 },
                            c: &mut totals,
                            row: tile.start,
                            columns: 0..pitch,
                            add: true,
                            bias: None,
                        });
                    }
                }
            }
            let mut to = share.from_column(columns.start);
            for (r, totals) in rows.zip(space.totals.chunks_exact(pitch)) {
                let to = to.row(r, 0..columns.len());
                for tap in 0..taps {
                    let totals = &totals[tap * channels.len()..][..channels.len()];
                    for (to, &total) in to[tap..].iter_mut().step_by(taps).zip(totals) {
                        *to += total; // (B2)
                    }
                }
            }
        })?;
    }
    Ok(())
}
