//! Between the arrays and work space: borders and strides.

use std::ops::Range;

use super::layout::Layout;
use super::{Border, Dims};
use crate::lanes::{self, Isa, MAX_LANES, Task, V, Vector};
use crate::real::Real;

/// Planes of one head, read at every output pixel: inputs on the stride grid, or maps of the output's size.
#[derive(Clone, Copy)]
pub struct Maps<'a, T> {
    x: &'a [T],
    size: (usize, usize),
    stride: (usize, usize),
}

impl<'a, T: Real> Maps<'a, T> {
    /// q, k, v or, for pair 0, pe.
    pub fn inputs(d: &Dims, x: &'a [T], pair: usize) -> Self {
        Maps { x: &x[pair * d.depth * d.height * d.width..], size: (d.height, d.width), stride: d.stride }
    }

    /// Maps of the output's size with `depth` planes per head.
    pub fn outputs(d: &Dims, x: &'a [T], pair: usize, depth: usize) -> Self {
        Maps { x: &x[pair * depth * d.out_height * d.out_width..], size: (d.out_height, d.out_width), stride: (1, 1) }
    }

    /// Row `a` of channel `e`.
    #[inline(always)]
    fn row(&self, e: usize, a: usize) -> &'a [T] {
        &self.x[(e * self.size.0 + a) * self.size.1..][..self.size.1]
    }

    /// All planes of this head and those after it, each from row `a` on.
    #[inline(always)]
    pub fn planes(&self, a: usize) -> impl Iterator<Item = &'a [T]> {
        self.x.chunks_exact(self.size.0 * self.size.1).map(move |plane| &plane[a * self.size.1..])
    }

    /// Channel `e` from output row `i` on.
    #[inline(always)]
    pub fn channel(&self, e: usize, i: usize) -> Channel<'a, T> {
        let from = (e * self.size.0 + i * self.stride.0) * self.size.1;
        Channel { x: &self.x[from..], line: self.stride.0 * self.size.1, step: self.stride.1 }
    }

    /// Output pixels `x..x + n` of row `i` of channel `e`; 0 in the other lanes.
    #[inline(always)]
    pub fn read<I: Isa>(&self, e: usize, i: usize, x: usize, n: usize) -> V<T, I> {
        self.channel(e, i).read::<I>(0, x, n)
    }
}

/// Rows of one channel, `line` elements apart, their pixels every `step` elements.
pub struct Channel<'a, T> {
    x: &'a [T],
    line: usize,
    step: usize,
}

impl<T: Real> Channel<'_, T> {
    /// Pixels `x..x + n` of row `r`; 0 in the other lanes.
    #[inline(always)]
    pub fn read<I: Isa>(&self, r: usize, x: usize, n: usize) -> V<T, I> {
        let row = &self.x[r * self.line + x * self.step..];
        if self.step > 1 { V::<T, I>::load_strided(row, self.step, n) } else { V::<T, I>::load_partial(row, n) }
    }

    /// Row `r`, if there is one, will soon be read from pixel `x` on.
    #[inline(always)]
    pub fn soon(&self, r: usize, x: usize) {
        lanes::prefetch(self.x, r * self.line + x * self.step);
    }
}

/// The pixels of `value`, every `sw` elements from the beginning of `row`, as far as it goes.
#[inline(always)]
pub fn write<T: Real, I: Isa>(value: V<T, I>, row: &mut [T], sw: usize) {
    let lanes = V::<T, I>::LANES;
    if sw > 1 {
        let mut pixels = [T::ZERO; MAX_LANES];
        value.store(&mut pixels);
        for (y, &pixel) in row.iter_mut().step_by(sw).zip(&pixels[..lanes]) {
            *y = pixel;
        }
    } else if row.len() >= lanes {
        value.store(row);
    } else {
        value.store_partial(row, row.len());
    }
}

/// Padded rows `rows` of the maps x (or of x − minus), as (row, channel, column). Plane after plane, as they lie in memory.
pub struct Pack<'a, T> {
    pub d: &'a Dims,
    pub l: &'a Layout,
    pub x: Maps<'a, T>,
    pub minus: Option<Maps<'a, T>>,
    pub rows: Range<usize>,
    /// Of the padded width.
    pub line: &'a mut [T],
    pub padded: &'a mut [T],
}

impl<T: Real> Task for Pack<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Pack { d, l, x, minus, rows, line, padded } = self;
        let (r, len) = (d.radius(), l.row_len);
        // A row of the map itself; rows that mirror one of those are copies.
        let (first, end) = (rows.start.max(r).min(rows.end), rows.end.min(r + d.height).max(rows.start));
        let inner = padded.get_mut((first - rows.start) * len..).unwrap_or_default();
        for (e, x) in x.planes(first.max(r) - r).take(d.depth).enumerate() {
            let rows = inner.get_mut(e * l.pitch..).unwrap_or_default().chunks_mut(len);
            let rows = x.chunks_exact(d.width).zip(rows).take(end - first);
            if let Some(pe) = &minus {
                let from = (e * d.height + first.max(r) - r) * d.width;
                for ((x, row), pe) in rows.zip(pe.x[from..].chunks_exact(d.width)) {
                    pack_row::<T, I>(d, l, x, Some(pe), line, &mut row[..l.pitch]);
                }
            } else {
                for (x, row) in rows {
                    pack_row::<T, I>(d, l, x, None, line, &mut row[..l.pitch]);
                }
            }
        }
        for y in (rows.start..first).chain(end..rows.end) {
            let to = (y - rows.start) * len;
            match d.shown(y, d.height) {
                None => padded[to..to + len].fill(T::ZERO),
                Some(a) if (first..end).contains(&(a + r)) => {
                    let from = (a + r - rows.start) * len;
                    padded.copy_within(from..from + len, to);
                }
                Some(a) => {
                    for (e, row) in padded[to..][..d.depth * l.pitch].chunks_exact_mut(l.pitch).enumerate() {
                        let minus = minus.as_ref().map(|pe| pe.row(e, a));
                        pack_row::<T, I>(d, l, x.row(e, a), minus, line, row);
                    }
                }
            }
        }
    }
}

