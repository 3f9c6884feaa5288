//! The matrix products of the backward, (B2) and (B3), and what they need around them.

use std::ops::Range;

use super::gradients::Call;
use super::parts::{Cut, Part};
use super::{Block, Dims};
use crate::error::Error;
use crate::exec::{Buffer, zeros};
use crate::gemm::{
    Ahead, DEPTH, Onto, PANEL, PITCH, Panels, Share, Tiles, Transpose, even, in_images, pieces, tile_rows,
};
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;

/// Work space of a thread.
pub struct Space<T> {
    /// The weight of each part as panels of (taps, channels) with a row for every output, and its gradient.
    weight: Buffer<T>,
    dweight: Buffer<T>,
    row: Buffer<T>,
    /// dy of some pixels, rows of pixels and rows of at most [`DEPTH`] outputs.
    by_output: Buffer<T>,
    by_pixel: Buffer<T>,
    /// dcol, then the columns: panels with a row for every pixel.
    pub columns: Buffer<T>,
    /// dx of some images, framed, with channels last.
    pub dx_last: Buffer<T>,
    starts: Vec<usize>,
}

impl<T: Real> Space<T> {
    pub fn new(cut: &Cut, d: &Dims) -> Result<Self, Error> {
        let (outputs, pixels, panels) = (d.per_group().1, cut.pixels_each, cut.columns / PANEL);
        let mut starts = reserved(panels)?;
        starts.resize(panels, 0);
        Ok(Space {
            weight: zeros(cut.weights + PANEL)?,
            dweight: zeros(cut.weights)?,
            row: zeros(cut.columns)?,
            by_output: zeros(product(&[outputs, PITCH])?)?,
            by_pixel: zeros(product(&[outputs.div_ceil(DEPTH), pixels, PITCH])?)?,
            columns: zeros(product(&[pixels, cut.columns])?)?,
            dx_last: zeros(product(&[cut.together, d.framed(), cut.width])?)?,
            starts,
        })
    }
}

impl<T: Real> Call<'_, T> {
    /// The weight of a part, for [`Self::columns_gradient`].
    pub fn pack(&self, space: &mut Space<T>, part: &Part) {
        let Call { arrays, d, exec, .. } = *self;
        let ((inputs, outputs), taps) = (d.per_group(), d.conv.taps());
        let Part { block: Block { group, channels }, columns, start } = part;
        let (rows, row) = (channels.len(), &mut space.row[..*columns]);
        row.fill(T::ZERO);
        for o in 0..outputs {
            let x = &arrays.weight[((group * outputs + o) * inputs + channels.start % inputs) * taps..];
            exec.run(Transpose { x, x_pitch: taps, rows, columns: taps, y: row, y_pitch: rows });
            for (panel, row) in row.chunks_exact(PANEL).enumerate() {
                space.weight[start + (panel * outputs + o) * PANEL..][..PANEL].copy_from_slice(row);
            }
        }
    }

    /// dy of a part's group for the pixels `own`, counted from the first of image `first`.
    pub fn upstream(&self, space: &mut Space<T>, part: &Part, first: usize, own: Range<usize>) {
        let Call { dy, d, exec, .. } = *self;
        let (outputs, pixels, group) = (d.per_group().1, d.pixels(), part.block.group);
        for (k, inside, before) in in_images(own.clone(), pixels) {
            let dy = &dy[((first + k) * d.conv.outputs + group * outputs) * pixels..];
            for (o, row) in space.by_output.chunks_exact_mut(PITCH).enumerate() {
                row[before..][..inside.len()].copy_from_slice(&dy[o * pixels..][inside.clone()]);
            }
        }
        for (at, terms) in pieces(0..outputs, DEPTH).enumerate() {
            let x = &space.by_output[terms.start * PITCH..];
            let y = &mut space.by_pixel[at * own.len() * PITCH..];
            exec.run(Transpose { x, x_pitch: PITCH, rows: terms.len(), columns: own.len(), y, y_pitch: PITCH });
        }
    }

    /// dcol = weightᵀ·dy                                                                                                           (B3)
    pub fn columns_gradient(&self, space: &mut Space<T>, part: &Part, count: usize) {
        /// Panels of one call: all tiles take them from the second cache.
        const MOST: usize = 4;
        let (outputs, panels) = (self.d.per_group().1, part.columns / PANEL);
        let mut dcol = Share::new(&mut space.columns[..count * part.columns], panels, count, PANEL);
        for (terms, rows) in pieces(0..outputs, DEPTH).zip(space.by_pixel.chunks(count * PITCH)) {
            let (rows, _) = rows.as_chunks::<PITCH>();
            let start = part.start + terms.start * PANEL;
            for first in (0..panels).step_by(MOST) {
                let starts: [usize; MOST] = std::array::from_fn(|i| start + (first + i) * outputs * PANEL);
                let starts = &starts[..MOST.min(panels - first)];
                for tile in even(count, count.div_ceil(tile_rows(self.exec))) {
                    self.exec.run(Tiles {
                        a: &rows[tile.clone()],
                        depth: terms.len(),
                        b: Panels { data: &space.weight, starts, pitch: PANEL, run: terms.len(), jump: 0 },
                        c: &mut dcol,
                        row: tile.start,
                        columns: first * PANEL..(first + starts.len()) * PANEL,
                        onto: Onto::c(terms.start > 0),
                        next: Ahead::NOTHING,
                    });
                }
            }
        }
    }

    /// dweight += dy·colᵀ                                                                                                          (B2)
    pub fn weight_gradient(&self, space: &mut Space<T>, part: &Part, count: usize, add: bool) {
        let (outputs, panels) = (self.d.per_group().1, part.columns / PANEL);
        for (i, start) in space.starts[..panels].iter_mut().enumerate() {
            *start = i * count * PANEL;
        }
        let totals = &mut space.dweight[part.start..][..outputs * part.columns];
        let mut totals = Share::new(totals, 1, outputs, part.columns);
        let (rows, _) = space.by_output.as_chunks::<PITCH>();
        for tile in even(outputs, outputs.div_ceil(tile_rows(self.exec))) {
            self.exec.run(Tiles {
                a: &rows[tile.clone()],
                depth: count,
                b: Panels { data: &space.columns, starts: &space.starts[..panels], pitch: PANEL, run: count, jump: 0 },
                c: &mut totals,
                row: tile.start,
                columns: 0..part.columns,
                onto: Onto::c(add),
                next: Ahead::NOTHING,
            });
        }
    }

    /// A task's sums, (outputs; taps, channels) for every part, to dweight.
    pub fn give(&self, space: &mut Space<T>, parts: &[Part], mut dweight: Share<T>, add: bool) {
        let (outputs, taps) = (self.d.per_group().1, self.d.conv.taps());
        let start = dweight.columns().start;
        let mut to = dweight.from_column(start);
        for Part { block, columns: width, start } in parts {
            let (count, y) = (block.channels.len(), &mut space.row);
            for (o, x) in space.dweight[*start..].chunks_exact(*width).take(outputs).enumerate() {
                self.exec.run(Transpose { x, x_pitch: count, rows: taps, columns: count, y, y_pitch: taps });
                let to = to.row(block.group * outputs + o, 0..taps * count);
                for (to, &total) in to.iter_mut().zip(&y[..]) {
                    *to = if add { *to + total } else { total };
                }
            }
        }
    }
}
