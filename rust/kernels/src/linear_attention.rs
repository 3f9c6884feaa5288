//! Linear attention: keys and values are summed up once, and every query reads the sum.
//!
//! Shapes       q (B, heads, T, d), k (B, heads, S, d), v (B, heads, S, e) -> y (B, heads, T, e)
//! Forward      "elu": (F1) K = φ(k), Q = φ(q)    (F2) M = Kᵀ v, z = Σ K    (F3) D = Q z + eps    (F4) y = Q M / D
//!              "efficient": (F5) K, Q = softmax of k over the positions, of q over the features    (F6) y = Q M
//! Backward     "elu": (B1) g = dy/D, c = −Σ g·y    (B2) dQ = g Mᵀ + c zᵀ    (B3) dM = Qᵀ g, dz = Qᵀ c    (B4) dK = v dMᵀ + dz, dv = K dM
//!              (B5) dq = dQ·φ'(q), dk = dK·φ'(k)    "efficient": (B6) the same without c, D and z, then the softmax's derivative
//! Constraints  (C1) shapes    (C2) S >= 1 and d >= 1    (C3) the kind    (C4) eps >= 0, finite
//!
//! For "elu" the values have a column of ones more: then z is the last column of M and D the last column of Q M, and the gradients of
//! both come out of the same products. A task owns pairs of entry and head.

mod features;
mod products;
#[cfg(test)]
mod tests;

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;

use features::{Columns, Map, Quotients, Rows, Spread};
use products::{Left, Matrix};

#[derive(Clone, Copy)]
pub struct Dims {
    batch: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    depth: usize,
    width: usize,
    /// Columns of the values, and one of ones for "elu".
    wider: usize,
    elu: bool,
    eps: f64,
}

impl Dims {
    pub fn new(q: &[usize], k: &[usize], v: &[usize], kind: &str, eps: f64) -> Result<Dims, Error> {
        let (&[batch, heads, queries, depth], &[_, _, keys, _], &[_, _, _, width]) = (q, k, v) else {
            return Err(Error::Shape(format!("(C1) q, k, v: four axes expected, got {q:?}, {k:?} and {v:?}")));
        };
        require(k == [batch, heads, keys, depth] && v == [batch, heads, keys, width], || {
            format!(
                "(C1) q, k, v: (B, heads, T, d), (B, heads, S, d) and (B, heads, S, e) expected, got {q:?}, {k:?} and {v:?}"
            )
        })?;
        require(keys > 0 && depth > 0, || format!("(C2) k: a key and a channel at least expected, got shape {k:?}"))?;
        let elu = match kind {
            "elu" => true,
            "efficient" => false,
            _ => return Err(Error::Shape(format!("(C3) kind: elu or efficient expected, got {kind:?}"))),
        };
        require(eps.is_finite() && eps >= 0.0, || format!("(C4) eps: a number from 0 on expected, got {eps}"))?;
        for shape in [q, k, v, &[batch, heads, queries, width]] {
            product(shape)?;
        }
        let wider = width + usize::from(elu);
        // What a thread works with; rows are padded and so are their numbers.
        for (rows, columns) in [(queries, wider), (keys, wider), (queries, depth), (keys, depth), (depth, wider)] {
            product(&[rows + products::MARGIN, columns + products::MARGIN, 4])?;
        }
        Ok(Dims { batch, heads, queries, keys, depth, width, wider, elu, eps })
    }

    pub fn y_shape(&self) -> [usize; 4] {
        [self.batch, self.heads, self.queries, self.width]
    }

    fn check<T>(&self, q: &[T], k: &[T], v: &[T], y: &[T]) -> Result<(), Error> {
        let pairs = self.batch * self.heads;
        require_len("q", q, pairs * self.queries * self.depth)?;
        require_len("k", k, pairs * self.keys * self.depth)?;
        require_len("v", v, pairs * self.keys * self.width)?;
        require_len("y", y, pairs * self.queries * self.width)
    }

    /// Nanoseconds, roughly, of the forward for one pair.
    fn cost(&self) -> usize {
        (self.queries + self.keys).saturating_mul(self.depth * (self.wider + 32) / 24 + self.wider)
    }
}

/// Arrays of one pair of entry and head.
#[derive(Clone, Copy)]
struct Pair<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
}

/// The n-th plane of an array; empty if planes are.
fn plane<T>(x: &[T], pair: usize, len: usize) -> &[T] {
    &x[pair * len..][..len]
}

impl<'a, T> Pair<'a, T> {
    fn new((q, k, v): (&'a [T], &'a [T], &'a [T]), pair: usize, d: &Dims) -> Self {
        let (q, k) = (plane(q, pair, d.queries * d.depth), plane(k, pair, d.keys * d.depth));
        Pair { q, k, v: plane(v, pair, d.keys * d.width) }
    }
}

/// Work space of a thread: the features, the values with their ones, M, and Q M.
struct Space<T> {
    q: Matrix<T>,
    k: Matrix<T>,
    v: Matrix<T>,
    m: Matrix<T>,
    y: Matrix<T>,
    left: Left<T>,
    /// Largest numbers and sums of columns.
    columns: Buffer<T>,
}

impl<T: Real> Space<T> {
    fn new(d: &Dims) -> Result<Self, Error> {
        Ok(Space {
            q: Matrix::new(d.queries, d.depth)?,
            k: Matrix::new(d.keys, d.depth)?,
            v: Matrix::new(d.keys, d.wider)?,
            m: Matrix::new(d.depth, d.wider)?,
            y: Matrix::new(d.queries, d.wider)?,
            left: Left::new(d.depth)?,
            columns: zeros(2 * d.depth)?,
        })
    }

