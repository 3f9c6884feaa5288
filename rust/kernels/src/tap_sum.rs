//! Sums over taps: the inner loop of the grouped convolutions. A tap is a run of values somewhere in memory; a convolution kernel on a
//! padded plane is a table of taps, since moving by a row or a column is moving in memory.
//!
//! Forward      (F1) out[r, x] = bias[r] + Σ_t weight[r, t]·tap[t][x], in the order of the taps, each product added in one rounding
//! Backward     (B1) dweight[r, t] = Σ_x dout[r, x]·tap[t][x]: see `dot`; the gradient of the taps is a sum over taps again

use crate::exec::Exec;
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

mod dot;
pub use dot::{TapDots, fold};

/// Tap t is `parts[table[t].0][table[t].1..]`.
#[derive(Clone, Copy)]
pub struct Taps<'a, T> {
    pub parts: [&'a [T]; 3],
    pub table: &'a [(usize, usize)],
}

impl<'a, T> Taps<'a, T> {
    /// Taps that all lie in one slice.
    pub fn of(data: &'a [T], table: &'a [(usize, usize)]) -> Self {
        Taps { parts: [data, &[], &[]], table }
    }
}

/// Size of the next block where `rest` are left: as equal as possible, none above `most`.
#[inline(always)]
fn block(rest: usize, most: usize) -> usize {
    rest.div_ceil(rest.div_ceil(most).max(1))
}

/// Most outputs that are summed at once.
const ROWS: usize = 4;

/// Writes weight[r, t] in the order in which [`TapSums`] reads it: by blocks of outputs, in a block tap after tap.
pub fn pack<T>(outputs: usize, taps: usize, packed: &mut [T], weight: impl Fn(usize, usize) -> T) {
    let (mut to, mut first) = (packed.iter_mut(), 0);
    while first < outputs {
        let rows = block(outputs - first, ROWS);
        for t in 0..taps {
            for (r, to) in (first..first + rows).zip(to.by_ref()) {
                *to = weight(r, t);
            }
        }
        first += rows;
    }
}

/// A sum over taps for several outputs. `weight` is packed.
pub struct TapSums<'a, T> {
    pub taps: Taps<'a, T>,
    pub weight: &'a [T],
    pub bias: Option<&'a [T]>,
    pub outputs: usize,
    /// Elements of each output.
    pub len: usize,
    /// The sums start from what the output holds instead of from the bias.
    pub add: bool,
}

impl<T: Real> TapSums<'_, T> {
    /// The first `len` elements of each of the slices that `out` yields.
    pub fn run<'o>(&self, mut out: impl Iterator<Item = &'o mut [T]>, exec: &Exec) {
        let (mut first, mut weight) = (0, self.weight);
        while first < self.outputs {
            let rows = block(self.outputs - first, ROWS);
            let (these, others) = weight.split_at(rows * self.taps.table.len());
            match rows {
                4 => exec.run(Block::<T, 4>::new(self, first, these, &mut out)),
                3 => exec.run(Block::<T, 3>::new(self, first, these, &mut out)),
                2 => exec.run(Block::<T, 2>::new(self, first, these, &mut out)),
                _ => exec.run(Block::<T, 1>::new(self, first, these, &mut out)),
            }
            (first, weight) = (first + rows, others);
        }
    }
}

/// `R` outputs.
struct Block<'a, 'o, T, const R: usize> {
    taps: Taps<'a, T>,
    weight: &'a [T],
    bias: [T; R],
    rows: [&'o mut [T]; R],
    len: usize,
    add: bool,
}

impl<'a, 'o, T: Real, const R: usize> Block<'a, 'o, T, R> {
    fn new(sums: &TapSums<'a, T>, first: usize, weight: &'a [T], out: &mut impl Iterator<Item = &'o mut [T]>) -> Self {
        let mut bias = [T::ZERO; R];
        if let Some(all) = sums.bias {
            bias.copy_from_slice(&all[first..][..R]);
        }
        let rows = std::array::from_fn(|_| &mut out.next().unwrap_or_default()[..sums.len]);
        Block { taps: sums.taps, weight, bias, rows, len: sums.len, add: sums.add }
    }

    /// All elements, `N` vectors at a time, at the end `HALF` of them.
    #[inline(always)]
    fn tiles<I: Isa, const N: usize, const HALF: usize>(&mut self) {
        let (step, half, mut x) = (N * V::<T, I>::LANES, HALF * V::<T, I>::LANES, 0);
        while x + step <= self.len {
            self.tile::<I, N, false>(x, step);
            x += step;
        }
        while x < self.len {
            let n = (self.len - x).min(half);
            self.tile::<I, HALF, true>(x, n);
            x += n;
        }
    }

    /// Elements x..x+n, n = `N` vectors, or fewer with `TAIL`.
    #[inline(always)]
    fn tile<I: Isa, const N: usize, const TAIL: bool>(&mut self, x: usize, n: usize) {
        let lanes = V::<T, I>::LANES;
        let mut sums = [[V::<T, I>::zero(); N]; R];
        for r in 0..R {
            let (bias, old) = (V::<T, I>::splat(self.bias[r]), &self.rows[r][x..][..n]);
            for u in 0..N {
                sums[r][u] = if self.add { get::<T, I, TAIL>(old, u * lanes) } else { bias };
            }
        }
        for (&(part, start), weight) in self.taps.table.iter().zip(self.weight.chunks_exact(R)) {
            let tap = &self.taps.parts[part][start + x..][..n];
            for u in 0..N {
                let value = get::<T, I, TAIL>(tap, u * lanes);
                for r in 0..R {
                    sums[r][u] = V::<T, I>::splat(weight[r]).mul_add(value, sums[r][u]); // (F1)
                }
            }
        }
        for r in 0..R {
            let out = &mut self.rows[r][x..][..n];
            for u in 0..N {
                if TAIL {
                    let from = (u * lanes).min(n);
                    sums[r][u].store_partial(&mut out[from..], (n - from).min(lanes));
                } else {
                    sums[r][u].store(&mut out[u * lanes..]);
                }
            }
        }
    }
}

impl<T: Real, const R: usize> Task for Block<'_, '_, T, R> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        // R·N sums, R weights and one value fit the registers.
        if const { I::REGISTERS >= 32 } {
            match R {
                4 => self.tiles::<I, 6, 3>(),
                3 => self.tiles::<I, 8, 4>(),
                _ => self.tiles::<I, 12, 4>(),
            }
        } else {
            match R {
                4 => self.tiles::<I, 2, 1>(),
                3 => self.tiles::<I, 3, 1>(),
                2 => self.tiles::<I, 6, 2>(),
                _ => self.tiles::<I, 8, 4>(),
            }
        }
    }
}

/// Elements from..from+LANES of `x`; with `TAIL`, as many as there are.
#[inline(always)]
fn get<T: Real, I: Isa, const TAIL: bool>(x: &[T], from: usize) -> V<T, I> {
    if TAIL {
        let from = from.min(x.len());
        V::<T, I>::load_partial(&x[from..], (x.len() - from).min(V::<T, I>::LANES))
    } else {
        V::<T, I>::load(&x[from..])
    }
}
