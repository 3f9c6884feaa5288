//! Gradients of weight and bias where the channels come before other axes: sums over all tokens, channel by channel.

use super::{Dims, Saved};
use crate::error::Error;
use crate::exec::Exec;
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;
use crate::sums::{self, Pairwise, Terms};

pub fn parameter_gradients<T: Real>(
    saved: Saved<T>,
    dweight: Option<&mut [T]>,
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let each = Exec::batch(d.tokens());
    if let Some(dweight) = dweight {
        exec.for_each(d.len(), dweight.chunks_mut(each).enumerate(), |(at, dweight)| {
            for (k, dweight) in dweight.iter_mut().enumerate() {
                *dweight = exec.run(Channel { saved, channel: at * each + k, products: true, d }); // (B2)
            }
        })?;
    }
    if let Some(dbias) = dbias {
        exec.for_each(d.len() / 2, dbias.chunks_mut(each).enumerate(), |(at, dbias)| {
            for (k, dbias) in dbias.iter_mut().enumerate() {
                *dbias = exec.run(Channel { saved, channel: at * each + k, products: false, d }); // (B1)
            }
        })?;
    }
    Ok(())
}

/// Σ dy or Σ dy·x̂ of a channel.
struct Channel<'a, T> {
    saved: Saved<'a, T>,
    channel: usize,
    products: bool,
    d: &'a Dims,
}

/// dy·(x − m)·r with statistics for every element.
struct Normalised<'a, T>(Saved<'a, T>);

impl<T: Real> Terms<T> for Normalised<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        let Saved { dy, x, m, r } = self.0;
        let x_hat = V::<T, I>::load_partial(&x[k..], n) - V::<T, I>::load_partial(&m[k..], n);
        V::<T, I>::load_partial(&dy[k..], n) * (x_hat * V::<T, I>::load_partial(&r[k..], n))
    }
}

impl<T: Real> Task for Channel<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<I: Isa>(self) -> T {
        let Dims { outer, n, inner, .. } = *self.d;
        let Saved { dy, x, m, r } = self.saved;
        let mut sum = Pairwise::default();
        for image in 0..outer {
            let start = (image * n + self.channel) * inner;
            let dy = &dy[start..start + inner];
            if self.products {
                let (x, pixels) = (&x[start..start + inner], image * inner..(image + 1) * inner);
                let terms = Normalised(Saved { dy, x, m: &m[pixels.clone()], r: &r[pixels] });
                sums::add::<T, I, Normalised<T>>(&terms, inner, &mut sum);
            } else {
                sums::add::<T, I, &[T]>(&dy, inner, &mut sum);
            }
        }
        sum.total()
    }
}
