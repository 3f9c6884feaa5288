//! Where pixels lie in work space, and how the output is split into tasks.
//!
//! A lane is one output pixel of one of `group` heads: pixel j of member g has position j·group + g. A padded row is de-interleaved by
//! the horizontal stride: column j·sw + v is stored in phase v mod sw, where tap v of consecutive output pixels reads consecutive
//! positions. Padded rows are stored as (row, channel, position), the last axis with `pitch` elements.

use std::marker::PhantomData;
use std::ops::Range;

use super::{Border, Dims};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{Isa, MAX_LANES, Task, V, Vector};
use crate::planes::product;
use crate::real::Real;

/// Most rows of a tile, at any level.
pub const MAX_ROWS: usize = 4;
/// Taps of a run, the widest that fits first.
const RUNS: [usize; 4] = [7, 5, 3, 1];

/// Taps first, first + sw, … of one row of the window: output pixel 0 reads them at `offset`, offset + group, …
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub first: usize,
    pub count: usize,
    pub offset: usize,
}

#[derive(Debug)]
pub struct Layout {
    pub lanes: usize,
    /// Heads that share vectors, so that narrow maps fill them.
    pub group: usize,
    /// Positions of a row of output, and the vectors that hold them.
    pub used: usize,
    pub blocks: usize,
    /// Pixels that a phase holds: one per output pixel and what taps see beyond.
    pub span: usize,
    /// Elements from one phase to the next, and of a padded row.
    pub phase: usize,
    pub pitch: usize,
    /// All taps of a row, and where output pixel 0 reads tap v.
    pub runs: Vec<Run>,
    pub offsets: Vec<usize>,
    /// For the gradients of keys and values: elements of a row of weights, stored at the position of the key; where tap v begins among
    /// the rows of one u (in a phase the last tap first); elements of a row of queries, which begins with `margin` zeros.
    pub weight_pitch: usize,
    pub places: Vec<usize>,
    pub row_pitch: usize,
    pub margin: usize,
}

impl Layout {
    pub fn new(d: &Dims, lanes: usize, group: usize) -> Result<Layout, Error> {
        let (k, sw) = (d.window, d.stride.1);
        let used = product(&[d.out_width, group])?;
        let (blocks, reach) = (used.div_ceil(lanes), (k - 1) / sw);
        let span = d.out_width + reach;
        // Whole vectors can be read from any tap on, and whole vectors cover the phase.
        let phase = (blocks * lanes + product(&[reach, group])?)
            .max(product(&[span, group])?.next_multiple_of(lanes))
            .next_multiple_of(16);
        let (phases, mut runs) = (sw.min(k), Vec::new());
        runs.try_reserve_exact(k).map_err(|_| Error::OutOfMemory)?;
        for p in 0..phases {
            let (mut t, taps) = (0, (k - p).div_ceil(sw));
            while let Some(&count) = RUNS.iter().find(|&&count| count <= taps - t) {
                runs.push(Run { first: p + t * sw, count, offset: p * phase + t * group });
                t += count;
            }
        }
        let (mut offsets, mut places) = (Vec::new(), Vec::new());
        offsets.try_reserve_exact(k).map_err(|_| Error::OutOfMemory)?;
        places.try_reserve_exact(k).map_err(|_| Error::OutOfMemory)?;
        offsets.extend((0..k).map(|v| v % sw * phase + v / sw * group));
        let (weight_pitch, margin) = ((span * group).next_multiple_of(lanes), reach * group);
        places.resize(k, 0);
        let mut place = 0;
        for p in 0..phases {
            for t in (0..(k - p).div_ceil(sw)).rev() {
                places[p + t * sw] = product(&[place, weight_pitch])? + t * group;
                place += 1;
            }
        }
        let (pitch, row_pitch) = (product(&[phase, phases])?, (margin + weight_pitch).next_multiple_of(16));
        Ok(Layout {
            lanes,
            group,
            used,
            blocks,
            span,
            phase,
            pitch,
            runs,
            offsets,
            weight_pitch,
            places,
            row_pitch,
            margin,
        })
    }

