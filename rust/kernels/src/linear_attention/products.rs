//! Matrices with padded rows, and the two products of them that linear attention is made of.

use crate::attention::{Right, To, multiply, padded, parts};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{DEPTH, MAX_ROWS, PANEL, PITCH, Share, Transpose, even, tile_rows};
use crate::planes::product;
use crate::real::Real;

/// What padding adds to an extent at most.
pub const MARGIN: usize = PITCH;

/// A matrix whose rows are whole panels apart, so that it can be the right one of a product. What pads them is never read into a
/// result.
pub struct Matrix<T> {
    data: Buffer<T>,
    pub rows: usize,
    pub columns: usize,
    pub pitch: usize,
}

impl<T: Real> Matrix<T> {
    pub fn new(rows: usize, columns: usize) -> Result<Self, Error> {
        let pitch = padded(columns).max(PANEL);
        Ok(Matrix { data: zeros(product(&[rows.max(1), pitch])?)?, rows, columns, pitch })
    }

    pub fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.pitch..][..self.columns]
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.data[row * self.pitch..][..self.columns]
    }

    /// The first `width` columns, from rows without padding.
    pub fn copy(&mut self, x: &[T], width: usize) {
        for (row, x) in x.chunks_exact(width.max(1)).enumerate() {
            self.row_mut(row)[..width].copy_from_slice(x);
        }
    }

    /// The first `width` columns, to rows without padding.
    pub fn store(&self, y: &mut [T], width: usize) {
        for (row, y) in y.chunks_exact_mut(width.max(1)).enumerate() {
            y.copy_from_slice(&self.row(row)[..width]);
        }
    }

    /// self = xᵀ
    pub fn transpose(&mut self, x: &Matrix<T>, exec: &Exec) {
        let (rows, columns, y_pitch) = (x.rows, x.columns, self.pitch);
        exec.run(Transpose { x: &x.data, x_pitch: x.pitch, rows, columns, y: &mut self.data, y_pitch });
    }
}

/// Copies of left matrices.
pub struct Left<T> {
    tile: Buffer<T>,
    /// A block of rows of a matrix with few columns, transposed.
    block: Buffer<T>,
}

impl<T: Real> Left<T> {
    /// For matrices of up to `columns` columns in [`Left::across`].
    pub fn new(columns: usize) -> Result<Self, Error> {
        Ok(Left { tile: zeros(MAX_ROWS * PITCH)?, block: zeros(product(&[columns, PITCH])?)? })
    }

    /// c = a·b for the first `depth` columns of a.
    pub fn along(&mut self, a: &Matrix<T>, depth: usize, b: &Matrix<T>, c: &mut Matrix<T>, exec: &Exec) {
        let (rows, pitch, columns) = (a.rows, c.pitch, c.columns);
        if rows == 0 || columns == 0 {
            return;
        }
        let mut share = Share::new(&mut c.data[..rows * pitch], 1, rows, pitch);
        for tile in even(rows, rows.div_ceil(tile_rows(exec))) {
            let left = &mut self.tile.as_chunks_mut::<PITCH>().0[..tile.len()];
            for terms in parts(depth.max(1), DEPTH) {
                let terms = terms.start..terms.end.min(depth);
                for (to, row) in left.iter_mut().zip(tile.clone()) {
                    to[..terms.len()].copy_from_slice(&a.row(row)[terms.clone()]);
                }
                let to = To { c: &mut share, row: tile.start, columns: 0..columns, add: terms.start > 0 };
                multiply(left, terms.len(), Right::rows(&b.data, terms.start * b.pitch, b.pitch), to, exec);
            }
        }
    }

    /// c = aᵀ·b
    pub fn across(&mut self, a: &Matrix<T>, b: &Matrix<T>, c: &mut Matrix<T>, exec: &Exec) {
        let (rows, pitch, columns) = (a.columns, c.pitch, c.columns);
        if columns == 0 {
            return;
        }
        if a.rows == 0 {
            c.data.fill(T::ZERO);
            return;
        }
        let mut share = Share::new(&mut c.data[..rows * pitch], 1, rows, pitch);
        for terms in parts(a.rows, DEPTH) {
            let (x, y) = (&a.data[terms.start * a.pitch..], &mut self.block[..]);
            exec.run(Transpose { x, x_pitch: a.pitch, rows: terms.len(), columns: rows, y, y_pitch: PITCH });
            let block = self.block.as_chunks::<PITCH>().0;
            for tile in even(rows, rows.div_ceil(tile_rows(exec))) {
                let to = To { c: &mut share, row: tile.start, columns: 0..columns, add: terms.start > 0 };
                let right = Right::rows(&b.data, terms.start * b.pitch, b.pitch);
                multiply(&block[tile], terms.len(), right, to, exec);
            }
        }
    }
}