    fn forward(&mut self, x: Pair<T>, d: &Dims, exec: &Exec) {
        let Space { q, k, v, m, y, left, columns } = self;
        if d.elu {
            exec.run(Map { x: x.q, y: q }); // (F1)
            exec.run(Map { x: x.k, y: k });
        } else {
            exec.run(Rows { x: x.q, y: q }); // (F5)
            exec.run(Columns { x: x.k, y: k, columns });
        }
        v.copy(x.v, d.width);
        if d.elu {
            (0..d.keys).for_each(|row| v.row_mut(row)[d.width] = T::ONE);
        }
        left.across(k, v, m, exec); // (F2)
        left.along(q, d.depth, m, y, exec); // (F3) (F6)
    }
}

pub fn forward<T: Real>(q: &[T], k: &[T], v: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(q, k, v, y)?;
    if y.is_empty() {
        return Ok(());
    }
    let (len, each) = (d.queries * d.width, Exec::batch(d.cost()));
    let tasks = y.chunks_mut(each * len).enumerate();
    let cost = d.cost().saturating_mul(d.batch * d.heads);
    exec.for_each_with(
        cost,
        tasks,
        || Space::new(d),
        |space, (task, y)| {
            for (n, y) in y.chunks_exact_mut(len).enumerate() {
                space.forward(Pair::new((q, k, v), task * each + n, d), d, exec);
                if d.elu {
                    exec.run(Quotients { x: &space.y, eps: T::from_f64(d.eps), y, width: d.width }); // (F4)
                } else {
                    space.y.store(y, d.width);
                }
            }
        },
    )
}

/// Where the gradients go; all are overwritten.
pub struct Gradients<'a, T> {
    pub q: &'a mut [T],
    pub k: &'a mut [T],
    pub v: &'a mut [T],
}

/// More work space of a thread: g and c, the gradients of the features and of M, and M or its gradient transposed.
struct Derivatives<T> {
    g: Matrix<T>,
    dq: Matrix<T>,
    dk: Matrix<T>,
    dv: Matrix<T>,
    dm: Matrix<T>,
    turned: Matrix<T>,
}

impl<T: Real> Derivatives<T> {
    fn new(d: &Dims) -> Result<Self, Error> {
        Ok(Derivatives {
            g: Matrix::new(d.queries, d.wider)?,
            dq: Matrix::new(d.queries, d.depth)?,
            dk: Matrix::new(d.keys, d.depth)?,
            dv: Matrix::new(d.keys, d.wider)?,
            dm: Matrix::new(d.depth, d.wider)?,
            turned: Matrix::new(d.wider, d.depth)?,
        })
    }
}

pub fn backward<T: Real>(
    dy: &[T],
    q: &[T],
    k: &[T],
    v: &[T],
    grads: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(q, k, v, dy)?;
    require_len("dq", grads.q, q.len())?;
    require_len("dk", grads.k, k.len())?;
    require_len("dv", grads.v, v.len())?;
    let each = Exec::batch(3 * d.cost());
    let mut dq = grads.q.chunks_mut((each * d.queries * d.depth).max(1));
    let mut dv = grads.v.chunks_mut((each * d.keys * d.width).max(1));
    let tasks = grads.k.chunks_mut(each * d.keys * d.depth).enumerate();
    let tasks = tasks.map(|(task, dk)| (task, dq.next().unwrap_or_default(), dk, dv.next().unwrap_or_default()));
    let cost = 3 * d.cost().saturating_mul(d.batch * d.heads);
    let space = || Ok((Space::new(d)?, Derivatives::new(d)?));
    exec.for_each_with(cost, tasks, space, |(space, s), (task, dq, dk, dv)| {
        for (n, dk) in dk.chunks_exact_mut(d.keys * d.depth).enumerate() {
            let pair = task * each + n;
            let x = Pair::new((q, k, v), pair, d);
            space.forward(x, d, exec);
            s.g.copy(plane(dy, pair, d.queries * d.width), d.width);
            if d.elu {
                exec.run(Spread { y: &mut space.y, eps: T::from_f64(d.eps), g: &mut s.g, width: d.width }); // (B1)
            }
            s.turned.transpose(&space.m, exec);
            space.left.along(&s.g, d.wider, &s.turned, &mut s.dq, exec); // (B2) (B6)
            space.left.across(&space.q, &s.g, &mut s.dm, exec); // (B3) (B6)
            s.turned.transpose(&s.dm, exec);
            space.left.along(&space.v, d.wider, &s.turned, &mut s.dk, exec); // (B4) (B6)
            space.left.along(&space.k, d.depth, &s.dm, &mut s.dv, exec);
            s.dv.store(&mut dv[n * d.keys * d.width..][..d.keys * d.width], d.width);
            let dq = &mut dq[n * d.queries * d.depth..][..d.queries * d.depth];
            if d.elu {
                exec.run(features::MapBackward { dy: &s.dq, x: x.q, dx: dq }); // (B5)
                exec.run(features::MapBackward { dy: &s.dk, x: x.k, dx: dk });
            } else {
                exec.run(features::RowsBackward { dy: &s.dq, a: &space.q, dx: dq }); // (B6)
                let columns = &mut space.columns[..];
                exec.run(features::ColumnsBackward { dy: &s.dk, a: &space.k, dx: dk, columns });
            }
        }
    })
}
