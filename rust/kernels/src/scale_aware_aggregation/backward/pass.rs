//! The pass over x and dy: a tile of some columns at the expanded channels of a block of groups, from dy to dx and to sums.

use std::ops::Range;

use super::super::fused::{Fold, centred};
use super::super::{Arguments, Dims};
use super::layout::{Layout, Sums};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gelu;
use crate::gemm::{
    Ahead, DEPTH, MAX_ROWS, Onto, PANEL, PITCH, Pack, Panels, Share, Stored, Tiles, Transpose, even, in_images, pieces,
    tile_rows,
};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::pieces::reserved;
use crate::real::Real;

pub struct Pass<'a, T> {
    pub dy: &'a [T],
    pub a: &'a Arguments<&'a [T]>,
    pub fold: &'a Fold<T>,
    pub layout: &'a Layout,
    pub d: &'a Dims,
}

pub struct Space<T> {
    /// proj1_weightᵀ for the block, and dy in panels of columns.
    weight: Buffer<T>,
    dy: Buffer<T>,
    /// da and then du, a row for each expanded channel of the block.
    du: Buffer<T>,
    a: Buffer<T>,
    /// aᵀ in panels of expanded channels and where they start; some rows of dy.
    turned: Buffer<T>,
    starts: Vec<usize>,
    dy_rows: Buffer<T>,
    /// x of a group, x̂ of a row, dx of a row.
    x: Buffer<T>,
    x_hat: Buffer<T>,
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
            a: zeros(rows * tile)?,
            turned: zeros(rows.next_multiple_of(PANEL) * tile)?,
            starts: reserved(rows.div_ceil(PANEL))?,
            dy_rows: zeros(MAX_ROWS * PITCH)?,
            x: zeros(d.heads * tile)?,
            x_hat: zeros(tile)?,
            dx: zeros(tile)?,
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

    /// dproj1_weight += dy·aᵀ, for the columns of the block.
    fn product(&self, space: &mut Space<T>, columns: Range<usize>, product: &mut [T], exec: &Exec) {
        let (d, tile, pixels, depth) = (self.d, self.layout.tile, self.d.pixels(), columns.len());
        let count = product.len() / d.outputs;
        space.starts.clear();
        for (panel, rows) in pieces(0..count, PANEL).enumerate() {
            space.starts.push(panel * tile * PANEL);
            let (x, rows) = (&space.a[rows.start * tile..], rows.len());
            let y = &mut space.turned[panel * tile * PANEL..];
            exec.run(Transpose { x, x_pitch: tile, rows, columns: depth, y, y_pitch: PANEL });
        }
        let (a_rows, _) = space.dy_rows.as_chunks_mut::<PITCH>();
        let mut c = Share::new(product, 1, d.outputs, count);
        for own in even(d.outputs, d.outputs.div_ceil(tile_rows(exec))) {
            for (to, o) in a_rows.iter_mut().zip(own.clone()) {
                for (image, inside, before) in in_images(columns.clone(), pixels) {
                    let from = &self.dy[(image * d.outputs + o) * pixels..][inside];
                    to[before..before + from.len()].copy_from_slice(from);
                }
            }
            exec.run(Tiles {
                a: &a_rows[..own.len()],
                depth,
                b: Panels { data: &space.turned, starts: &space.starts, pitch: PANEL, run: depth, jump: 0 },
                c: &mut c,
                row: own.start,
                columns: 0..count,
                onto: Onto::c(true),
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
            centred(a.x, &fold.shift, group, self.columns.clone(), &mut space.x, tile, d);
            for r in group * d.rows()..(group + 1) * d.rows() {
                let k = r - first;
                let du = &mut space.du[k * tile..][..tile];
                let row = Row { pass: self.pass, r, x: &space.x };
                row.run::<I>(n, du, &mut space.a[k * tile..][..tile], &mut space.x_hat);
                sums.du[k] += lanes::sum::<T, I>(&du[..n]);
                sums.du_hat[k] += lanes::dot::<T, I>(&du[..n], &space.x_hat[..n]);
                for t in 0..d.heads {
                    sums.du_x[k * d.heads + t] += lanes::dot::<T, I>(&du[..n], &space.x[t * tile..][..n]);
                }
            }
            for (t, dx) in own.dx.iter_mut().enumerate() {
                self.pass.input_gradient::<I>(&space.du[at * d.rows() * tile..], group, t, &mut space.dx[..n]);
                for (image, inside, before) in in_images(self.columns.clone(), pixels) {
                    let from = &space.dx[before..before + inside.len()];
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

/// Expanded channel r of a tile.
struct Row<'a, T> {
    pass: &'a Pass<'a, T>,
    r: usize,
    x: &'a [T],
}

impl<T: Real> Row<'_, T> {
    /// da becomes du; a and x̂ are written. What lies between the last column and the end of a pair of vectors may be anything.
    #[inline(always)]
    fn run<I: Isa>(&self, n: usize, du: &mut [T], a: &mut [T], x_hat: &mut [T]) {
        let (mut k, lanes) = (0, V::<T, I>::LANES);
        while k < n {
            // Two vectors at a time: long chains of operations on one wait for the other.
            let (hat, y, slope) = self.activate::<I>(k);
            let (next_hat, next_y, next_slope) = self.activate::<I>(k + lanes);
            hat.store(&mut x_hat[k..]);
            next_hat.store(&mut x_hat[k + lanes..]);
            y.store(&mut a[k..]);
            next_y.store(&mut a[k + lanes..]);
            (V::<T, I>::load(&du[k..]) * slope).store(&mut du[k..]); // (B2)
            (V::<T, I>::load(&du[k + lanes..]) * next_slope).store(&mut du[k + lanes..]);
            k += 2 * lanes;
        }
    }

    /// x̂, a = GELU(u) and its derivative at the columns k…
    #[inline(always)]
    fn activate<I: Isa>(&self, k: usize) -> (V<T, I>, V<T, I>, V<T, I>) {
        let (Pass { a, fold, layout, d, .. }, r) = (self.pass, self.r);
        let mut x_hat = V::<T, I>::splat(fold.offset[r]);
        for (t, &w) in fold.weight[r * d.heads..(r + 1) * d.heads].iter().enumerate() {
            x_hat = V::<T, I>::splat(w).mul_add(V::<T, I>::load(&self.x[t * layout.tile + k..]), x_hat);
        }
        let (y, slope) = gelu::exact(x_hat.mul_add(V::<T, I>::splat(a.bn_weight[r]), V::<T, I>::splat(a.bn_bias[r])));
        (x_hat, y, slope)
    }
}

impl<T: Real> Pass<'_, T> {
    /// dx = Σ_r bn_weight[r]·weight[r, t]·du[r] for head t of a group; `du` begins with its rows.                                 (B5)
    #[inline(always)]
    fn input_gradient<I: Isa>(&self, du: &[T], group: usize, t: usize, dx: &mut [T]) {
        let (d, tile, lanes) = (self.d, self.layout.tile, V::<T, I>::LANES);
        for k in (0..dx.len()).step_by(lanes) {
            let n = lanes.min(dx.len() - k);
            let mut sum = V::<T, I>::zero();
            for (at, r) in (group * d.rows()..(group + 1) * d.rows()).enumerate() {
                let factor = V::<T, I>::splat(self.a.bn_weight[r] * self.fold.weight[r * d.heads + t]);
                sum = factor.mul_add(V::<T, I>::load(&du[at * tile + k..]), sum);
            }
            sum.store_partial(&mut dx[k..], n);
        }
    }
}
