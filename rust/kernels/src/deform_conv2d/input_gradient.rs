//! dx, doffset and dmask: weightᵀ·dy for some pixels and channels at a time, spread over the pixels that were read.
//!
//! A task owns some channels of an image of dx, and its own sums for offset and mask, which are added in the order of the channels.

use std::ops::Range;

use super::spread::{KINDS, Spread};
use super::{Arguments, Block, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{Bias, DEPTH, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, in_images, pieces, tile_rows};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Most tasks of an image. How many there are follows from the channels alone: neither threads nor other images change a sum.
const MOST_TASKS: usize = 4;

/// Channels handled at once: fewer where the weight is large, so that their share of it stays in the second cache.
const MOST_CHANNELS: usize = 64;
const LEAST_CHANNELS: usize = 32;
const MOST_WEIGHT: usize = 1 << 17;

/// Elements of dcol held at once.
const MOST_HELD: usize = 1 << 16;

/// Channels handled at once: where their weights begin, and how far apart the rows of dcol are.
struct Part {
    block: Block,
    start: usize,
    pitch: usize,
}

/// The channels of every task, in order.
fn tasks(d: &Dims) -> Result<Vec<Range<usize>>, Error> {
    let (inputs, groups) = (d.per_group().0, d.conv.groups);
    let wanted = d.conv.inputs.div_ceil(MOST_CHANNELS).clamp(1, MOST_TASKS);
    let mut list = reserved(wanted.max(2 * groups.min(wanted) * wanted))?;
    if groups >= wanted {
        list.extend(even(groups, wanted).map(|own| own.start * inputs..own.end * inputs));
    } else {
        for group in 0..groups {
            let first = group * inputs;
            let count = wanted.div_ceil(groups).min(inputs.max(1));
            list.extend(even(inputs, count).map(|own| first + own.start..first + own.end));
        }
    }
    Ok(list)
}

/// What a task handles one after the other.
fn parts(tasks: &[Range<usize>], d: &Dims) -> Result<Vec<Vec<Part>>, Error> {
    let (inputs, outputs) = d.per_group();
    let most = (MOST_WEIGHT / (outputs * d.conv.taps()).max(1)).clamp(LEAST_CHANNELS, MOST_CHANNELS);
    let (mut list, mut start) = (reserved(tasks.len())?, 0);
    for channels in tasks {
        let count = channels.len().div_ceil(inputs.max(1)) + 1;
        let mut own = reserved(count.saturating_mul(inputs.div_ceil(most) + 1))?;
        let groups = if channels.is_empty() { 0..0 } else { channels.start / inputs..channels.end.div_ceil(inputs) };
        for group in groups {
            let of_group = channels.start.max(group * inputs)..channels.end.min((group + 1) * inputs);
            for part in even(of_group.len(), of_group.len().div_ceil(most)) {
                let channels = of_group.start + part.start..of_group.start + part.end;
                let pitch = (d.conv.taps() * channels.len()).next_multiple_of(PANEL);
                own.push(Part { block: Block { group, channels }, start, pitch });
                start += outputs * pitch;
            }
        }
        list.push(own);
    }
    Ok(list)
}

/// The weight of every part as panels of (taps, channels), with a row for every output.
fn packed<T: Real>(weight: &[T], parts: &[Vec<Part>], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let ((inputs, outputs), taps) = (d.per_group(), d.conv.taps());
    let all = || parts.iter().flatten();
    let len = all().map(|part| outputs * part.pitch).sum();
    let mut y = zeros(len + PANEL)?;
    let (mut split, mut rest) = (reserved(all().count())?, &mut y[..len]);
    for part in all() {
        let (own, after) = rest.split_at_mut(outputs * part.pitch);
        split.push((part, own));
        rest = after;
    }
    let widest = all().map(|part| part.pitch).max().unwrap_or(0);
    exec.for_each_with(
        weight.len(),
        split.into_iter(),
        || zeros(widest),
        |row, (part, own)| {
            let Part { block, pitch, .. } = part;
            let (rows, columns) = (block.channels.len(), taps);
            for o in 0..outputs {
                let x = &weight[((block.group * outputs + o) * inputs + block.channels.start % inputs) * taps..];
                exec.run(Transpose { x, x_pitch: taps, rows, columns, y: row, y_pitch: rows });
                for (panel, row) in row[..*pitch].chunks_exact(PANEL).enumerate() {
                    own[(panel * outputs + o) * PANEL..][..PANEL].copy_from_slice(row);
                }
            }
        },
    )?;
    Ok(y)
}

struct Space<T> {
    /// dy with its outputs last.
    upstream: Buffer<T>,
    dcol: Buffer<T>,
    dx_last: Buffer<T>,
}

#[allow(clippy::too_many_arguments)]
pub fn input_gradient<T: Real>(
    dy: &[T],
    x_last: &[T],
    arrays: &Arguments<&[T]>,
    dx: &mut [T],
    doffset: &mut [T],
    dmask: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let (pixels, taps) = (d.pixels(), d.conv.taps());
    let points = product(&[d.offset_groups, taps, pixels])?;
    if d.conv.inputs == 0 || d.conv.images == 0 {
        doffset.fill(T::ZERO);
        dmask.into_iter().for_each(|dmask| dmask.fill(T::ZERO));
        return Ok(());
    }
    let owned = tasks(d)?;
    let parts = parts(&owned, d)?;
    let weight = packed(arrays.weight, &parts, d, exec)?;
    let widest = parts.iter().flatten().map(|part| part.pitch).max().unwrap_or(0);
    let most = parts.iter().flatten().map(|part| part.block.channels.len()).max().unwrap_or(0);
    let images_each = (d.conv.images * owned.len() / (4 * exec.threads())).clamp(1, d.conv.images);
    let tile = tile_rows(exec);
    let each = (MOST_HELD / widest.max(1)).clamp(tile, 16 * tile).min((images_each * pixels).next_multiple_of(tile))
        / tile
        * tile;
    // Pieces begin with an image: how pixels follow one another in a piece decides the order of sums.
    let at_once = (each / pixels).max(1);
    let lengths = [product(&[each, PITCH])?, product(&[each, widest])?, product(&[d.framed(), most])?];
    let space = || Ok(Space { upstream: zeros(lengths[0])?, dcol: zeros(lengths[1])?, dx_last: zeros(lengths[2])? });
    let mut sums = zeros::<T>(product(&[d.conv.images, owned.len(), KINDS, points])?)?;
    let cost = (d.conv.images * pixels * d.conv.inputs * taps).saturating_mul(d.per_group().1 + 20) / 20;
    let list = shares(dx, &mut sums, &owned, images_each, d)?;
    exec.for_each_with(cost, list.into_iter(), space, |space, (at, mut images)| {
        for part in &parts[at] {
            let channels = &part.block.channels;
            for images in images.chunks_mut(at_once) {
                for own in pieces(0..images.len() * pixels, each) {
                    multiply(space, dy, &weight, part, images[0].image, own.clone(), d, exec); // (B3)
                    for (k, inside, before) in in_images(own.clone(), pixels) {
                        let Owned { image, dx, sums } = &mut images[k];
                        if inside.start == 0 {
                            space.dx_last[..d.framed() * channels.len()].fill(T::ZERO);
                        }
                        exec.run(Spread {
                            x_last,
                            arrays,
                            dcol: &space.dcol[before * part.pitch..],
                            pitch: part.pitch,
                            pixels: *image * pixels + inside.start..*image * pixels + inside.end,
                            channels: channels.clone(),
                            dx_last: &mut space.dx_last,
                            sums,
                            d,
                        });
                        if inside.end == pixels {
                            let dx = &mut dx[(channels.start - owned[at].start) * d.plane()..];
                            unframe(&space.dx_last, channels.len(), dx, d, exec);
                        }
                    }
                }
            }
        }
    })?;
    gather(&sums, owned.len(), points, doffset, dmask, d, exec)
}

/// What a task owns of an image.
struct Owned<'a, T> {
    image: usize,
    dx: &'a mut [T],
    sums: &'a mut [T],
}

