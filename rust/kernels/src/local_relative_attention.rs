//! Local relative attention: relative attention in which a query sees only the keys near it, those outside the image left out.
//!
//! Shapes       q, k (B, heads, H·W, d), v (B, heads, H·W, e), table (heads, 2ρ+1, 2ρ+1) -> o (B, heads, H·W, e), lse (B, heads, H·W)
//! Forward      (F1) the keys u of query t: |r_t − r_u| <= ρ, |c_t − c_u| <= ρ; their entry is table[r_t − r_u + ρ, c_t − c_u + ρ]
//!              (F2) z = scale·q·k, and "pre" + entry    (F3) lse = log Σ exp z    (F4) a = e / Σ e    (F5) m = a, or "post" a + entry
//!              (F6) o = Σ m·v
//! Backward     (B1) dv = Σ m·do    (B2) dm = do·v    (B3) dz = a·(dm − Σ a·dm)    (B4) dq = scale·Σ dz·k    (B5) dk = scale·Σ dz·q
//!              (B6) dtable = Σ dz, or "post" dm
//! Constraints  (C1) shapes    (C2) H·W = N    (C3) the table's shape    (C4) the form    (C5) a finite scale
//!
//! Tokens lie with their channels together, so scores are dot products and gradients are sums of rows. A task of the forward owns rows
//! of the grid, a task of the backward an entry's head.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

pub use backward::{Gradients, backward};
pub use forward::forward;

use std::ops::Range;

use crate::error::{Error, require};
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Copy)]
pub struct Dims {
    batch: usize,
    heads: usize,
    /// Batch times heads.
    pairs: usize,
    /// (H, W)
    size: (usize, usize),
    tokens: usize,
    depth: usize,
    width: usize,
    radius: usize,
    /// Entries of the table of one head, and most keys of a query.
    entries: usize,
    most: usize,
    post: bool,
    scale: f64,
}

impl Dims {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        q: &[usize],
        k: &[usize],
        v: &[usize],
        table: &[usize],
        size: (usize, usize),
        radius: usize,
        form: &str,
        scale: Option<f64>,
    ) -> Result<Dims, Error> {
        let (&[batch, heads, tokens, depth], &[_, _, _, width]) = (q, v) else {
            return Err(Error::Shape(format!("(C1) q, v: four axes expected, got {q:?} and {v:?}")));
        };
        require(q == k && v[..3] == q[..3], || {
            format!("(C1) q, k, v: (B, heads, N, d) twice and (B, heads, N, e) expected, got {q:?}, {k:?} and {v:?}")
        })?;
        let (h, w) = size;
        require(h > 0 && w > 0 && h.checked_mul(w) == Some(tokens), || {
            format!("(C2) size: a grid of {tokens} tokens expected, got {size:?}")
        })?;
        let side = radius.checked_mul(2).and_then(|n| n.checked_add(1));
        require(side.is_some_and(|side| table == [heads, side, side]), || {
            format!("(C3) table: ({heads}, {side:?}, {side:?}) expected for radius {radius}, got shape {table:?}")
        })?;
        let post = match form {
            "pre" => false,
            "post" => true,
            _ => return Err(Error::Shape(format!("(C4) form: pre or post expected, got {form:?}"))),
        };
        require(scale.is_none_or(f64::is_finite), || format!("(C5) scale: a finite number expected, got {scale:?}"))?;
        for shape in [q, v, table] {
            product(shape)?;
        }
        let pairs = product(&[batch, heads])?;
        product(&[pairs, table[1], table[2]])?;
        Ok(Dims {
            batch,
            heads,
            pairs,
            size,
            tokens,
            depth,
            width,
            radius,
            entries: product(&table[1..])?,
            most: product(&[table[1].min(h), table[2].min(w)])?,
            post,
            scale: scale.unwrap_or_else(|| (depth.max(1) as f64).powf(-0.5)),
        })
    }

    pub fn o_shape(&self) -> [usize; 4] {
        [self.batch, self.heads, self.tokens, self.width]
    }

    pub fn lse_shape(&self) -> [usize; 3] {
        [self.batch, self.heads, self.tokens]
    }

    /// Nanoseconds, roughly, of the forward for one query.
    fn cost(&self) -> usize {
        self.most.saturating_mul(10 + (self.depth + self.width) / 8)
    }

    /// Rows or columns of the grid that a token at `at` sees along an axis of `len`.
    fn near(&self, at: usize, len: usize) -> Range<usize> {
        at.saturating_sub(self.radius)..at.saturating_add(self.radius).saturating_add(1).min(len)
    }

    /// Where the table of a head holds the entry of the query in (row, column) and the key in (a, b).
    #[inline(always)]
    fn entry(&self, (row, column): (usize, usize), (a, b): (usize, usize)) -> usize {
        (row + self.radius - a) * (2 * self.radius + 1) + column + self.radius - b
    }
}

/// Arrays that every task reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a, T> {
    pub q: &'a [T],
    pub k: &'a [T],
    pub v: &'a [T],
    pub table: &'a [T],
}

impl<'a, T: Real> Inputs<'a, T> {
    fn check(&self, d: &Dims) -> Result<(), Error> {
        require_len("q", self.q, d.pairs * d.tokens * d.depth)?;
        require_len("k", self.k, d.pairs * d.tokens * d.depth)?;
        require_len("v", self.v, d.pairs * d.tokens * d.width)?;
        require_len("table", self.table, d.heads * d.entries)
    }

    /// Those of a pair of entry and head.
    fn of(&self, pair: usize, d: &Dims) -> Inputs<'a, T> {
        let (key, value) = (d.tokens * d.depth, d.tokens * d.width);
        Inputs {
            q: &self.q[pair * key..][..key],
            k: &self.k[pair * key..][..key],
            v: &self.v[pair * value..][..value],
            table: &self.table[pair % d.heads * d.entries..][..d.entries],
        }
    }
}
