//! Forward: bands of output rows, tile by tile.

use std::ops::Range;

use super::layout::{Grid, Layout, MAX_ROWS, Split, deal};
use super::tile::{CHANNELS, Tile, exponentials};
use super::{Dims, dispatch};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{Isa, MAX_LANES, Task, V, Vector};
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
    let l = Layout::choose::<T>(d, exec, false)?;
    let groups = d.pairs.div_ceil(l.group);
    let split = Split::new(d.out_height, d.row_cost().saturating_mul(l.group), groups, exec.threads());
    let planes = (d.out_height * d.out_width, split.rows * d.out_width);
    let (mut o, mut lse) = (deal(o, planes, l.group * d.depth)?, deal(lse, planes, l.group)?);
    let mut o = o.chunks_mut((l.group * d.depth).max(1));
    let tasks = lse.chunks_mut(l.group).enumerate().map(|(task, lse)| (task, o.next().unwrap_or_default(), lse));
    let cost = d.row_cost().saturating_mul(d.out_height).saturating_mul(d.pairs);
    let scratch = || Scratch::new(d, &l, split.rows);
    exec.for_each_with(cost, tasks, scratch, |scratch, (task, o, lse)| {
        let rows = split.band(task, d.out_height);
        exec.run(Band { inputs, d, l: &l, pair: task / split.bands * l.group, rows, o, lse, scratch });
    })
}

/// Work space of a thread.
pub struct Scratch<T> {
    keys: Buffer<T>,
    values: Buffer<T>,
    queries: Buffer<T>,
    start: Buffer<T>,
    scores: Buffer<T>,
    line: Buffer<T>,
}

impl<T: Real> Scratch<T> {
    fn new(d: &Dims, l: &Layout, rows: usize) -> Result<Self, Error> {
        let padded = l.padded_len(d, d.key_rows(&(0..rows)).len())?;
        Ok(Scratch {
            keys: zeros(padded)?,
            values: zeros(padded)?,
            queries: zeros(l.tiles_len(d, rows)?)?,
            start: zeros(product(&[rows.next_multiple_of(MAX_ROWS), l.blocks, l.lanes])?)?,
            scores: zeros(l.scores_len(d)?)?,
            line: zeros(d.width + 2 * d.radius())?,
        })
    }
}

/// One task: output rows `rows` of the heads `pair..pair + group`, or as many as there are. `o` has a slice for each of their planes.
struct Band<'a, 'o, T> {
    inputs: Inputs<'a, T>,
    d: &'a Dims,
    l: &'a Layout,
    pair: usize,
    rows: Range<usize>,
    o: &'a mut [&'o mut [T]],
    lse: &'a mut [&'o mut [T]],
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
    fn tiles<I: Isa, const R: usize, const H: usize>(self) {
        let Band { inputs, d, l, pair, rows: band, o, lse, scratch: s } = self;
        let (tile, lanes, taps) = (Tile::<R> { d, l }, V::<T, I>::LANES, d.window * d.window);
        let members = pair..d.pairs.min(pair + l.group);
        l.pack(d, inputs.k, inputs.pe, &members, d.key_rows(&band), &mut s.line, &mut s.keys); // (F2) k − pe
        l.pack(d, inputs.v, None, &members, d.key_rows(&band), &mut s.line, &mut s.values);
        l.pack_tiles::<T, I, R>(inputs.q, &Grid::inputs(d), &members, band.clone(), &mut s.queries); // (F1)
        if let Some(pe) = inputs.pe {
            l.pack_start::<T, I, R>(d, pe, band.clone(), &s.queries, &mut s.start); // (F2) pe_ij
        }
        let (mut i, mut at) = (band.start, 0);
        while i < band.end {
            let rows = R.min(band.end - i);
            let first = (i - band.start) * d.stride.0 * d.depth * l.pitch;
            let (keys, values) = (&s.keys[first..], &s.values[first..]);
            for block in 0..l.blocks {
                let x = block * lanes;
                let (queries, start) = (&s.queries[at * d.depth..][..d.depth * R * lanes], &s.start[at..][..R * lanes]);
                at += R * lanes;
                tile.scores::<T, I, H>(rows, queries, start, keys, x, T::from_f64(d.scale), &mut s.scores); // (F3)
                tile.mask::<T, I>(i..i + rows, x, &mut s.scores);
                let mut inverse = [V::<T, I>::zero(); R];
                for r in 0..rows {
                    let (top, sum) = exponentials::<T, I>(&mut s.scores[r * taps * lanes..][..taps * lanes]); // (F5)
                    inverse[r] = V::<T, I>::splat(T::ONE) / sum;
                    l.put::<T, I>(log_sum::<T, I>(top, sum), x, 1, (i - band.start + r) * d.out_width, lse, 1); // (F4)
                }
                for e in (0..d.depth).step_by(CHANNELS) {
                    let sums = tile.weighted::<T, I>(rows, &s.scores, values, e, x); // (F6)
                    for r in 0..rows {
                        for c in 0..CHANNELS.min(d.depth - e) {
                            let row = (i - band.start + r) * d.out_width;
                            l.put::<T, I>(sums[r][c] * inverse[r], x, 1, row, &mut o[e + c..], d.depth);
                        }
                    }
                }
            }
            i += rows;
        }
    }
}

/// top + log sum
#[inline(always)]
fn log_sum<T: Real, I: Isa>(top: V<T, I>, sum: V<T, I>) -> V<T, I> {
    let mut sums = [T::ZERO; MAX_LANES];
    sum.store(&mut sums);
    for sum in &mut sums[..V::<T, I>::LANES] {
        *sum = sum.ln();
    }
    top + V::<T, I>::load(&sums)
}