/// A task's place in `owned`, and its images.
type Images<'a, T> = (usize, Vec<Owned<'a, T>>);

/// A task for every `images_each` images and every entry of `owned`. `sums` is (images, owned, ...).
fn shares<'a, T>(
    dx: &'a mut [T],
    sums: &'a mut [T],
    owned: &[Range<usize>],
    images_each: usize,
    d: &Dims,
) -> Result<Vec<Images<'a, T>>, Error> {
    let mut list = reserved(d.conv.images.div_ceil(images_each) * owned.len())?;
    let sums_each = sums.len() / (d.conv.images * owned.len());
    let (mut dx_rest, mut sums_rest) = (dx, sums);
    for images in pieces(0..d.conv.images, images_each) {
        let first = list.len();
        for at in 0..owned.len() {
            list.push((at, reserved(images.len())?));
        }
        for image in images {
            for (own, (_, list)) in owned.iter().zip(&mut list[first..]) {
                let (dx, sums);
                (dx, dx_rest) = dx_rest.split_at_mut(own.len() * d.plane());
                (sums, sums_rest) = sums_rest.split_at_mut(sums_each);
                list.push(Owned { image, dx, sums });
            }
        }
    }
    Ok(list)
}

/// dx (channels, H, W) from a framed map with its channels last.
fn unframe<T: Real>(dx_last: &[T], channels: usize, dx: &mut [T], d: &Dims, exec: &Exec) {
    let (height, width) = d.conv.size;
    for i in 0..height {
        let (x, y) = (&dx_last[((i + 1) * d.framed_row() + 1) * channels..], &mut dx[i * width..]);
        exec.run(Transpose { x, x_pitch: channels, rows: width, columns: channels, y, y_pitch: d.plane() });
    }
}

