//! Backward: bands of rows of dq, dk and dv. The weights are recomputed from lse; those of the rows that the current keys need are kept.
//!
//! dk and dv are gathered: padded row y of dk is Σ scale·dS[i, u, v]·q[i] over the output rows i with i·sh + u = y, where dS was stored
//! shifted by its tap, at the column of the key. So every element has one owner and one order of summation, whatever the bands.

use std::ops::Range;

use super::forward::Inputs;
use super::layout::{Grid, Layout, MAX_ROWS, Split, deal};
use super::tile::{CHANNELS, Tile, gather};
use super::{Dims, dispatch};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, MAX_LANES, Task, V, Vector};
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
        let l = Layout::choose::<T>(d, exec, true)?;
        let per_task = l.group * d.depth;
        let row_cost = d.row_cost().saturating_mul(3 * l.group).div_ceil(d.stride.0);
        let split = Split::new(d.height, row_cost, d.pairs.div_ceil(l.group), exec.threads());
        let planes = (d.height * d.width, split.rows * d.width);
        let (mut dq, mut dk, mut dv) =
            (deal(grads.q, planes, per_task)?, deal(grads.k, planes, per_task)?, deal(grads.v, planes, per_task)?);
        let tasks = dq.chunks_mut(per_task).zip(dk.chunks_mut(per_task)).zip(dv.chunks_mut(per_task)).enumerate();
        let cost = row_cost.saturating_mul(d.height).saturating_mul(d.pairs);
        let scratch = || Scratch::new(d, &l, &split);
        exec.for_each_with(cost, tasks, scratch, |scratch, (task, ((dq, dk), dv))| {
            let (rows, pair) = (split.band(task, d.height), task / split.bands * l.group);
            exec.run(Band { inputs, dy, lse, d, l: &l, pair, rows, dq, dk, dv, scratch });
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
    /// q and dy as tiles.
    queries: Buffer<T>,
    cotangents: Buffer<T>,
    start: Buffer<T>,
    /// q and dy as rows, zeros around them.
    q: Buffer<T>,
    dy: Buffer<T>,
    scores: Buffer<T>,
    da: Buffer<T>,
    /// scale·dS and a of the last output rows, (row, u, v, position of the key).
    ds: Buffer<T>,
    a: Buffer<T>,
    sum: Buffer<T>,
    line: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    fn new(d: &Dims, l: &Layout, split: &Split) -> Result<Self, Error> {
        let (mut padded, mut outputs) = (0, 0);
        for band in 0..split.bands {
            let (_, rows) = d.sources(&split.band(band, d.height));
            if !rows.is_empty() {
                padded = padded.max(d.key_rows(&rows).len());
                outputs = outputs.max(rows.len());
            }
        }
        let (padded, tiles) = (l.padded_len(d, padded)?, l.tiles_len(d, outputs)?);
        let weights = product(&[ring(d), d.window, d.window, l.weight_pitch])?;
        let rows = product(&[outputs, d.depth, l.row_pitch])?;
        Ok(Scratch {
            keys: zeros(padded)?,
            values: zeros(padded)?,
            queries: zeros(tiles)?,
            cotangents: zeros(tiles)?,
            start: zeros(tiles / d.depth)?,
            q: zeros(rows)?,
            dy: zeros(rows)?,
            scores: zeros(l.scores_len(d)?)?,
            da: zeros(l.scores_len(d)?)?,
            ds: zeros(weights)?,
            a: zeros(weights)?,
            sum: zeros(product(&[MAX_ROWS, CHANNELS, l.pitch])?)?,
            line: zeros(d.width + 2 * d.radius())?,
        })
    }
}

/// Output rows whose weights are kept: those that `MAX_ROWS` rows of keys belong to, and the rest of the last tile.
fn ring(d: &Dims) -> usize {
    (d.window - 1 + MAX_ROWS - 1) / d.stride.0 + MAX_ROWS
}

/// One task: rows `rows` of the gradients of the heads `pair..pair + group`, or as many as there are.
struct Band<'a, 'o, T> {
    inputs: Inputs<'a, T>,
    dy: &'a [T],
    lse: &'a [T],
    d: &'a Dims,
    l: &'a Layout,
    pair: usize,
    rows: Range<usize>,
    dq: &'a mut [&'o mut [T]],
    dk: &'a mut [&'o mut [T]],
    dv: &'a mut [&'o mut [T]],
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> Task for Band<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        dispatch!(self, I)
    }
}