    /// The layout for this level: two heads share vectors where that fills them better.
    pub fn choose<T: Real>(d: &Dims, exec: &Exec, keys: bool) -> Result<Layout, Error> {
        let lanes = exec.run(Lanes::<T>(PhantomData));
        let (one, two) = (Layout::new(d, lanes, 1)?, Layout::new(d, lanes, 2)?);
        let vectors = |l: &Layout| if keys { l.blocks + l.weight_pitch / lanes } else { l.blocks };
        Ok(if d.pairs > 1 && 4 * vectors(&two) <= 7 * vectors(&one) { two } else { one })
    }

    /// Elements of `rows` padded rows of all channels.
    pub fn padded_len(&self, d: &Dims, rows: usize) -> Result<usize, Error> {
        product(&[rows, d.depth, self.pitch])
    }

    /// Elements of the tiles of `rows` output rows: (tile row, block, channel, row, lane).
    pub fn tiles_len(&self, d: &Dims, rows: usize) -> Result<usize, Error> {
        product(&[rows.next_multiple_of(MAX_ROWS), self.blocks, d.depth.max(1), self.lanes])
    }

    /// Elements of the scores of a tile: (row, tap, lane).
    pub fn scores_len(&self, d: &Dims) -> Result<usize, Error> {
        product(&[MAX_ROWS, d.window, d.window, self.lanes])
    }

