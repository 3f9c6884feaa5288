//! dx, doffset and dmask: weightᵀ·dy for some pixels and channels at a time, spread over the pixels that were read.
//!
//! A task owns some channels of an image of dx, and its own sums for offset and mask, which are added in the order of the channels.

use std::ops::Range;

use super::sample::{Pixel, Place, Tap, members, offset_groups, place, rows};
use super::{Arguments, Block, Dims};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, pieces, tile_rows};
use crate::lanes::{Isa, Task, V, Vector};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Most tasks of an image. How many there are follows from the channels alone: neither threads nor other images change a sum.
const MOST_TASKS: usize = 4;

/// Channels handled at once.
const MOST_CHANNELS: usize = 64;

/// Elements of dcol held at once.
const MOST_HELD: usize = 1 << 16;

/// Gradients of one point: of mask, dy and dx.
const KINDS: usize = 3;

/// Channels handled at once: where their weights begin, and how far apart the rows of one output are.
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
    let (mut list, mut start) = (reserved(tasks.len())?, 0);
    for channels in tasks {
        let count = channels.len().div_ceil(inputs.max(1)) + 1;
        let mut own = reserved(count.saturating_mul(inputs.div_ceil(MOST_CHANNELS) + 1))?;
        let groups = if channels.is_empty() { 0..0 } else { channels.start / inputs..channels.end.div_ceil(inputs) };
        for group in groups {
            let of_group = channels.start.max(group * inputs)..channels.end.min((group + 1) * inputs);
            for part in even(of_group.len(), of_group.len().div_ceil(MOST_CHANNELS)) {
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

/// The weight of every part as (outputs, taps, channels), rows `pitch` apart.
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
    exec.for_each(4 * weight.len(), split.into_iter(), |(part, own)| {
        let Part { block, pitch, .. } = part;
        let width = block.channels.len();
        for (o, to) in own.chunks_exact_mut(*pitch).enumerate() {
            let from = &weight[(block.group * outputs + o) * inputs * taps..][..inputs * taps];
            for (k, c) in block.channels.clone().enumerate() {
                let from = &from[(c - block.group * inputs) * taps..][..taps];
                for (tap, &w) in from.iter().enumerate() {
                    to[tap * width + k] = w;
                }
            }
        }
    })?;
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
    let (plane, pixels, taps) = (d.plane(), d.pixels(), d.conv.taps());
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
    let tile = tile_rows(exec);
    let each = (MOST_HELD / widest.max(1)).clamp(tile, 16 * tile).min(pixels.next_multiple_of(tile)) / tile * tile;
    let lengths = [product(&[each, PITCH])?, product(&[each, widest])?, product(&[plane + 1, most])?];
    let space = || Ok(Space { upstream: zeros(lengths[0])?, dcol: zeros(lengths[1])?, dx_last: zeros(lengths[2])? });
    let mut sums = zeros::<T>(product(&[d.conv.images, owned.len(), KINDS, points])?)?;
    let mut list = reserved(d.conv.images * owned.len())?;
    {
        let mut sums = sums.chunks_exact_mut(KINDS * points);
        let mut rest = dx;
        for image in 0..d.conv.images {
            for (own, parts) in owned.iter().zip(&parts) {
                let (dx, after) = rest.split_at_mut(own.len() * plane);
                rest = after;
                list.extend(sums.next().map(|sums| (image, own.start, parts, dx, sums)));
            }
        }
    }
    let cost = (d.conv.images * pixels * d.conv.inputs * taps).saturating_mul(d.per_group().1 + 20) / 20;
    exec.for_each_with(cost, list.into_iter(), space, |space, (image, first, parts, dx, sums)| {
        for part in parts {
            let channels = &part.block.channels;
            let len = (plane + 1) * channels.len();
            space.dx_last[..len].fill(T::ZERO);
            for own in pieces(0..pixels, each) {
                multiply(space, dy, &weight, part, image, own.clone(), d, exec); // (B3)
                exec.run(Spread {
                    x_last,
                    arrays,
                    dcol: &space.dcol,
                    pitch: part.pitch,
                    pixels: image * pixels + own.start..image * pixels + own.end,
                    channels: channels.clone(),
                    dx_last: &mut space.dx_last,
                    sums: &mut *sums,
                    d,
                });
            }
            let (x, y) = (&space.dx_last, &mut dx[(channels.start - first) * plane..][..channels.len() * plane]);
            let (rows, columns) = (plane, channels.len());
            exec.run(Transpose { x, x_pitch: columns, rows, columns, y, y_pitch: plane });
        }
    })?;
    gather(&sums, owned.len(), points, doffset, dmask, d, exec)
}

/// dcol = weightᵀ·dy for the pixels `own` of an image.                                                                              (B3)
#[allow(clippy::too_many_arguments)]
fn multiply<T: Real>(
    space: &mut Space<T>,
    dy: &[T],
    weight: &[T],
    part: &Part,
    image: usize,
    own: Range<usize>,
    d: &Dims,
    exec: &Exec,
) {
    /// Panels of one call.
    const MOST: usize = 16;
    let (outputs, pixels, count) = (d.per_group().1, d.pixels(), own.len());
    let mut dcol = Share::new(&mut space.dcol[..count * part.pitch], 1, count, part.pitch);
    if outputs == 0 {
        space.dcol[..count * part.pitch].fill(T::ZERO);
        return;
    }
    for terms in pieces(0..outputs, DEPTH) {
        let dy = &dy[(image * d.conv.outputs + part.block.group * outputs + terms.start) * pixels + own.start..];
        let (upstream, depth) = (&mut space.upstream, terms.len());
        exec.run(Transpose { x: dy, x_pitch: pixels, rows: depth, columns: count, y: upstream, y_pitch: PITCH });
        let (rows, _) = space.upstream.as_chunks::<PITCH>();
        let start = part.start + terms.start * part.pitch;
        for first in (0..part.pitch / PANEL).step_by(MOST) {
            let starts: [usize; MOST] = std::array::from_fn(|i| start + (first + i) * PANEL);
            let columns = first * PANEL..part.pitch.min((first + MOST) * PANEL);
            for tile in even(count, count.div_ceil(tile_rows(exec))) {
                exec.run(Tiles {
                    a: &rows[tile.clone()],
                    depth,
                    b: Panels {
                        data: weight,
                        starts: &starts[..columns.len() / PANEL],
                        pitch: part.pitch,
                        run: depth,
                        jump: 0,
                    },
                    c: &mut dcol,
                    row: tile.start,
                    columns: columns.clone(),
                    add: terms.start > 0,
                    bias: None,
                });
            }
        }
    }
}

/// Adds what dcol gives to the pixels of x that were read, and to offset and mask.
struct Spread<'a, T> {
    x_last: &'a [T],
    arrays: &'a Arguments<&'a [T]>,
    dcol: &'a [T],
    pitch: usize,
    /// Counted through all images, all of one image.
    pixels: Range<usize>,
    channels: Range<usize>,
    /// (H·W + 1, channels): the last row gets what falls outside.
    dx_last: &'a mut [T],
    /// (mask, dy, dx; points of the image)
    sums: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for Spread<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, width) = (self.d, self.channels.len());
        let (inputs, image_len) = (d.conv.inputs, (d.plane() + 1) * d.conv.inputs);
        let groups = offset_groups(&self.channels, d);
        let image = self.pixels.start / d.pixels();
        let x = &self.x_last[image * image_len..][..image_len];
        let points = d.offset_groups * d.conv.taps() * d.pixels();
        let mut pixel = Pixel::new(self.pixels.start, d);
        for row in 0..self.pixels.len() {
            let dcol = &self.dcol[row * self.pitch..][..self.pitch];
            let mut at = Tap::new(0, d);
            for tap in 0..d.conv.taps() {
                for group in groups.clone() {
                    let own = members(&self.channels, group, d);
                    let first = own.start - self.channels.start;
                    let Place { point, index, outside } = place(self.arrays.offset, pixel, at, group, d);
                    let mask = self.arrays.mask.map(|mask| mask[index]);
                    let z = rows(x, &point, &own, inputs);
                    let dcol = &dcol[tap * width + first..][..own.len()];
                    let (m, w) = (V::<T, I>::splat(mask.unwrap_or(T::ONE)), point.weights());
                    let w = [
                        V::<T, I>::splat(w[0]),
                        V::<T, I>::splat(w[1]),
                        V::<T, I>::splat(w[2]),
                        V::<T, I>::splat(w[3]),
                    ];
                    let (a, b) = (V::<T, I>::splat(point.a), V::<T, I>::splat(point.b));
                    let to = point.at.map(|at| at * width + first);
                    let mut sums = [V::<T, I>::zero(); KINDS];
                    let (mut c, n) = (0, own.len());
                    while c < n {
                        let lanes = V::<T, I>::LANES.min(n - c);
                        let g = V::<T, I>::load_partial(&dcol[c..], lanes);
                        let z = [
                            V::<T, I>::load_partial(&z[0][c..], lanes),
                            V::<T, I>::load_partial(&z[1][c..], lanes),
                            V::<T, I>::load_partial(&z[2][c..], lanes),
                            V::<T, I>::load_partial(&z[3][c..], lanes),
                        ];
                        let one = V::<T, I>::splat(T::ONE);
                        let s = w[3].mul_add(z[3], w[2].mul_add(z[2], w[1].mul_add(z[1], w[0] * z[0])));
                        let ds = m * g; // (B4)
                        let along = [
                            g * s,
                            ds * ((one - b) * (z[2] - z[0]) + b * (z[3] - z[1])),
                            ds * ((one - a) * (z[1] - z[0]) + a * (z[3] - z[2])),
                        ];
                        for k in 0..KINDS {
                            sums[k] = sums[k] + along[k].keep(lanes, V::<T, I>::zero());
                        }
                        for k in 0..4 {
                            let to = &mut self.dx_last[to[k] + c..][..lanes];
                            w[k].mul_add(ds, V::<T, I>::load_partial(to, lanes)).store_partial(to, lanes); // (B5)
                        }
                        c += lanes;
                    }
                    if !(outside && d.zero_outside) {
                        let own = index - image * points;
                        for k in 0..KINDS {
                            self.sums[k * points + own] += sums[k].reduce_sum();
                        }
                    }
                }
                at.next(d);
            }
            pixel.next(d);
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
