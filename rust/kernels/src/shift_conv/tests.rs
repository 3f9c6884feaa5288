use super::*;
use crate::testing::{difference, each_exec, grid as indices, random, unwritten};

/// y, dmaps, dweight and dbias as loops over every product.
fn naive<T: Real>([maps, weight, bias, dy]: [&[T]; 4], [n, d, o, k]: [usize; 4], (h, w): Pair, s: Pair) -> [Vec<T>; 4] {
    let (ho, wo, c, r) = (h.div_ceil(s.0), w.div_ceil(s.1), k / 2, o / d);
    let (mut y, mut dmaps) = (vec![T::ZERO; n * o * ho * wo], vec![T::ZERO; maps.len()]);
    let (mut dweight, mut dbias) = (vec![T::ZERO; weight.len()], vec![T::ZERO; o]);
    for (plane, i, j) in indices([n * o, ho, wo]) {
        let (image, out, at) = (plane / o, plane % o, (plane * ho + i) * wo + j);
        for (m, u, v) in indices([k * k, k, k]) {
            let tap = ((out * k * k + m) * k + u) * k + v;
            let (a, b) = ((i * s.0 + u).wrapping_sub(c), (j * s.1 + v).wrapping_sub(c));
            let from = (((image * d + out / r) * k * k + m) * h).wrapping_add(a).wrapping_mul(w).wrapping_add(b);
            let inside = a < h && b < w;
            let x = if inside { maps[from] } else { T::ZERO };
            y[at] += weight[tap] * x;
            dweight[tap] += dy[at] * x;
            if inside {
                dmaps[from] += dy[at] * weight[tap];
            }
        }
        y[at] += bias[out];
        dbias[out] += dy[at];
    }
    [y, dmaps, dweight, dbias]
}

fn check<T: Real>([n, d, r, k]: [usize; 4], size: Pair, s: Pair, tolerance: f64, spoil: Option<usize>) {
    let (m, o) = (k * k, d * r);
    let (shape, weight_shape) = ([n, d, m, size.0, size.1], [o, m, k, k]);
    let dims = Dims::new(&shape, Some(&weight_shape), Some(&[o]), k, s).unwrap();
    let out: usize = dims.output().iter().product();
    let (maps, mut weight) = (random::<T>(shape.iter().product(), 1), random::<T>(o * m * m, 2));
    let (bias, dy) = (random::<T>(o, 3), random::<T>(out, 4));
    if let Some(index) = spoil {
        weight[index % (o * m * m)] = T::NAN;
    }
    let expected = naive([&maps, &weight, &bias, &dy], [n, d, o, k], size, s);
    let mut first: Vec<(&str, Vec<T>)> = Vec::new();
    each_exec(|exec| {
        let [mut y, mut dmaps] = [unwritten::<T>(out), unwritten::<T>(maps.len())];
        let [mut dweight, mut dbias] = [unwritten::<T>(weight.len()), unwritten::<T>(o)];
        forward(&maps, Some(&weight), Some(&bias), &mut y, &dims, exec).unwrap();
        let gradients = (Some(&mut dweight[..]), Some(&mut dbias[..]));
        backward(&dy, &maps, Some(&weight), &mut dmaps, gradients.0, gradients.1, &dims, exec).unwrap();
        for (found, expected) in [&y, &dmaps, &dweight, &dbias].iter().zip(&expected) {
            assert!(difference(found, expected) < tolerance, "{shape:?} {weight_shape:?} {s:?} {:?}", exec.level());
        }
        // The same bits on any number of threads, and at the levels with fused products.
        let all = [y, dmaps, dweight, dbias].concat();
        let fused = if exec.level().name() == "portable" { "portable" } else { "fused" };
        match first.iter().find(|(name, _)| *name == fused) {
            Some((_, bits)) => assert!(difference(bits, &all) == 0.0, "{shape:?} {s:?} {:?}", exec.level()),
            None => first.push((fused, all)),
        }
    });
}

