//! Products of row-major matrices, A·B and Aᵀ·B, packed block by block.

use std::ops::Range;

use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{
    Ahead, DEPTH, MAX_ROWS, Matrix, Onto, PANEL, PITCH, Pack, Panels, Share, Stored, Tiles, Transpose, Turned, even,
    pieces, tile_rows,
};
use crate::real::Real;

/// Multiply-adds of one task: about 10 ms.
const MOST_WORK: usize = 1 << 29;

/// Bytes of the block of B that stays in the cache while rows of A pass.
const MOST_BYTES: usize = 1 << 19;

impl<T: Real> Matrix<'_, T> {
    /// For a right-hand matrix (depth, columns): the rows `terms` of the columns `own` as panels of [`PANEL`] columns, one after the
    /// other, each row by row.
    pub fn pack(
        self,
        terms: Range<usize>,
        own: Range<usize>,
        (depth, columns): (usize, usize),
        to: &mut [T],
        exec: &Exec,
    ) {
        let scratch: &mut [T] = &mut [];
        match self {
            Matrix::Rows(x) => {
                let b = &Stored { x, groups: 1, depth, columns };
                exec.run(Pack { b, group: 0, depth: terms, columns: own, scratch, panels: to });
            }
            Matrix::Columns(x) => {
                exec.run(Pack { b: &Turned { x, depth }, group: 0, depth: terms, columns: own, scratch, panels: to });
            }
        }
    }
}

/// c (rows, columns) = A·B + bias for A (rows, depth), one number of the bias for each column.
pub fn multiply<T: Real>(
    a: &[T],
    b: Matrix<T>,
    bias: Option<&[T]>,
    c: &mut [T],
    (depth, columns): (usize, usize),
    exec: &Exec,
) -> Result<(), Error> {
    if c.is_empty() {
        return Ok(());
    }
    let rows = c.len() / columns;
    let (rows_each, columns_each) = task_size::<T>(rows, columns, depth, exec);
    let cost = (rows * columns / 50).saturating_mul(depth.max(8));
    let c = if depth <= DEPTH { Share::of_result(c, 1, rows, columns) } else { Share::new(c, 1, rows, columns) };
    let tasks = c.by_rows(rows_each).flat_map(|part| part.by_columns(columns_each));
    let space = || Ok((zeros(MAX_ROWS * PITCH)?, zeros(DEPTH * columns_each)?));
    exec.for_each_with(cost, tasks, space, |(a_space, panels): &mut (Buffer<T>, Buffer<T>), mut share| {
        let (own, columns_own) = (share.rows(), share.columns());
        let mut starts = [0; most_columns::<f32>() / PANEL];
        let starts = &mut starts[..columns_own.len().div_ceil(PANEL)];
        for terms in pieces(0..depth.max(1), DEPTH) {
            let terms = terms.start..terms.end.min(depth);
            let n = terms.len();
            b.pack(terms.clone(), columns_own.clone(), (depth, columns), panels, exec);
            for (i, start) in starts.iter_mut().enumerate() {
                *start = i * n * PANEL;
            }
            let (a_rows, _) = a_space.as_chunks_mut::<PITCH>();
            for tile in even(own.len(), own.len().div_ceil(tile_rows(exec))) {
                let row = own.start + tile.start;
                let own = row..row + tile.len();
                Matrix::Rows(a).tile(own.clone(), terms.clone(), (rows, depth), a_rows, exec);
                let after = &a[own.end * depth..];
                exec.run(Tiles {
                    a: &a_rows[..tile.len()],
                    depth: n,
                    b: Panels { data: panels, starts, pitch: PANEL, run: n, jump: 0 },
                    c: &mut share,
                    row,
                    columns: columns_own.clone(),
                    onto: match bias {
                        _ if terms.start > 0 => Onto::C,
                        Some(bias) => Onto::Columns(&bias[columns_own.clone()]),
                        None => Onto::Nothing,
                    },
                    next: Ahead::all([&after[..after.len().min(tile.len() * depth)], &[]]),
                });
            }
        }
    })
}

/// Most columns of a task of [`multiply`].
const fn most_columns<T>() -> usize {
    MOST_BYTES / size_of::<T>() / DEPTH
}

