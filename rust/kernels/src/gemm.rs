//! The micro-kernel of every matrix product C (+)= A·B: a few rows of A times panels of 32 columns of B, sums in registers.
//!
//! * A tile is up to [`tile_rows`] rows by two vectors: 28 of 32 registers hold sums, or 12 of 16.
//! * Each sum is a chain c = fma(a, b, c) over at most [`DEPTH`] terms, in order, from zero; longer sums are such blocks, added in order.
//!   Nothing depends on where in a tile or panel an element lies, so results are the same for every split of the work and, since
//!   lanes are independent, at every level with fused multiply-add.
//! * [`Share`] is what lets tasks write disjoint parts of one array.

// `Share`: safe Rust cannot cut an array into rectangles. `sums`: three checks per step made the loop up to 40 % slower, depending on
// how its jumps lie in memory.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::exec::Exec;
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::real::Real;

mod product;
mod stored;
mod transpose;

pub use product::{Matrix, Pack, Product, Source};
pub use stored::{Stored, into_panels};
pub use transpose::{Transpose, transpose};

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

/// Part of an array (images, rows, columns): the rows `rows` at the columns `columns`, counted through all images.
pub struct Share<'a, T> {
    start: *mut T,
    height: usize,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    array: PhantomData<&'a mut [T]>,
}

// SAFETY: a share is used like the `&mut [T]` it was made from, and no two shares have an element in common.
unsafe impl<T: Send> Send for Share<'_, T> {}

impl<'a, T> Share<'a, T> {
    /// All of y (images, height, width).
    pub fn new(y: &'a mut [T], images: usize, height: usize, width: usize) -> Self {
        assert_eq!(y.len(), images * height * width);
        Self { start: y.as_mut_ptr(), height, width, rows: 0..height, columns: 0..images * width, array: PhantomData }
    }

    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Share<'a, T> {
        Share { start: self.start, height: self.height, width: self.width, rows, columns, array: PhantomData }
    }

    /// Disjoint shares of `each` rows, the last one fewer.
    pub fn by_rows(self, each: usize) -> impl Iterator<Item = Share<'a, T>> + Send
    where
        T: Send,
    {
        pieces(self.rows(), each).map(move |rows| self.part(rows, self.columns()))
    }

    /// Disjoint shares of `each` columns, the last one fewer.
    pub fn by_columns(self, each: usize) -> impl Iterator<Item = Share<'a, T>> + Send
    where
        T: Send,
    {
        pieces(self.columns(), each).map(move |columns| self.part(self.rows(), columns))
    }

    /// The columns from `column` to the end of its image or of the share.
    #[inline]
    pub fn from_column(&mut self, column: usize) -> Columns<'_, 'a, T> {
        assert!(self.columns.contains(&column));
        let (image, inside) = (column / self.width, column % self.width);
        let room = (self.width - inside).min(self.columns.end - column);
        Columns { offset: image * self.height * self.width + inside, room, share: self }
    }
}

/// Columns of one image of a share.
pub struct Columns<'s, 'a, T> {
    share: &'s mut Share<'a, T>,
    offset: usize,
    room: usize,
}

impl<T> Columns<'_, '_, T> {
    /// How many columns there are.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Some of these columns in a row of the share.
    #[inline(always)]
    pub fn row(&mut self, row: usize, columns: Range<usize>) -> &mut [T] {
        let share = &*self.share;
        assert!(
            share.rows.start <= row && row < share.rows.end && columns.start <= columns.end && columns.end <= self.room
        );
        let first = self.offset + row * share.width + columns.start;
        // SAFETY: row and columns belong to this share, hence lie in the array, and no other share holds them; the borrow of the
        // share lasts as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(share.start.add(first), columns.len()) }
    }
}

/// Consecutive ranges of `each` that make up `whole`.
pub fn pieces(whole: Range<usize>, each: usize) -> impl Iterator<Item = Range<usize>> + Send {
    let each = each.max(1);
    whole.clone().step_by(each).map(move |start| start..(start + each).min(whole.end))
}

/// Some columns, counted through all images of `width` columns, as (image, columns of that image, how many came before).
pub fn in_images(
    columns: Range<usize>,
    width: usize,
) -> impl Iterator<Item = (usize, Range<usize>, usize)> + Clone + Send {
    (columns.start / width..columns.end.div_ceil(width)).map(move |image| {
        let first = image * width;
        let (start, end) = (columns.start.max(first), columns.end.min(first + width));
        (image, start - first..end - first, start - columns.start)
    })
}

/// `count` ranges that make up 0..len, as equal as can be.
pub fn even(len: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).map(move |i| i * len / count..(i + 1) * len / count)
}

/// Most rows of a tile at the level of `exec`.
pub fn tile_rows(exec: &Exec) -> usize {
    struct Rows;
    impl Task for Rows {
        type Out = usize;
        #[inline(always)]
        fn run<I: Isa>(self) -> usize {
            if I::REGISTERS >= 32 { MAX_ROWS } else { 6 }
        }
    }
    exec.run(Rows)
}

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
    pub add: bool,
    pub bias: Bias<'a, T>,
}

