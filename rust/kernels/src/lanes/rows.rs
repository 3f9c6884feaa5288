//! Primitives on rows, called from inside a [`super::Task`]. Reductions keep 16 partial results (element k goes to partial
//! k mod 16) and combine them by halving, so that every level adds in the same order.

use super::{Isa, MAX_LANES, V, Vector};
use crate::real::Real;

/// y += a·x
#[inline(always)]
pub fn axpy<T: Real, I: Isa>(a: T, x: &[T], y: &mut [T]) {
    let n = y.len();
    let (x, a, lanes) = (&x[..n], V::<T, I>::splat(a), V::<T, I>::LANES);
    let mut k = 0;
    while k + lanes <= n {
        a.mul_add(V::<T, I>::load(&x[k..]), V::<T, I>::load(&y[k..])).store(&mut y[k..]);
        k += lanes;
    }
    let rest = n - k;
    a.mul_add(V::<T, I>::load_partial(&x[k..], rest), V::<T, I>::load_partial(&y[k..], rest))
        .store_partial(&mut y[k..], rest);
}

/// y += x
#[inline(always)]
pub fn add_assign<T: Real, I: Isa>(x: &[T], y: &mut [T]) {
    let n = y.len();
    let (x, lanes) = (&x[..n], V::<T, I>::LANES);
    let mut k = 0;
    while k + lanes <= n {
        (V::<T, I>::load(&y[k..]) + V::<T, I>::load(&x[k..])).store(&mut y[k..]);
        k += lanes;
    }
    let rest = n - k;
    (V::<T, I>::load_partial(&y[k..], rest) + V::<T, I>::load_partial(&x[k..], rest)).store_partial(&mut y[k..], rest);
}

/// y *= a
#[inline(always)]
pub fn scale<T: Real, I: Isa>(a: T, y: &mut [T]) {
    let (n, a, lanes) = (y.len(), V::<T, I>::splat(a), V::<T, I>::LANES);
    let mut k = 0;
    while k + lanes <= n {
        (V::<T, I>::load(&y[k..]) * a).store(&mut y[k..]);
        k += lanes;
    }
    let rest = n - k;
    (V::<T, I>::load_partial(&y[k..], rest) * a).store_partial(&mut y[k..], rest);
}

/// Elements `k..k+LANES` of `x`, fewer at its end, where `fill` takes their place.
#[inline(always)]
fn load_or<T: Real, I: Isa>(x: &[T], k: usize, fill: V<T, I>) -> V<T, I> {
    let (k, lanes) = (k.min(x.len()), V::<T, I>::LANES);
    let rest = x.len() - k;
    if rest >= lanes { V::<T, I>::load(&x[k..]) } else { V::<T, I>::load_partial(&x[k..], rest).keep(rest, fill) }
}

/// Combines the 16 partial results by halving; what remains is one vector.
macro_rules! halve {
    ($partial:ident, $vectors:ident, $combine:expr) => {{
        let mut half = $vectors / 2;
        while half > 0 {
            for u in 0..half {
                $partial[u] = $combine($partial[u], $partial[u + half]);
            }
            half /= 2;
        }
        $partial[0]
    }};
}

/// The sum of the 16 partial results, which lie in the first vectors.
#[inline(always)]
pub fn halved<T: Real, I: Isa>(mut partial: [V<T, I>; MAX_LANES / 2]) -> T {
    let vectors = MAX_LANES / V::<T, I>::LANES;
    halve!(partial, vectors, |a, b| a + b).reduce_sum()
}

/// Σ x
#[inline(always)]
pub fn sum<T: Real, I: Isa>(x: &[T]) -> T {
    let (zero, lanes, vectors) = (V::<T, I>::zero(), V::<T, I>::LANES, MAX_LANES / V::<T, I>::LANES);
    let mut partial = [zero; MAX_LANES / 2];
    for k in (0..x.len()).step_by(MAX_LANES) {
        for (u, p) in partial[..vectors].iter_mut().enumerate() {
            *p = *p + load_or::<T, I>(x, k + u * lanes, zero);
        }
    }
    halve!(partial, vectors, |a, b| a + b).reduce_sum()
}

/// Σ x·y
#[inline(always)]
pub fn dot<T: Real, I: Isa>(x: &[T], y: &[T]) -> T {
    let (zero, lanes, vectors) = (V::<T, I>::zero(), V::<T, I>::LANES, MAX_LANES / V::<T, I>::LANES);
    let y = &y[..x.len()];
    let mut partial = [zero; MAX_LANES / 2];
    for k in (0..x.len()).step_by(MAX_LANES) {
        for (u, p) in partial[..vectors].iter_mut().enumerate() {
            *p = load_or::<T, I>(x, k + u * lanes, zero).mul_add(load_or::<T, I>(y, k + u * lanes, zero), *p);
        }
    }
    halve!(partial, vectors, |a, b| a + b).reduce_sum()
}

/// y = exp(x − m), and the sum of y.
#[inline(always)]
pub fn exp_sum<T: Real, I: Isa>(x: &[T], m: T, y: &mut [T]) -> T {
    let (zero, lanes, vectors) = (V::<T, I>::zero(), V::<T, I>::LANES, MAX_LANES / V::<T, I>::LANES);
    let (x, m) = (&x[..y.len()], V::<T, I>::splat(m));
    let mut partial = [zero; MAX_LANES / 2];
    for k in (0..x.len()).step_by(MAX_LANES) {
        for (u, p) in partial[..vectors].iter_mut().enumerate() {
            let at = (k + u * lanes).min(x.len());
            let n = lanes.min(x.len() - at);
            let e = (V::<T, I>::load_partial(&x[at..], n) - m).exp();
            e.store_partial(&mut y[at..], n);
            *p = *p + e.keep(n, zero);
        }
    }
    halve!(partial, vectors, |a, b| a + b).reduce_sum()
}

/// The largest element, −∞ for none, NaN if one is NaN.
#[inline(always)]
pub fn max<T: Real, I: Isa>(x: &[T]) -> T {
    let (lowest, lanes) = (V::<T, I>::splat(T::NEG_INFINITY), V::<T, I>::LANES);
    let mut best = lowest;
    for k in (0..x.len()).step_by(lanes) {
        best = best.max(load_or::<T, I>(x, k, lowest));
    }
    best.reduce_max()
}
