//! Attention over all tokens, with an additive bias if one is given.
//!
//! Shapes       q (B, heads, T, d), k (B, heads, S, d), v (B, heads, S, e), bias (P, h, T, S) -> o (B, heads, T, e), lse (B, heads, T)
//! Forward      (F1) z = scale·q kᵀ + bias    (F2) lse = log Σ exp z    (F3) a = exp(z − lse)    (F4) o = a v
//! Backward     (B1) dv = aᵀ do    (B2) da = do vᵀ    (B3) dz = a·(da − Σ a·da)    (B4) dq = scale·dz k    (B5) dk = scale·dzᵀ q
//!              (B6) dbias = Σ dz over those who read it
//! Constraints  (C1) shapes    (C2) S >= 1    (C3) P divides B, h is 1 or heads    (C4) a finite scale
//!
//! * Forward: tiles of a few queries against [`KEYS`] keys at a time, with the largest score so far and the sum carried along (online
//!   softmax). Scores lie in the layout that the second product wants for its left matrix: blocks of [`DEPTH`] keys.
//! * Backward: everything transposed, keys down and queries across, so that softmax needs no sums across lanes and all five products
//!   read their operands as they lie. A block of queries holds its weights for all keys.
//! * A query's result depends on its own row only. Entries that share a bias are taken in fixed groups, one after the other within a
//!   group, and the sums of the groups are added in order.

pub(crate) mod backward;
pub(crate) mod blocks;
pub(crate) mod forward;
mod plan;
mod rows;
#[cfg(test)]
mod tests;

pub use backward::{Gradients, backward};
pub use forward::{Inputs, forward};

use std::ops::Range;

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::gemm::{Ahead, DEPTH, Onto, PANEL, PITCH, Panels, Share, Tiles, Transpose};
use crate::planes::product;
use crate::real::Real;

/// Keys that the forward looks at in one go.
const KEYS: usize = 4 * DEPTH;

#[derive(Clone, Debug)]
pub struct Dims {
    batch: usize,
    heads: usize,
    /// Batch times heads.
    pairs: usize,
    queries: usize,
    keys: usize,
    /// Of a query and a key, of a value.
    depth: usize,
    width: usize,
    /// (P, h).
    bias: Option<(usize, usize)>,
    /// The bias is added to the weights instead of the scores: the form "post" of relative attention.
    pub(crate) post: bool,
    scale: f64,
}

impl Dims {
    pub fn new(
        q: &[usize],
        k: &[usize],
        v: &[usize],
        bias: Option<&[usize]>,
        scale: Option<f64>,
    ) -> Result<Dims, Error> {
        let (&[batch, heads, queries, depth], &[_, _, keys, _], &[_, _, _, width]) = (q, k, v) else {
            return Err(Error::Shape(format!("(C1) q, k, v: four axes expected, got {q:?}, {k:?} and {v:?}")));
        };
        require(k == [batch, heads, keys, depth] && v == [batch, heads, keys, width], || {
            format!(
                "(C1) q, k, v: (B, heads, T, d), (B, heads, S, d) and (B, heads, S, e) expected, got {q:?}, {k:?} and {v:?}"
            )
        })?;
        require(keys > 0, || "(C2) k: at least one key expected".to_owned())?;
        let shared = match bias {
            Some(&[period, h, t, s]) => {
                let fits = period > 0 && batch % period == 0 && (h == 1 || h == heads) && (t, s) == (queries, keys);
                fits.then_some(Some((period, h)))
            }
            Some(_) => None,
            None => Some(None),
        };
        let Some(bias) = shared else {
            let got = bias.unwrap_or_default();
            return Err(Error::Shape(format!(
                "(C3) bias: (P, h, {queries}, {keys}) expected, P a divisor of {batch}, h 1 or {heads}; got {got:?}"
            )));
        };
        require(scale.is_none_or(f64::is_finite), || format!("(C4) scale: a finite number expected, got {scale:?}"))?;
        for shape in [q, k, v, &[batch, heads, queries, width]] {
            product(shape)?;
        }
        let (period, h) = bias.unwrap_or((1, 1));
        product(&[period, h, queries.max(1) + 2 * PITCH, keys])?;
        product(&[keys, PITCH, depth.max(width).max(1)])?;
        let scale = scale.unwrap_or_else(|| (depth.max(1) as f64).powf(-0.5));
        Ok(Dims {
            batch,
            heads,
            pairs: product(&[batch, heads])?,
            queries,
            keys,
            depth,
            width,
            bias,
            post: false,
            scale,
        })
    }

    pub fn o_shape(&self) -> [usize; 4] {
        [self.batch, self.heads, self.queries, self.width]
    }

    pub fn lse_shape(&self) -> [usize; 3] {
        [self.batch, self.heads, self.queries]
    }

    fn q_len(&self) -> usize {
        self.pairs * self.queries * self.depth
    }

