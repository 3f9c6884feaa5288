//! Long sums whose error does not grow with their length: blocks of vector code, added in pairs. The order of every sum follows from its
//! length alone, so it has the same bits at any number of threads.

use std::ops::Range;

use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::real::Real;

/// Terms of one block.
const BLOCK: usize = 4096;

/// Partial sums of a block: term k goes to k mod 32, at every level.
const PARTIAL: usize = 32;

/// Totals added in pairs, pairs of pairs, …: `parts[i]` is the sum of 2ⁱ of them while bit i of `count` is set.
pub struct Pairwise<T> {
    parts: [T; usize::BITS as usize],
    count: usize,
}

impl<T: Real> Default for Pairwise<T> {
    fn default() -> Self {
        Pairwise { parts: [T::ZERO; usize::BITS as usize], count: 0 }
    }
}

impl<T: Real> Pairwise<T> {
    #[inline]
    pub fn add(&mut self, mut value: T) {
        let full = self.count.trailing_ones() as usize;
        for part in &self.parts[..full] {
            value = *part + value;
        }
        self.parts[full] = value;
        self.count += 1;
    }

    pub fn total(&self) -> T {
        let mut total = T::ZERO;
        for (i, &part) in self.parts.iter().enumerate() {
            if self.count >> i & 1 == 1 {
                total += part;
            }
        }
        total
    }
}

/// What is added: a function of the index that gives a vector of terms. Lanes beyond a partial vector do not matter.
pub trait Terms<T: Real> {
    /// Terms `k..k + n`, n <= LANES.
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I>;
    #[inline(always)]
    fn load<I: Isa>(&self, k: usize) -> V<T, I> {
        self.load_partial::<I>(k, V::<T, I>::LANES)
    }
}

impl<T: Real> Terms<T> for &[T] {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        V::<T, I>::load_partial(&self[k..], n)
    }
}

/// (x − m)²
pub struct Squares<'a, T> {
    pub x: &'a [T],
    pub m: T,
}

impl<T: Real> Terms<T> for Squares<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let c = V::<T, I>::load_partial(&self.x[k..], n) - V::<T, I>::splat(self.m);
        c * c
    }
}

/// dy·(x − m)·r
pub struct Products<'a, T> {
    pub dy: &'a [T],
    pub x: &'a [T],
    pub m: T,
    pub r: T,
}

impl<T: Real> Products<'_, T> {
    /// (x − m)·r
    #[inline(always)]
    pub fn x_hat<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        (V::<T, I>::load_partial(&self.x[k..], n) - V::<T, I>::splat(self.m)) * V::<T, I>::splat(self.r)
    }
}

impl<T: Real> Terms<T> for Products<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        V::<T, I>::load_partial(&self.dy[k..], n) * self.x_hat::<I>(k, n)
    }
}

/// Adds the terms 0..len to `sum`, block by block.
#[inline(always)]
pub fn add<T: Real, I: Isa, S: Terms<T>>(terms: &S, len: usize, sum: &mut Pairwise<T>) {
    let mut start = 0;
    while start < len {
        let end = len.min(start + BLOCK);
        sum.add(block::<T, I, S>(terms, start..end));
        start = end;
    }
}

/// The sum of the terms 0..len.
#[inline(always)]
pub fn total<T: Real, I: Isa, S: Terms<T>>(terms: &S, len: usize) -> T {
    if len <= BLOCK {
        return block::<T, I, S>(terms, 0..len);
    }
    let mut sum = Pairwise::default();
    add::<T, I, S>(terms, len, &mut sum);
    sum.total()
}

