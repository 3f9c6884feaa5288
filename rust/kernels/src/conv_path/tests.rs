use super::*;
use crate::testing::{difference, each_exec, grid as indices, random, serial, unwritten};

struct Case {
    /// N, heads, d, k
    sizes: [usize; 4],
    size: Pair,
    stride: Pair,
    order: ChannelOrder,
}

/// y, dq, dk, dv, dfc_weight, ddep_conv_weight, dfc_bias, ddep_conv_bias as loops over every product.
fn naive<T: Real>([q, k, v, fc, dep, fc_bias, dep_bias, dy]: [&[T]; 8], case: &Case) -> [Vec<T>; 8] {
    let ([images, heads, d, kernel], (h, w), s) = (case.sizes, case.size, case.stride);
    let (count, channels, plane) = (kernel * kernel, heads * d, h * w);
    let (ho, wo, c) = (h.div_ceil(s.0), w.div_ceil(s.1), kernel / 2);
    let parts = [q, k, v];
    let zeros = |n| vec![T::ZERO; n];
    let (mut y, mut dq, mut dk, mut dv) = (zeros(dy.len()), zeros(q.len()), zeros(q.len()), zeros(q.len()));
    let (mut dfc, mut ddep, mut dfc_bias, mut ddep_bias) =
        (zeros(fc.len()), zeros(dep.len()), zeros(count), zeros(channels));
    for (image, e, _) in indices([images, d, 1]) {
        let at = |t: usize| (image * channels + (t % heads) * d + e) * plane;
        let (mut maps, mut dmaps) = (zeros(count * plane), zeros(count * plane));
        for (m, x, t) in indices([count, plane, 3 * heads]) {
            maps[m * plane + x] += fc[m * 3 * heads + t] * parts[t / heads][at(t) + x];
            if t + 1 == 3 * heads {
                maps[m * plane + x] += fc_bias[m];
            }
        }
        for ((n, i, j), (m, u, v)) in
            indices([heads, ho, wo]).flat_map(|y| indices([count, kernel, kernel]).map(move |t| (y, t)))
        {
            let (o, out) =
                (e * heads + n, if case.order == ChannelOrder::Official { e * heads + n } else { n * d + e });
            let to = ((image * channels + out) * ho + i) * wo + j;
            let tap = ((o * count + m) * kernel + u) * kernel + v;
            if (m, u, v) == (0, 0, 0) {
                y[to] += dep_bias[o];
                ddep_bias[o] += dy[to];
            }
            let (a, b) = ((i * s.0 + u).wrapping_sub(c), (j * s.1 + v).wrapping_sub(c));
            if a < h && b < w {
                let from = m * plane + a * w + b;
                y[to] += dep[tap] * maps[from];
                ddep[tap] += dy[to] * maps[from];
                dmaps[from] += dy[to] * dep[tap];
            }
        }
        for (m, x, t) in indices([count, plane, 3 * heads]) {
            let (g, weight) = (dmaps[m * plane + x], fc[m * 3 * heads + t]);
            dfc[m * 3 * heads + t] += g * parts[t / heads][at(t) + x];
            [&mut dq, &mut dk, &mut dv][t / heads][at(t) + x] += weight * g;
            if t == 0 {
                dfc_bias[m] += g;
            }
        }
    }
    [y, dq, dk, dv, dfc, ddep, dfc_bias, ddep_bias]
}

fn dims(case: &Case) -> Dims {
    let ([n, heads, d, k], (h, w)) = (case.sizes, case.size);
    let (q, count, channels) = ([n, heads * d, h, w], k * k, heads * d);
    let shapes = Arguments {
        q: &q[..],
        k: &q,
        v: &q,
        fc_weight: &[count, 3 * heads, 1, 1],
        dep_conv_weight: &[channels, count, k, k],
        fc_bias: Some(&[count]),
        dep_conv_bias: Some(&[channels]),
    };
    Dims::new(&shapes, heads, case.stride, case.order).unwrap()
}

fn check<T: Real>(case: &Case, tolerance: f64) {
    let ([n, heads, d, k], (h, w)) = (case.sizes, case.size);
    let (dims, len, count, channels) = (dims(case), n * heads * d * h * w, k * k, heads * d);
    let out: usize = dims.output().iter().product();
    let sizes = [len, len, len, count * 3 * heads, channels * count * count, count, channels, out];
    let arrays: Vec<Vec<T>> = sizes.iter().zip(1..).map(|(&n, seed)| random(n, seed)).collect();
    let [q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, dy] = std::array::from_fn(|i| &arrays[i][..]);
    let arguments =
        Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias: Some(fc_bias), dep_conv_bias: Some(dep_conv_bias) };
    let expected = naive([q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias, dy], case);
    let mut bits: Vec<(bool, Vec<T>)> = Vec::new();
    each_exec(|exec| {
        let mut found: [Vec<T>; 8] =
            [out, len, len, len, fc_weight.len(), dep_conv_weight.len(), count, channels].map(unwritten::<T>);
        let [y, dq, dk, dv, dfc, ddep, dfc_bias, ddep_bias] = &mut found;
        forward(&arguments, y, &dims, exec).unwrap();
        let biases = (Some(&mut dfc_bias[..]), Some(&mut ddep_bias[..]));
        let gradients = Arguments {
            q: &mut dq[..],
            k: dk,
            v: dv,
            fc_weight: dfc,
            dep_conv_weight: ddep,
            fc_bias: biases.0,
            dep_conv_bias: biases.1,
        };
        backward(dy, &arguments, gradients, &dims, exec).unwrap();
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = difference(found, expected);
            assert!(error < tolerance, "{index}: {error} {:?} {:?} {:?}", case.sizes, case.size, exec.level());
        }
        let (portable, all) = (exec.level().name() == "portable", found.concat());
        match bits.iter().find(|(level, _)| *level == portable) {
            Some((_, bits)) => assert!(difference(bits, &all) == 0.0, "{:?} {:?}", case.sizes, exec.level()),
            None => bits.push((portable, all)),
        }
    });
}

