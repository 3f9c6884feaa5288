//! In training, the pass over x and dx that adds what the statistics contribute.

use super::super::Dims;
use crate::error::Error;
use crate::exec::Exec;
use crate::gemm::{PANEL, Share};
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// dx −= k + K·(x − shift), group by group.
pub fn correct<T: Real>(
    x: &[T],
    shift: &[T],
    correction: &[T],
    dx: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let pixels = d.pixels();
    let each = Exec::batch(d.channels * (1 + d.heads / 8)).next_multiple_of(PANEL);
    let images = dx.chunks_mut(d.channels * pixels).zip(x.chunks(d.channels * pixels));
    let tasks =
        images.flat_map(|(dx, x)| Share::new(dx, 1, d.channels, pixels).by_columns(each).map(move |dx| (dx, x)));
    exec.for_each(x.len() * (1 + d.heads / 8), tasks, |(dx, x)| exec.run(Correct { x, shift, correction, dx, d }))
}

struct Correct<'a, 'b, T> {
    x: &'a [T],
    shift: &'a [T],
    correction: &'a [T],
    dx: Share<'b, T>,
    d: &'a Dims,
}

impl<T: Real> Task for Correct<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let (d, lanes, wide, pixels) = (self.d, V::<T, I>::LANES, 1 + self.d.heads, self.d.pixels());
        let columns = self.dx.columns();
        let mut dx = self.dx.from_column(columns.start);
        for group in 0..d.groups {
            for t in 0..d.heads {
                let factors = &self.correction[(group * d.heads + t) * wide..][..wide];
                let to = dx.row(t * d.groups + group, 0..columns.len());
                let mut k = 0;
                while k < to.len() {
                    let n = lanes.min(to.len() - k);
                    let mut sum = V::<T, I>::splat(factors[0]);
                    for (s, &factor) in factors[1..].iter().enumerate() {
                        let c = s * d.groups + group;
                        let x = V::<T, I>::load_partial(&self.x[c * pixels + columns.start + k..], n);
                        sum = V::<T, I>::splat(factor).mul_add(x - V::<T, I>::splat(self.shift[c]), sum);
                    }
                    (V::<T, I>::load_partial(&to[k..], n) - sum).store_partial(&mut to[k..], n);
                    k += n;
                }
            }
        }
    }
}
