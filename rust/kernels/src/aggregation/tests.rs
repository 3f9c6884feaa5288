use super::*;
use crate::planes::reflected;
use crate::testing::{difference, each_exec, grid, random, unwritten};

fn check<T: Real>(
    [n, groups, share]: [usize; 3],
    size: (usize, usize),
    k: usize,
    stride: (usize, usize),
    tolerance: f64,
) {
    let (h, w) = size;
    let (ho, wo) = (h.div_ceil(stride.0), w.div_ceil(stride.1));
    let channels = groups * share;
    let d = Dims::new(&[n, groups, k * k, ho, wo], &[n, channels, h, w], k, stride).unwrap();
    let (weight, v) = (random::<T>(n * groups * k * k * ho * wo, 1), random::<T>(n * channels * h * w, 2));
    let dy = random::<T>(n * channels * ho * wo, 3);
    let (mut y, mut dweight, mut dv) = (vec![T::ZERO; dy.len()], vec![T::ZERO; weight.len()], vec![T::ZERO; v.len()]);
    for (plane, i, j) in grid([n * channels, ho, wo]) {
        for (_, a, b) in grid([1, k, k]) {
            let tap = (plane / channels * groups + plane % channels % groups) * k * k + a * k + b;
            let (row, column) = (reflected(i * stride.0 + a, k / 2, h), reflected(j * stride.1 + b, k / 2, w));
            let (to, by, from) = ((plane * ho + i) * wo + j, (tap * ho + i) * wo + j, (plane * h + row) * w + column);
            y[to] += weight[by] * v[from];
            dweight[by] += dy[to] * v[from];
            dv[from] += dy[to] * weight[by];
        }
    }
    let mut bits: Vec<(String, [Vec<T>; 3])> = Vec::new();
    each_exec(|exec| {
        let got = &mut [unwritten::<T>(dy.len()), unwritten::<T>(weight.len()), unwritten::<T>(v.len())];
        let [y_got, dweight_got, dv_got] = got;
        forward(&weight, &v, y_got, &d, exec).unwrap();
        backward(&dy, (&weight, &v), (dweight_got, dv_got), &d, exec).unwrap();
        for (got, expected) in got.iter().zip([&y, &dweight, &dv]) {
            assert!(difference(got, expected) < tolerance, "{n} {groups} {share} {size:?} {k} {stride:?}");
        }
        let level = format!("{:?}", exec.level());
        match bits.iter().find(|(name, _)| *name == level) {
            Some((_, expected)) => assert!(&*got == expected, "{level}: bits differ"),
            None => bits.push((level, got.clone())),
        }
    });
}

#[test]
fn standard() {
    check::<f64>([1, 1, 1], (1, 1), 1, (1, 1), 1e-14);
    check::<f64>([2, 2, 5], (4, 5), 7, (1, 1), 1e-13);
    check::<f64>([2, 3, 4], (5, 19), 3, (2, 3), 1e-13);
    check::<f32>([2, 1, 9], (6, 37), 5, (1, 1), 1e-5);
    check::<f32>([1, 2, 3], (3, 2), 3, (9, 9), 1e-5);
    check::<f32>([0, 2, 3], (3, 2), 3, (1, 1), 1e-5);
    check::<f32>([2, 2, 0], (3, 2), 3, (1, 1), 1e-5);
    check::<f32>([2, 2, 1], (0, 2), 1, (1, 1), 1e-5);
}

#[test]
fn constraints() {
    let v = [2, 4, 5, 6];
    let with = |weight: &[usize], k, stride| Dims::new(weight, &v, k, stride);
    assert!(with(&[2, 2, 9, 5, 6], 3, (1, 1)).is_ok() && with(&[2, 4, 9, 3, 2], 3, (2, 3)).is_ok());
    assert!(with(&[2, 2, 4, 5, 6], 2, (1, 1)).is_err() && with(&[2, 2, 121, 5, 6], 11, (1, 1)).is_err());
    assert!(with(&[2, 3, 9, 5, 6], 3, (1, 1)).is_err() && with(&[2, 0, 9, 5, 6], 3, (1, 1)).is_err());
    assert!(with(&[2, 2, 9, 5, 6], 3, (0, 1)).is_err() && with(&[2], 3, (1, 1)).is_err());
    assert!(Dims::new(&[2, 2, 9, 5, 6], &[4, 5, 6], 3, (1, 1)).is_err());
}
