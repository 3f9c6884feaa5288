//! dx of a convolution: the product Kᵀ dy for some pixels at a time, added where the taps read.

use std::ops::Range;

use super::Dims;
use super::windows::Order;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{
    Ahead, DEPTH, MAX_ROWS, Matrix, Onto, PANEL, PITCH, Pack, Panels, Product, Share, Stored, Tiles, Transpose, even,
    pieces, tile_rows,
};
use crate::lanes::{self, Isa, Task};
use crate::planes::product;
use crate::real::{Real, finite};

/// Channels, and outputs, that are mirrored together: runs of whole lines of the cache on both sides.
const MIRRORED: (usize, usize) = (16, 8);

/// Most pixels of y whose products are held at once.
const MOST_COLUMNS: usize = 256;

/// weight (groups, O', C'·kh·kw) -> (groups, C'·kh·kw, O').
fn transposed<T: Real>(weight: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let (rows, columns) = (d.outputs / d.groups, d.depth());
    let mut y = zeros(weight.len())?;
    if !weight.is_empty() {
        let tasks = y.chunks_exact_mut(rows * columns).zip(weight.chunks_exact(rows * columns));
        exec.for_each(weight.len(), tasks, |(y, x)| {
            exec.run(Transpose { x, x_pitch: columns, rows, columns, y, y_pitch: rows })
        })?;
    }
    Ok(y)
}

/// weight (groups, O', C', taps) -> (groups, C', O', taps backwards).
fn mirrored<T: Real>(weight: &[T], d: &Dims, exec: &Exec) -> Result<Buffer<T>, Error> {
    let (taps, inputs, outputs) = (d.taps(), d.inputs / d.groups, d.outputs / d.groups);
    let mut y = zeros(weight.len())?;
    if y.is_empty() {
        return Ok(y);
    }
    // Several channels at a time: they are neighbours in the weight.
    let tasks = y.chunks_mut(inputs * outputs * taps).zip(weight.chunks(inputs * outputs * taps));
    let tasks = tasks.flat_map(|(y, weight)| {
        y.chunks_mut(MIRRORED.0 * outputs * taps).enumerate().map(move |(at, y)| (at * MIRRORED.0, y, weight))
    });
    exec.for_each(weight.len(), tasks, |(first, y, weight)| {
        for own in pieces(0..outputs, MIRRORED.1) {
            for (c, y) in y.chunks_exact_mut(outputs * taps).enumerate() {
                for (o, y) in own.clone().zip(y[own.start * taps..].chunks_exact_mut(taps)) {
                    backwards(&weight[(o * inputs + first + c) * taps..][..taps], y);
                }
            }
        }
    })?;
    Ok(y)
}

/// y = x from its last element to its first. Three by three taps are moved without a loop.
fn backwards<T: Real>(x: &[T], y: &mut [T]) {
    match (<&[T; 9]>::try_from(x), <&mut [T; 9]>::try_from(&mut *y)) {
        (Ok(x), Ok(y)) => *y = std::array::from_fn(|k| x[8 - k]),
        _ => y.iter_mut().zip(x.iter().rev()).for_each(|(y, &x)| *y = x),
    }
}

struct Space<T> {
    panels: Buffer<T>,
    a: Buffer<T>,
    products: Buffer<T>,
    padded: Buffer<T>,
}