/// Rows and columns of a task. Tasks that share columns pack them again, tasks that share rows copy A again.
fn task_size<T>(rows: usize, columns: usize, depth: usize, exec: &Exec) -> (usize, usize) {
    let wanted = if exec.threads() == 1 { 1 } else { 4 * exec.threads() };
    let fewest = columns.div_ceil(most_columns::<T>());
    let size = |parts: usize| {
        let columns_each = columns.div_ceil(parts).next_multiple_of(PANEL);
        let work = (columns_each * depth).saturating_mul(rows) / MOST_WORK;
        let row_parts = wanted.div_ceil(parts).max(work + 1).min(rows.div_ceil(2 * MAX_ROWS));
        (2 * row_parts * columns + columns.div_ceil(columns_each) * rows, rows.div_ceil(row_parts), columns_each)
    };
    let most = fewest.max(wanted.min(columns.div_ceil(PANEL)));
    (fewest..=most).map(size).min().map_or((1, PANEL), |(_, rows, columns)| (rows, columns))
}

/// Rows and columns of the part of Aᵀ·B that a task makes: it stays in the cache with what it is made of.
const GRAM_ROWS: usize = 12 * MAX_ROWS;
pub const GRAM_COLUMNS: usize = 16 * PANEL;

/// Most terms of the sums of one task.
const MOST_TERMS: usize = 1 << 13;

/// c (parts, m, n): Aᵀ·B in parts of so many terms each, for A (terms, m) and B (terms, n). How the terms are parted follows from the
/// sizes alone; within a part they are added in blocks of [`DEPTH`].
pub struct Gram {
    terms: usize,
    m: usize,
    n: usize,
    each: usize,
}

impl Gram {
    pub fn new(terms: usize, m: usize, n: usize) -> Self {
        let tasks = m.div_ceil(GRAM_ROWS) * n.div_ceil(GRAM_COLUMNS);
        let parts = (16 / tasks.max(1)).min(terms / (4 * DEPTH)).max(terms.div_ceil(MOST_TERMS)).max(1);
        Gram { terms, m, n, each: terms.div_ceil(parts).next_multiple_of(DEPTH).max(DEPTH) }
    }

    pub fn parts(&self) -> usize {
        self.terms.div_ceil(self.each).max(1)
    }

    pub fn run<T: Real>(&self, a: &[T], b: &[T], c: &mut [T], exec: &Exec) -> Result<(), Error> {
        let Gram { terms, m, n, each } = *self;
        if c.is_empty() || terms == 0 {
            c.fill(T::ZERO);
            return Ok(());
        }
        // Parts as equal as can be, so that threads finish together.
        let rows_each = m.div_ceil(m.div_ceil(GRAM_ROWS));
        let columns_each = n.div_ceil(n.div_ceil(GRAM_COLUMNS)).next_multiple_of(PANEL);
        let cost = (m * n / 50).saturating_mul(terms);
        let tasks = Share::new(c, 1, self.parts() * m, n)
            .by_rows(m)
            .flat_map(|part| part.by_rows(rows_each))
            .flat_map(|part| part.by_columns(columns_each));
        let space = || Ok((zeros(rows_each * PITCH)?, zeros(DEPTH * columns_each)?));
        exec.for_each_with(cost, tasks, space, |(a_space, panels): &mut (Buffer<T>, Buffer<T>), mut share| {
            let (own, columns) = (share.rows(), share.columns());
            let part = own.start / m * each;
            let first = own.start % m;
            let mut starts = [0; GRAM_COLUMNS / PANEL];
            let starts = &mut starts[..columns.len().div_ceil(PANEL)];
            for block in pieces(part..(part + each).min(terms), DEPTH) {
                let depth = block.len();
                Matrix::Rows(b).pack(block.clone(), columns.clone(), (terms, n), panels, exec);
                for (i, start) in starts.iter_mut().enumerate() {
                    *start = i * depth * PANEL;
                }
                exec.run(Transpose {
                    x: &a[block.start * m + first..],
                    x_pitch: m,
                    rows: depth,
                    columns: own.len(),
                    y: a_space,
                    y_pitch: PITCH,
                });
                let (a_rows, _) = a_space.as_chunks::<PITCH>();
                for tile in even(own.len(), own.len().div_ceil(tile_rows(exec))) {
                    exec.run(Tiles {
                        a: &a_rows[tile.clone()],
                        depth,
                        b: Panels { data: panels, starts, pitch: PANEL, run: depth, jump: 0 },
                        c: &mut share,
                        row: own.start + tile.start,
                        columns: columns.clone(),
                        onto: Onto::c(block.start > part),
                        next: Ahead::NOTHING,
                    });
                }
            }
        })
    }
}
