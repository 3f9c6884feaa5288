//! All gradients but that of the bias. A task has some channels of some images; for some pixels and channels at a time it makes dcol,
//! spreads it over the pixels that were read, leaves the columns in its place, and multiplies these with dy.
//!
//! Sums for offset and mask are added in the order of the channels, those for the weight in the order of the images.

use std::ops::Range;

use super::parts::{Channels, Cut};
use super::products::Space;
use super::spread::{KINDS, Spread};
use super::{Arguments, Dims};
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::gemm::{Share, Transpose, even, in_images, pieces};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Elements of the copies of dweight to which tasks for later images add.
const MOST_COPIES: usize = 1 << 21;

/// Elements of dweight that are added at once.
const ADDED: usize = 1 << 14;

/// What all tasks read.
pub struct Call<'a, T> {
    pub dy: &'a [T],
    pub x_last: &'a [T],
    pub arrays: &'a Arguments<&'a [T]>,
    pub cut: &'a Cut,
    pub d: &'a Dims,
    pub exec: &'a Exec<'a>,
}

/// What a task writes.
struct Own<'a, T> {
    channels: &'a Channels,
    images: Vec<Image<'a, T>>,
    dweight: Share<'a, T>,
    /// Whether to add to dweight.
    add: bool,
}

struct Image<'a, T> {
    at: usize,
    dx: &'a mut [T],
    sums: &'a mut [T],
}

/// Everything but `to.bias`.
pub fn gradients<T: Real>(
    dy: &[T],
    x_last: &[T],
    arrays: &Arguments<&[T]>,
    to: Arguments<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Arguments { x: mut dx, offset: doffset, weight: dweight, mask: dmask, .. } = to;
    if [d.conv.images, d.conv.inputs].contains(&0) {
        dx.fill(T::ZERO);
        dweight.fill(T::ZERO);
        doffset.fill(T::ZERO);
        dmask.into_iter().for_each(|dmask| dmask.fill(T::ZERO));
        return Ok(());
    }
    let points = product(&[d.offset_groups, d.conv.taps(), d.pixels()])?;
    let cut = Cut::new(d)?;
    let mut sums = zeros::<T>(product(&[d.conv.images, cut.ranges.len(), KINDS, points])?)?;
    let at_once = (1 + MOST_COPIES / dweight.len()).min(d.conv.images.div_ceil(cut.images_each));
    let mut copies = zeros::<T>((at_once - 1) * dweight.len())?;
    let call = Call { dy, x_last, arrays, cut: &cut, d, exec };
    let mut sums_rest = &mut sums[..];
    let len = dweight.len();
    for images in pieces(0..d.conv.images, at_once * cut.images_each) {
        let copied = images.len().div_ceil(cut.images_each) - 1;
        let cost = (images.len() * d.pixels() * d.conv.inputs * d.conv.taps()) / 10;
        let cost = cost.saturating_mul(d.per_group().1 + 20);
        let dx = dx.split_off_mut(..images.len() * d.conv.inputs * d.plane()).expect("dx of all images");
        let sums = sums_rest.split_off_mut(..images.len() * cut.ranges.len() * KINDS * points).expect("all sums");
        let to = std::iter::once(&mut *dweight).chain(copies.chunks_exact_mut(len));
        let list = tasks(images, dx, sums, to, &cut, d)?;
        exec.for_each_with(cost, list.into_iter(), || Space::new(&cut, d), |space, own| call.run(space, own))?;
        for copy in copies.chunks_exact(len).take(copied) {
            exec.for_each(len, dweight.chunks_mut(ADDED).zip(copy.chunks(ADDED)), |(to, from)| {
                for (to, &from) in to.iter_mut().zip(from) {
                    *to += from;
                }
            })?;
        }
    }
    gather(&sums, cut.ranges.len(), points, doffset, dmask, d, exec)
}

/// A task for every `cut.images_each` of the images and every range of channels; the first images write to the first of `dweights`.
fn tasks<'a, T: Real>(
    images: Range<usize>,
    mut dx: &'a mut [T],
    mut sums: &'a mut [T],
    dweights: impl Iterator<Item = &'a mut [T]>,
    cut: &'a Cut,
    d: &Dims,
) -> Result<Vec<Own<'a, T>>, Error> {
    let ((inputs, outputs), taps) = (d.per_group(), d.conv.taps());
    let sums_each = KINDS * d.offset_groups * taps * d.pixels();
    let mut list = reserved(images.len().div_ceil(cut.images_each) * cut.ranges.len())?;
    for (images, dweight) in pieces(images, cut.images_each).zip(dweights) {
        let (first, add) = (list.len(), list.is_empty() && images.start > 0);
        let shares = Share::new(dweight, 1, d.conv.outputs, inputs * taps).by_rows(cut.groups_each * outputs);
        let shares = shares.flat_map(|groups| groups.by_columns(cut.channels_each * taps));
        for (channels, dweight) in cut.ranges.iter().zip(shares) {
            list.push(Own { channels, images: reserved(images.len())?, dweight, add });
        }
        for at in images {
            for own in &mut list[first..] {
                let dx = dx.split_off_mut(..own.channels.all.len() * d.plane()).expect("dx of all images");
                let sums = sums.split_off_mut(..sums_each).expect("all sums");
                own.images.push(Image { at, dx, sums });
            }
        }
    }
    Ok(list)
}

impl<T: Real> Call<'_, T> {
    fn run(&self, space: &mut Space<T>, own: Own<T>) {
        let Call { x_last, arrays, cut, d, exec, .. } = *self;
        let Own { channels: Channels { all, parts }, mut images, dweight, add } = own;
        let (pixels, frame) = (d.pixels(), d.framed() * all.len());
        parts.iter().for_each(|part| self.pack(space, part));
        let mut done = false;
        let together = images.len().div_ceil(images.len().div_ceil(cut.together));
        for images in images.chunks_mut(together) {
            space.dx_last[..images.len() * frame].fill(T::ZERO);
            let total = images.len() * pixels;
            for own in even(total, total.div_ceil(cut.pixels_each)) {
                let first = images[0].at;
                for part in parts {
                    self.upstream(space, part, first, own.clone());
                    self.columns_gradient(space, part, own.len()); // (B3)
                    for (k, inside, before) in in_images(own.clone(), pixels) {
                        exec.run(Spread {
                            x_last,
                            arrays,
                            columns: &mut space.columns,
                            count: own.len(),
                            before,
                            image: first + k,
                            pixels: inside,
                            channels: part.block.channels.clone(),
                            dx_last: &mut space.dx_last[k * frame..][..frame],
                            all: all.clone(),
                            sums: images[k].sums,
                            d,
                        }); // (B4) (B5)
                    }
                    self.weight_gradient(space, part, own.len(), done); // (B2)
                }
                done = true;
            }
            for (dx_last, image) in space.dx_last.chunks_exact(frame).zip(images) {
                unframe(dx_last, all.len(), image.dx, d, exec);
            }
        }
        self.give(space, parts, dweight, add);
    }
}

/// dx (channels, H, W) from a framed map with its channels last.
fn unframe<T: Real>(dx_last: &[T], channels: usize, dx: &mut [T], d: &Dims, exec: &Exec) {
    let (height, width) = d.conv.size;
    for i in 0..height {
        let (x, y) = (&dx_last[((i + 1) * d.framed_row() + 1) * channels..], &mut dx[i * width..]);
        exec.run(Transpose { x, x_pitch: channels, rows: width, columns: channels, y, y_pitch: d.plane() });
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
