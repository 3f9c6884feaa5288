//! A block of queries in the backward: its weights and their derivatives for all keys, and the products with them.

use std::ops::Range;

use super::rows::{AddRows, Derivatives, Weights};
use super::{Dims, Right, To, multiply, padded, parts, readable, transposed_len};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, MAX_ROWS, PANEL, PITCH, Share, Transpose, even, tile_rows};
use crate::lanes::MAX_LANES;
use crate::planes::product;
use crate::real::Real;

/// Distance of the rows of a transposed bias: whole vectors.
pub fn across(queries: usize) -> usize {
    queries.next_multiple_of(MAX_LANES)
}

/// Queries of a block: their weights for all keys, and the derivatives of those, fill half of a cache of 1 MiB.
pub fn block<T>(d: &Dims) -> usize {
    let most = (1 << 18) / (size_of::<T>() * d.keys);
    (most / PANEL * PANEL).clamp(PANEL, DEPTH).min(d.queries)
}

/// Work space of a thread.
pub struct Scratch<T> {
    /// Weights, and the derivatives by them: (key, query).
    pub a: Buffer<T>,
    pub da: Buffer<T>,
    /// Transposed: queries and do of a block as panels, keys in blocks of [`DEPTH`].
    pub q_across: Buffer<T>,
    pub do_across: Buffer<T>,
    pub k_across: Buffer<T>,
    pub dq_across: Buffer<T>,
    /// Copies with rows of whole panels.
    pub q_rows: Buffer<T>,
    pub do_rows: Buffer<T>,
    /// Rows of keys or values as the left matrix of a product.
    pub left: Buffer<T>,
    /// Of every query: lse, Σ e and Σ e·da.
    pub lse: Buffer<T>,
    pub sum: Buffer<T>,
    pub delta: Buffer<T>,
    pub bias: Buffer<T>,
    pub dbias: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    pub fn new(d: &Dims) -> Result<Self, Error> {
        let queries = block::<T>(d);
        let copy = |width: usize| if padded(width) == width { Ok(0) } else { product(&[queries, padded(width)]) };
        let matrix = if d.bias.is_some() { product(&[d.keys, across(d.queries)])? } else { 0 };
        Ok(Scratch {
            a: zeros(product(&[d.keys, PITCH])?)?,
            da: zeros(product(&[d.keys, PITCH])?)?,
            q_across: zeros(transposed_len(queries, d.depth)?)?,
            do_across: zeros(transposed_len(queries, d.width)?)?,
            k_across: zeros(product(&[d.keys.div_ceil(DEPTH), d.depth, PITCH])?)?,
            dq_across: zeros(product(&[d.depth, PITCH])?)?,
            q_rows: zeros(copy(d.depth)?)?,
            do_rows: zeros(copy(d.width)?)?,
            left: zeros(MAX_ROWS * PITCH)?,
            lse: zeros(PITCH)?,
            sum: zeros(PITCH)?,
            delta: zeros(PITCH)?,
            bias: zeros(matrix)?,
            dbias: zeros(matrix)?,
        })
    }
}

impl<T: Real> Scratch<T> {
    /// `a` and, in `da`, scale·dz of a block of queries.
    pub fn weights(&mut self, k: &[T], v: &[T], queries: &Range<usize>, d: &Dims, exec: &Exec) {
        let n = queries.len();
        let whole = n.next_multiple_of(MAX_LANES);
        let pitch = across(d.queries);
        let (to_scores, to_weights) = (d.bias.filter(|_| !d.post), d.bias.filter(|_| d.post));
        self.sum.fill(T::ZERO);
        self.delta.fill(T::ZERO);
        for keys in even(d.keys, d.keys.div_ceil(tile_rows(exec))) {
            let panels = Right::panels(&self.q_across, d.depth, 0);
            product_of_rows(k, d.depth, &keys, panels, &mut self.a, &mut self.left, n, exec); // (F1)
            let panels = Right::panels(&self.do_across, d.width, 0);
            product_of_rows(v, d.width, &keys, panels, &mut self.da, &mut self.left, n, exec); // (B2)
            let (a, da) = (self.a.as_chunks_mut().0, self.da.as_chunks().0);
            exec.run(Weights {
                a: &mut a[keys.clone()],
                da: &da[keys.clone()],
                bias: to_scores.map(|_| &self.bias[keys.start * pitch + queries.start..]),
                pitch,
                lse: &self.lse[..whole],
                sum: &mut self.sum,
                delta: &mut self.delta,
            }); // (F1) (F3)
        }
        if to_weights.is_some() {
            let (y, y_pitch) = (&mut self.dbias[queries.start..], pitch);
            exec.run(AddRows { x: &self.da, x_pitch: PITCH, y, y_pitch, rows: d.keys, n }); // (B6) of the form "post"
        }
        exec.run(Derivatives {
            a: self.a.as_chunks_mut().0,
            da: self.da.as_chunks_mut().0,
            dbias: to_scores.map(|_| &mut self.dbias[queries.start..]),
            pitch,
            sum: &mut self.sum[..whole],
            delta: &mut self.delta[..whole],
            scale: T::from_f64(d.scale),
        }); // (B3) (B6)
        if to_weights.is_some() {
            let (x, y) = (&self.bias[queries.start..], &mut self.a[..]);
            exec.run(AddRows { x, x_pitch: pitch, y, y_pitch: PITCH, rows: d.keys, n });
        }
    }

