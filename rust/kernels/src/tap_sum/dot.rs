//! Gradient of the weights of a sum over taps: a dot product of every output with every tap.
//!
//! Element x goes to partial sum x mod 16 at every instruction set, and the 16 are kept in memory between calls. `fold` combines them by
//! halving, so the levels with fused products agree.

use super::{Taps, block};
use crate::exec::Exec;
use crate::lanes::{Isa, MAX_LANES, Task, V, Vector};
use crate::real::Real;

/// lanes[r, t, x mod 16] += left[r, x]·tap[t][x] for x < len, in order.    (B1)
pub struct TapDots<'a, T> {
    /// Output r starts at r·step.
    pub left: &'a [T],
    pub step: usize,
    pub outputs: usize,
    pub taps: Taps<'a, T>,
    pub len: usize,
    /// Elements after which the next outputs or taps are taken, so that all stay in the first cache; a multiple of 16.
    pub strip: usize,
    /// (outputs, taps, 16)
    pub lanes: &'a mut [T],
}

impl<T: Real> TapDots<'_, T> {
    pub fn run(mut self, exec: &Exec) {
        let mut x = 0;
        while x < self.len {
            let (start, n) = (x, self.strip.min(self.len - x));
            let mut r = 0;
            while r < self.outputs {
                let outputs = block(self.outputs - r, 4);
                match outputs {
                    4 => exec.run(Block::<T, 4> { dots: &mut self, r, start, n }),
                    3 => exec.run(Block::<T, 3> { dots: &mut self, r, start, n }),
                    2 => exec.run(Block::<T, 2> { dots: &mut self, r, start, n }),
                    _ => exec.run(Block::<T, 1> { dots: &mut self, r, start, n }),
                }
                r += outputs;
            }
            x += n;
        }
    }
}

/// `R` outputs from r on, elements start..start+n.
struct Block<'a, 'd, T, const R: usize> {
    dots: &'d mut TapDots<'a, T>,
    r: usize,
    start: usize,
    n: usize,
}

impl<T: Real, const R: usize> Task for Block<'_, '_, T, R> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(mut self) {
        // As many taps at once as the registers have room for sums.
        let mut t = 0;
        if const { I::REGISTERS >= 32 } {
            t = self.while_left::<I, 6>(t);
        }
        if const { I::REGISTERS >= 32 || R < 4 } {
            t = self.while_left::<I, 3>(t);
        } else {
            t = self.while_left::<I, 2>(t);
        }
        self.while_left::<I, 1>(t);
    }
}

impl<T: Real, const R: usize> Block<'_, '_, T, R> {
    /// `N` taps from t on, as long as there are so many.
    #[inline(always)]
    fn while_left<I: Isa, const N: usize>(&mut self, mut t: usize) -> usize {
        while t + N <= self.dots.taps.table.len() {
            self.dots::<I, N>(t);
            t += N;
        }
        t
    }

    #[inline(always)]
    fn dots<I: Isa, const N: usize>(&mut self, t: usize) {
        let (d, lanes, n) = (&mut *self.dots, V::<T, I>::LANES, self.n);
        let all = d.taps.table.len();
        let (mut left, mut tap) = ([&[][..]; R], [&[][..]; N]);
        for a in 0..R {
            left[a] = &d.left[(self.r + a) * d.step + self.start..][..n];
        }
        for u in 0..N {
            let (part, start) = d.taps.table[t + u];
            tap[u] = &d.taps.parts[part][start + self.start..][..n];
        }
        // Vectors narrower than 16 lanes pass several times.
        for lane in (0..MAX_LANES).step_by(lanes) {
            let mut sums = [[V::<T, I>::zero(); N]; R];
            for a in 0..R {
                for u in 0..N {
                    sums[a][u] = V::<T, I>::load(&d.lanes[((self.r + a) * all + t + u) * MAX_LANES + lane..]);
                }
            }
            let mut x = lane;
            while x + lanes <= n {
                let mut values = [V::<T, I>::zero(); R];
                for a in 0..R {
                    values[a] = V::<T, I>::load(&left[a][x..]);
                }
                for u in 0..N {
                    let value = V::<T, I>::load(&tap[u][x..]);
                    for a in 0..R {
                        sums[a][u] = values[a].mul_add(value, sums[a][u]); // (B1)
                    }
                }
                x += MAX_LANES;
            }
            if x < n {
                for u in 0..N {
                    let value = V::<T, I>::load_partial(&tap[u][x..], n - x);
                    for a in 0..R {
                        sums[a][u] = V::<T, I>::load_partial(&left[a][x..], n - x).mul_add(value, sums[a][u]);
                    }
                }
            }
            for a in 0..R {
                for u in 0..N {
                    sums[a][u].store(&mut d.lanes[((self.r + a) * all + t + u) * MAX_LANES + lane..]);
                }
            }
        }
    }
}

/// Sums of 16 partial sums each: lane l meets lane l + 8 first, then l + 4, …
pub fn fold<T: Real>(lanes: &[T], sums: &mut [T]) {
    for (lanes, sum) in lanes.chunks_exact(MAX_LANES).zip(sums) {
        let (mut eight, mut four) = ([T::ZERO; 8], [T::ZERO; 4]);
        for l in 0..8 {
            eight[l] = lanes[l] + lanes[l + 8];
        }
        for l in 0..4 {
            four[l] = eight[l] + eight[l + 4];
        }
        *sum = (four[0] + four[2]) + (four[1] + four[3]);
    }
}
