//! Backward: bands of rows of dq, dk and dv. The weights are recomputed from lse; those of the rows that the current keys need are kept.

use std::ops::Range;

use super::Dims;
use super::forward::Inputs;
use super::gathered::{Gathered, ring};
use super::layout::{Layout, MAX_ROWS};
use super::maps::{Maps, Pack, pack_rows};
use super::softmax::Derivatives;
use super::split::{Split, deal};
use super::tile::{Mask, Read, Scores, Tile};
use super::weighted::Weighted;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task};
use crate::planes::{product, require_len};
use crate::real::Real;

/// Gradients to be written; `pe` is there exactly if the forward had one.
pub struct Gradients<'a, T> {
    pub q: &'a mut [T],
    pub k: &'a mut [T],
    pub v: &'a mut [T],
    pub pe: Option<&'a mut [T]>,
}

pub fn backward<T: Real>(
    dy: &[T],
    inputs: Inputs<T>,
    lse: &[T],
    grads: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    inputs.check(d)?;
    require_len("dy", dy, d.out_len)?;
    require_len("lse", lse, d.lse_len)?;
    require_len("dq", grads.q, d.len)?;
    require_len("dk", grads.k, d.len)?;
    require_len("dv", grads.v, d.len)?;
    if d.len > 0 {
        let l = Layout::new::<T>(d, exec)?;
        let row_cost = d.row_cost().saturating_mul(3).div_ceil(d.stride.0);
        let split = Split::new(d.height, row_cost, d.pairs, exec.threads());
        let planes = (d.height * d.width, split.rows * d.width);
        let [mut dq, mut dk, mut dv] =
            [deal(grads.q, planes, d.depth)?, deal(grads.k, planes, d.depth)?, deal(grads.v, planes, d.depth)?];
        let tasks = dq.chunks_mut(d.depth).zip(dk.chunks_mut(d.depth)).zip(dv.chunks_mut(d.depth)).enumerate();
        let cost = row_cost.saturating_mul(d.height).saturating_mul(d.pairs);
        let scratch = || Scratch::new(d, &l, &split);
        exec.for_each_with(cost, tasks, scratch, |scratch, (task, ((dq, dk), dv))| {
            let (pair, rows) = split.task(task, d.height);
            let [q, k, v] = [inputs.q, inputs.k, inputs.v].map(|x| Maps::inputs(d, x, pair));
            let (pe, dy, lse) = (
                inputs.pe.map(|pe| Maps::inputs(d, pe, 0)),
                Maps::outputs(d, dy, pair, d.depth),
                Maps::outputs(d, lse, pair, 1),
            );
            Band { d, l: &l, q, k, v, pe, dy, lse, rows, dq, dk, dv }.run(scratch, exec);
        })?;
    }
    let Some(dpe) = grads.pe else { return Ok(()) };
    require_len("dpe", dpe, d.pe_len)?;
    const CHUNK: usize = 4096;
    let (dk, tasks) = (&*grads.k, dpe.chunks_mut(CHUNK).enumerate());
    exec.for_each(d.len / 2, tasks, |(chunk, dpe)| exec.run(Sum { dk, planes: d.pe_len, from: chunk * CHUNK, dpe })) // (B7)
}

/// dpe = −Σ over images and heads of dk, one after the other.
struct Sum<'a, T> {
    dk: &'a [T],
    planes: usize,
    from: usize,
    dpe: &'a mut [T],
}

impl<T: Real> Task for Sum<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        self.dpe.fill(T::ZERO);
        for dk in self.dk.chunks_exact(self.planes) {
            lanes::add_assign::<T, I>(&dk[self.from..][..self.dpe.len()], self.dpe);
        }
        lanes::scale::<T, I>(-T::ONE, self.dpe);
    }
}

/// Work space of a thread.
struct Scratch<T> {
    keys: Buffer<T>,
    values: Buffer<T>,
    /// Of a row of tiles, q and dy, see [`Read`].
    queries: Buffer<T>,
    start: Buffer<T>,
    upstream: Buffer<T>,
    zero: Buffer<T>,
    /// Of a tile.
    ones: Buffer<T>,
    scores: Buffer<T>,
    da: Buffer<T>,
    /// q and dy as rows, zeros around them.
    q: Buffer<T>,
    dy: Buffer<T>,
    /// scale·dS and a of the last output rows, (row, u, v, column of the key).
    ds: Buffer<T>,
    a: Buffer<T>,
    sums: Buffer<T>,
    line: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    fn new(d: &Dims, l: &Layout, split: &Split) -> Result<Self, Error> {
        let (mut padded, mut outputs) = (0, 0);
        for band in 0..split.bands {
            let (_, rows) = d.sources(&split.task(band, d.height).1);
            if !rows.is_empty() {
                padded = padded.max(d.key_rows(&rows).len());
                outputs = outputs.max(rows.len());
            }
        }
        let (padded, scores) = (product(&[padded, l.row_len])?, Tile::scores_len(d, l)?);
        let weights = product(&[ring(d, l), d.window, d.window, l.weight_pitch])?;
        let rows = product(&[outputs, l.block_pitch])?;
        let mut ones = zeros(l.rows * l.lanes)?;
        ones.fill(T::ONE);
        Ok(Scratch {
            keys: zeros(padded)?,
            values: zeros(padded)?,
            queries: zeros(product(&[d.depth, l.tiles_len()])?)?,
            start: zeros(l.tiles_len())?,
            upstream: zeros(product(&[d.depth, l.tiles_len()])?)?,
            zero: zeros(l.tiles_len())?,
            ones,
            scores: zeros(scores)?,
            da: zeros(scores)?,
            q: zeros(rows)?,
            dy: zeros(rows)?,
            ds: zeros(weights)?,
            a: zeros(weights)?,
            sums: zeros(product(&[l.rows, l.row_len])?)?,
            line: zeros(d.width + 2 * d.radius())?,
        })
    }
}

