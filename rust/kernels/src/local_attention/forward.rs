//! Forward: bands of output rows, tile by tile.

use std::ops::Range;

use super::Dims;
use super::layout::Layout;
use super::maps::{Maps, Pack};
use super::softmax::Exponentials;
use super::split::{Split, deal};
use super::tile::{Mask, Read, Scores, Tile};
use super::weighted::Weighted;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;

/// Arrays that every task reads.
#[derive(Clone, Copy)]
pub struct Inputs<'a, T> {
    pub q: &'a [T],
    pub k: &'a [T],
    pub v: &'a [T],
    pub pe: Option<&'a [T]>,
}

impl<T: Real> Inputs<'_, T> {
    pub fn check(&self, d: &Dims) -> Result<(), Error> {
        require_len("q", self.q, d.len)?;
        require_len("k", self.k, d.len)?;
        require_len("v", self.v, d.len)?;
        self.pe.map_or(Ok(()), |pe| require_len("pe", pe, d.pe_len))
    }
}

pub fn forward<T: Real>(inputs: Inputs<T>, o: &mut [T], lse: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    inputs.check(d)?;
    require_len("o", o, d.out_len)?;
    require_len("lse", lse, d.lse_len)?;
    if d.lse_len == 0 {
        return Ok(());
    }
    let l = Layout::new::<T>(d, exec)?;
    let split = Split::new(d.out_height, d.row_cost(), d.pairs, exec.threads());
    let planes = (d.out_height * d.out_width, split.rows * d.out_width);
    let (mut o, mut lse) = (deal(o, planes, d.depth)?, deal(lse, planes, 1)?);
    let mut o = o.chunks_mut(d.depth.max(1));
    let tasks = lse.iter_mut().enumerate().map(|(task, lse)| (task, o.next().unwrap_or_default(), lse));
    let cost = d.row_cost().saturating_mul(d.out_height).saturating_mul(d.pairs);
    let scratch = || Scratch::new(d, &l, split.rows);
    exec.for_each_with(cost, tasks, scratch, |scratch, (task, o, lse)| {
        let (pair, rows) = split.task(task, d.out_height);
        Band { inputs, d, l: &l, pair, rows, o, lse }.run(scratch, exec);
    })
}

/// Work space of a thread.
struct Scratch<T> {
    keys: Buffer<T>,
    values: Buffer<T>,
    /// Of a row of tiles, see [`Read`].
    queries: Buffer<T>,
    start: Buffer<T>,
    /// Of a tile: scores, and one over the sum of their exponentials.
    scores: Buffer<T>,
    inverse: Buffer<T>,
    line: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    fn new(d: &Dims, l: &Layout, rows: usize) -> Result<Self, Error> {
        let padded = product(&[d.key_rows(&(0..rows)).len(), l.row_len])?;
        Ok(Scratch {
            keys: zeros(padded)?,
            values: zeros(padded)?,
            queries: zeros(product(&[d.depth, l.tiles_len()])?)?,
            start: zeros(l.tiles_len())?,
            scores: zeros(Tile::scores_len(d, l)?)?,
            inverse: zeros(l.rows * l.lanes)?,
            line: zeros(d.width + 2 * d.radius())?,
        })
    }
}

/// One task: output rows `rows` of a head. `o` has a slice for each channel.
struct Band<'a, 'o, T> {
    inputs: Inputs<'a, T>,
    d: &'a Dims,
    l: &'a Layout,
    pair: usize,
    rows: Range<usize>,
    o: &'a mut [&'o mut [T]],
    lse: &'a mut [T],
}

impl<T: Real> Band<'_, '_, T> {
    fn run(self, s: &mut Scratch<T>, exec: &Exec) {
        let Band { inputs, d, l, pair, rows: band, o, lse } = self;
        let [q, k, v] = [inputs.q, inputs.k, inputs.v].map(|x| Maps::inputs(d, x, pair));
        let (pe, padded, width) = (inputs.pe.map(|pe| Maps::inputs(d, pe, 0)), d.key_rows(&band), d.out_width);
        exec.run(Pack { d, l, x: k, minus: pe, rows: padded.clone(), line: &mut s.line, padded: &mut s.keys }); // (F2) k − pe
        exec.run(Pack { d, l, x: v, minus: None, rows: padded, line: &mut s.line, padded: &mut s.values });
        for i in band.clone().step_by(l.rows) {
            let (first, row) = ((i - band.start) * d.stride.0 * l.row_len, (i - band.start) * width);
            let (keys, values) = (&s.keys[first..], &s.values[first..]);
            let rows = i..band.end.min(i + l.rows);
            exec.run(Read { d, rows: rows.clone(), maps: q, pe, queries: &mut s.queries, start: &mut s.start }); // (F1) (F2) pe_ij
            for x in (0..width).step_by(l.lanes) {
                let tile = &Tile { d, l, rows: rows.clone(), x };
                let scale = T::from_f64(d.scale);
                exec.run(Scores { tile, queries: &s.queries, start: &s.start, keys, scale, scores: &mut s.scores }); // (F3)
                exec.run(Mask { tile, scores: &mut s.scores });
                exec.run(Exponentials { tile, scores: &mut s.scores, inverse: &mut s.inverse, lse: &mut lse[row..] }); // (F4) (F5)
                let at = [0, 1, 2, 3].map(|r| Some(row + r * width));
                exec.run(Weighted { tile, weights: &s.scores, factor: &s.inverse, values, out: o, at, step: 1, width }); // (F6)
            }
        }
    }
}
