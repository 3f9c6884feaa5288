//! y[n, g, m, j] = Σ_k A[g, m, k] · B_g[k, (n, j)] (+ bias[g, m]) for a right-hand side that is made panel by panel.

use std::ops::Range;

use super::{Ahead, MAX_ROWS, Onto, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, tile_rows};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{Isa, Task};
use crate::real::Real;

/// The right-hand matrices B_g (depth, columns of all images), which need not exist in memory.
pub trait Source<T: Real>: Sync {
    /// What it costs to make an element, in copies of one.
    const COST: usize = 1;

    /// Elements of work space that `pack` wants for `columns` columns.
    fn scratch(&self, columns: usize) -> Result<usize, Error>;

    /// Where `pack` will read these rows and columns, as far as it pays to ask for them.
    fn ahead(&self, _group: usize, _depth: Range<usize>, _columns: Range<usize>) -> Ahead<'_, T> {
        Ahead::NOTHING
    }

    /// Writes the rows `depth` of the columns `columns` as panels of [`PANEL`] columns, one after the other, each row by row. Columns
    /// that complete the last panel may be anything; so may `PANEL` elements after it.
    fn pack<I: Isa>(
        &self,
        group: usize,
        depth: Range<usize>,
        columns: Range<usize>,
        scratch: &mut [T],
        panels: &mut [T],
    );
}

/// A matrix by its rows, or by those of its transpose.
#[derive(Clone, Copy)]
pub enum Matrix<'a, T> {
    Rows(&'a [T]),
    Columns(&'a [T]),
}

impl<'a, T: Real> Matrix<'a, T> {
    /// One of several matrices of `len` elements, one after the other.
    fn group(self, group: usize, len: usize) -> Matrix<'a, T> {
        match self {
            Matrix::Rows(a) => Matrix::Rows(&a[group * len..][..len]),
            Matrix::Columns(a) => Matrix::Columns(&a[group * len..][..len]),
        }
    }

    /// The columns `terms` of the rows `own`, for [`Tiles`].
    pub fn tile(
        self,
        own: Range<usize>,
        terms: Range<usize>,
        (rows, depth): (usize, usize),
        to: &mut [[T; PITCH]],
        exec: &Exec,
    ) {
        if depth == 0 {
            return;
        }
        match self {
            Matrix::Rows(a) => {
                for (row, to) in own.zip(to) {
                    to[..terms.len()].copy_from_slice(&a[row * depth..][terms.clone()]);
                }
            }
            Matrix::Columns(a) => exec.run(Transpose {
                x: &a[terms.start * rows + own.start..],
                x_pitch: rows,
                rows: terms.len(),
                columns: own.len(),
                y: to.as_flattened_mut(),
                y_pitch: PITCH,
            }),
        }
    }
}

/// Of A (rows, depth) in each group and the maker of B.
pub struct Product {
    pub images: usize,
    pub groups: usize,
    /// Rows of A and y in each group.
    pub rows: usize,
    pub depth: usize,
    /// Terms of one block, at most [`super::DEPTH`]; must follow from the operator's weight alone.
    pub block: usize,
    /// Columns of y in one image.
    pub columns: usize,
}

/// Most columns of a task: their block of B fills half of a cache of 1 MiB.
const MOST_COLUMNS: usize = 512;

/// Multiply-adds of one task: about 10 ms.
const MOST_WORK: usize = 1 << 29;

struct Space<T> {
    source: Buffer<T>,
    panels: Buffer<T>,
    a: Buffer<T>,
}

