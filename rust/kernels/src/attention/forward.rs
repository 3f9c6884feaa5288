//! Forward: tiles of queries against tiles of keys.

use super::rows::{Exponentials, Finish, Mixed, Scaled};
use super::{Dims, KEYS, Right, To, multiply_and_ask, padded, parts, readable, transposed, transposed_len};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{Ahead, DEPTH, MAX_ROWS, PITCH, Share, even, tile_rows};
use crate::planes::{product, require_len};
use crate::real::Real;

/// Arrays that every task reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a, T> {
    pub q: &'a [T],
    pub k: &'a [T],
    pub v: &'a [T],
    pub bias: Option<&'a [T]>,
}

impl<'a, T: Real> Inputs<'a, T> {
    pub fn check(&self, d: &Dims) -> Result<(), Error> {
        require_len("bias", self.bias.unwrap_or_default(), d.bias_len())?;
        self.check_without_bias(d)
    }

    /// What is read of the queries from a place on, and of their keys and values.
    fn ahead(&self, (pair, first): (usize, usize), d: &Dims) -> [Ahead<'a, T>; 2] {
        let some = |x: &'a [T], start: usize, len: usize| x.get(start..).map_or(&x[..0], |x| &x[..len.min(x.len())]);
        let keys = d.keys.min(KEYS);
        let q = some(self.q, (pair * d.queries + first) * d.depth, (d.queries - first) * d.depth);
        let k = some(self.k, pair * d.keys * d.depth, keys * d.depth);
        let v = some(self.v, pair * d.keys * d.width, keys * d.width);
        [Ahead::all([q, &[]]), Ahead::all([k, v])]
    }

    pub fn check_without_bias(&self, d: &Dims) -> Result<(), Error> {
        require_len("q", self.q, d.q_len())?;
        require_len("k", self.k, d.k_len())?;
        require_len("v", self.v, d.v_len())
    }
}

/// Most queries of a task: copying the keys costs little beside them.
const MOST_ROWS: usize = 448;

pub fn forward<T: Real>(inputs: Inputs<T>, o: &mut [T], lse: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    inputs.check(d)?;
    require_len("o", o, d.o_len())?;
    require_len("lse", lse, d.lse_len())?;
    if lse.is_empty() {
        return Ok(());
    }
    // Tasks are pieces of a head, or several heads.
    let several = Exec::batch(d.row_cost().saturating_mul(d.queries)).min(d.pairs);
    let wanted = (2 * exec.threads()).div_ceil(d.pairs);
    let piece = d.queries.div_ceil(d.queries.div_ceil(MOST_ROWS).max(wanted).min(d.queries.div_ceil(4 * MAX_ROWS)));
    let (plane, piece) =
        if piece < d.queries { (d.queries, piece) } else { (several * d.queries, several * d.queries) };
    let mut o_parts = o.chunks_mut((plane * d.width).max(1)).flat_map(|o| o.chunks_mut((piece * d.width).max(1)));
    let starts = lse
        .chunks_mut(plane)
        .enumerate()
        .flat_map(|(n, lse)| lse.chunks_mut(piece).enumerate().map(move |(m, lse)| (n * plane + m * piece, lse)));
    let tasks = starts.map(|(row, lse)| (row, o_parts.next().unwrap_or_default(), lse));
    let cost = d.row_cost().saturating_mul(d.lse_len());
    let skip = exec.threads() * piece; // threads take tasks in turns, if all goes evenly
    exec.for_each_with(
        cost,
        tasks,
        || Scratch::new(d, piece),
        |scratch, (start, mut o, mut lse)| {
            let mut row = start;
            while !lse.is_empty() {
                let (pair, first) = (row / d.queries, row % d.queries);
                let rows = (d.queries - first).min(lse.len());
                let (own_lse, rest) = lse.split_at_mut(rows);
                let (own_o, o_rest) = o.split_at_mut(rows * d.width);
                let bias =
                    inputs.bias.map(|bias| &bias[(d.bias_of(pair) * d.queries + first) * d.keys..][..rows * d.keys]);
                (row, o, lse) = (row + rows, o_rest, rest);
                let next = if lse.is_empty() { start + skip } else { row };
                let next = (next / d.queries, next % d.queries);
                Head { inputs, bias, d, pair, first, o: own_o, lse: own_lse, next }.run(scratch, exec);
            }
        },
    )
}

/// Keys that are looked at in one go: all of them where the weights must be known before the bias joins them.
fn keys_at_once(d: &Dims) -> usize {
    if d.post { d.keys } else { KEYS }
}