/// What is added to C besides.
#[derive(Clone, Copy)]
pub enum Bias<'a, T> {
    None,
    /// One number for each row of A.
    Rows(&'a [T]),
    /// One number for each of the columns.
    Columns(&'a [T]),
}

impl<'a, T> Bias<'a, T> {
    /// One number for each row of A, if given.
    pub fn rows(bias: Option<&'a [T]>) -> Self {
        bias.map_or(Bias::None, Bias::Rows)
    }
}

impl<T: Real> Bias<'_, T> {
    /// To the sums of some rows at the columns `first..first + n`.
    #[inline(always)]
    fn add<I: Isa>(self, sums: &mut [[T; PANEL]], first: usize, n: usize) {
        for (r, sums) in sums.iter_mut().enumerate() {
            for l in (0..PANEL).step_by(V::<T, I>::LANES) {
                let own = n.saturating_sub(l).min(V::<T, I>::LANES);
                let bias = match self {
                    Bias::None => return,
                    Bias::Rows(bias) => V::<T, I>::splat(bias[r]),
                    Bias::Columns(bias) => V::<T, I>::load_partial(&bias[(first + l).min(bias.len())..], own),
                };
                (V::<T, I>::load(&sums[l..]) + bias).store(&mut sums[l..]);
            }
        }
    }
}

impl<T: Real> Task for Tiles<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        // The sums pass through memory so that everything but the innermost loop exists once for all numbers of rows.
        let mut sums = [[T::ZERO; PANEL]; MAX_ROWS];
        let width = 2 * V::<T, I>::LANES;
        for (i, &start) in self.b.starts.iter().enumerate() {
            let column = self.columns.start + i * PANEL;
            let end = (column + PANEL).min(self.columns.end);
            let mut first = 0;
            while column + first < end {
                self.sums::<I>(start + first, first, &mut sums);
                first += width;
            }
            self.bias.add::<I>(&mut sums[..self.a.len()], column - self.columns.start, end - column);
            if self.add {
                self.put::<I, true>(&sums, column, end - column);
            } else {
                self.put::<I, false>(&sums, column, end - column);
            }
        }
    }
}

impl<T: Real> Tiles<'_, '_, T> {
    /// Columns `first..` of the panel that begins `first` elements before `start`, for all rows of A.
    #[inline(always)]
    fn sums<I: Isa>(&self, start: usize, first: usize, out: &mut [[T; PANEL]; MAX_ROWS]) {
        macro_rules! rows {
            ($($small:literal)*; $($large:literal)*) => {
                match self.a.len() {
                    $($small => sums::<T, I, $small>(self.a, self.depth, &self.b, start, first, out),)*
                    $($large if I::REGISTERS >= 32 => sums::<T, I, $large>(self.a, self.depth, &self.b, start, first, out),)*
                    rows => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        rows!(1 2 3 4 5 6; 7 8 9 10 11 12 13 14)
    }

    /// The first `n` columns of the sums to C from `column` on. Where they are not added, C is not read.
    #[inline(always)]
    fn put<I: Isa, const ADD: bool>(&mut self, sums: &[[T; PANEL]; MAX_ROWS], column: usize, n: usize) {
        let lanes = V::<T, I>::LANES;
        let mut done = 0;
        while done < n {
            let mut to = self.c.from_column(column + done);
            let len = to.room().min(n - done);
            for (r, sums) in sums[..self.a.len()].iter().enumerate() {
                let (sums, to) = (&sums[done..done + len], to.row(self.row + r, 0..len));
                let mut l = 0;
                while l + lanes <= len {
                    let mut sum = V::<T, I>::load(&sums[l..]);
                    if ADD {
                        sum = V::<T, I>::load(&to[l..]) + sum;
                    }
                    sum.store(&mut to[l..]);
                    l += lanes;
                }
                if l < len {
                    let (to, n) = (&mut to[l..], len - l);
                    let mut sum = V::<T, I>::load_partial(&sums[l..], n);
                    if ADD {
                        sum = V::<T, I>::load_partial(to, n) + sum;
                    }
                    sum.store_partial(to, n);
                }
            }
            done += len;
        }
    }
}

/// A·B for R rows and the two vectors of columns at `start`, one fused chain each, to columns `first..` of `out`.
#[inline(always)]
fn sums<T: Real, I: Isa, const R: usize>(
    a: &[[T; PITCH]],
    depth: usize,
    b: &Panels<T>,
    start: usize,
    first: usize,
    out: &mut [[T; PANEL]; MAX_ROWS],
) {
    let Some(a) = a.first_chunk::<R>() else { return };
    let lanes = V::<T, I>::LANES;
    let mut sums = [[V::<T, I>::zero(); 2]; R];
    let (mut done, mut start) = (0, start);
    assert!(depth <= PITCH);
    while done < depth {
        let run = b.run.min(depth - done);
        let data = &b.data[start..][..(run - 1) * b.pitch + 2 * lanes];
        for k in 0..run {
            // SAFETY: k < run, so these columns end where `data` was cut, or before.
            let row = unsafe { data.get_unchecked(k * b.pitch..k * b.pitch + 2 * lanes) };
            let (left, right) = (V::<T, I>::load(row), V::<T, I>::load(&row[lanes..]));
            lanes::prefetch(data, (k + AHEAD) * b.pitch);
            lanes::prefetch(data, (k + AHEAD) * b.pitch + lanes);
            for r in 0..R {
                // SAFETY: done + k < done + run <= depth <= PITCH.
                let factor = V::<T, I>::splat(unsafe { *a[r].get_unchecked(done + k) });
                sums[r][0] = factor.mul_add(left, sums[r][0]);
                sums[r][1] = factor.mul_add(right, sums[r][1]);
            }
        }
        done += run;
        start += b.jump;
    }
    for r in 0..R {
        sums[r][0].store(&mut out[r][first..]);
        sums[r][1].store(&mut out[r][first + lanes..]);
    }
}

#[cfg(test)]
mod tests;