impl<T: Real> Band<'_, '_, T> {
    #[inline(always)]
    fn tiles<I: Isa, const R: usize, const H: usize>(mut self) {
        for planes in [&mut *self.dq, &mut *self.dk, &mut *self.dv] {
            for plane in planes {
                plane.fill(T::ZERO);
            }
        }
        let (d, l, Inputs { q, k, v, pe }) = (self.d, self.l, self.inputs);
        let (padded, outputs) = d.sources(&self.rows);
        if outputs.is_empty() {
            return; // between two strides
        }
        let (members, key_rows) = (self.pair..d.pairs.min(self.pair + l.group), d.key_rows(&outputs));
        let (queries, cotangents) = (Grid::inputs(d), Grid::outputs(d));
        let s = &mut *self.scratch;
        l.pack(d, k, pe, &members, key_rows.clone(), &mut s.line, &mut s.keys); // (F2) k − pe
        l.pack(d, v, None, &members, key_rows, &mut s.line, &mut s.values);
        l.pack_tiles::<T, I, R>(q, &queries, &members, outputs.clone(), &mut s.queries); // (F1)
        l.pack_tiles::<T, I, R>(self.dy, &cotangents, &members, outputs.clone(), &mut s.cotangents);
        l.pack_rows(q, &queries, &members, outputs.clone(), &mut s.q);
        l.pack_rows(self.dy, &cotangents, &members, outputs.clone(), &mut s.dy);
        if let Some(pe) = pe {
            l.pack_start::<T, I, R>(d, pe, outputs.clone(), &s.queries, &mut s.start); // (F2) pe_ij
        }
        let (mut done, mut y) = (outputs.start, padded.start);
        while y < padded.end || done < outputs.end {
            let rows = R.min(padded.end - y);
            if done < outputs.end && (rows == 0 || done * d.stride.0 < y + rows) {
                self.weights::<I, R, H>(&members, &outputs, done);
                done += R;
                continue;
            }
            if (y..y + rows).any(|y| d.shown(y, d.height).is_some_and(|a| self.rows.contains(&a))) {
                let s = &mut *self.scratch;
                let gathered = Gathered { d, l, members: members.len(), outputs: &outputs, band: &self.rows, y, rows };
                // (B1) (B5) (B6)
                for (weights, maps, dx) in [(&s.ds, &s.q, &mut *self.dk), (&s.a, &s.dy, &mut *self.dv)] {
                    gathered.add::<T, I, R>(weights, maps, &mut s.sum, &mut s.line, dx);
                }
            }
            y += rows;
        }
    }

    /// Weights and dq of the tile row that begins with output row `i`.
    #[inline(always)]
    fn weights<I: Isa, const R: usize, const H: usize>(
        &mut self,
        members: &Range<usize>,
        outputs: &Range<usize>,
        i: usize,
    ) {
        let (d, l, s) = (self.d, self.l, &mut *self.scratch);
        let (tile, lanes, taps) = (Tile::<R> { d, l }, V::<T, I>::LANES, d.window * d.window);
        let (rows, scale, plane) = (R.min(outputs.end - i), T::from_f64(d.scale), d.out_height * d.out_width);
        let first = (i - outputs.start) * d.stride.0 * d.depth * l.pitch;
        let (keys, values) = (&s.keys[first..], &s.values[first..]);
        let (factor, no_start) = (V::<T, I>::splat(scale), [T::ZERO; MAX_ROWS * MAX_LANES]);
        for block in 0..l.blocks {
            let (x, at) = (block * lanes, ((i - outputs.start) / R * l.blocks + block) * R * lanes);
            let (queries, cotangents) = (&s.queries[at * d.depth..], &s.cotangents[at * d.depth..]);
            // (F3) (B2)
            for (queries, start, keys, scale, scores) in [
                (queries, &s.start[at..], keys, scale, &mut s.scores),
                (cotangents, &no_start[..], values, T::ONE, &mut s.da),
            ] {
                tile.scores::<T, I, H>(rows, queries, start, keys, x, scale, scores);
            }
            tile.mask::<T, I>(i..i + rows, x, &mut s.scores);
            let n = lanes.min(l.used - x);
            for r in 0..rows {
                let lse = l.take::<T, I>(
                    x,
                    &self.lse[members.start * plane..][..members.len() * plane],
                    plane,
                    (i + r) * d.out_width,
                );
                let (scores, da) =
                    (&mut s.scores[r * taps * lanes..][..taps * lanes], &s.da[r * taps * lanes..][..taps * lanes]);
                let (mut sum, mut mean) = (V::<T, I>::zero(), V::<T, I>::zero());
                for (score, da) in scores.chunks_exact_mut(lanes).zip(da.chunks_exact(lanes)) {
                    let a = (V::<T, I>::load(score) - lse).exp(); // (F5)
                    a.store(score);
                    sum = sum + a;
                    mean = a.mul_add(V::<T, I>::load(da), mean);
                }
                // The sum is 1 up to the rounding of lse, which matters where scores are in the thousands.
                let inverse = V::<T, I>::splat(T::ONE) / sum;
                let mean = mean * inverse;
                let row_len = d.window * l.weight_pitch;
                let mut at = (i + r) % ring(d) * d.window * row_len + x;
                let per_row = scores.chunks_exact_mut(d.window * lanes).zip(da.chunks_exact(d.window * lanes));
                for (scores, da) in per_row {
                    let (kept_a, kept_ds) = (&mut s.a[at..], &mut s.ds[at..]);
                    for ((score, da), &place) in
                        scores.chunks_exact_mut(lanes).zip(da.chunks_exact(lanes)).zip(&l.places)
                    {
                        let a = V::<T, I>::load(score) * inverse;
                        let ds = factor * (a * (V::<T, I>::load(da) - mean)); // (B3)
                        ds.store(score);
                        a.store_partial(&mut kept_a[place..], n);
                        ds.store_partial(&mut kept_ds[place..], n);
                    }
                    at += row_len;
                }
            }
            for e in (0..d.depth).step_by(CHANNELS) {
                let sums = tile.weighted::<T, I>(rows, &s.scores, keys, e, x); // (B4)
                for r in 0..rows {
                    let a = (i + r) * d.stride.0;
                    if self.rows.contains(&a) {
                        for c in 0..CHANNELS.min(d.depth - e) {
                            let from = (a - self.rows.start) * d.width;
                            l.put::<T, I>(sums[r][c], x, d.stride.1, from, &mut self.dq[e + c..], d.depth);
                        }
                    }
                }
            }
        }
    }
}

