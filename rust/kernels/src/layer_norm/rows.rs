//! Tokens: every one is a row of memory.

use super::{Dims, Saved};
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::product;
use crate::real::Real;
use crate::sums::{self, Products, Squares, Terms, total};

/// Rows of one task of the backward: their shares of dweight and dbias are added in order, then those of all tasks.
const ROWS: usize = 64;

#[allow(clippy::too_many_arguments)]
pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    m: &mut [T],
    r: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let each = Exec::batch(d.n);
    let outputs = y.chunks_mut(each * d.n).zip(m.chunks_mut(each).zip(r.chunks_mut(each)));
    let eps = T::from_f64(d.eps);
    exec.for_each(d.len(), x.chunks(each * d.n).zip(outputs), |(x, (y, (m, r)))| {
        exec.run(Forward { x, weight, bias, y, m, r, eps });
    })
}

struct Forward<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    bias: &'a [T],
    y: &'a mut [T],
    m: &'a mut [T],
    r: &'a mut [T],
    eps: T,
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let n = self.weight.len();
        let count = T::from_usize(n);
        let rows = self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n));
        for ((x, y), (m, r)) in rows.zip(self.m.iter_mut().zip(self.r.iter_mut())) {
            *m = total::<T, I, &[T]>(&x, n) / count; // (F1)
            let variance = total::<T, I, Squares<T>>(&Squares { x, m: *m }, n) / count;
            *r = T::ONE / (variance + self.eps).sqrt(); // (F2)
            let (m, r, bias) = (V::<T, I>::splat(*m), V::<T, I>::splat(*r), &self.bias[..n]);
            let lanes = V::<T, I>::LANES;
            let mut k = 0;
            while k + lanes <= n {
                let x_hat = (V::<T, I>::load(&x[k..]) - m) * r; // (F3)
                x_hat.mul_add(V::<T, I>::load(&self.weight[k..]), V::<T, I>::load(&bias[k..])).store(&mut y[k..]); // (F4)
                k += lanes;
            }
            if k < n {
                let x_hat = (V::<T, I>::load_partial(&x[k..], n - k) - m) * r;
                let weight = V::<T, I>::load_partial(&self.weight[k..], n - k);
                let y_k = x_hat.mul_add(weight, V::<T, I>::load_partial(&bias[k..], n - k));
                y_k.store_partial(&mut y[k..], n - k);
            }
        }
    }
}

pub fn backward<T: Real>(
    saved: Saved<T>,
    weight: &[T],
    dx: &mut [T],
    dweight: Option<&mut [T]>,
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Saved { dy, x, m, r } = saved;
    let n = d.n;
    let tasks = d.outer.div_ceil(ROWS);
    let wanted = dweight.is_some() || dbias.is_some();
    let mut sums = zeros(if wanted { product(&[tasks, 2, n])? } else { 0 })?;
    let (mut weights, mut biases) = sums.split_at_mut(if wanted { tasks * n } else { 0 });
    let inputs = dy.chunks(ROWS * n).zip(x.chunks(ROWS * n)).zip(m.chunks(ROWS).zip(r.chunks(ROWS)));
    let outputs = dx.chunks_mut(ROWS * n).map(|dx| (dx, take(&mut weights, n), take(&mut biases, n)));
    exec.for_each(2 * d.len(), inputs.zip(outputs), |(((dy, x), (m, r)), (dx, dweight, dbias))| {
        exec.run(Backward { dy, x, m, r, weight, dx, dweight, dbias });
    })?;
    let (weights, biases) = sums.split_at(if wanted { tasks * n } else { 0 });
    if let Some(dweight) = dweight {
        sums::columns(weights, tasks, n, dweight, exec)?; // (B2)
    }
    if let Some(dbias) = dbias {
        sums::columns(biases, tasks, n, dbias, exec)?; // (B1)
    }
    Ok(())
}

/// The first n elements, which leave the slice; nothing of an empty one.
fn take<'a, T>(from: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    let whole = std::mem::take(from);
    let (first, rest) = whole.split_at_mut(n.min(whole.len()));
    *from = rest;
    first
}

struct Backward<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    m: &'a [T],
    r: &'a [T],
    weight: &'a [T],
    dx: &'a mut [T],
    dweight: &'a mut [T],
    dbias: &'a mut [T],
}

/// weight·dy
struct Scaled<'a, T> {
    dy: &'a [T],
    weight: &'a [T],
}

impl<T: Real> Terms<T> for Scaled<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        V::<T, I>::load_partial(&self.weight[k..], n) * V::<T, I>::load_partial(&self.dy[k..], n)
    }
}

/// weight·dy·(x − m)·r
struct ScaledProducts<'a, T>(Scaled<'a, T>, Products<'a, T>);

impl<T: Real> Terms<T> for ScaledProducts<'_, T> {
    #[inline(always)]
    fn load_partial<I: Isa>(&self, k: usize, n: usize) -> V<T, I> {
        self.0.load_partial::<I>(k, n) * self.1.x_hat::<I>(k, n)
    }
}

impl<T: Real> Task for Backward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (n, weight, lanes) = (self.weight.len(), self.weight, V::<T, I>::LANES);
        let count = T::from_usize(n);
        let inputs = self.dy.chunks_exact(n).zip(self.x.chunks_exact(n)).zip(self.m.iter().zip(self.r));
        for (((dy, x), (&m, &r)), dx) in inputs.zip(self.dx.chunks_exact_mut(n)) {
            let products = ScaledProducts(Scaled { dy, weight }, Products { dy, x, m, r });
            let mean = V::<T, I>::splat(total::<T, I, Scaled<T>>(&products.0, n) / count);
            let slope = V::<T, I>::splat(total::<T, I, ScaledProducts<T>>(&products, n) / count);
            let r = V::<T, I>::splat(r);
            let mut k = 0;
            while k + lanes <= n {
                let (dx_hat, x_hat) = (products.0.load::<I>(k), products.1.x_hat::<I>(k, lanes)); // (B3)
                (r * (dx_hat - mean - x_hat * slope)).store(&mut dx[k..]); // (B4)
                if !self.dweight.is_empty() {
                    let (dy, dweight) = (V::<T, I>::load(&dy[k..]), &mut self.dweight[k..]);
                    dy.mul_add(x_hat, V::<T, I>::load(dweight)).store(dweight); // (B2)
                    (V::<T, I>::load(&self.dbias[k..]) + dy).store(&mut self.dbias[k..]); // (B1)
                }
                k += lanes;
            }
            if k < n {
                let rest = n - k;
                let (dx_hat, x_hat) = (products.0.load_partial::<I>(k, rest), products.1.x_hat::<I>(k, rest));
                (r * (dx_hat - mean - x_hat * slope)).store_partial(&mut dx[k..], rest);
                if !self.dweight.is_empty() {
                    let (dy, dweight) = (V::<T, I>::load_partial(&dy[k..], rest), &mut self.dweight[k..]);
                    dy.mul_add(x_hat, V::<T, I>::load_partial(dweight, rest)).store_partial(dweight, rest);
                    let dbias = &mut self.dbias[k..];
                    (V::<T, I>::load_partial(dbias, rest) + dy).store_partial(dbias, rest);
                }
            }
        }
    }
}