#[inline(always)]
fn block<T: Real, I: Isa, S: Terms<T>>(terms: &S, range: Range<usize>) -> T {
    let (zero, lanes, vectors) = (V::<T, I>::zero(), V::<T, I>::LANES, PARTIAL / V::<T, I>::LANES);
    let mut partial = [zero; PARTIAL / 2];
    let mut k = range.start;
    while k + PARTIAL <= range.end {
        for u in 0..vectors {
            partial[u] = partial[u] + terms.load::<I>(k + u * lanes);
        }
        k += PARTIAL;
    }
    for u in 0..vectors {
        let at = k + u * lanes;
        if at + lanes <= range.end {
            partial[u] = partial[u] + terms.load::<I>(at);
        } else if at < range.end {
            let n = range.end - at;
            partial[u] = partial[u] + terms.load_partial::<I>(at, n).keep(n, zero);
        }
    }
    let mut half = vectors / 2;
    while half > 0 {
        for u in 0..half {
            partial[u] = partial[u] + partial[u + half];
        }
        half /= 2;
    }
    partial[0].reduce_sum()
}

/// Rows that are added in one chain.
const CHAIN: usize = 128;

/// Columns of one task.
const STRIP: usize = 2048;

/// y[c] = Σ_r x[r, c] for x (rows, columns): chains of rows, then chains of their sums, until one row is left.
pub fn columns<T: Real>(x: &[T], rows: usize, columns: usize, y: &mut [T], exec: &Exec) -> Result<(), Error> {
    let (mut rows, mut held): (usize, Option<Buffer<T>>) = (rows, None);
    while rows > CHAIN && columns > 0 {
        let mut sums = zeros(rows.div_ceil(CHAIN) * columns)?;
        chains(held.as_deref().unwrap_or(x), columns, &mut sums, exec)?;
        (rows, held) = (rows.div_ceil(CHAIN), Some(sums));
    }
    if rows == 0 {
        y.fill(T::ZERO);
        return Ok(());
    }
    chains(held.as_deref().unwrap_or(x), columns, y, exec)
}

fn chains<T: Real>(x: &[T], columns: usize, y: &mut [T], exec: &Exec) -> Result<(), Error> {
    if y.is_empty() {
        return Ok(());
    }
    let tasks = y
        .chunks_mut(columns)
        .zip(x.chunks(CHAIN * columns))
        .flat_map(|(y, x)| y.chunks_mut(STRIP).enumerate().map(move |(k, y)| (&x[k * STRIP..], y)));
    exec.for_each(x.len() / 4, tasks, |(x, y)| exec.run(Chain { x, columns, y }))
}

/// y = Σ of the rows of x, whose first element is that of y.
struct Chain<'a, T> {
    x: &'a [T],
    columns: usize,
    y: &'a mut [T],
}

impl<T: Real> Task for Chain<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.y.len();
        self.y.copy_from_slice(&self.x[..n]);
        let mut start = self.columns;
        while start < self.x.len() {
            lanes::add_assign::<T, I>(&self.x[start..start + n], self.y);
            start += self.columns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random};

    struct Total<'a>(&'a [f32]);
    impl Task for Total<'_> {
        type Out = f32;
        #[inline(always)]
        fn run<I: Isa>(self) -> f32 {
            total::<f32, I, &[f32]>(&self.0, self.0.len())
        }
    }

    #[test]
    fn totals_of_every_length_and_of_a_million() {
        for n in (0..70).chain([4095, 4096, 4097, 3 * 4096 + 5]) {
            let x = random::<f32>(n, 1);
            each_exec(|exec| assert_eq!(exec.run(Total(&x)), x.iter().sum::<f32>(), "{n}")); // multiples of 1/512: exact
        }
        let x = vec![0.1f32; 1_000_000]; // a chain of 128 of them, all rounded the same way, is off by 2e-6 of itself
        each_exec(|exec| assert!((exec.run(Total(&x)) - 100_000.0).abs() < 0.3));
    }

    #[test]
    fn columns_are_added() {
        for (rows, width) in [(0, 3), (1, 1), (5, 33), (129, 2), (300, 2050), (20_000, 1)] {
            let x = random::<f64>(rows * width, 2);
            let expected: Vec<f64> = (0..width).map(|c| (0..rows).map(|r| x[r * width + c]).sum()).collect();
            each_exec(|exec| {
                let mut y = vec![f64::NAN; width];
                columns(&x, rows, width, &mut y, exec).unwrap();
                assert_eq!(y, expected);
            });
        }
    }
}