pub fn input_gradient<T: Real>(dy: &[T], weight: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let (groups, inputs, outputs) = (d.groups, d.inputs / d.groups, d.outputs / d.groups);
    let (pixels, plane) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1);
    if dx.is_empty() {
        return Ok(());
    }
    if !d.is_pointwise()
        && let Some(mirror) = d.mirror()
        && finite(weight)
    {
        // A convolution of dy: the zeros around it vanish, since all weights are finite.
        let mirrored = mirrored(weight, d, exec)?;
        return super::forward(dy, &mirrored, None, dx, &mirror, exec); // (B3) (B4)
    }
    let source = Stored { x: dy, groups, depth: outputs, columns: pixels };
    if d.is_pointwise() {
        let product = Product { images: d.images, groups, rows: inputs, depth: outputs, block: DEPTH, columns: pixels };
        return product.run(Matrix::Columns(weight), &source, None, dx, exec); // (B3)
    }
    let k_t = transposed(weight, d, exec)?;
    let order = Order::new(d);
    let padded_plane = product(&[d.size.0 + 2 * d.padding.0, order.len()])?;
    let columns_each = (3 * MOST_COLUMNS * DEPTH / outputs.max(1) / PANEL * PANEL).clamp(PANEL, MOST_COLUMNS);
    let per_channel = 2 * outputs * d.taps() * pixels / 50;
    let wanted = (4 * exec.threads()).div_ceil(d.images * groups).max(per_channel * inputs / 10_000_000);
    let channels_each = inputs.div_ceil(wanted.clamp(1, inputs.div_ceil(2)));
    let padded_len = product(&[channels_each, padded_plane])?;
    let panels_len = product(&[outputs, columns_each])? + PANEL;
    let space = || {
        let products = zeros(MAX_ROWS * columns_each)?;
        Ok(Space { panels: zeros(panels_len)?, a: zeros(MAX_ROWS * PITCH)?, products, padded: zeros(padded_len)? })
    };
    let groups_of_planes = dx.chunks_mut(inputs * plane).enumerate();
    let tasks = groups_of_planes
        .flat_map(|(at, dx)| dx.chunks_mut(channels_each * plane).enumerate().map(move |(b, dx)| (at, b, dx)));
    exec.for_each_with(per_channel * inputs * groups * d.images, tasks, space, |space, (at, b, dx)| {
        let (image, group) = (at / groups, at % groups);
        let first = b * channels_each;
        let count = dx.len() / plane;
        let a = &k_t[group * inputs * d.taps() * outputs..];
        let padded = &mut space.padded[..count * padded_plane];
        padded.fill(T::ZERO);
        for columns in pieces(0..pixels, columns_each) {
            let counted = image * pixels + columns.start..image * pixels + columns.end;
            let mut start = 0;
            for terms in pieces(0..outputs, DEPTH) {
                let len = terms.len() * columns.len().div_ceil(PANEL) * PANEL;
                let panels = &mut space.panels[start..start + len + PANEL];
                exec.run(Pack { b: &source, group, depth: terms, columns: counted.clone(), scratch: &mut [], panels });
                start += len;
            }
            let rows = d.taps() * count;
            for tile in even(rows, rows.div_ceil(tile_rows(exec))) {
                multiply(space, a, tile.clone(), (first, count), columns.len(), d, exec);
                let padded = &mut space.padded;
                exec.run(Add {
                    products: &space.products,
                    rows: tile,
                    columns: columns.clone(),
                    padded,
                    padded_plane,
                    count,
                    order,
                    d,
                });
            }
        }
        for (dx, padded) in dx.chunks_exact_mut(plane).zip(space.padded.chunks_exact(padded_plane)) {
            let rows = padded.chunks_exact(order.len()).skip(d.padding.0);
            for (dx, row) in dx.chunks_exact_mut(d.size.1).zip(rows) {
                order.crop(row, dx); // (B4)
            }
        }
    })
}

/// Row of the products -> tap and channel: last tap first. A pixel of dx meets its taps in this order too when the pixels of y go
/// forward, so the order of its sum does not depend on how they are cut into pieces.
fn tap_and_channel(row: usize, count: usize, d: &Dims) -> (usize, usize) {
    (d.taps() - 1 - row / count, row % count)
}

/// products = rows `tile` of Kᵀ times the packed columns.                                                                        (B3)
fn multiply<T: Real>(
    space: &mut Space<T>,
    a: &[T],
    tile: Range<usize>,
    (first, count): (usize, usize),
    columns: usize,
    d: &Dims,
    exec: &Exec,
) {
    let outputs = d.outputs / d.groups;
    let (a_rows, _) = space.a.as_chunks_mut::<PITCH>();
    let a_rows = &mut a_rows[..tile.len()];
    let mut c = Share::new(&mut space.products[..MAX_ROWS * columns], 1, MAX_ROWS, columns);
    let mut at = 0;
    for terms in pieces(0..outputs.max(1), DEPTH) {
        let n = terms.len().min(outputs);
        for (to, row) in a_rows.iter_mut().zip(tile.clone()) {
            let (tap, c) = tap_and_channel(row, count, d);
            to[..n].copy_from_slice(&a[((first + c) * d.taps() + tap) * outputs + terms.start..][..n]);
        }
        let starts: [usize; MOST_COLUMNS / PANEL] = std::array::from_fn(|i| at + i * n * PANEL);
        let starts = &starts[..columns.div_ceil(PANEL)];
        let b = Panels { data: &space.panels, starts, pitch: PANEL, run: n, jump: 0 };
        exec.run(Tiles {
            a: a_rows,
            depth: n,
            b,
            c: &mut c,
            row: 0,
            columns: 0..columns,
            onto: Onto::c(terms.start > 0),
            next: Ahead::NOTHING,
        });
        at += n * starts.len() * PANEL;
    }
}

/// dxp += products, at the pixels that each tap reads.                                                                           (B3)
struct Add<'a, T> {
    products: &'a [T],
    rows: Range<usize>,
    columns: Range<usize>,
    padded: &'a mut [T],
    padded_plane: usize,
    count: usize,
    order: Order,
    d: &'a Dims,
}

impl<T: Real> Task for Add<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, width) = (self.d, self.d.out_size.1);
        for (row, products) in self.rows.zip(self.products.chunks_exact(self.columns.len())) {
            let (tap, c) = tap_and_channel(row, self.count, d);
            let (p, q) = (tap / d.kernel.1, tap % d.kernel.1);
            let column = self.order.tap(q * d.dilation.1);
            let plane = &mut self.padded[c * self.padded_plane..][..self.padded_plane];
            let (mut i, mut j, mut done) = (self.columns.start / width, self.columns.start % width, 0);
            while done < products.len() {
                let run = (width - j).min(products.len() - done);
                let at = (i * d.stride.0 + p * d.dilation.0) * self.order.len() + column + j;
                lanes::add_assign::<T, I>(&products[done..done + run], &mut plane[at..at + run]);
                (done, i, j) = (done + run, i + 1, 0);
            }
        }
    }
}
