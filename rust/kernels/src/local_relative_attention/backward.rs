//! Backward: the heads of the entries, query by query; the gradient of the table is added up over a row of the grid, over the rows,
//! and then over the entries.

use super::forward::scores;
use super::{Dims, Inputs};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task};
use crate::planes::{product, require_len};
use crate::real::Real;

/// Where the gradients go; all are overwritten.
pub struct Gradients<'a, T> {
    pub q: &'a mut [T],
    pub k: &'a mut [T],
    pub v: &'a mut [T],
    pub table: &'a mut [T],
}

struct Space<T> {
    z: Buffer<T>,
    a: Buffer<T>,
    dm: Buffer<T>,
    dtable: Buffer<T>,
}

pub fn backward<T: Real>(
    dy: &[T],
    inputs: Inputs<T>,
    lse: &[T],
    grads: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    inputs.check(d)?;
    require_len("dy", dy, d.pairs * d.tokens * d.width)?;
    require_len("lse", lse, d.pairs * d.tokens)?;
    require_len("dq", grads.q, inputs.q.len())?;
    require_len("dk", grads.k, inputs.k.len())?;
    require_len("dv", grads.v, inputs.v.len())?;
    require_len("dtable", grads.table, inputs.table.len())?;
    let (key, value) = (d.tokens * d.depth, d.tokens * d.width);
    let mut partial = zeros::<T>(product(&[d.pairs, d.entries])?)?;
    let mut dq = grads.q.chunks_mut(key.max(1));
    let mut dk = grads.k.chunks_mut(key.max(1));
    let mut dv = grads.v.chunks_mut(value.max(1));
    let tasks = partial.chunks_mut(d.entries).enumerate().map(|(pair, dtable)| {
        let [dq, dk, dv] = [&mut dq, &mut dk, &mut dv].map(|all| all.next().unwrap_or_default());
        (pair, dq, dk, dv, dtable)
    });
    let cost = 3 * d.cost().saturating_mul(d.pairs * d.tokens) / 2;
    let space = || {
        let [z, a, dm] = [zeros(d.most)?, zeros(d.most)?, zeros(d.most)?];
        Ok(Space { z, a, dm, dtable: zeros(d.entries)? })
    };
    exec.for_each_with(cost, tasks, space, |space, (pair, dq, dk, dv, dtable)| {
        dk.fill(T::ZERO);
        dv.fill(T::ZERO);
        let (dy, lse) = (&dy[pair * value..][..value], &lse[pair * d.tokens..][..d.tokens]);
        for row in 0..d.size.0 {
            exec.run(Row { x: inputs.of(pair, d), dy, lse, row, space, dq, dk, dv, d });
            exec.run(Add { x: &space.dtable, y: dtable });
        }
    })?;
    grads.table.fill(T::ZERO);
    for entry in partial.chunks_exact((d.heads * d.entries).max(1)) {
        exec.run(Add { x: entry, y: grads.table });
    }
    Ok(())
}

/// y += x
struct Add<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Add<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        lanes::add_assign::<T, I>(self.x, self.y);
    }
}

/// A row of queries: dq of it, what it gives to dk and dv, and its part of dtable.
struct Row<'a, T> {
    x: Inputs<'a, T>,
    dy: &'a [T],
    lse: &'a [T],
    row: usize,
    space: &'a mut Space<T>,
    dq: &'a mut [T],
    dk: &'a mut [T],
    dv: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for Row<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Row { x, dy, lse, row, space, dq, dk, dv, d } = self;
        let (w, rows, scale) = (d.size.1, d.near(row, d.size.0), T::from_f64(d.scale));
        space.dtable.fill(T::ZERO);
        for column in 0..w {
            let (t, columns) = (row * w + column, d.near(column, w));
            let (q, dy) = (&x.q[t * d.depth..][..d.depth], &dy[t * d.width..][..d.width]);
            let n = scores::<T, I>(&x, (row, column), &mut space.z, d);
            let (z, a, dm) = (&space.z[..n], &mut space.a[..n], &mut space.dm[..n]);
            let sum = lanes::exp_sum::<T, I>(z, lse[t], a);
            lanes::scale::<T, I>(T::ONE / sum, a); // (F4)
            let mut p = 0;
            for row in rows.clone() {
                for column in columns.clone() {
                    dm[p] = lanes::dot::<T, I>(dy, &x.v[(row * w + column) * d.width..][..d.width]); // (B2)
                    p += 1;
                }
            }
            let mean = lanes::dot::<T, I>(a, dm);
            let dq = &mut dq[t * d.depth..][..d.depth];
            dq.fill(T::ZERO);
            p = 0;
            for key_row in rows.clone() {
                for key_column in columns.clone() {
                    let (u, entry) = (key_row * w + key_column, d.entry((row, column), (key_row, key_column)));
                    let dz = a[p] * (dm[p] - mean); // (B3)
                    let m = if d.post { a[p] + x.table[entry] } else { a[p] };
                    space.dtable[entry] += if d.post { dm[p] } else { dz }; // (B6)
                    lanes::axpy::<T, I>(scale * dz, &x.k[u * d.depth..][..d.depth], dq); // (B4)
                    lanes::axpy::<T, I>(scale * dz, q, &mut dk[u * d.depth..][..d.depth]); // (B5)
                    lanes::axpy::<T, I>(m, dy, &mut dv[u * d.width..][..d.width]); // (B1)
                    p += 1;
                }
            }
        }
    }
}