/// dcol = weightᵀ·dy for the pixels `own`, counted from the first pixel of image `first`.                                            (B3)
#[allow(clippy::too_many_arguments)]
fn multiply<T: Real>(
    space: &mut Space<T>,
    dy: &[T],
    weight: &[T],
    part: &Part,
    first: usize,
    own: Range<usize>,
    d: &Dims,
    exec: &Exec,
) {
    /// Panels of one call: all tiles take them from the second cache.
    const MOST: usize = 4;
    let (outputs, pixels, count) = (d.per_group().1, d.pixels(), own.len());
    if outputs == 0 {
        space.dcol[..count * part.pitch].fill(T::ZERO);
        return;
    }
    let mut dcol = Share::new(&mut space.dcol[..count * part.pitch], 1, count, part.pitch);
    for terms in pieces(0..outputs, DEPTH) {
        let depth = terms.len();
        for (k, inside, before) in in_images(own.clone(), pixels) {
            let output = (first + k) * d.conv.outputs + part.block.group * outputs + terms.start;
            let y = &mut space.upstream[before * PITCH..];
            let (x, columns) = (&dy[output * pixels + inside.start..], inside.len());
            exec.run(Transpose { x, x_pitch: pixels, rows: depth, columns, y, y_pitch: PITCH });
        }
        let (rows, _) = space.upstream.as_chunks::<PITCH>();
        let start = part.start + terms.start * PANEL;
        for first in (0..part.pitch / PANEL).step_by(MOST) {
            let starts: [usize; MOST] = std::array::from_fn(|i| start + (first + i) * outputs * PANEL);
            let columns = first * PANEL..part.pitch.min((first + MOST) * PANEL);
            let starts = &starts[..columns.len() / PANEL];
            for tile in even(count, count.div_ceil(tile_rows(exec))) {
                exec.run(Tiles {
                    a: &rows[tile.clone()],
                    depth,
                    b: Panels { data: weight, starts, pitch: PANEL, run: depth, jump: 0 },
                    c: &mut dcol,
                    row: tile.start,
                    columns: columns.clone(),
                    add: terms.start > 0,
                    bias: Bias::None,
                });
            }
        }
    }
}

/// doffset and dmask from the sums of `parts` tasks for every image.                                                           (B4) (B5)
fn gather<T: Real>(
    sums: &[T],
    parts: usize,
    points: usize,
    doffset: &mut [T],
    dmask: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let pixels = d.pixels();
    if points == 0 {
        return Ok(());
    }
    let add = |image: usize, kind: usize, map: usize, to: &mut [T]| {
        to.fill(T::ZERO);
        for part in 0..parts {
            let from = &sums[(((image * parts + part) * KINDS) + kind) * points + map * pixels..][..pixels];
            for (to, &from) in to.iter_mut().zip(from) {
                *to += from;
            }
        }
    };
    let maps = points / pixels;
    exec.for_each(doffset.len() * parts, doffset.chunks_exact_mut(pixels).enumerate(), |(at, to)| {
        add(at / (2 * maps), 1 + at % 2, at / 2 % maps, to);
    })?;
    dmask.map_or(Ok(()), |dmask| {
        exec.for_each(dmask.len() * parts, dmask.chunks_exact_mut(pixels).enumerate(), |(at, to)| {
            add(at / maps, 0, at % maps, to);
        })
    })
}
