//! Backward: blocks of queries against all keys, with keys down and queries across.

use std::ops::Range;

use super::blocks::{Scratch, across, block};
use super::forward::Inputs;
use super::plan::Plan;
use super::{Dims, parts, transposed};
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::gemm::{DEPTH, PITCH, Transpose, even};
use crate::lanes::{self, Isa, Task};
use crate::pieces::pieces;
use crate::planes::{product, require_len};
use crate::real::Real;

/// Where the bias of an owner comes from and where its gradient goes. In between both are transposed, with rows [`across`] apart.
pub trait Bias<T>: Sync {
    /// Elements of the gradient of one owner.
    fn size(&self) -> usize;
    fn read(&self, owner: usize, bias: &mut [T], exec: &Exec);
    fn write(&self, dbias: &[T], to: &mut [T], exec: &Exec);
}

/// Matrices (queries, keys), one after the other.
struct Matrices<'a, T> {
    bias: &'a [T],
    queries: usize,
    keys: usize,
}

impl<T: Real> Bias<T> for Matrices<'_, T> {
    fn size(&self) -> usize {
        self.queries * self.keys
    }

    fn read(&self, owner: usize, y: &mut [T], exec: &Exec) {
        let (rows, columns) = (self.queries, self.keys);
        let x = &self.bias[owner * rows * columns..][..rows * columns];
        exec.run(Transpose { x, x_pitch: columns, rows, columns, y, y_pitch: across(rows) });
    }

    fn write(&self, x: &[T], y: &mut [T], exec: &Exec) {
        let (rows, columns) = (self.keys, self.queries);
        exec.run(Transpose { x, x_pitch: across(columns), rows, columns, y, y_pitch: rows });
    }
}

/// Where the gradients go; all are overwritten.
pub struct Gradients<'a, T> {
    pub q: &'a mut [T],
    pub k: &'a mut [T],
    pub v: &'a mut [T],
    pub bias: Option<&'a mut [T]>,
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
    require_len("dbias", grads.bias.as_deref().unwrap_or_default(), d.bias_len())?;
    let matrices = Matrices { bias: inputs.bias.unwrap_or_default(), queries: d.queries, keys: d.keys };
    backward_with(dy, inputs, lse, grads, d, &matrices, exec)
}

/// The same for a bias that is read and whose gradient is written by its source; `inputs` may have none. `grads.bias` has
/// `size` elements for each owner.
pub fn backward_with<T: Real>(
    dy: &[T],
    inputs: Inputs<T>,
    lse: &[T],
    grads: Gradients<T>,
    d: &Dims,
    source: &impl Bias<T>,
    exec: &Exec,
) -> Result<(), Error> {
    let Gradients { q: dq, k: dk, v: dv, bias: dbias } = grads;
    let dbias = dbias.unwrap_or_default();
    require_len("dy", dy, d.o_len())?;
    require_len("lse", lse, d.lse_len())?;
    require_len("dq", dq, d.q_len())?;
    require_len("dk", dk, d.k_len())?;
    require_len("dv", dv, d.v_len())?;
    if d.lse_len() == 0 {
        dk.fill(T::ZERO);
        dv.fill(T::ZERO);
        dbias.fill(T::ZERO);
        return Ok(());
    }
    let (plan, matrix) = (Plan::new(d), source.size());
    let (q_plane, k_plane, v_plane) = (d.queries * d.depth, d.keys * d.depth, d.keys * d.width);
    let mut dq = pieces(dq, q_plane, q_plane, plan.order(d))?;
    let mut dk = pieces(dk, k_plane, k_plane, plan.order(d))?;
    let mut dv = pieces(dv, v_plane, v_plane, plan.order(d))?;
    let mut left = [&mut dq[..], &mut dk[..], &mut dv[..]];
    let partial_len = if d.bias.is_some() && plan.groups > 1 { product(&[plan.groups, dbias.len()])? } else { 0 };
    let mut partial = zeros::<T>(partial_len)?;
    let sums = if partial.is_empty() { &mut *dbias } else { &mut partial[..] };
    let mut sums = sums.chunks_mut(matrix);
    let (plan, d) = (&plan, d);
    let tasks = (0..plan.owners).flat_map(|owner| even(plan.list, plan.groups).map(move |list| (owner, list)));
    let tasks = tasks.map(|(owner, list)| {
        let [dq, dk, dv] = &mut left;
        let outputs = [dq, dk, dv].map(|all| first(all, list.len()));
        Work { owner, list, outputs, dbias: sums.next().unwrap_or_default() }
    });
    let cost = d.row_cost().saturating_mul(d.lse_len()).saturating_mul(5) / 2;
    exec.for_each_with(
        cost,
        tasks,
        || Scratch::new(d),
        |scratch, work| {
            if d.bias.is_some() {
                scratch.dbias.fill(T::ZERO);
                source.read(work.owner, &mut scratch.bias, exec);
            }
            let [mut dq, mut dk, mut dv] = work.outputs;
            for at in work.list {
                let pair = plan.pair(d, work.owner, at);
                let [dq, dk, dv] =
                    [&mut dq, &mut dk, &mut dv].map(|all| first(all, 1).first_mut().map_or(&mut [][..], |x| x));
                Pair { dy, inputs, lse, d, pair, dq, dk, dv }.run(scratch, exec);
            }
            if d.bias.is_some() {
                source.write(&scratch.dbias, work.dbias, exec);
            }
        },
    )?;
    if partial.is_empty() {
        return Ok(());
    }
    let part = 1 << 12;
    let targets = dbias
        .chunks_mut(matrix)
        .enumerate()
        .flat_map(|(owner, dbias)| dbias.chunks_mut(part).enumerate().map(move |(n, dbias)| (owner, n * part, dbias)));
    let partial = &partial[..];
    exec.for_each(partial.len() / 4, targets, |(owner, at, dbias)| {
        let group = |g: usize| &partial[(owner * plan.groups + g) * matrix + at..][..dbias.len()];
        dbias.copy_from_slice(group(0));
        for g in 1..plan.groups {
            exec.run(Add { x: &partial[(owner * plan.groups + g) * matrix + at..][..dbias.len()], y: dbias }); // (B6)
        }
    })
}