    fn k_len(&self) -> usize {
        self.pairs * self.keys * self.depth
    }

    fn v_len(&self) -> usize {
        self.pairs * self.keys * self.width
    }

    fn o_len(&self) -> usize {
        self.pairs * self.queries * self.width
    }

    fn lse_len(&self) -> usize {
        self.pairs * self.queries
    }

    fn bias_len(&self) -> usize {
        self.bias.map_or(0, |(period, h)| period * h * self.queries * self.keys)
    }

    /// Which of the (T, S) matrices of the bias a pair reads.
    fn bias_of(&self, pair: usize) -> usize {
        let (period, h) = self.bias.unwrap_or((1, 1));
        let (b, n) = (pair / self.heads, pair % self.heads);
        b % period * h + if h == 1 { 0 } else { n }
    }

    /// Nanoseconds, roughly, for the two products and the softmax of one query, one thread.
    pub(crate) fn row_cost(&self) -> usize {
        self.keys.saturating_mul(self.depth + self.width + 16) / 24
    }
}

/// Ranges of `each` that make up 0..len.
pub(crate) fn parts(len: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(each).map(move |start| start..len.min(start + each))
}

/// A right-hand matrix: panel i has its row r at `first` + i·`step` + r·`pitch`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, T> {
    data: &'a [T],
    first: usize,
    step: usize,
    pitch: usize,
}

impl<'a, T> Right<'a, T> {
    /// A matrix as it lies, rows `pitch` apart.
    pub(crate) fn rows(data: &'a [T], first: usize, pitch: usize) -> Self {
        Right { data, first, step: PANEL, pitch }
    }

    /// Panels of [`transposed`], from row `row` of the transposed matrix on.
    fn panels(data: &'a [T], depth: usize, row: usize) -> Self {
        Right { data, first: row * PANEL, step: depth * PANEL, pitch: PANEL }
    }
}

/// The part of the result C that a product writes: rows from `row` on, the columns `columns`.
pub(crate) struct To<'s, 'c, T> {
    pub(crate) c: &'s mut Share<'c, T>,
    pub(crate) row: usize,
    pub(crate) columns: Range<usize>,
    pub(crate) add: bool,
}

/// C = or += A·B for the few rows `a` of A, of which the first `depth` columns count.
pub(crate) fn multiply<T: Real>(a: &[[T; PITCH]], depth: usize, b: Right<T>, to: To<T>, exec: &Exec) {
    multiply_and_ask(a, depth, b, to, Ahead::NOTHING, exec);
}

/// The same, and what is read next is asked for on the way.
fn multiply_and_ask<T: Real>(a: &[[T; PITCH]], depth: usize, b: Right<T>, to: To<T>, next: Ahead<T>, exec: &Exec) {
    const MOST: usize = 8;
    let calls = to.columns.len().div_ceil(MOST * PANEL);
    let To { c, row, columns, add } = to;
    for (i, start) in columns.clone().step_by(MOST * PANEL).enumerate() {
        let columns = start..columns.end.min(start + MOST * PANEL);
        let starts: [usize; MOST] = std::array::from_fn(|p| b.first + (i * MOST + p) * b.step);
        let starts = &starts[..columns.len().div_ceil(PANEL)];
        let b = Panels { data: b.data, starts, pitch: b.pitch, run: depth.max(1), jump: 0 };
        exec.run(Tiles { a, depth, b, c: &mut *c, row, columns, onto: Onto::c(add), next: next.part(i, calls) });
    }
}

/// Elements of the panels of a transposed matrix (rows, columns).
fn transposed_len(rows: usize, columns: usize) -> Result<usize, Error> {
    product(&[rows.div_ceil(PANEL), PANEL, columns.max(1)])
}

/// x (rows, columns) as panels of [`PANEL`] of its rows, which become columns.
fn transposed<T: Real>(x: &[T], rows: usize, columns: usize, panels: &mut [T], exec: &Exec) {
    for (p, rows) in parts(rows, PANEL).enumerate() {
        let (x, y) = (&x[rows.start * columns..], &mut panels[p * columns * PANEL..]);
        exec.run(Transpose { x, x_pitch: columns, rows: rows.len(), columns, y, y_pitch: PANEL });
    }
}

/// Distance of rows that can be read panel by panel: `width` itself if panels fill it.
pub(crate) fn padded(width: usize) -> usize {
    width.next_multiple_of(PANEL)
}

/// x (rows, width) with rows [`padded`]: as it is, or copied to `copy`.
fn readable<'a, T: Real>(x: &'a [T], width: usize, copy: &'a mut [T]) -> &'a [T] {
    let pitch = padded(width);
    if pitch == width || width == 0 {
        return x;
    }
    for (x, to) in x.chunks_exact(width).zip(copy.chunks_exact_mut(pitch)) {
        to[..width].copy_from_slice(x);
    }
    copy
}
