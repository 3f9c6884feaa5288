use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

fn check<T: Real>(outer: usize, n: usize, inner: usize, tolerance: f64) {
    let len = outer * n * inner;
    let (x, dy) = (random::<T>(len, 1), random::<T>(len, 2));
    let (weight, bias) = (random::<T>(n, 3), random::<T>(n, 4));
    let (mut y, mut dx) = (vec![T::ZERO; len], vec![T::ZERO; len]);
    let (mut dweight, mut dbias) = (vec![T::ZERO; n], vec![T::ZERO; n]);
    let count = T::from_usize(n);
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * n + k) * inner + i;
        let m = (0..n).fold(T::ZERO, |s, k| s + x[at(k)]) / count; // (F1)
        let variance = (0..n).fold(T::ZERO, |s, k| s + (x[at(k)] - m) * (x[at(k)] - m)) / count;
        let r = T::ONE / (variance + T::from_f64(1e-3)).sqrt(); // (F2)
        let x_hat = |k: usize| (x[at(k)] - m) * r; // (F3)
        let mean = (0..n).fold(T::ZERO, |s, k| s + weight[k] * dy[at(k)]) / count;
        let slope = (0..n).fold(T::ZERO, |s, k| s + weight[k] * dy[at(k)] * x_hat(k)) / count;
        for k in 0..n {
            y[at(k)] = weight[k] * x_hat(k) + bias[k]; // (F4)
            dx[at(k)] = r * (weight[k] * dy[at(k)] - mean - x_hat(k) * slope); // (B3) (B4)
            dweight[k] += dy[at(k)] * x_hat(k); // (B2)
            dbias[k] += dy[at(k)]; // (B1)
        }
    }
    let d = Dims::new(&[outer, n, inner], Some(&[n]), Some(&[n]), 1, 1e-3).unwrap();
    each_exec(|exec| {
        let (mut y1, mut m, mut r) = (unwritten(len), unwritten(d.tokens()), unwritten(d.tokens()));
        forward(&x, Some(&weight), Some(&bias), &mut y1, &mut m, &mut r, &d, exec).unwrap();
        let (mut dx1, mut dweight1, mut dbias1) = (unwritten(len), unwritten(n), unwritten(n));
        let saved = Saved { dy: &dy, x: &x, m: &m, r: &r };
        backward(saved, Some(&weight), &mut dx1, Some(&mut dweight1), Some(&mut dbias1), &d, exec).unwrap();
        for (found, expected) in [(&y1, &y), (&dx1, &dx), (&dweight1, &dweight), (&dbias1, &dbias)] {
            assert!(difference(found, expected) < tolerance, "{d:?} {:?}", exec.level());
        }
    });
}

#[test]
fn literal_loops() {
    for (outer, n, inner) in
        [(3, 1, 1), (2, 5, 1), (131, 35, 1), (2, 200, 1), (2, 3, 5), (1, 150, 3), (2, 7, 75), (0, 3, 2)]
    {
        check::<f32>(outer, n, inner, 1e-4);
        check::<f64>(outer, n, inner, 1e-12);
    }
}

#[test]
fn c1_to_c5() {
    assert!(Dims::new(&[2, 3], None, None, 2, 1e-5).is_err() && Dims::new(&[], None, None, 0, 1e-5).is_err());
    assert!(Dims::new(&[2, 0], None, None, -1, 1e-5).is_err());
    assert!(Dims::new(&[2, 3], Some(&[2]), None, -1, 1e-5).is_err());
    assert!(Dims::new(&[2, 3], None, Some(&[3, 1]), -1, 1e-5).is_err());
    assert!(Dims::new(&[2, 3], None, None, isize::MIN, 1e-5).is_err());
    for eps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Dims::new(&[2, 3], None, None, -1, eps).is_err());
    }
}