impl Product {
    pub fn run<T: Real, S: Source<T>>(
        &self,
        a: Matrix<T>,
        b: &S,
        bias: Option<&[T]>,
        y: &mut [T],
        exec: &Exec,
    ) -> Result<(), Error> {
        let Product { images, groups, rows, depth, block, columns } = *self;
        if y.is_empty() {
            return Ok(());
        }
        let total = images * columns;
        let (rows_each, columns_each) = self.task_size(S::COST, exec);
        // Threads take tasks in turns, if all goes evenly.
        let skip = (exec.threads() / rows.div_ceil(rows_each)).max(1) * columns_each;
        let space = || {
            let panels = columns_each.div_ceil(PANEL) * PANEL * block + PANEL;
            Ok(Space { source: zeros(b.scratch(columns_each)?)?, panels: zeros(panels)?, a: zeros(MAX_ROWS * PITCH)? })
        };
        let cost = 2 * groups * rows * total / 100 * depth.max(8);
        let (once, height) = (depth <= block, groups * rows);
        let y =
            if once { Share::of_result(y, images, height, columns) } else { Share::new(y, images, height, columns) };
        let tasks =
            y.by_rows(rows).flat_map(|group| group.by_columns(columns_each)).flat_map(|part| part.by_rows(rows_each));
        exec.for_each_with(cost, tasks, space, |space, mut share| {
            let columns = share.columns();
            let group = share.rows().start / rows;
            let starts: [usize; MOST_COLUMNS / PANEL] = std::array::from_fn(|i| i);
            let starts = &starts[..columns.len().div_ceil(PANEL)];
            for k in (0..depth.max(1)).step_by(block) {
                let terms = k..(k + block).min(depth);
                let n = terms.len();
                let (source, panels) = (&mut space.source, &mut space.panels);
                exec.run(Pack { b, group, depth: terms.clone(), columns: columns.clone(), scratch: source, panels });
                let mut at = [0; MOST_COLUMNS / PANEL];
                for (at, i) in at.iter_mut().zip(starts) {
                    *at = i * n * PANEL;
                }
                let (a_rows, _) = space.a.as_chunks_mut::<PITCH>();
                let own = share.rows();
                let next = if terms.end < depth {
                    b.ahead(group, terms.end..(terms.end + block).min(depth), columns.clone())
                } else {
                    let start = columns.start + skip;
                    b.ahead(group, 0..block.min(depth), start..(start + columns_each).min(total))
                };
                let tiles = own.len().div_ceil(tile_rows(exec));
                for (i, tile) in even(own.len(), tiles).enumerate() {
                    let row = own.start + tile.start;
                    let inside = row - group * rows..row - group * rows + tile.len();
                    a.group(group, rows * depth).tile(inside, terms.clone(), (rows, depth), a_rows, exec);
                    exec.run(Tiles {
                        a: &a_rows[..tile.len()],
                        depth: n,
                        b: Panels { data: &space.panels, starts: &at[..starts.len()], pitch: PANEL, run: n, jump: 0 },
                        c: &mut share,
                        row,
                        columns: columns.clone(),
                        onto: match bias {
                            _ if k > 0 => Onto::C,
                            bias => Onto::rows(bias.map(|bias| &bias[row..row + tile.len()])),
                        },
                        next: next.part(i, tiles),
                    });
                }
            }
        })
    }

    /// Rows and columns of a task. Tasks that share columns pack them again, tasks that share rows copy A again.
    fn task_size(&self, cost: usize, exec: &Exec) -> (usize, usize) {
        let total = self.images * self.columns;
        let work = (self.rows * self.depth).saturating_mul(MOST_COLUMNS.min(total)) / MOST_WORK;
        let threads = if exec.threads() == 1 { 1 } else { 4 * exec.threads() };
        let wanted = threads.div_ceil(self.groups);
        let fewest = total.div_ceil(MOST_COLUMNS);
        let size = |columns_parts: usize| {
            let row_parts = wanted.div_ceil(columns_parts).max(work + 1).min(self.rows.div_ceil(2 * MAX_ROWS));
            let columns = total.div_ceil(columns_parts).div_ceil(PANEL) * PANEL;
            let rows = self.rows.div_ceil(row_parts);
            (row_parts * total * cost + 2 * total.div_ceil(columns) * self.rows, rows, columns)
        };
        let best = (fewest..=fewest.max(wanted.min(total.div_ceil(PANEL)))).map(size).min();
        best.map_or((1, PANEL), |(_, rows, columns)| (rows, columns))
    }
}

/// Packing as a task.
pub struct Pack<'a, T, S> {
    pub b: &'a S,
    pub group: usize,
    pub depth: Range<usize>,
    pub columns: Range<usize>,
    pub scratch: &'a mut [T],
    pub panels: &'a mut [T],
}

impl<T: Real, S: Source<T>> Task for Pack<'_, T, S> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        self.b.pack::<I>(self.group, self.depth, self.columns, self.scratch, self.panels);
    }
}
