//! The micro-kernel of every matrix product C (+)= A·B: a few rows of A times panels of 32 columns of B, sums in registers.
//!
//! * A tile is up to [`tile_rows`] rows by two vectors: 28 of 32 registers hold sums, or 12 of 16.
//! * Each sum is a chain c = fma(a, b, c) over at most [`DEPTH`] terms, in order, from zero; longer sums are such blocks, added in order.
//!   Nothing depends on where in a tile or panel an element lies, so results are the same for every split of the work and, since
//!   lanes are independent, at every level with fused multiply-add.
//! * Sums go from registers to their place; only where a panel is cut by the end of an image or of C do they pass through memory.

// `sums`: three checks per step made the loop up to 40 % slower, depending on how its jumps lie in memory; it writes where `Share` says.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::lanes::{self, Isa, Task, V, Vector};
use crate::real::Real;

mod ahead;
mod product;
mod ranges;
mod share;
mod stored;
mod transpose;

pub use ahead::Ahead;
use ahead::Lines;
pub use product::{Matrix, Pack, Product, Source};
pub use ranges::{columns_apart, even, in_images, pieces, tile_rows};
use share::Place;
pub use share::Share;
pub use stored::{Scaled, Stored, Turned, into_panels};
pub use transpose::{Transpose, TransposePast, transpose};

/// Terms of a sum that are added in one chain.
pub const DEPTH: usize = 256;

/// Distance of the rows of A's copy: they do not compete for the same lines of the cache.
pub const PITCH: usize = DEPTH + 16;

/// Rows of B that are on their way from the second cache while one is used.
const AHEAD: usize = 8;

/// Columns of a panel of B: two vectors of 16, or more vectors of fewer lanes.
pub const PANEL: usize = 32;

/// The most rows of a tile at any level.
pub const MAX_ROWS: usize = 14;

/// Panels of B: panel i has its row k at starts[i] + (k / run)·jump + (k % run)·pitch.
pub struct Panels<'a, T> {
    pub data: &'a [T],
    pub starts: &'a [usize],
    pub pitch: usize,
    pub run: usize,
    pub jump: usize,
}

/// C[row.., columns] = or += A·B + bias. A has `depth` columns, B as many rows.
pub struct Tiles<'a, 'b, T> {
    pub a: &'a [[T; PITCH]],
    pub depth: usize,
    pub b: Panels<'a, T>,
    pub c: &'a mut Share<'b, T>,
    pub row: usize,
    pub columns: Range<usize>,
    pub onto: Onto<'a, T>,
    /// What is read after these tiles.
    pub next: Ahead<'a, T>,
}

/// What the sums are added to.
#[derive(Clone, Copy)]
pub enum Onto<'a, T> {
    Nothing,
    /// What C holds.
    C,
    /// One number for each row of A.
    Rows(&'a [T]),
    /// One number for each of the columns.
    Columns(&'a [T]),
}

impl<'a, T: Real> Onto<'a, T> {
    /// What C holds, or nothing.
    pub fn c(add: bool) -> Self {
        if add { Onto::C } else { Onto::Nothing }
    }

    /// One number for each row of A, if given.
    pub fn rows(bias: Option<&'a [T]>) -> Self {
        bias.map_or(Onto::Nothing, Onto::Rows)
    }

    /// The same for `n` of the columns.
    #[inline(always)]
    fn at(self, columns: Range<usize>) -> Self {
        match self {
            Onto::Columns(bias) => Onto::Columns(&bias[columns]),
            other => other,
        }
    }
}

impl<T: Real> Task for Tiles<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        macro_rules! rows {
            ($($small:literal)*; $($large:literal)*) => {
                match self.a.len() {
                    $($small => self.ask::<I, $small>(),)*
                    $($large if I::REGISTERS >= 32 => self.ask::<I, $large>(),)*
                    rows => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        rows!(1 2 3 4 5 6; 7 8 9 10 11 12 13 14);
    }
}

/// Tiles of R rows.
struct Rows<'a, 'b, T, const R: usize, const ASK: bool>(Tiles<'a, 'b, T>);

impl<'a, 'b, T: Real> Tiles<'a, 'b, T> {
    /// Every height is a function of its own: one for all of them took most of the time that the whole core compiled.
    #[inline(always)]
    fn ask<I: Isa, const R: usize>(self) {
        if self.next.is_nothing() {
            I::call(Rows::<T, R, false>(self));
        } else {
            I::call(Rows::<T, R, true>(self));
        }
    }
}

impl<T: Real, const R: usize, const ASK: bool> Task for Rows<'_, '_, T, R, ASK> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let Rows(tiles) = &mut self;
        let mut sums = [[T::ZERO; PANEL]; MAX_ROWS];
        let calls = tiles.b.starts.len() * (PANEL / (2 * V::<T, I>::LANES));
        let next = &mut tiles.next.clone().lines(calls);
        for (i, &start) in tiles.b.starts.iter().enumerate() {
            let (first, column) = (i * PANEL, tiles.columns.start + i * PANEL);
            let n = PANEL.min(tiles.columns.end - column);
            let onto = tiles.onto.at(first..first + n);
            match tiles.c.from_column(column).panel(tiles.row..tiles.row + R) {
                Some(place) if n == PANEL => tiles.sums::<I, ASK, R>(start, n, place, onto, next),
                _ => {
                    tiles.sums::<I, ASK, R>(start, n, Place::of(&mut sums), Onto::Nothing, next);
                    tiles.put::<I>(&sums, column, n, onto);
                }
            }
        }
    }
}