/// Rows `y..y + rows` of the padded gradient of the keys or values.
struct Gathered<'a> {
    d: &'a Dims,
    l: &'a Layout,
    members: usize,
    outputs: &'a Range<usize>,
    band: &'a Range<usize>,
    y: usize,
    rows: usize,
}

impl Gathered<'_> {
    /// Adds Σ_{i, v} weights[i][y − i·sh][v][x] · maps[i][e][x − v] to the rows of `dx` that the padded rows show.
    #[inline(always)]
    fn add<T: Real, I: Isa, const R: usize>(
        &self,
        weights: &[T],
        maps: &[T],
        sum: &mut [T],
        line: &mut [T],
        dx: &mut [&mut [T]],
    ) {
        let (d, l) = (self.d, self.l);
        for e in (0..d.depth).step_by(CHANNELS) {
            self.sums::<T, I, R>(weights, maps, e, sum);
            for r in 0..self.rows {
                let Some(a) = d.shown(self.y + r, d.height).filter(|a| self.band.contains(a)) else { continue };
                for c in 0..CHANNELS.min(d.depth - e) {
                    for g in 0..self.members {
                        let row = &mut dx[g * d.depth + e + c][(a - self.band.start) * d.width..][..d.width];
                        l.fold_row(d, &sum[(r * CHANNELS + c) * l.pitch..][..l.pitch], g, line, row);
                    }
                }
            }
        }
    }

    /// The sums of some channels from e on, as (row, channel, position).
    #[inline(always)]
    fn sums<T: Real, I: Isa, const R: usize>(&self, weights: &[T], maps: &[T], e: usize, out: &mut [T]) {
        let (d, l, k, (sh, sw), lanes) = (self.d, self.l, self.d.window, self.d.stride, V::<T, I>::LANES);
        let (first, end) =
            ((self.y + 1).saturating_sub(k).div_ceil(sh), self.outputs.end.min((self.y + self.rows - 1) / sh + 1));
        let mut place = 0; // of the first tap of the phase
        for phase in 0..l.pitch / l.phase {
            let taps = (k - phase).div_ceil(sw);
            for x in (0..l.weight_pitch).step_by(lanes) {
                let mut sums = [[V::<T, I>::zero(); CHANNELS]; R];
                for i in first..end {
                    // Row r is row u = y + r − i·sh of the window of output row i.
                    let (from, to) = ((i * sh).saturating_sub(self.y), self.rows.min(i * sh + k - self.y));
                    let (mut value, mut weight) = ([maps; CHANNELS], [weights; R]);
                    for c in 0..CHANNELS {
                        let row = (i - self.outputs.start) * d.depth + (e + c).min(d.depth - 1);
                        value[c] = &maps[row * l.row_pitch + l.margin + x - (taps - 1) * l.group..];
                    }
                    for r in from..to {
                        let at = (i % ring(d) * k + self.y + r - i * sh) * k + place;
                        weight[r] = &weights[at * l.weight_pitch + x..];
                    }
                    gather::<T, I, R>((from, to), &mut sums, taps, (&weight, l.weight_pitch), (&value, l.group));
                }
                for r in 0..self.rows {
                    for c in 0..CHANNELS {
                        sums[r][c].store(&mut out[(r * CHANNELS + c) * l.pitch + phase * l.phase + x..]);
                    }
                }
            }
            place += taps;
        }
    }
}
