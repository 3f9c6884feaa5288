//! What happens to scores between the products, as vector tasks.

use crate::gemm::{DEPTH, MAX_ROWS, PITCH};
use crate::lanes::{self, Isa, MAX_LANES, Task, V, Vector};
use crate::real::Real;

/// a[r][..n] = scale·x[row + r, first..first + n].
pub struct Scaled<'a, T> {
    pub x: &'a [T],
    pub row: usize,
    pub pitch: usize,
    pub first: usize,
    pub n: usize,
    pub scale: T,
    pub a: &'a mut [[T; PITCH]],
}

impl<T: Real> Task for Scaled<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (scale, lanes) = (V::<T, I>::splat(self.scale), V::<T, I>::LANES);
        for (r, a) in self.a.iter_mut().enumerate() {
            let x = &self.x[(self.row + r) * self.pitch + self.first..][..self.n];
            let mut k = 0;
            while k + lanes <= self.n {
                (scale * V::<T, I>::load(&x[k..])).store(&mut a[k..]);
                k += lanes;
            }
            (scale * V::<T, I>::load_partial(&x[k..], self.n - k)).store_partial(&mut a[k..], self.n - k);
        }
    }
}

/// Exponentials of a tile of scores after the bias was added, against the largest score of the query so far; what was summed before
/// is scaled to the same.
pub struct Exponentials<'a, T> {
    /// (block, row, key), blocks of [`MAX_ROWS`] rows of [`PITCH`].
    pub scores: &'a mut [T],
    /// Rows `pitch` apart, the tile's first query first; columns `first..first + keys`.
    pub bias: Option<&'a [T]>,
    pub first: usize,
    pub keys: usize,
    pub pitch: usize,
    pub top: &'a mut [T],
    pub sum: &'a mut [T],
    pub o: &'a mut [T],
}

impl<T: Real> Task for Exponentials<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (rows, keys, lanes) = (self.top.len(), self.keys, V::<T, I>::LANES);
        let (width, lowest) = (self.o.len() / rows.max(1), V::<T, I>::splat(T::NEG_INFINITY));
        // All rows first to their largest scores, then across the lanes of those, then to their exponentials: one row need not wait for
        // the end of another. A NaN may be passed over here: the exponentials bring it to the sum, and so to all results of its query.
        let mut tops = [lowest; MAX_ROWS];
        for r in 0..rows {
            let mut top = lowest;
            for start in (0..keys).step_by(DEPTH) {
                let n = DEPTH.min(keys - start);
                let z = &mut self.scores[start / DEPTH * (MAX_ROWS * PITCH) + r * PITCH..][..n];
                let mut k = 0;
                if let Some(bias) = self.bias {
                    let bias = &bias[r * self.pitch + self.first + start..][..n];
                    while k + lanes <= n {
                        let sum = V::<T, I>::load(&z[k..]) + V::<T, I>::load(&bias[k..]); // (F1)
                        sum.store(&mut z[k..]);
                        top = V::<T, I>::at_least(top, sum);
                        k += lanes;
                    }
                    let rest = V::<T, I>::load_partial(&bias[k..], n - k) + V::<T, I>::load_partial(&z[k..], n - k);
                    rest.store_partial(&mut z[k..], n - k);
                    top = V::<T, I>::at_least(top, rest.keep(n - k, lowest));
                } else {
                    while k + lanes <= n {
                        top = V::<T, I>::at_least(top, V::<T, I>::load(&z[k..]));
                        k += lanes;
                    }
                    top = V::<T, I>::at_least(top, V::<T, I>::load_partial(&z[k..], n - k).keep(n - k, lowest));
                }
            }
            tops[r] = top;
        }
        let mut shifts = [T::ZERO; MAX_ROWS];
        for r in 0..rows {
            let (mut top, old) = (tops[r].reduce_max(), self.top[r]);
            if self.first > 0 {
                top = if old.is_nan() || old > top { old } else { top };
            }
            // With nothing but -∞ so far all exponentials are 0, not NaN: keys that count may follow.
            shifts[r] = if top == T::NEG_INFINITY { T::ZERO } else { top };
            if self.first > 0 {
                let factor = (old - shifts[r]).exp();
                self.sum[r] = factor * self.sum[r];
                lanes::scale::<T, I>(factor, &mut self.o[r * width..(r + 1) * width]);
            } else {
                self.sum[r] = T::ZERO;
            }
            self.top[r] = top;
        }
        let vectors = MAX_LANES / lanes;
        let mut totals = [V::<T, I>::zero(); MAX_ROWS];
        for r in 0..rows {
            // Sixteen partial sums, whatever the level: key u goes to number u mod 16.
            let (shift, mut sums) = (V::<T, I>::splat(shifts[r]), [V::<T, I>::zero(); MAX_LANES / 2]);
            for start in (0..keys).step_by(DEPTH) {
                let n = DEPTH.min(keys - start);
                let z = &mut self.scores[start / DEPTH * (MAX_ROWS * PITCH) + r * PITCH..][..n];
                let (whole, rest) = z.as_chunks_mut::<MAX_LANES>();
                for z in whole {
                    for u in 0..vectors {
                        let e = (V::<T, I>::load(&z[u * lanes..]) - shift).exp_nonpositive(); // (F3)
                        e.store(&mut z[u * lanes..]);
                        sums[u] = sums[u] + e;
                    }
                }
                for u in 0..vectors {
                    let at = (u * lanes).min(rest.len());
                    let m = lanes.min(rest.len() - at);
                    let e = (V::<T, I>::load_partial(&rest[at..], m) - shift).exp_nonpositive(); // (F3)
                    e.store_partial(&mut rest[at..], m);
                    sums[u] = sums[u] + e.keep(m, V::<T, I>::zero());
                }
            }
            let mut half = vectors / 2;
            while half > 0 {
                for u in 0..half {
                    sums[u] = sums[u] + sums[u + half];
                }
                half /= 2;
            }
            totals[r] = sums[0];
        }
        for r in 0..rows {
            self.sum[r] += totals[r].reduce_sum();
        }
    }
}

