//! One number per head and displacement of two tokens of a grid, laid out as a bias of attention.
//!
//! Shapes       table ((2h−1)·(2w−1), heads), size (h, w) -> bias (heads, h·w, h·w)
//! Forward      (F1) bias[n, t, u] = table[(r_t − r_u + h−1)·(2w−1) + (c_t − c_u + w−1), n]
//! Backward     (B1) dtable[r, n] = Σ dbias[n, t, u] over those that read row r, in the order of t, then u
//! Constraints  (C1) table has that shape
//!
//! Read from its end, the table of a head holds what a row of tokens u reads as one piece.

use crate::error::{Error, require};
use crate::exec::{Exec, zeros};
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    size: (usize, usize),
    heads: usize,
    /// Displacements.
    rows: usize,
    tokens: usize,
}

impl Dims {
    pub fn new(table: &[usize], size: (usize, usize)) -> Result<Dims, Error> {
        let (h, w) = size;
        require(h > 0 && w > 0, || format!("size: positive numbers expected, got {size:?}"))?;
        let spans = (h.checked_mul(2).map(|n| n - 1), w.checked_mul(2).map(|n| n - 1));
        let rows = spans.0.zip(spans.1).and_then(|(a, b)| a.checked_mul(b));
        let &[_, heads] = table else {
            return Err(Error::Shape(format!("(C1) table: two axes expected, got shape {table:?}")));
        };
        require(rows == Some(table[0]), || format!("(C1) table: {rows:?} rows expected for {size:?}, got {table:?}"))?;
        product(table)?;
        let tokens = product(&[h, w])?;
        product(&[heads, tokens, tokens])?;
        Ok(Dims { size, heads, rows: table[0], tokens })
    }

    pub fn shape(&self) -> [usize; 3] {
        [self.heads, self.tokens, self.tokens]
    }

    /// Where, in the table read from its end, token t begins to read for each row of tokens u.
    fn starts(&self, t: usize) -> impl Iterator<Item = usize> {
        let (h, w) = self.size;
        let (row, column) = (t / w, t % w);
        (0..h).map(move |r| (h - 1 + r - row) * (2 * w - 1) + (w - 1 - column))
    }

    fn check<T>(&self, table: &[T], bias: &[T]) -> Result<(), Error> {
        require_len("table", table, self.rows * self.heads)?;
        require_len("bias", bias, self.heads * self.tokens * self.tokens)
    }
}

pub fn forward<T: Real>(table: &[T], bias: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(table, bias)?;
    if bias.is_empty() {
        return Ok(());
    }
    let mut flipped = zeros::<T>(d.rows * d.heads)?;
    for (n, flipped) in flipped.chunks_exact_mut(d.rows).enumerate() {
        for (to, row) in flipped.iter_mut().zip((0..d.rows).rev()) {
            *to = table[row * d.heads + n];
        }
    }
    let flipped = &flipped[..];
    let (tokens, cost) = (d.tokens, bias.len());
    let each = Exec::batch(tokens);
    exec.for_each(cost, bias.chunks_mut(each * tokens).enumerate(), |(k, bias)| {
        for (row, bias) in bias.chunks_exact_mut(tokens).enumerate() {
            let (n, t) = ((k * each + row) / tokens, (k * each + row) % tokens);
            let flipped = &flipped[n * d.rows..][..d.rows];
            for (to, start) in bias.chunks_exact_mut(d.size.1).zip(d.starts(t)) {
                to.copy_from_slice(&flipped[start..][..d.size.1]); // (F1)
            }
        }
    })
}

pub fn backward<T: Real>(dbias: &[T], dtable: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(dtable, dbias)?;
    if dtable.is_empty() {
        return Ok(());
    }
    let mut flipped = zeros::<T>(d.rows * d.heads)?;
    let tasks = flipped.chunks_exact_mut(d.rows).zip(dbias.chunks_exact(d.tokens * d.tokens));
    exec.for_each(dbias.len(), tasks, |(sums, dbias)| {
        for (t, dbias) in dbias.chunks_exact(d.tokens).enumerate() {
            for (from, start) in dbias.chunks_exact(d.size.1).zip(d.starts(t)) {
                for (sum, &from) in sums[start..][..d.size.1].iter_mut().zip(from) {
                    *sum += from; // (B1)
                }
            }
        }
    })?;
    for (n, flipped) in flipped.chunks_exact(d.rows).enumerate() {
        for (&from, row) in flipped.iter().zip((0..d.rows).rev()) {
            dtable[row * d.heads + n] = from;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{difference, each_exec, random, unwritten};

    #[test]
    fn standard() {
        for ((h, w), heads) in [((1, 1), 1), ((1, 4), 2), ((4, 1), 2), ((3, 5), 3), ((2, 2), 0), ((9, 8), 5)] {
            let rows = (2 * h - 1) * (2 * w - 1);
            let d = Dims::new(&[rows, heads], (h, w)).unwrap();
            let tokens = h * w;
            let (table, dbias) = (random::<f64>(rows * heads, 1), random::<f64>(heads * tokens * tokens, 2));
            let (mut bias_expected, mut dtable_expected) = (unwritten::<f64>(dbias.len()), vec![0.0; table.len()]);
            for (n, t, u) in crate::testing::grid([heads, tokens, tokens]) {
                let row = (t / w + h - 1 - u / w) * (2 * w - 1) + (t % w + w - 1 - u % w);
                bias_expected[(n * tokens + t) * tokens + u] = table[row * heads + n];
                dtable_expected[row * heads + n] += dbias[(n * tokens + t) * tokens + u];
            }
            each_exec(|exec| {
                let (mut bias, mut dtable) = (unwritten::<f64>(dbias.len()), unwritten::<f64>(table.len()));
                forward(&table, &mut bias, &d, exec).unwrap();
                backward(&dbias, &mut dtable, &d, exec).unwrap();
                assert_eq!(bias, bias_expected, "{h}x{w}");
                assert!(difference(&dtable, &dtable_expected) < 1e-14, "{h}x{w}");
            });
        }
    }

    #[test]
    fn c1_table() {
        assert!(Dims::new(&[15, 1], (3, 2)).is_ok() && Dims::new(&[15], (3, 2)).is_err());
        assert!(Dims::new(&[14, 1], (3, 2)).is_err() && Dims::new(&[1, 1], (0, 1)).is_err());
        assert!(Dims::new(&[1, 1], (usize::MAX, usize::MAX)).is_err());
    }
}
