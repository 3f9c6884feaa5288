//! What this machine can do at best: the bounds that a benchmark compares with.

use std::hint::black_box;
use std::time::Instant;

use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::lanes::{self, Isa, Task, V, Vector};
use crate::real::Real;

/// Independent chains, enough to hide the latency of a fused multiply-add on two ports.
const CHAINS: usize = 12;

/// Floating-point operations per second of fused multiply-adds on registers, all threads of `exec` together.
pub fn fma_rate<T: Real>(exec: &Exec) -> Result<f64, Error> {
    const ROUNDS: usize = 1 << 21;
    let mut results = zeros::<T>(4 * exec.threads())?;
    let tasks = results.len();
    let best = fastest(|| {
        exec.for_each(usize::MAX, results.iter_mut(), |result| {
            *result = exec.run(Chains::<T> { rounds: ROUNDS, one: T::ONE })
        })
    })?;
    let lanes = exec.run(LaneCount::<T>(T::ZERO));
    Ok((2 * tasks * ROUNDS * CHAINS * lanes) as f64 / best)
}

/// Bytes per second read from memory (an array larger than any cache), all threads of `exec` together.
pub fn read_rate(exec: &Exec) -> Result<f64, Error> {
    const LEN: usize = 1 << 26; // 256 MiB
    let x = zeros::<f32>(LEN)?;
    let part = LEN / (8 * exec.threads());
    let best = fastest(|| {
        exec.for_each(usize::MAX, x.chunks(part), |x| {
            black_box(exec.run(Sum(x)));
        })
    })?;
    Ok((LEN * size_of::<f32>()) as f64 / best)
}

/// Seconds of the fastest of several runs: whatever else the machine does only makes a run slower.
fn fastest(mut run: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

struct Chains<T> {
    rounds: usize,
    one: T,
}

impl<T: Real> Task for Chains<T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let factor = V::<T, I>::splat(black_box(self.one));
        let mut chains = [V::<T, I>::splat(self.one); CHAINS];
        for _ in 0..self.rounds {
            let mut c = 0;
            while c < CHAINS {
                chains[c] = chains[c].mul_add(factor, factor);
                c += 1;
            }
        }
        let mut total = V::<T, I>::zero();
        for chain in chains {
            total = total + chain;
        }
        total.reduce_sum()
    }
}

struct Sum<'a>(&'a [f32]);
impl Task for Sum<'_> {
    type Out = f32;
    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        lanes::sum::<f32, I>(self.0)
    }
}

struct LaneCount<T>(T);
impl<T: Real> Task for LaneCount<T> {
    type Out = usize;
    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let _ = self.0;
        V::<T, I>::LANES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Level;

    #[test]
    fn rates_are_positive() {
        let exec = Exec::new(2, Level::best(), &|| false);
        assert!(fma_rate::<f32>(&exec).is_ok_and(|rate| rate > 1e8));
        assert!(read_rate(&exec).is_ok_and(|rate| rate > 1e8));
    }
}