    /// Padded rows `rows` of the maps x (or of x − minus) of the heads `pairs`. Plane after plane, as they lie in memory.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub fn pack<T: Real>(
        &self,
        d: &Dims,
        x: &[T],
        minus: Option<&[T]>,
        pairs: &Range<usize>,
        rows: Range<usize>,
        line: &mut [T],
        y: &mut [T],
    ) {
        for (g, pair) in pairs.clone().enumerate() {
            for e in 0..d.depth {
                for (i, row) in rows.clone().zip(y[e * self.pitch..].chunks_mut(d.depth * self.pitch)) {
                    match d.shown(i, d.height) {
                        None => row[..self.pitch].fill(T::ZERO),
                        Some(a) => self.pack_row(
                            d,
                            d.row(x, pair, e, a),
                            minus.map(|pe| d.row(pe, 0, e, a)),
                            g,
                            line,
                            &mut row[..self.pitch],
                        ),
                    }
                }
            }
        }
    }

    /// Row `x` of member `g` with its border; `line` has the padded width.
    #[inline(always)]
    fn pack_row<T: Real>(&self, d: &Dims, x: &[T], minus: Option<&[T]>, g: usize, line: &mut [T], row: &mut [T]) {
        if d.stride.1 == 1 && self.group == 1 {
            return pad_row(d, x, minus, &mut row[..line.len()]);
        }
        pad_row(d, x, minus, line);
        for (p, phase) in row.chunks_exact_mut(self.phase).enumerate() {
            let places = phase.iter_mut().skip(g).step_by(self.group).take(self.span);
            for (y, &x) in places.zip(line.iter().skip(p).step_by(d.stride.1)) {
                *y = x;
            }
        }
    }

    /// Adjoint of [`Layout::pack_row`]: adds the padded row to `dx`.
    pub fn fold_row<T: Real>(&self, d: &Dims, row: &[T], g: usize, line: &mut [T], dx: &mut [T]) {
        let (r, w, sw) = (d.radius(), d.width, d.stride.1);
        let line = if sw == 1 && self.group == 1 {
            &row[..w + 2 * r]
        } else {
            line.fill(T::ZERO);
            for (p, phase) in row.chunks_exact(self.phase).enumerate() {
                let places = phase.iter().skip(g).step_by(self.group).take(self.span);
                for (y, &x) in line.iter_mut().skip(p).step_by(sw).zip(places) {
                    *y = x;
                }
            }
            line
        };
        for (dx, &g) in dx.iter_mut().zip(&line[r..]) {
            *dx += g;
        }
        for i in (0..r).chain(r + w..w + 2 * r) {
            if let Some(a) = d.shown(i, w) {
                dx[a] += line[i];
            }
        }
    }

    /// The maps `x` of the heads `pairs`, output rows `rows`, as tiles of `R` rows: (tile row, block, channel, R, lane).
    #[inline(always)]
    pub fn pack_tiles<T: Real, I: Isa, const R: usize>(
        &self,
        x: &[T],
        grid: &Grid,
        pairs: &Range<usize>,
        rows: Range<usize>,
        tiles: &mut [T],
    ) {
        let (lanes, step) = (V::<T, I>::LANES, grid.depth * R * V::<T, I>::LANES);
        for (g, pair) in pairs.clone().enumerate() {
            for e in 0..grid.depth {
                for (r, i) in rows.clone().enumerate() {
                    let (row, at) = (grid.row(x, pair, e, i), r / R * self.blocks * step + (e * R + r % R) * lanes);
                    let tiles = &mut tiles[at..];
                    if grid.stride.1 == 1 && self.group == 1 {
                        for (x, tile) in row.chunks(lanes).zip(tiles.chunks_mut(step)) {
                            V::<T, I>::load_partial(x, x.len()).store(tile);
                        }
                    } else {
                        for (j, &x) in row.iter().step_by(grid.stride.1).enumerate() {
                            let t = j * self.group + g;
                            tiles[t / lanes * step + t % lanes] = x;
                        }
                    }
                }
            }
        }
    }

    /// The same as rows (output row, channel, position), after `margin` zeros.
    #[inline(always)]
    pub fn pack_rows<T: Real>(&self, x: &[T], grid: &Grid, pairs: &Range<usize>, rows: Range<usize>, y: &mut [T]) {
        for (g, pair) in pairs.clone().enumerate() {
            for e in 0..grid.depth {
                for (i, y) in rows.clone().zip(y[e * self.row_pitch..].chunks_mut(grid.depth * self.row_pitch)) {
                    let row = grid.row(x, pair, e, i).iter().step_by(grid.stride.1);
                    for (y, &x) in y[self.margin + g..].iter_mut().step_by(self.group).zip(row) {
                        *y = x;
                    }
                }
            }
        }
    }

    /// start[r] = Σ_e q[e][r]·pe[e][r] at the output pixels of `rows`, as tiles (tile row, block, R, lane); `tiles` from [`Layout::pack_tiles`].
    #[inline(always)]
    pub fn pack_start<T: Real, I: Isa, const R: usize>(
        &self,
        d: &Dims,
        pe: &[T],
        rows: Range<usize>,
        tiles: &[T],
        start: &mut [T],
    ) {
        let lanes = V::<T, I>::LANES;
        start.fill(T::ZERO);
        for e in 0..d.depth {
            for (r, i) in rows.clone().enumerate() {
                let row = d.row(pe, 0, e, i * d.stride.0);
                let (at, tile) = (r % R * lanes, r / R * self.blocks);
                for block in 0..self.blocks {
                    let q = V::<T, I>::load(&tiles[((tile + block) * d.depth + e) * R * lanes + at..]);
                    let (x, start) = (block * lanes, &mut start[(tile + block) * R * lanes + at..]);
                    let pe = if d.stride.1 == 1 && self.group == 1 {
                        V::<T, I>::load_partial(&row[x..], lanes.min(d.width - x))
                    } else {
                        let mut pe = [T::ZERO; MAX_LANES];
                        for (t, pe) in pe[..lanes.min(self.used - x)].iter_mut().enumerate() {
                            *pe = row[(x + t) / self.group * d.stride.1];
                        }
                        V::<T, I>::load(&pe)
                    };
                    q.mul_add(pe, V::<T, I>::load(start)).store(start);
                }
            }
        }
    }

    /// Positions `x..` of a row at `from` in the planes of members, one after the other; 0 where there is none.
    #[inline(always)]
    pub fn take<T: Real, I: Isa>(&self, x: usize, planes: &[T], plane: usize, from: usize) -> V<T, I> {
        let n = self.lanes.min(self.used - x);
        if self.group == 1 {
            return V::<T, I>::load_partial(&planes[from + x..], n);
        }
        let mut lanes = [T::ZERO; MAX_LANES];
        for (t, lane) in lanes[..n].iter_mut().enumerate() {
            let (j, g) = ((x + t) / self.group, (x + t) % self.group);
            *lane = planes.get(g * plane + from + j).copied().unwrap_or(T::ZERO);
        }
        V::<T, I>::load(&lanes)
    }

    /// Positions `x..` of a row of output into the rows of its members, each pixel `sw` further: `rows(g)` starts at `from`.
    #[inline(always)]
    pub fn put<T: Real, I: Isa>(
        &self,
        value: V<T, I>,
        x: usize,
        sw: usize,
        from: usize,
        members: &mut [&mut [T]],
        every: usize,
    ) {
        let n = self.lanes.min(self.used - x);
        if self.group == 1 && sw == 1 {
            if let Some(row) = members.first_mut() {
                value.store_partial(&mut row[from + x..], n);
            }
            return;
        }
        let mut lanes = [T::ZERO; MAX_LANES];
        value.store(&mut lanes);
        for (t, &value) in lanes[..n].iter().enumerate() {
            let (j, g) = ((x + t) / self.group, (x + t) % self.group);
            // A group that is not full has empty rows at its end.
            if let Some(pixel) = members.get_mut(g * every).and_then(|row| row.get_mut(from + j * sw)) {
                *pixel = value;
            }
        }
    }
}

