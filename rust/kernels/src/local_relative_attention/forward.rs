//! Forward: rows of the grid.

use super::{Dims, Inputs};
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::lanes::{self, Isa, Task};
use crate::planes::require_len;
use crate::real::Real;

pub fn forward<T: Real>(inputs: Inputs<T>, o: &mut [T], lse: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    inputs.check(d)?;
    require_len("o", o, d.pairs * d.tokens * d.width)?;
    require_len("lse", lse, d.pairs * d.tokens)?;
    let (h, w) = d.size;
    let each = Exec::batch(d.cost().saturating_mul(w));
    let mut o = o.chunks_mut((each * w * d.width).max(1));
    let tasks = lse.chunks_mut(each * w).enumerate().map(|(task, lse)| (task, o.next().unwrap_or_default(), lse));
    let cost = d.cost().saturating_mul(d.pairs * d.tokens);
    let space = || Ok((zeros::<T>(d.most)?, zeros::<T>(d.most)?));
    exec.for_each_with(cost, tasks, space, |(z, e), (task, o, lse)| {
        for (k, lse) in lse.chunks_exact_mut(w).enumerate() {
            let (pair, row) = ((task * each + k) / h, (task * each + k) % h);
            let o = &mut o[k * w * d.width..][..w * d.width];
            exec.run(Row { x: inputs.of(pair, d), row, z, e, o, lse, d });
        }
    })
}

struct Row<'a, T> {
    x: Inputs<'a, T>,
    row: usize,
    z: &'a mut [T],
    e: &'a mut [T],
    o: &'a mut [T],
    lse: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for Row<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Row { x, row, z, e, o, lse, d } = self;
        let (w, rows) = (d.size.1, d.near(row, d.size.0));
        for (column, lse) in lse.iter_mut().enumerate() {
            let columns = d.near(column, w);
            let n = scores::<T, I>(&x, (row, column), z, d);
            let (z, e) = (&z[..n], &mut e[..n]);
            let top = lanes::max::<T, I>(z);
            let sum = lanes::exp_sum::<T, I>(z, top, e);
            *lse = top + sum.ln(); // (F3)
            lanes::scale::<T, I>(T::ONE / sum, e); // (F4)
            let o = &mut o[column * d.width..][..d.width];
            o.fill(T::ZERO);
            let mut p = 0;
            for a in rows.clone() {
                for b in columns.clone() {
                    let m = if d.post { e[p] + x.table[d.entry((row, column), (a, b))] } else { e[p] }; // (F5)
                    lanes::axpy::<T, I>(m, &x.v[(a * w + b) * d.width..][..d.width], o); // (F6)
                    p += 1;
                }
            }
        }
    }
}

/// z of the keys near a query, one after the other; returns how many there are.
#[inline(always)]
pub fn scores<T: Real, I: Isa>(x: &Inputs<T>, query: (usize, usize), z: &mut [T], d: &Dims) -> usize {
    let ((row, column), (h, w), scale) = (query, d.size, T::from_f64(d.scale));
    let q = &x.q[(row * w + column) * d.depth..][..d.depth];
    let (mut p, columns) = (0, d.near(column, w));
    for a in d.near(row, h) {
        for b in columns.clone() {
            let product = scale * lanes::dot::<T, I>(q, &x.k[(a * w + b) * d.depth..][..d.depth]);
            z[p] = if d.post { product } else { product + x.table[d.entry(query, (a, b))] }; // (F1) (F2)
            p += 1;
        }
    }
    p
}
