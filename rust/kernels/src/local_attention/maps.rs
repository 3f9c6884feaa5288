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

    /// Output pixels `x..x + n` of row `i` of channel `e`; 0 in the other lanes.
    #[inline(always)]
    pub fn read<I: Isa>(&self, e: usize, i: usize, x: usize, n: usize) -> V<T, I> {
        let row = &self.row(e, i * self.stride.0)[x * self.stride.1..];
        if self.stride.1 > 1 {
            V::<T, I>::load_strided(row, self.stride.1, n)
        } else if n == V::<T, I>::LANES {
            V::<T, I>::load(row)
        } else {
            V::<T, I>::load_partial(row, n)
        }
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
        for e in 0..d.depth {
            for (y, row) in rows.clone().zip(padded[e * l.pitch..].chunks_mut(d.depth * l.pitch)) {
                let row = &mut row[..l.pitch];
                let Some(a) = d.shown(y, d.height) else {
                    row.fill(T::ZERO);
                    continue;
                };
                let x = x.row(e, a);
                let minus = if let Some(pe) = &minus { Some(pe.row(e, a)) } else { None };
                if d.stride.1 == 1 {
                    pad_row::<T, I>(d, x, minus, row);
                } else {
                    pad_row::<T, I>(d, x, minus, line);
                    for (p, phase) in row.chunks_exact_mut(l.phase).enumerate() {
                        for (y, &x) in phase[..l.span].iter_mut().zip(line.iter().skip(p).step_by(d.stride.1)) {
                            *y = x;
                        }
                    }
                }
            }
        }
    }
}

/// The pixels of output rows `rows` as (output row, channel, column), after the layout's `margin` of zeros.
pub fn pack_rows<T: Real>(d: &Dims, l: &Layout, x: &Maps<T>, rows: Range<usize>, packed: &mut [T]) {
    for e in 0..d.depth {
        for (i, y) in rows.clone().zip(packed[e * l.row_pitch..].chunks_mut(d.depth * l.row_pitch)) {
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

/// Row x − minus with its border.
#[inline(always)]
fn pad_row<T: Real, I: Isa>(d: &Dims, x: &[T], minus: Option<&[T]>, line: &mut [T]) {
    let (r, w) = (d.radius(), d.width);
    let (left, line) = line[..w + 2 * r].split_at_mut(r);
    let (inner, right) = line.split_at_mut(w);
    inner.copy_from_slice(x);
    if let Some(pe) = minus {
        subtract::<T, I>(pe, inner);
    }
    if d.border == Border::Reflect {
        for (y, &x) in left.iter_mut().rev().zip(&inner[1..]) {
            *y = x;
        }
        for (y, &x) in right.iter_mut().zip(inner[..w - 1].iter().rev()) {
            *y = x;
        }
    } else {
        left.fill(T::ZERO);
        right.fill(T::ZERO);
    }
}

/// y −= x
#[inline(always)]
fn subtract<T: Real, I: Isa>(x: &[T], y: &mut [T]) {
    let (n, lanes) = (y.len(), V::<T, I>::LANES);
    let mut j = 0;
    while j + lanes <= n {
        (V::<T, I>::load(&y[j..]) - V::<T, I>::load(&x[j..])).store(&mut y[j..]);
        j += lanes;
    }
    (V::<T, I>::load_partial(&y[j..], n - j) - V::<T, I>::load_partial(&x[j..], n - j))
        .store_partial(&mut y[j..], n - j);
}