impl<T: Real> Tiles<'_, '_, T> {
    /// The first `n` columns of the panel at `start`, or more, for all rows of A.
    #[inline(always)]
    fn sums<I: Isa, const ASK: bool, const R: usize>(
        &self,
        start: usize,
        n: usize,
        to: Place<T>,
        onto: Onto<T>,
        next: &mut Lines<T>,
    ) {
        for column in (0..n).step_by(2 * V::<T, I>::LANES) {
            if n - column <= V::<T, I>::LANES {
                sums::<T, I, ASK, R, 1>(self, start, column, to, onto, next);
            } else {
                sums::<T, I, ASK, R, 2>(self, start, column, to, onto, next);
            }
        }
    }

    /// The first `n` columns of the sums to C from `column` on.
    #[inline(always)]
    fn put<I: Isa>(&mut self, sums: &[[T; PANEL]; MAX_ROWS], column: usize, n: usize, onto: Onto<T>) {
        let mut done = 0;
        while done < n {
            let mut to = self.c.from_column(column + done);
            let len = to.room().min(n - done);
            for (r, sums) in sums[..self.a.len()].iter().enumerate() {
                let (sums, to) = (&sums[done..done + len], to.row(self.row + r, 0..len));
                match onto {
                    Onto::Nothing => {
                        stored::copy::<T, I>(sums, to);
                        continue;
                    }
                    Onto::C => {}
                    Onto::Rows(bias) => to.fill(bias[r]),
                    Onto::Columns(bias) => stored::copy::<T, I>(&bias[done..done + len], to),
                }
                lanes::add_assign::<T, I>(sums, to);
            }
            done += len;
        }
    }
}

/// A·B for R rows and W vectors of columns, two or a last one, of the panel at `start`, from `column` on, one fused chain each.
#[inline(always)]
fn sums<T: Real, I: Isa, const ASK: bool, const R: usize, const W: usize>(
    tiles: &Tiles<T>,
    start: usize,
    column: usize,
    to: Place<T>,
    onto: Onto<T>,
    next: &mut Lines<T>,
) {
    let Tiles { a, depth, ref b, .. } = *tiles;
    let Some(a) = a.first_chunk::<R>() else { return };
    let lanes = V::<T, I>::LANES;
    let mut sums = [[V::<T, I>::zero(); W]; R];
    let (mut done, mut start) = (0, start + column);
    assert!(depth <= PITCH);
    next.begin();
    while done < depth {
        let run = b.run.min(depth - done);
        let data = &b.data[start..][..(run - 1) * b.pitch + W * lanes];
        let mut k = 0;
        while k < run {
            // One line with every row of B, in a loop without choices.
            let (far, step, end) = match if ASK { next.some(run - k) } else { None } {
                Some((far, n)) => (far, Lines::<T>::LINE, k + n),
                None => (data, 0, run),
            };
            let mut at = 0;
            while k < end {
                // SAFETY: k < end <= run, so these columns end where `data` was cut, or before.
                let row = unsafe { data.get_unchecked(k * b.pitch..k * b.pitch + W * lanes) };
                let mut right = [V::<T, I>::zero(); W];
                for w in 0..W {
                    right[w] = V::<T, I>::load(&row[w * lanes..]);
                    lanes::prefetch(data, (k + AHEAD) * b.pitch + w * lanes);
                }
                if ASK {
                    lanes::prefetch_far(far, at);
                    at += step;
                }
                for r in 0..R {
                    // SAFETY: done + k < done + end <= done + run <= depth <= PITCH.
                    let factor = V::<T, I>::splat(unsafe { *a[r].get_unchecked(done + k) });
                    for w in 0..W {
                        sums[r][w] = factor.mul_add(right[w], sums[r][w]);
                    }
                }
                k += 1;
            }
        }
        done += run;
        start += b.jump;
    }
    // One loop for each case: a choice inside would be made for every vector.
    macro_rules! finish {
        ($sum:ident, $to:ident, $r:ident, $w:ident => $value:expr) => {
            if to.past() {
                // SAFETY: the rows begin on lines of the cache, column + w·lanes is a multiple of lanes.
                finish!($sum, $to, $r, $w => unsafe { $value.stream($to) };)
            } else {
                finish!($sum, $to, $r, $w => $value.store($to);)
            }
        };
        ($sum:ident, $to:ident, $r:ident, $w:ident => $put:expr;) => {
            for $r in 0..R {
                for $w in 0..W {
                    // SAFETY: the place has R rows of a panel, and column + W·lanes <= PANEL.
                    let $to = unsafe { to.lanes($r, column + $w * lanes, lanes) };
                    let $sum = sums[$r][$w];
                    $put;
                }
            }
        };
    }
    match onto {
        Onto::Nothing => finish!(sum, to, _r, _w => sum),
        Onto::C => finish!(sum, to, _r, _w => (V::<T, I>::load(to) + sum).store(to);),
        Onto::Rows(bias) => {
            let bias = &bias[..R];
            finish!(sum, to, r, _w => (sum + V::<T, I>::splat(bias[r])));
        }
        Onto::Columns(bias) => {
            let bias = &bias[column..column + W * lanes];
            finish!(sum, to, _r, w => (sum + V::<T, I>::load(&bias[w * lanes..])));
        }
    }
}

#[cfg(test)]
mod tests;