    /// dv and dk of all keys, added up over the blocks of queries.
    pub fn values_and_keys(
        &mut self,
        (q, dy): (&[T], &[T]),
        (dk, dv): (&mut [T], &mut [T]),
        queries: &Range<usize>,
        d: &Dims,
        exec: &Exec,
    ) {
        let (n, add) = (queries.len(), queries.start > 0);
        let dy = readable(dy, d.width, &mut self.do_rows);
        let q = readable(q, d.depth, &mut self.q_rows);
        let (a, dz) = (self.a.as_chunks().0, self.da.as_chunks().0);
        for (left, right, width, out) in [(a, dy, d.width, dv), (dz, q, d.depth, dk)] {
            if width == 0 {
                continue;
            }
            let mut c = Share::new(out, 1, d.keys, width);
            for keys in even(d.keys, d.keys.div_ceil(tile_rows(exec))) {
                let to = To { c: &mut c, row: keys.start, columns: 0..width, add };
                multiply(&left[keys], n, Right::rows(right, 0, padded(width)), to, exec); // (B1) (B5)
            }
        }
    }

    /// dq of a block of `n` queries.
    pub fn queries(&mut self, dq: &mut [T], n: usize, d: &Dims, exec: &Exec) {
        let mut c = Share::new(&mut self.dq_across, 1, d.depth, PITCH);
        for (part, keys) in parts(d.keys, DEPTH).enumerate() {
            let left = &self.k_across.as_chunks().0[part * d.depth..][..d.depth];
            for rows in even(d.depth, d.depth.div_ceil(tile_rows(exec))) {
                let to = To { c: &mut c, row: rows.start, columns: 0..n, add: part > 0 };
                multiply(&left[rows], keys.len(), Right::rows(&self.da, keys.start * PITCH, PITCH), to, exec); // (B4)
            }
        }
        let x = &self.dq_across[..];
        exec.run(Transpose { x, x_pitch: PITCH, rows: d.depth, columns: n, y: dq, y_pitch: d.depth });
    }
}

/// The rows `rows` of x (·, width) times the panels, `n` columns, to the same rows of `out` (·, [`PITCH`]).
#[allow(clippy::too_many_arguments)]
fn product_of_rows<T: Real>(
    x: &[T],
    width: usize,
    rows: &Range<usize>,
    panels: Right<T>,
    out: &mut [T],
    left: &mut [T],
    n: usize,
    exec: &Exec,
) {
    let height = out.len() / PITCH;
    let mut c = Share::new(out, 1, height, PITCH);
    let left = &mut left.as_chunks_mut().0[..rows.len()];
    for terms in parts(width.max(1), DEPTH) {
        let terms = terms.start..terms.end.min(width);
        for (to, row) in left.iter_mut().zip(rows.clone()) {
            to[..terms.len()].copy_from_slice(&x[row * width..][terms.clone()]);
        }
        let to = To { c: &mut c, row: rows.start, columns: 0..n, add: terms.start > 0 };
        multiply(left, terms.len(), Right { first: terms.start * PANEL, ..panels }, to, exec);
    }
}