/// Row x − minus with its border.
#[inline(always)]
fn pad_row<T: Real>(d: &Dims, x: &[T], minus: Option<&[T]>, line: &mut [T]) {
    let (r, w) = (d.radius(), d.width);
    line[r..][..w].copy_from_slice(x);
    if let Some(pe) = minus {
        for (y, &pe) in line[r..].iter_mut().zip(pe) {
            *y -= pe;
        }
    }
    for i in 0..r {
        let mirrored = d.border == Border::Reflect;
        line[i] = if mirrored { line[2 * r - i] } else { T::ZERO };
        line[r + w + i] = if mirrored { line[r + w - 2 - i] } else { T::ZERO };
    }
}

/// Maps that are read at every output pixel: the inputs on the stride grid, or maps of the output's size.
pub struct Grid {
    depth: usize,
    height: usize,
    width: usize,
    stride: (usize, usize),
}

impl Grid {
    pub fn inputs(d: &Dims) -> Grid {
        Grid { depth: d.depth, height: d.height, width: d.width, stride: d.stride }
    }

    pub fn outputs(d: &Dims) -> Grid {
        Grid { depth: d.depth, height: d.out_height, width: d.out_width, stride: (1, 1) }
    }

    /// The row that output row `i` reads.
    #[inline(always)]
    fn row<'a, T>(&self, x: &'a [T], pair: usize, e: usize, i: usize) -> &'a [T] {
        &x[((pair * self.depth + e) * self.height + i * self.stride.0) * self.width..][..self.width]
    }
}

/// The number of lanes at a level.
struct Lanes<T>(PhantomData<T>);

impl<T: Real> Task for Lanes<T> {
    type Out = usize;
    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        V::<T, I>::LANES
    }
}

/// Every group of heads is cut into `bands` tasks of `rows` rows.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    pub rows: usize,
    pub bands: usize,
}

impl Split {
    /// Tasks for all threads, but none below 50 µs or much above 10 ms. `row_cost`: nanoseconds for one row of a group.
    pub fn new(height: usize, row_cost: usize, groups: usize, threads: usize) -> Split {
        let cost = row_cost.saturating_mul(height);
        let wanted = if threads > 1 { (4 * threads).div_ceil(groups.max(1)) } else { 1 };
        let bands = wanted.min(cost / 50_000).max(cost / 10_000_000).max(1);
        let rows = height.div_ceil(bands).next_multiple_of(MAX_ROWS).clamp(1, height.max(1));
        Split { rows, bands: height.div_ceil(rows) }
    }

    /// Rows of task number `task`.
    pub fn band(&self, task: usize, height: usize) -> Range<usize> {
        let lo = task % self.bands * self.rows;
        lo..height.min(lo + self.rows)
    }
}

/// Cuts planes of `plane` elements into bands of `band`, in the order (group of planes, band, plane): every task owns `per_task` slices
/// in a row. A last, smaller group is filled up with empty slices.
pub fn deal<T>(x: &mut [T], (plane, band): (usize, usize), per_task: usize) -> Result<Vec<&mut [T]>, Error> {
    let mut dealt: Vec<&mut [T]> = Vec::new();
    if x.is_empty() {
        return Ok(dealt);
    }
    let bands = plane.div_ceil(band);
    let tasks = (x.len() / plane).div_ceil(per_task) * bands;
    dealt.try_reserve_exact(tasks * per_task).map_err(|_| Error::OutOfMemory)?;
    dealt.resize_with(tasks * per_task, Default::default);
    for (p, x) in x.chunks_mut(plane).enumerate() {
        for (b, x) in x.chunks_mut(band).enumerate() {
            dealt[(p / per_task * bands + b) * per_task + p % per_task] = x;
        }
    }
    Ok(dealt)
}
