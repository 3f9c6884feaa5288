//! The pass over x and dy: a tile of some columns at the expanded channels of a block of groups, from dy to dx and to sums.

use std::ops::Range;

use super::super::fused::{Fold, centred};
use super::super::{Arguments, Dims};
use super::layout::{Layout, Sums};
use super::row::Row;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{
    Ahead, DEPTH, Onto, PANEL, PITCH, Pack, Panels, Share, Stored, Tiles, Transpose, even, in_images, pieces, tile_rows,
};
use crate::lanes::{self, Isa, Task};
use crate::pieces::reserved;
use crate::real::Real;

pub struct Pass<'a, T> {
    pub dy: &'a [T],
    pub a: &'a Arguments<&'a [T]>,
    pub fold: &'a Fold<T>,
    /// bn_weight[r]·weight[r, t]: what du of row r adds to dx of head t.
    pub back: &'a [T],
    pub layout: &'a Layout,
    pub d: &'a Dims,
}

pub struct Space<T> {
    /// proj1_weightᵀ for the block, and dy in panels of columns.
    weight: Buffer<T>,
    dy: Buffer<T>,
    /// da and then du, a row for each expanded channel of the block; then a, in rows of [`PITCH`].
    du: Buffer<T>,
    a: Buffer<T>,
    /// dyᵀ in panels of outputs and where they start.
    turned: Buffer<T>,
    starts: Vec<usize>,
    /// x and dx of a group, a row for each head.
    x: Buffer<T>,
    dx: Buffer<T>,
}

/// What a task writes: dx of its block, a share for each head, its sums and, for the first block, Σ dy.
pub struct Own<'a, T> {
    pub dx: Vec<Share<'a, T>>,
    pub sums: Sums<'a, T>,
    pub dy: Option<&'a mut [T]>,
}

impl<T: Real> Pass<'_, T> {
    pub fn space(&self) -> Result<Space<T>, Error> {
        let (d, tile, rows) = (self.d, self.layout.tile, self.layout.block * self.d.rows());
        Ok(Space {
            weight: zeros(d.outputs.div_ceil(DEPTH) * rows * PITCH)?,
            dy: zeros(DEPTH * tile)?,
            du: zeros(rows * tile)?,
            a: zeros(rows * PITCH)?,
            turned: zeros(d.outputs.next_multiple_of(PANEL) * tile)?,
            starts: reserved(d.outputs.div_ceil(PANEL))?,
            x: zeros(d.heads * tile)?,
            dx: zeros(d.heads * tile)?,
        })
    }

    pub fn run(&self, space: &mut Space<T>, own: &mut Own<T>, exec: &Exec) {
        let rows = own.sums.groups.start * self.d.rows()..own.sums.groups.end * self.d.rows();
        self.turn(rows.clone(), &mut space.weight, exec);
        for columns in pieces(own.dx[0].columns(), self.layout.tile) {
            self.da(space, rows.len(), columns.clone(), exec);
            exec.run(Rows { pass: self, space, columns: columns.clone(), own });
            self.product(space, columns, own.sums.product, exec);
        }
    }

    /// proj1_weightᵀ in blocks of at most [`DEPTH`] outputs: rows of [`PITCH`] numbers.
    fn turn(&self, rows: Range<usize>, weight: &mut [T], exec: &Exec) {
        let (d, count) = (self.d, rows.len());
        for (block, y) in pieces(0..d.outputs, DEPTH).zip(weight.chunks_exact_mut(count * PITCH)) {
            let x = &self.a.proj1_weight[block.start * d.expanded + rows.start..];
            exec.run(Transpose { x, x_pitch: d.expanded, rows: block.len(), columns: count, y, y_pitch: PITCH });
        }
    }

    /// da = proj1_weightᵀ·dy.                                                                                                     (B1)
    fn da(&self, space: &mut Space<T>, count: usize, columns: Range<usize>, exec: &Exec) {
        let (d, tile) = (self.d, self.layout.tile);
        let dy = Stored { x: self.dy, groups: 1, depth: d.outputs, columns: d.pixels() };
        let mut starts = [0; DEPTH / PANEL];
        let starts = &mut starts[..columns.len().div_ceil(PANEL)];
        for block in pieces(0..d.outputs, DEPTH) {
            let depth = block.len();
            for (i, start) in starts.iter_mut().enumerate() {
                *start = i * depth * PANEL;
            }
            let (terms, own, panels) = (block.clone(), columns.clone(), &mut space.dy[..]);
            exec.run(Pack { b: &dy, group: 0, depth: terms, columns: own, scratch: &mut [], panels });
            let (rows, _) = space.weight[block.start / DEPTH * count * PITCH..].as_chunks::<PITCH>();
            let mut c = Share::new(&mut space.du[..count * tile], 1, count, tile);
            for own in even(count, count.div_ceil(tile_rows(exec))) {
                exec.run(Tiles {
                    a: &rows[own.clone()],
                    depth,
                    b: Panels { data: &space.dy, starts, pitch: PANEL, run: depth, jump: 0 },
                    c: &mut c,
                    row: own.start,
                    columns: 0..columns.len(),
                    onto: Onto::c(block.start > 0),
                    next: Ahead::NOTHING,
                });
            }
        }
    }

    /// dproj1_weightᵀ += a·dyᵀ, the rows of the block.
    fn product(&self, space: &mut Space<T>, columns: Range<usize>, product: &mut [T], exec: &Exec) {
        let (d, tile, pixels, depth) = (self.d, self.layout.tile, self.d.pixels(), columns.len());
        let count = product.len() / d.outputs;
        space.starts.clear();
        for (panel, own) in pieces(0..d.outputs, PANEL).enumerate() {
            space.starts.push(panel * tile * PANEL);
            for (image, inside, before) in in_images(columns.clone(), pixels) {
                exec.run(Transpose {
                    x: &self.dy[(image * d.outputs + own.start) * pixels + inside.start..],
                    x_pitch: pixels,
                    rows: own.len(),
                    columns: inside.len(),
                    y: &mut space.turned[(panel * tile + before) * PANEL..],
                    y_pitch: PANEL,
                });
            }
        }
        let (a, _) = space.a.as_chunks::<PITCH>();
        let mut c = Share::new(product, 1, count, d.outputs);
        for own in even(count, count.div_ceil(tile_rows(exec))) {
            exec.run(Tiles {
                a: &a[own.clone()],
                depth,
                b: Panels { data: &space.turned, starts: &space.starts, pitch: PANEL, run: depth, jump: 0 },
                c: &mut c,
                row: own.start,
                columns: 0..d.outputs,
                onto: Onto::C,
                next: Ahead::NOTHING,
            });
        }
    }
}