/// One task: rows `rows` of the gradients of a head, a slice for each channel.
struct Band<'a, 'o, T> {
    d: &'a Dims,
    l: &'a Layout,
    q: Maps<'a, T>,
    k: Maps<'a, T>,
    v: Maps<'a, T>,
    pe: Option<Maps<'a, T>>,
    dy: Maps<'a, T>,
    lse: Maps<'a, T>,
    rows: Range<usize>,
    dq: &'a mut [&'o mut [T]],
    dk: &'a mut [&'o mut [T]],
    dv: &'a mut [&'o mut [T]],
}

impl<T: Real> Band<'_, '_, T> {
    fn run(mut self, s: &mut Scratch<T>, exec: &Exec) {
        let (d, l) = (self.d, self.l);
        let (padded, outputs) = d.sources(&self.rows);
        let unseen = outputs.is_empty(); // between two strides
        for plane in self.dq.iter_mut().chain(self.dk.iter_mut().chain(self.dv.iter_mut()).filter(|_| unseen)) {
            plane.fill(T::ZERO);
        }
        if unseen {
            return;
        }
        let rows = d.key_rows(&outputs);
        exec.run(Pack { d, l, x: self.k, minus: self.pe, rows: rows.clone(), line: &mut s.line, padded: &mut s.keys }); // (F2) k − pe
        exec.run(Pack { d, l, x: self.v, minus: None, rows, line: &mut s.line, padded: &mut s.values });
        pack_rows(d, l, &self.q, outputs.clone(), &mut s.q); // (F1)
        pack_rows(d, l, &self.dy, outputs.clone(), &mut s.dy);
        let (mut done, mut y) = (outputs.start, padded.start);
        while y < padded.end || done < outputs.end {
            let rows = l.rows.min(padded.end - y);
            if done < outputs.end && (rows == 0 || done * d.stride.0 < y + rows) {
                self.weights(&outputs, done..outputs.end.min(done + l.rows), s, exec);
                done += l.rows;
                continue;
            }
            if (y..y + rows).any(|y| d.shown(y, d.height).is_some_and(|a| self.rows.contains(&a))) {
                let (outputs, band) = (&outputs, &self.rows);
                // (B1) (B5) (B6)
                for (weights, maps, dx) in [(&s.ds, &s.q, &mut *self.dk), (&s.a, &s.dy, &mut *self.dv)] {
                    let (sums, line) = (&mut *s.sums, &mut *s.line);
                    exec.run(Gathered { d, l, outputs, band, y, rows, weights, maps, sums, line, dx });
                }
            }
            y += rows;
        }
    }

    /// Weights and dq of one row of tiles, output rows `rows`; keys are packed for `outputs`.
    fn weights(&mut self, outputs: &Range<usize>, rows: Range<usize>, s: &mut Scratch<T>, exec: &Exec) {
        let (d, l, scale) = (self.d, self.l, T::from_f64(self.d.scale));
        let first = (rows.start - outputs.start) * d.stride.0 * l.row_len;
        let (keys, values) = (&s.keys[first..], &s.values[first..]);
        exec.run(Read {
            d,
            rows: rows.clone(),
            maps: self.q,
            pe: self.pe,
            queries: &mut s.queries,
            start: &mut s.start,
        }); // (F1)
        exec.run(Read { d, rows: rows.clone(), maps: self.dy, pe: None, queries: &mut s.upstream, start: &mut s.zero });
        for x in (0..d.out_width).step_by(l.lanes) {
            let tile = &Tile { d, l, rows: rows.clone(), x };
            exec.run(Scores { tile, queries: &s.queries, start: &s.start, keys, scale, scores: &mut s.scores }); // (F3)
            exec.run(Mask { tile, scores: &mut s.scores });
            let one = T::ONE;
            exec.run(Scores {
                tile,
                queries: &s.upstream,
                start: &s.zero,
                keys: values,
                scale: one,
                scores: &mut s.da,
            }); // (B2)
            let (kept_a, kept_ds) = (&mut *s.a, &mut *s.ds);
            exec.run(Derivatives { tile, lse: self.lse, scale, scores: &mut s.scores, da: &mut s.da, kept_a, kept_ds }); // (F5) (B3)
            let mut at = [None; MAX_ROWS];
            for (at, i) in at.iter_mut().zip(rows.clone()) {
                *at = Some(i * d.stride.0).filter(|a| self.rows.contains(a)).map(|a| (a - self.rows.start) * d.width);
            }
            let (step, width, out) = (d.stride.1, d.width, &mut *self.dq);
            exec.run(Weighted { tile, weights: &s.scores, factor: &s.ones, values: keys, out, at, step, width }); // (B4)
        }
    }
}
