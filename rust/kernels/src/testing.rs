//! What the tests of all kernels share.

use crate::exec::Exec;
use crate::lanes::Level;
use crate::real::Real;

/// Every instruction-set level of this machine, on 1 and on 3 threads.
pub fn each_exec(mut check: impl FnMut(&Exec)) {
    for level in Level::available() {
        for threads in [1, 3] {
            check(&Exec::new(threads, level, &|| false));
        }
    }
}

/// One thread, portable.
pub fn serial() -> Exec<'static> {
    Exec::new(1, Level::PORTABLE, &|| false)
}

/// `n` numbers in [−1, 1), multiples of 1/512, so that small sums of products are exact.
pub fn random<T: Real>(n: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 54) as f64 / 512.0 - 1.0)
    };
    (0..n).map(|_| next()).collect()
}

/// An output in which a skipped element shows.
pub fn unwritten<T: Real>(n: usize) -> Vec<T> {
    vec![T::NAN; n]
}

/// Largest |a − b| / (1 + |b|); NaN agrees with NaN only.
pub fn difference<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(a, b)| (a.to_f64(), b.to_f64()));
    each.fold(0.0, |worst, (a, b)| match (a.is_nan(), b.is_nan()) {
        (true, true) => worst,
        (false, false) if a == b => worst,
        (false, false) => f64::max(worst, (a - b).abs() / (1.0 + b.abs())),
        _ => f64::INFINITY,
    })
}

/// All index triples below the extents, last axis fastest.
pub fn grid([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}