/// Exponentials divided by their sum, plus the bias, in the place of exponentials: the weights of the form "post".
pub struct Mixed<'a, T> {
    /// As in [`Exponentials`], all keys.
    pub scores: &'a mut [T],
    pub bias: &'a [T],
    pub keys: usize,
    pub sum: &'a [T],
}

impl<T: Real> Task for Mixed<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (r, &sum) in self.sum.iter().enumerate() {
            let factor = V::<T, I>::splat(T::ONE / sum);
            let mut k = 0;
            while k < self.keys {
                let n = V::<T, I>::LANES.min(self.keys - k);
                let a = &mut self.scores[k / DEPTH * (MAX_ROWS * PITCH) + r * PITCH + k % DEPTH..];
                let b = V::<T, I>::load_partial(&self.bias[r * self.keys + k..], n);
                V::<T, I>::load_partial(a, n).mul_add(factor, b).store_partial(a, n);
                k += n;
            }
        }
    }
}

/// y += x, row by row.
pub struct AddRows<'a, T> {
    pub x: &'a [T],
    pub x_pitch: usize,
    pub y: &'a mut [T],
    pub y_pitch: usize,
    pub rows: usize,
    pub n: usize,
}

impl<T: Real> Task for AddRows<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for r in 0..self.rows {
            lanes::add_assign::<T, I>(&self.x[r * self.x_pitch..][..self.n], &mut self.y[r * self.y_pitch..][..self.n]);
        }
    }
}

/// o divided by the sum of the exponentials, and the logarithm of that sum.
pub struct Finish<'a, T> {
    pub top: &'a [T],
    pub sum: &'a [T],
    pub o: &'a mut [T],
    pub lse: &'a mut [T],
}