/// One task: the pairs `list` of the list of `owner`, with their gradients, and the sum over them.
struct Work<'l, 'o, T> {
    owner: usize,
    list: Range<usize>,
    outputs: [&'l mut [&'o mut [T]]; 3],
    dbias: &'l mut [T],
}

/// Takes the first `n` entries off a list; a list of empty arrays has none.
pub fn first<'l, E>(list: &mut &'l mut [E], n: usize) -> &'l mut [E] {
    let n = n.min(list.len());
    let (first, rest) = std::mem::take(list).split_at_mut(n);
    *list = rest;
    first
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

/// y *= a
struct Scale<'a, T> {
    a: T,
    y: &'a mut [T],
}

impl<T: Real> Task for Scale<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        lanes::scale::<T, I>(self.a, self.y);
    }
}

/// A pair of entry and head.
struct Pair<'a, 'o, T> {
    dy: &'a [T],
    inputs: Inputs<'a, T>,
    lse: &'a [T],
    d: &'a Dims,
    pair: usize,
    dq: &'o mut [T],
    dk: &'o mut [T],
    dv: &'o mut [T],
}

impl<T: Real> Pair<'_, '_, T> {
    fn run(self, s: &mut Scratch<T>, exec: &Exec) {
        let Pair { dy, inputs, lse, d, pair, dq, dk, dv } = self;
        let k = &inputs.k[pair * d.keys * d.depth..][..d.keys * d.depth];
        let v = &inputs.v[pair * d.keys * d.width..][..d.keys * d.width];
        if d.depth > 0 {
            for (keys, y) in parts(d.keys, DEPTH).zip(s.k_across.chunks_mut(d.depth * PITCH)) {
                let x = &k[keys.start * d.depth..];
                exec.run(Transpose { x, x_pitch: d.depth, rows: keys.len(), columns: d.depth, y, y_pitch: PITCH });
            }
        }
        for queries in parts(d.queries, block::<T>(d)) {
            let row = pair * d.queries + queries.start;
            let n = queries.len();
            let (q, dy) = (&inputs.q[row * d.depth..][..n * d.depth], &dy[row * d.width..][..n * d.width]);
            let scale = T::from_f64(d.scale);
            transposed(q, n, d.depth, &mut s.q_across, exec);
            exec.run(Scale { a: scale, y: &mut s.q_across });
            transposed(dy, n, d.width, &mut s.do_across, exec);
            s.lse[..n].copy_from_slice(&lse[row..][..n]);
            s.weights(k, v, &queries, d, exec);
            s.values_and_keys((q, dy), (dk, dv), &queries, d, exec);
            if d.depth > 0 {
                s.queries(&mut dq[queries.start * d.depth..][..n * d.depth], n, d, exec);
            }
        }
    }
}