const ORDERS: [ChannelOrder; 2] = [ChannelOrder::Official, ChannelOrder::HeadMajor];

#[test]
fn sizes() {
    for (h, w, k) in indices([4, 19, 2]) {
        check::<f64>(&Case { sizes: [1, 2, 2, 2 * k + 1], size: (h, w), stride: (1, 1), order: ORDERS[k] }, 1e-12);
    }
    for (heads, d, n) in indices([5, 3, 3]) {
        let order = ORDERS[heads % 2];
        check::<f32>(&Case { sizes: [n, heads + 1, d + 1, 3], size: (5, 6), stride: (1, 1), order }, 1e-3);
    }
}

#[test]
fn strides_and_bands() {
    for (sh, sw, k) in indices([3, 3, 3]) {
        let (sizes, stride, order) = ([1, 2, 2, 2 * k + 1], (sh + 1, sw + 1), ORDERS[sh % 2]);
        check::<f64>(&Case { sizes, size: (7, 8), stride, order }, 1e-12);
    }
    check::<f64>(&Case { sizes: [1, 1, 1, 3], size: (50, 400), stride: (1, 1), order: ORDERS[0] }, 1e-11);
    check::<f64>(&Case { sizes: [1, 1, 1, 5], size: (50, 120), stride: (3, 2), order: ORDERS[0] }, 1e-11);
}

#[test]
fn added_gradients() {
    let case = Case { sizes: [2, 2, 3, 3], size: (5, 6), stride: (1, 1), order: ORDERS[0] };
    let (d, len) = (dims(&case), 2 * 6 * 30);
    let arrays: Vec<Vec<f64>> =
        [len, len, len, 54, 6 * 81, len].iter().zip(1..).map(|(&n, seed)| random(n, seed)).collect();
    let [q, k, v, fc_weight, dep_conv_weight, dy] = std::array::from_fn(|i| &arrays[i][..]);
    let arguments = Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias: None, dep_conv_bias: None };
    let run = |dy: &[f64], factor, add, start: f64| {
        let [mut dq, mut dk, mut dv] = [len; 3].map(|n| vec![start; n]);
        let (mut dfc, mut ddep) = (unwritten(54), unwritten(6 * 81));
        let (fc_weight, dep_conv_weight) = (&mut dfc[..], &mut ddep[..]);
        let gradients = Arguments {
            q: &mut dq[..],
            k: &mut dk,
            v: &mut dv,
            fc_weight,
            dep_conv_weight,
            fc_bias: None,
            dep_conv_bias: None,
        };
        backward_onto(dy, factor, add, &arguments, gradients, &d, &serial()).unwrap();
        [dq, dk, dv, dfc, ddep]
    };
    let halved: Vec<f64> = dy.iter().map(|g| 0.5 * g).collect();
    let (added, plain) = (run(dy, 0.5, true, 3.0), run(&halved, 1.0, false, f64::NAN));
    for (index, (added, plain)) in added.iter().zip(plain).enumerate() {
        let start = if index < 3 { 3.0 } else { 0.0 };
        assert!(difference(added, &plain.iter().map(|g| start + g).collect::<Vec<_>>()) < 1e-13);
    }
}

#[test]
fn constraints() {
    let new = |q: &[usize], k: &[usize], fc: &[usize], dep: &[usize], biases: [Option<&[usize]>; 2], heads| {
        let shapes =
            Arguments { q, k, v: q, fc_weight: fc, dep_conv_weight: dep, fc_bias: biases[0], dep_conv_bias: biases[1] };
        Dims::new(&shapes, heads, (1, 1), ChannelOrder::Official).is_err()
    };
    let (q, fc, dep) = ([2, 4, 5, 6], [9, 6, 1, 1], [4, 9, 3, 3]);
    assert!(!new(&q, &q, &fc, &dep, [Some(&[9]), Some(&[4])], 2));
    assert!(
        new(&q, &[2, 4, 5, 5], &fc, &dep, [None, None], 2) && new(&[4, 5, 6], &[4, 5, 6], &fc, &dep, [None, None], 2)
    ); // (C1)
    assert!(new(&q, &q, &[9, 9, 1, 1], &dep, [None, None], 3) && new(&q, &q, &[9, 0, 1, 1], &dep, [None, None], 0)); // (C2)
    assert!(
        new(&q, &q, &fc, &[4, 9, 3, 5], [None, None], 2) && new(&q, &q, &[4, 6, 1, 1], &[4, 4, 2, 2], [None, None], 2)
    ); // (C3)
    assert!(new(&q, &q, &[9, 5, 1, 1], &dep, [None, None], 2)); // (C4)
    assert!(new(&q, &q, &fc, &dep, [Some(&[8]), None], 2) && new(&q, &q, &fc, &dep, [None, Some(&[5])], 2)); // (C5)
    assert!(ChannelOrder::from_name("other").is_err()); // (C6)
}