/// One row with its border, in the phases of the layout. What lies between phases stays zero.
#[inline(always)]
fn pack_row<T: Real, I: Isa>(d: &Dims, l: &Layout, x: &[T], minus: Option<&[T]>, line: &mut [T], row: &mut [T]) {
    if d.stride.1 == 1 {
        return pad_row::<T, I>(d, x, minus, row);
    }
    line.fill(T::ZERO);
    pad_row::<T, I>(d, x, minus, line);
    for (p, phase) in row.chunks_exact_mut(l.phase).enumerate() {
        for (y, &x) in phase[..l.span].iter_mut().zip(line.iter().skip(p).step_by(d.stride.1)) {
            *y = x;
        }
    }
}

/// The pixels of output rows `rows` as (output row, channel, column), after the layout's `margin` of zeros.
pub fn pack_rows<T: Real>(d: &Dims, l: &Layout, x: &Maps<T>, rows: Range<usize>, packed: &mut [T]) {
    for e in 0..d.depth {
        for (i, y) in rows.clone().zip(packed[e * l.row_pitch..].chunks_mut(l.block_pitch)) {
            let (y, row) = (&mut y[l.margin..], x.row(e, i * x.stride.0));
            if x.stride.1 == 1 {
                y[..row.len()].copy_from_slice(row);
            } else {
                for (y, &x) in y.iter_mut().zip(row.iter().step_by(x.stride.1)) {
                    *y = x;
                }
            }
        }
    }
}

/// Adjoint of the border: padded row `row` is written into, or `added` to, a row of a gradient.
#[inline(always)]
pub fn fold_row<T: Real, I: Isa>(d: &Dims, l: &Layout, row: &[T], added: bool, line: &mut [T], dx: &mut [T]) {
    let (r, w, sw) = (d.radius(), d.width, d.stride.1);
    let line = if sw == 1 {
        &row[..w + 2 * r]
    } else {
        line.fill(T::ZERO);
        for (p, phase) in row.chunks_exact(l.phase).enumerate() {
            for (y, &x) in line.iter_mut().skip(p).step_by(sw).zip(&phase[..l.span]) {
                *y = x;
            }
        }
        line
    };
    if added {
        lanes::add_assign::<T, I>(&line[r..], dx);
    } else {
        dx.copy_from_slice(&line[r..r + w]);
    }
    if d.border == Border::Reflect {
        for (dx, &g) in dx[1..].iter_mut().zip(line[..r].iter().rev()) {
            *dx += g;
        }
        for (dx, &g) in dx[..w - 1].iter_mut().rev().zip(&line[r + w..]) {
            *dx += g;
        }
    }
}

/// Row x − minus with its border; a border of zeros is there already.
#[inline(always)]
fn pad_row<T: Real, I: Isa>(d: &Dims, x: &[T], minus: Option<&[T]>, line: &mut [T]) {
    let (r, w, lanes) = (d.radius(), d.width, V::<T, I>::LANES);
    let line = &mut line[..w + 2 * r];
    let inner = &mut line[r..r + w];
    let whole = w / lanes * lanes;
    if let Some(pe) = minus {
        let pe = &pe[..w];
        for j in (0..whole).step_by(lanes) {
            (V::<T, I>::load(&x[j..]) - V::<T, I>::load(&pe[j..])).store(&mut inner[j..]);
        }
        let rest = V::<T, I>::load_partial(&x[whole..], w - whole) - V::<T, I>::load_partial(&pe[whole..], w - whole);
        rest.store_partial(&mut inner[whole..], w - whole);
    } else {
        for j in (0..whole).step_by(lanes) {
            V::<T, I>::load(&x[j..]).store(&mut inner[j..]);
        }
        V::<T, I>::load_partial(&x[whole..], w - whole).store_partial(&mut inner[whole..], w - whole);
    }
    if d.border == Border::Reflect {
        match r {
            3 => mirror::<T, 3>(x, minus, line),
            2 => mirror::<T, 2>(x, minus, line),
            1 => mirror::<T, 1>(x, minus, line),
            _ => {
                for j in 1..r + 1 {
                    line[r - j] = line[r + j];
                    line[r + w - 1 + j] = line[r + w - 1 - j];
                }
            }
        }
    }
}

/// The border of `R` pixels on both sides, from the map: reading it back at once would wait for the stores.
#[inline(always)]
fn mirror<T: Real, const R: usize>(x: &[T], minus: Option<&[T]>, line: &mut [T]) {
    let n = x.len();
    let (Some((_, left)), Some((_, right))) = (x.split_first(), x.split_last()) else { return };
    let (Some(left), Some(right)) = (left.first_chunk::<R>(), right.last_chunk::<R>()) else { return };
    let (mut left, mut right) = (*left, *right);
    if let Some(pe) = minus {
        let (below, above) = (&pe[1..R + 1], &pe[n - 1 - R..n - 1]);
        for j in 0..R {
            (left[j], right[j]) = (left[j] - below[j], right[j] - above[j]);
        }
    }
    left.reverse();
    right.reverse();
    line[..R].copy_from_slice(&left);
    line[R + n..2 * R + n].copy_from_slice(&right);
}