impl<T: Real> Task for Finish<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let width = self.o.len() / self.lse.len().max(1);
        for r in 0..self.lse.len() {
            let sum = if self.top[r] == T::NEG_INFINITY { T::NAN } else { self.sum[r] };
            self.lse[r] = self.top[r] + sum.ln(); // (F2)
            lanes::scale::<T, I>(T::ONE / sum, &mut self.o[r * width..(r + 1) * width]); // (F4)
        }
    }
}

/// Exponentials e of some keys for a block of queries, across, in the place of the products of keys and queries; da holds those of
/// values and do. Rows are whole vectors; what lies beyond the queries is never read.
pub struct Weights<'a, T> {
    pub a: &'a mut [[T; PITCH]],
    pub da: &'a [[T; PITCH]],
    /// The transposed bias, rows `pitch` apart, from the first key and query on.
    pub bias: Option<&'a [T]>,
    pub pitch: usize,
    pub lse: &'a [T],
    pub sum: &'a mut [T],
    pub delta: &'a mut [T],
}

impl<T: Real> Task for Weights<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (n, lanes) = (self.lse.len(), V::<T, I>::LANES);
        let (sum, delta) = (&mut self.sum[..n], &mut self.delta[..n]);
        for (r, (a, da)) in self.a.iter_mut().zip(self.da).enumerate() {
            let (a, da) = (&mut a[..n], &da[..n]);
            let mut k = 0;
            while k + lanes <= n {
                let mut z = V::<T, I>::load(&a[k..]);
                if let Some(bias) = self.bias {
                    z = z + V::<T, I>::load(&bias[r * self.pitch + k..]); // (F1)
                }
                let weight = (z - V::<T, I>::load(&self.lse[k..])).exp(); // (F3)
                weight.store(&mut a[k..]);
                (V::<T, I>::load(&sum[k..]) + weight).store(&mut sum[k..]);
                weight.mul_add(V::<T, I>::load(&da[k..]), V::<T, I>::load(&delta[k..])).store(&mut delta[k..]); // Σ e·da
                k += lanes;
            }
        }
    }
}

/// a = e / Σ e in the place of e, and dz = a·(da − Σ a·da) in the place of da, times `scale`; as it is, added to the gradient of the
/// transposed bias.
pub struct Derivatives<'a, T> {
    pub a: &'a mut [[T; PITCH]],
    pub da: &'a mut [[T; PITCH]],
    pub dbias: Option<&'a mut [T]>,
    pub pitch: usize,
    /// Σ e, which becomes one over it, and Σ e·da, which becomes Σ a·da.
    pub sum: &'a mut [T],
    pub delta: &'a mut [T],
    pub scale: T,
}

impl<T: Real> Task for Derivatives<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (n, lanes, scale) = (self.delta.len(), V::<T, I>::LANES, V::<T, I>::splat(self.scale));
        let (factor, delta) = (&mut self.sum[..n], &mut self.delta[..n]);
        let mut k = 0;
        while k + lanes <= n {
            let inverse = V::<T, I>::splat(T::ONE) / V::<T, I>::load(&factor[k..]);
            inverse.store(&mut factor[k..]);
            (V::<T, I>::load(&delta[k..]) * inverse).store(&mut delta[k..]); // Σ a·da of (B3)
            k += lanes;
        }
        for (r, (a, da)) in self.a.iter_mut().zip(self.da.iter_mut()).enumerate() {
            let (a, da) = (&mut a[..n], &mut da[..n]);
            let mut k = 0;
            while k + lanes <= n {
                let weight = V::<T, I>::load(&a[k..]) * V::<T, I>::load(&factor[k..]); // (F3)
                weight.store(&mut a[k..]);
                let dz = weight * (V::<T, I>::load(&da[k..]) - V::<T, I>::load(&delta[k..])); // (B3)
                if let Some(dbias) = &mut self.dbias {
                    let dbias = &mut dbias[r * self.pitch + k..];
                    (V::<T, I>::load(dbias) + dz).store(dbias); // (B6)
                }
                (dz * scale).store(&mut da[k..]); // (B4) (B5): their factor
                k += lanes;
            }
        }
    }
}