/// Everything of a tile between the two products.
struct Rows<'a, 'b, 'c, T> {
    pass: &'a Pass<'a, T>,
    space: &'a mut Space<T>,
    columns: Range<usize>,
    own: &'b mut Own<'c, T>,
}

impl<T: Real> Task for Rows<'_, '_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        // The number of heads in the official networks, and any other.
        if self.pass.d.heads == 4 { self.groups::<I, 4>() } else { self.groups::<I, 0>() }
    }
}

impl<T: Real> Rows<'_, '_, '_, T> {
    /// H heads together, in registers; the others, all if H is 0, one by one.
    #[inline(always)]
    fn groups<I: Isa, const H: usize>(self) {
        let (Pass { dy, a, fold, layout, d, .. }, space, own) = (self.pass, self.space, self.own);
        let (tile, n, pixels, sums) = (layout.tile, self.columns.len(), d.pixels(), &mut own.sums);
        if let Some(total) = &mut own.dy {
            for (image, inside, _) in in_images(self.columns.clone(), pixels) {
                for (o, total) in total.iter_mut().enumerate() {
                    *total += lanes::sum::<T, I>(&dy[(image * d.outputs + o) * pixels..][inside.clone()]);
                }
            }
        }
        let first = sums.groups.start * d.rows();
        for (at, group) in sums.groups.clone().enumerate() {
            centred::<T, I>(a.x, &fold.shift, group, self.columns.clone(), &mut space.x, tile, d);
            for r in group * d.rows()..(group + 1) * d.rows() {
                let k = r - first;
                let du = &mut space.du[k * tile..][..tile];
                let row = Row { pass: self.pass, r, x: &space.x };
                let (of_du, of_hat, of_x) = row.run::<I, H>(n, du, &mut space.a[k * PITCH..][..PITCH]);
                sums.du[k] += of_du;
                sums.du_hat[k] += of_hat;
                let du_x = &mut sums.du_x[k * d.heads..][..d.heads];
                for (to, of_x) in du_x.iter_mut().zip(of_x) {
                    *to += of_x;
                }
                for t in H..d.heads {
                    du_x[t] += lanes::dot::<T, I>(&du[..n], &space.x[t * tile..][..n]);
                }
            }
            let du = &space.du[at * d.rows() * tile..];
            if H > 0 {
                self.pass.input_gradient::<I, H>(n, du, group, 0, &mut space.dx);
            }
            for t in H..d.heads {
                self.pass.input_gradient::<I, 1>(n, du, group, t, &mut space.dx[t * tile..]);
            }
            for (t, dx) in own.dx.iter_mut().enumerate() {
                for (image, inside, before) in in_images(self.columns.clone(), pixels) {
                    let from = &space.dx[t * tile + before..][..inside.len()];
                    let mut to = dx.from_column(image * pixels + inside.start);
                    to.row(t * d.groups + group, 0..from.len()).copy_from_slice(from); // (B6)
                }
            }
            if d.training {
                let xx = &mut sums.xx[at * d.heads * (1 + d.heads)..][..d.heads * (1 + d.heads)];
                for t in 0..d.heads {
                    let x = &space.x[t * tile..][..n];
                    xx[t * (1 + d.heads)] += lanes::sum::<T, I>(x);
                    for s in 0..=t {
                        xx[t * (1 + d.heads) + 1 + s] += lanes::dot::<T, I>(x, &space.x[s * tile..][..n]);
                    }
                }
            }
        }
    }
}
