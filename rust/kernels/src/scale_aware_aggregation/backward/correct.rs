//! In training, the pass over x and dx that adds what the statistics contribute.

use super::super::Dims;
use super::super::fused::centred;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{Share, in_images};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// Columns of a task: runs of memory of a page and more, and x of a group stays in the first cache.
const PART: usize = 1024;

/// dx −= k + K·(x − shift), group by group.
pub fn correct<T: Real>(
    x: &[T],
    shift: &[T],
    correction: &[T],
    dx: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let columns = d.images * d.pixels();
    let each = columns.div_ceil(columns.div_ceil(PART));
    let tasks = Share::new(dx, d.images, d.channels, d.pixels()).by_columns(each);
    exec.for_each_with(
        x.len() * (1 + d.heads / 8),
        tasks,
        || zeros(d.heads * each),
        |space: &mut Buffer<T>, dx| exec.run(Correct { x, shift, correction, space, each, dx, d }),
    )
}

struct Correct<'a, 'b, T> {
    x: &'a [T],
    shift: &'a [T],
    correction: &'a [T],
    /// x − shift of a group, a row of `each` numbers for each head.
    space: &'a mut [T],
    each: usize,
    dx: Share<'b, T>,
    d: &'a Dims,
}

impl<T: Real> Task for Correct<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (d, columns, wide) = (self.d, self.dx.columns(), 1 + self.d.heads);
        for group in 0..d.groups {
            centred::<T, I>(self.x, self.shift, group, columns.clone(), self.space, self.each, d);
            for t in 0..d.heads {
                let factors = &self.correction[(group * d.heads + t) * wide..][..wide];
                for (image, inside, before) in in_images(columns.clone(), d.pixels()) {
                    let mut to = self.dx.from_column(image * d.pixels() + inside.start);
                    let to = to.row(t * d.groups + group, 0..inside.len());
                    subtract::<T, I>(factors, &self.space[before..], self.each, to);
                }
            }
        }
    }
}

/// y −= k + Σ_s K_s·x_s for `factors` k, K_0, … and rows of x that are `pitch` apart.
#[inline(always)]
fn subtract<T: Real, I: Isa>(factors: &[T], x: &[T], pitch: usize, y: &mut [T]) {
    let (lanes, len) = (V::<T, I>::LANES, y.len());
    let mut k = 0;
    while k + lanes <= len {
        let mut sum = V::<T, I>::splat(factors[0]);
        for (s, &factor) in factors[1..].iter().enumerate() {
            sum = V::<T, I>::splat(factor).mul_add(V::<T, I>::load(&x[s * pitch + k..]), sum);
        }
        (V::<T, I>::load(&y[k..]) - sum).store(&mut y[k..]);
        k += lanes;
    }
    let n = len - k;
    let mut sum = V::<T, I>::splat(factors[0]);
    for (s, &factor) in factors[1..].iter().enumerate() {
        sum = V::<T, I>::splat(factor).mul_add(V::<T, I>::load_partial(&x[s * pitch + k..], n), sum);
    }
    (V::<T, I>::load_partial(&y[k..], n) - sum).store_partial(&mut y[k..], n);
}
