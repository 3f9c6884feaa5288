//! dK of a depthwise convolution. Lane l of 16 sums what the columns l, l + 16, … contribute, at every level; the lanes are combined by
//! halving at the end.

use super::{MAX_ROWS, Wide, blocked, general, images, unroll};
use crate::conv2d::Dims;
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::lanes::{Isa, MAX_LANES, Task, V, Vector};
use crate::real::Real;

/// Sums in lanes for the largest kernel and two columns of taps more.
const TOTALS: usize = 9 * 11 * MAX_LANES;

pub fn weight_gradient<T: Real>(dy: &[T], x: &[T], dweight: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    if dweight.is_empty() || blocked(d).is_none() || dy.is_empty() {
        return general::weight_gradient(dy, x, dweight, d, exec);
    }
    let wide = Wide::new(d)?;
    let (taps, each) = (d.taps(), d.outputs / d.groups);
    let cost = (taps / 32 + 1) * d.images * d.out_size.0 * d.out_size.1;
    let channels = Exec::batch(cost * each);
    let tasks = dweight.chunks_mut(channels * each * taps).enumerate();
    let padded_len = general::padded_len(d)?;
    let space = || Ok((wide.zeros()?, wide.zeros()?, zeros(TOTALS)?, zeros(padded_len)?));
    exec.for_each_with(cost * d.outputs, tasks, space, |(xp, gp, totals, padded), (at, dweight)| {
        for (k, dweight) in dweight.chunks_exact_mut(taps).enumerate() {
            let o = at * channels * each + k;
            let wide = &wide;
            let finite = exec.run(Channel { dy, x, o, xp, gp, totals, dweight, wide, d });
            if !finite {
                general::channel(dy, x, dweight, o, padded, d, exec);
            }
        }
    })
}

/// dweight of output channel o; `false` if x is not finite there: then the zeros between images must not meet it.
struct Channel<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    o: usize,
    xp: &'a mut [T],
    gp: &'a mut [T],
    totals: &'a mut [T],
    dweight: &'a mut [T],
    wide: &'a Wide,
    d: &'a Dims,
}

impl<T: Real> Task for Channel<'_, T> {
    type Out = bool;
    #[inline(always)]
    fn run<I: Isa>(self) -> bool {
        macro_rules! sizes {
            ($($k:literal $columns:literal;)*) => {
                match (self.d.kernel.0, self.wide.block) {
                    $(($k, 7) => self.sum::<I, $k, $columns, 7>(),)*
                    $(($k, _) => self.sum::<I, $k, $columns, 4>(),)*
                    _ => false,
                }
            };
        }
        // As many columns of taps at once as it takes to hide the latency of the sums.
        sizes!(3 3; 5 2; 7 1; 9 1;)
    }
}

impl<T: Real> Channel<'_, T> {
    #[inline(always)]
    fn sum<I: Isa, const K: usize, const Q: usize, const R: usize>(self) -> bool {
        let (d, wide, each) = (self.d, self.wide, self.d.outputs / self.d.groups);
        let (plane, in_plane) = (d.out_size.0 * d.out_size.1, d.size.0 * d.size.1);
        self.totals.fill(T::ZERO);
        for group in 0..d.images.div_ceil(wide.images) {
            let images = images(group, wide, d);
            if images.len() < wide.images {
                self.gp.fill(T::ZERO); // of images that this group does not have
            }
            for (slot, n) in images.clone().enumerate() {
                let x = &self.x[(n * d.inputs + self.o / each) * in_plane..];
                if !finite::<T, I>(&x[..in_plane]) {
                    self.gp.fill(T::ZERO);
                    return false;
                }
                wide.place::<T, I>(x, d.size, slot, self.xp);
                let dy = &self.dy[(n * d.outputs + self.o) * plane..];
                wide.of_output().place::<T, I>(dy, d.out_size, slot, self.gp);
            }
            let columns = wide.columns(images.len(), d);
            for top in (0..d.out_size.0).step_by(R) {
                let (x, g) = (&self.xp[top * wide.width..], &self.gp[top * wide.width..]);
                for q in (0..K).step_by(Q) {
                    for part in 0..MAX_LANES / V::<T, I>::LANES {
                        taps::<T, I, K, Q, R>(x, g, self.totals, wide.width, columns, q, part);
                    }
                }
            }
        }
        for p in 0..K {
            for q in 0..K {
                let mut lanes = [T::ZERO; MAX_LANES];
                lanes.copy_from_slice(&self.totals[(q * K + p) * MAX_LANES..][..MAX_LANES]);
                self.dweight[p * K + q] = general::halve(lanes);
            }
        }
        if d.images % wide.images != 0 {
            self.gp.fill(T::ZERO);
        }
        true
    }
}

/// Whether no element is infinite or NaN.
#[inline(always)]
fn finite<T: Real, I: Isa>(x: &[T]) -> bool {
    let (lanes, zero) = (V::<T, I>::LANES, V::<T, I>::zero());
    let (mut k, mut sum) = (0, zero);
    while k + lanes <= x.len() {
        sum = V::<T, I>::load(&x[k..]).mul_add(zero, sum);
        k += lanes;
    }
    sum = V::<T, I>::load_partial(&x[k..], x.len() - k).mul_add(zero, sum);
    sum.reduce_sum() == T::ZERO
}

/// totals[q.., p] += Σ_ij g[i, j]·x[i + p, j + q] over R rows and one part of the lanes, for Q columns of taps.                        (B2)
#[inline(always)]
fn taps<T: Real, I: Isa, const K: usize, const Q: usize, const R: usize>(
    x: &[T],
    g: &[T],
    totals: &mut [T],
    width: usize,
    columns: usize,
    q: usize,
    part: usize,
) {
    let lanes = V::<T, I>::LANES;
    // Rows of one length: then a single check of the column serves them all.
    let len = columns.next_multiple_of(MAX_LANES);
    let g: [&[T]; R] = std::array::from_fn(|i| &g[i * width..][..len]);
    let x: [&[T]; MAX_ROWS] =
        std::array::from_fn(|r| if r < R + K - 1 { &x[r * width + q..][..len + Q - 1] } else { &[] });
    let mut sums = [[V::<T, I>::zero(); K]; Q];
    let mut j = part * lanes;
    while j + lanes <= len {
        let mut rows = [V::<T, I>::zero(); R];
        for i in 0..R {
            rows[i] = V::<T, I>::load(&g[i][j..]);
        }
        macro_rules! step {
            ($r:literal) => {
                if $r < R + K - 1 {
                    for c in 0..Q {
                        let v = V::<T, I>::load(&x[$r][j + c..]);
                        for p in 0..K {
                            if $r >= p && $r - p < R {
                                sums[c][p] = rows[$r - p].mul_add(v, sums[c][p]);
                            }
                        }
                    }
                }
            };
        }
        unroll!(step);
        j += MAX_LANES;
    }
    for c in 0..Q {
        for p in 0..K {
            let total = &mut totals[((q + c) * K + p) * MAX_LANES + part * lanes..][..lanes];
            (V::<T, I>::load(total) + sums[c][p]).store(total);
        }
    }
}