#[test]
fn sizes() {
    for (h, w, k) in indices([5, 20, 2]) {
        check::<f32>([1, 2, 3, 2 * k + 1], (h, w), (1, 1), 1e-4, None);
    }
    for (r, k, n) in indices([10, 3, 3]) {
        check::<f64>([n, 2, r, 2 * k + 1], (4, 5), (1, 1), 1e-13, None);
    }
    check::<f32>([2, 1, 4, 3], (37, 70), (1, 1), 1e-4, None);
}

#[test]
fn strides() {
    for (sh, sw, k) in indices([4, 4, 3]) {
        check::<f64>([1, 2, 4, 2 * k + 1], (7, 9), (sh + 1, sw + 1), 1e-13, None);
        check::<f32>([2, 1, 2, 2 * k + 1], (3, 38), (sh + 1, sw + 1), 1e-4, None);
    }
    check::<f64>([1, 1, 1, 3], (5, 6), (1 << 31, usize::MAX), 1e-13, None);
}

#[test]
fn bands() {
    check::<f32>([1, 1, 2, 3], (70, 400), (1, 1), 3e-4, None);
    check::<f64>([1, 1, 3, 5], (50, 203), (2, 3), 1e-12, None);
    check::<f64>([1, 1, 1, 7], (40, 90), (1, 2), 1e-12, None);
}

#[test]
fn nan_weight_meets_padding_in_y_only() {
    for (spoil, sh, sw) in indices([12, 3, 3]) {
        check::<f64>([1, 1, 2, 3], (4, 5), (sh + 1, sw + 1), 1e-13, Some(spoil * 13));
    }
}

#[test]
fn fixed_is_learnable_with_one_hot_weights() {
    let dims = Dims::new(&[2, 3, 9, 5, 6], None, None, 3, (1, 2)).unwrap();
    let learnable = Dims::new(&[2, 3, 9, 5, 6], Some(&[3, 9, 3, 3]), None, 3, (1, 2)).unwrap();
    assert_eq!(dims.output(), learnable.output());
    let (maps, dy) = (random::<f32>(2 * 3 * 9 * 30, 1), random::<f32>(2 * 3 * 15, 2));
    let mut weight = vec![0f32; 3 * 81];
    (0..27).for_each(|m| weight[m * 9 + m % 9] = 1.0);
    each_exec(|exec| {
        let [mut y, mut z] = [unwritten::<f32>(dy.len()), unwritten::<f32>(dy.len())];
        let [mut dmaps, mut dmaps2] = [unwritten::<f32>(maps.len()), unwritten::<f32>(maps.len())];
        forward(&maps, None, None, &mut y, &dims, exec).unwrap();
        forward(&maps, Some(&weight), None, &mut z, &learnable, exec).unwrap();
        backward(&dy, &maps, None, &mut dmaps, None, None, &dims, exec).unwrap();
        let mut dweight = unwritten::<f32>(weight.len());
        backward(&dy, &maps, Some(&weight), &mut dmaps2, Some(&mut dweight), None, &learnable, exec).unwrap();
        assert!(y == z && dmaps == dmaps2);
    });
}

#[test]
fn constraints() {
    let new = |maps: &[usize], weight, bias, k| Dims::new(maps, weight, bias, k, (1, 1));
    assert!(new(&[1, 0, 9, 3, 3], None, None, 3).is_err() && new(&[1, 2, 8, 3, 3], None, None, 3).is_err()); // (C1)
    assert!(new(&[1, 2, 9, 3, 3], Some(&[3, 9, 3, 3]), None, 3).is_err()); // (C2)
    assert!(new(&[1, 2, 9, 3, 3], Some(&[4, 9, 3, 3]), Some(&[3]), 3).is_err()); // (C3)
    assert!(new(&[1, 2, 9, 3, 3], None, Some(&[2]), 3).is_err());
    assert!(new(&[1, 2, 4, 3, 3], None, None, 2).is_err()); // (C4)
    assert!(new(&[1, 2, usize::MAX, 3, 3], None, None, usize::MAX).is_err());
}