/// Work space of a thread.
pub struct Scratch<T> {
    keys: Buffer<T>,
    values: Buffer<T>,
    q: Buffer<T>,
    /// Scores and their exponentials: (block of keys, query, key).
    scores: Buffer<T>,
    /// Of every query: the largest score so far, and the sum of the exponentials.
    top: Buffer<T>,
    sum: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    pub fn new(d: &Dims, rows: usize) -> Result<Self, Error> {
        let (keys, rows) = (d.keys.min(keys_at_once(d)), rows.min(d.queries));
        let copied = if padded(d.width) == d.width { 0 } else { product(&[keys, padded(d.width)])? };
        Ok(Scratch {
            keys: zeros(transposed_len(keys, d.depth)?)?,
            values: zeros(copied)?,
            q: zeros(MAX_ROWS * PITCH)?,
            scores: zeros(keys.div_ceil(DEPTH) * MAX_ROWS * PITCH)?,
            top: zeros(rows)?,
            sum: zeros(rows)?,
        })
    }
}

/// Some queries of a pair of entry and head, `first` the first of them.
pub struct Head<'a, 'o, T> {
    pub inputs: Inputs<'a, T>,
    /// Its rows for these queries, one after the other; `inputs` has all of it, or none.
    pub bias: Option<&'a [T]>,
    pub d: &'a Dims,
    pub pair: usize,
    pub first: usize,
    pub o: &'o mut [T],
    pub lse: &'o mut [T],
    /// Pair and first query of what is computed next, if there is such a pair.
    pub next: (usize, usize),
}

impl<T: Real> Head<'_, '_, T> {
    pub fn run(self, s: &mut Scratch<T>, exec: &Exec) {
        let Head { inputs, bias, d, pair, first, o, lse, next } = self;
        let (rows, scale) = (lse.len(), T::from_f64(d.scale));
        let q = &inputs.q[(pair * d.queries + first) * d.depth..][..rows * d.depth];
        let (to_scores, to_weights) = if d.post { (None, bias) } else { (bias, None) };
        let tiles = rows.div_ceil(tile_rows(exec));
        let ahead = inputs.ahead(next, d); // of queries; of keys and values
        for keys in parts(d.keys, keys_at_once(d)) {
            let k = &inputs.k[(pair * d.keys + keys.start) * d.depth..][..keys.len() * d.depth];
            let v = &inputs.v[(pair * d.keys + keys.start) * d.width..][..keys.len() * d.width];
            transposed(k, keys.len(), d.depth, &mut s.keys, exec);
            let v = readable(v, d.width, &mut s.values);
            let blocks = keys.len().div_ceil(DEPTH);
            for (i, tile) in even(rows, tiles).enumerate() {
                let next = |k: usize, key: usize| if key == 0 { ahead[k].part(i, tiles) } else { Ahead::NOTHING };
                let mut scores = Share::new(&mut s.scores[..blocks * MAX_ROWS * PITCH], blocks, MAX_ROWS, PITCH);
                for terms in parts(d.depth.max(1), DEPTH) {
                    let (a, n) = (s.q.as_chunks_mut().0, d.depth.min(terms.end) - terms.start);
                    exec.run(Scaled {
                        x: q,
                        row: tile.start,
                        pitch: d.depth,
                        first: terms.start,
                        n,
                        scale,
                        a: &mut a[..tile.len()],
                    });
                    for (block, part) in parts(keys.len(), DEPTH).enumerate() {
                        let from = part.start * d.depth + terms.start * crate::gemm::PANEL;
                        let b = Right { first: from, ..Right::panels(&s.keys, d.depth, 0) };
                        let columns = block * PITCH..block * PITCH + part.len();
                        let to = To { c: &mut scores, row: 0, columns, add: terms.start > 0 };
                        let next = next(0, keys.start + part.start + terms.start);
                        multiply_and_ask(&a[..tile.len()], n, b, to, next, exec); // (F1)
                    }
                }
                exec.run(Exponentials {
                    scores: &mut s.scores,
                    bias: to_scores.map(|bias| &bias[tile.start * d.keys..]),
                    first: keys.start,
                    keys: keys.len(),
                    pitch: d.keys,
                    top: &mut s.top[tile.clone()],
                    sum: &mut s.sum[tile.clone()],
                    o: &mut o[tile.start * d.width..tile.end * d.width],
                }); // (F1) (F3)
                if let Some(bias) = to_weights {
                    let (scores, bias) = (&mut s.scores[..], &bias[tile.start * d.keys..]);
                    exec.run(Mixed { scores, bias, keys: d.keys, sum: &s.sum[tile.clone()] });
                }
                if d.width > 0 {
                    let mut o = Share::new(o, 1, rows, d.width);
                    let (a, _) = s.scores.as_chunks();
                    for (block, part) in parts(keys.len(), DEPTH).enumerate() {
                        let b = Right::rows(v, part.start * padded(d.width), padded(d.width));
                        let from = keys.start + part.start;
                        let to = To { c: &mut o, row: tile.start, columns: 0..d.width, add: from > 0 };
                        let (a, next) = (&a[block * MAX_ROWS..][..tile.len()], next(1, from));
                        multiply_and_ask(a, part.len(), b, to, next, exec); // (F4)
                    }
                }
            }
        }
        let o = if d.post { &mut [][..] } else { o }; // mixed weights are divided already
        exec.run(Finish { top: &s.top[..rows], sum: &s.sum[..rows], o, lse }); // (F2) (F4)
    }
}
