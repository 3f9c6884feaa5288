//! Regroup: channels ordered head by head are ordered anew so that every group holds one channel of each head.
//!
//! Shapes       x (any), axis with C = heads·M channels -> y, same shape
//! Forward      (F1) y[i·N + t] = x[t·M + i] along `axis`    (F2) inverse: y[t·M + i] = x[i·N + t]
//! Backward     (B1) dx = the inverse of the forward's order, applied to dy
//! Constraints  (C1) axis is an axis of x    (C2) heads divides the number of channels
//!
//! Seen as (outer, rows, columns, inner) it is a transpose of rows and columns: of runs of `inner` elements, or of a matrix if inner is 1.

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::gemm::{Transpose, TransposePast};
use crate::lanes::is_large;
use crate::planes::{product, require_len};
use crate::real::Real;

/// Elements of a task.
const PART: usize = 1 << 14;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    outer: usize,
    rows: usize,
    columns: usize,
    inner: usize,
}

impl Dims {
    pub fn new(x: &[usize], heads: usize, axis: isize, inverse: bool) -> Result<Dims, Error> {
        let place = if axis < 0 { axis.checked_add_unsigned(x.len()) } else { Some(axis) };
        let place = place.and_then(|place| usize::try_from(place).ok()).filter(|&place| place < x.len());
        let place =
            place.ok_or_else(|| Error::Shape(format!("(C1) axis: an axis of shape {x:?} expected, got {axis}")))?;
        require(heads > 0 && x[place].is_multiple_of(heads), || {
            format!("(C2) heads: a divisor of {} channels expected, got {heads}", x[place])
        })?;
        product(x)?;
        let groups = x[place] / heads;
        let (rows, columns) = if inverse { (groups, heads) } else { (heads, groups) }; // (F2) (F1)
        Ok(Dims { outer: product(&x[..place])?, rows, columns, inner: product(&x[place + 1..])? })
    }

    fn len(&self) -> usize {
        self.outer * self.rows * self.columns * self.inner
    }
}

pub fn forward<T: Real>(x: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    let Dims { rows, columns, inner, .. } = *d;
    require_len("x", x, d.len())?;
    require_len("y", y, d.len())?;
    if y.is_empty() {
        return Ok(());
    }
    if inner == 1 {
        // Whole lines of the cache on both sides: 16 columns of x, or more, for rows of y.
        let large = is_large(y);
        let each = (PART / rows).clamp(1, columns).next_multiple_of(16);
        let matrices = y.chunks_mut(rows * columns).zip(x.chunks(rows * columns));
        let tasks =
            matrices.flat_map(|(y, x)| y.chunks_mut(each * rows).enumerate().map(move |(k, y)| (&x[k * each..], y)));
        return exec.for_each(d.len(), tasks, |(x, y)| {
            let part = Transpose { x, x_pitch: columns, rows, columns: y.len() / rows, y, y_pitch: rows };
            if large { exec.run(TransposePast(part)) } else { exec.run(part) }
        });
    }
    let runs = (PART / inner).max(1);
    exec.for_each(d.len() / 2, y.chunks_mut(runs * inner).enumerate(), |(at, y)| {
        for (k, y) in y.chunks_exact_mut(inner).enumerate() {
            let run = at * runs + k; // in y, (outer, columns, rows)
            let (o, c, r) = (run / (rows * columns), run / rows % columns, run % rows);
            y.copy_from_slice(&x[((o * rows + r) * columns + c) * inner..][..inner]);
        }
    })
}

pub fn backward<T: Real>(dy: &[T], dx: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    forward(dy, dx, &Dims { rows: d.columns, columns: d.rows, ..*d }, exec) // (B1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    fn check<T: Real>(outer: usize, heads: usize, groups: usize, inner: usize) {
        let x = random::<T>(outer * heads * groups * inner, 1);
        for inverse in [false, true] {
            let d = Dims::new(&[outer, heads * groups, inner], heads, 1, inverse).unwrap();
            each_exec(|exec| {
                let (mut y, mut dx) = (unwritten::<T>(x.len()), unwritten::<T>(x.len()));
                forward(&x, &mut y, &d, exec).unwrap();
                backward(&y, &mut dx, &d, exec).unwrap();
                assert!(dx == x);
                for (o, t, i) in grid([outer, heads, groups]) {
                    let (by_head, by_group) = (o * heads * groups + t * groups + i, o * heads * groups + i * heads + t);
                    let (from, to) = if inverse { (by_group, by_head) } else { (by_head, by_group) };
                    assert!(y[to * inner..][..inner] == x[from * inner..][..inner]);
                }
            });
        }
    }

    #[test]
    fn literal_loops() {
        for (outer, heads, groups) in grid([3, 4, 4]) {
            for inner in [0, 1, 2, 5] {
                check::<f64>(outer, heads + 1, groups, inner);
            }
        }
        check::<f32>(2, 33, 67, 1);
        check::<f32>(1, 5, 3001, 1);
        check::<f32>(1, 3001, 5, 1);
        check::<f64>(2, 3, 5, 700);
    }

    #[test]
    fn errors() {
        assert!(Dims::new(&[2, 6], 4, 1, false).is_err() && Dims::new(&[2, 6], 0, 1, false).is_err());
        assert!(Dims::new(&[2, 6], 2, 2, false).is_err() && Dims::new(&[], 1, 0, false).is_err());
        assert!(Dims::new(&[usize::MAX, 6, 0], 2, 1, true).is_err());
    }
}
