//! Sum of two arrays.
//!
//! Shapes       a (any), b (the same) -> y, same shape
//! Forward      (F1) y = a + b
//! Backward     (B1) da = dy    (B2) db = dy
//! Constraints  (C1) b has the shape of a

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::fill::Fill;
use crate::lanes::{Isa, V, Vector, is_large};
use crate::planes::require_len;
use crate::real::Real;
use crate::sums::Terms;

/// Elements of one task.
const PART: usize = 1 << 14;

/// (C1)
pub fn check(a: &[usize], b: &[usize]) -> Result<(), Error> {
    require(a == b, || format!("(C1) b: the shape {a:?} of a expected, got {b:?}"))
}

pub fn forward<T: Real>(a: &[T], b: &[T], y: &mut [T], exec: &Exec) -> Result<(), Error> {
    require_len("b", b, a.len())?;
    require_len("y", y, a.len())?;
    let large = is_large(y);
    let tasks = a.chunks(PART).zip(b.chunks(PART)).zip(y.chunks_mut(PART));
    exec.for_each(a.len(), tasks, |((a, b), y)| exec.run(Fill { terms: Sum { a, b }, y, large })) // (F1)
}

struct Sum<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Real> Terms<T> for Sum<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        V::<T, I>::load_partial(&self.a[k..], n) + V::<T, I>::load_partial(&self.b[k..], n)
    }
}

pub fn backward<T: Real>(dy: &[T], da: &mut [T], db: &mut [T], exec: &Exec) -> Result<(), Error> {
    require_len("da", da, dy.len())?;
    require_len("db", db, dy.len())?;
    let tasks = dy.chunks(PART).zip(da.chunks_mut(PART).zip(db.chunks_mut(PART)));
    exec.for_each(dy.len(), tasks, |(dy, (da, db))| {
        da.copy_from_slice(dy); // (B1)
        db.copy_from_slice(dy); // (B2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    fn literal_loop<T: Real>() {
        for n in (0..70).chain([3 * PART + 5]) {
            let (a, b) = (random::<T>(n, 1), random::<T>(n, 2));
            let expected: Vec<T> = a.iter().zip(&b).map(|(&a, &b)| a + b).collect();
            each_exec(|exec| {
                let (mut y, mut da, mut db) = (unwritten::<T>(n), unwritten::<T>(n), unwritten::<T>(n));
                forward(&a, &b, &mut y, exec).unwrap();
                backward(&y, &mut da, &mut db, exec).unwrap();
                assert!(y == expected && da == expected && db == expected, "{n} {:?}", exec.level());
            });
        }
    }

    #[test]
    fn literal_loops() {
        literal_loop::<f32>();
        literal_loop::<f64>();
    }

    #[test]
    fn errors() {
        assert!(check(&[2, 3], &[2, 3]).is_ok() && check(&[2, 3], &[3]).is_err() && check(&[2, 3], &[3, 2]).is_err());
        each_exec(|exec| {
            let mut y = [0.0; 2];
            assert!(
                forward(&[1.0], &[1.0], &mut y, exec).is_err() && forward(&[1.0, 2.0], &[1.0], &mut y, exec).is_err()
            );
        });
    }
}
