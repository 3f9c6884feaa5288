use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

struct Arrays<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    bias: Option<Vec<T>>,
    dy: Vec<T>,
}

/// o, lse, dq, dk, dv, dbias.
type Results<T> = [Vec<T>; 6];

/// The equations, query by query.
fn oracle(x: &Arrays<f64>, d: &Dims) -> Results<f64> {
    let (t_len, s_len, depth, width) = (d.queries, d.keys, d.depth, d.width);
    let mut r: Results<f64> =
        [d.o_len(), d.lse_len(), d.q_len(), d.k_len(), d.v_len(), d.bias_len()].map(|n| vec![0.0; n]);
    for (pair, t) in (0..d.pairs).flat_map(|pair| (0..t_len).map(move |t| (pair, t))) {
        let row = pair * t_len + t;
        let key = |u: usize| (pair * s_len + u) * depth;
        let value = |u: usize| (pair * s_len + u) * width;
        let from = (d.bias_of(pair) * t_len + t) * s_len;
        let z: Vec<f64> = (0..s_len)
            .map(|u| {
                let dot: f64 = (0..depth).map(|c| x.q[row * depth + c] * x.k[key(u) + c]).sum();
                d.scale * dot + x.bias.as_ref().map_or(0.0, |bias| bias[from + u])
            })
            .collect();
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + z.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
        r[1][row] = lse;
        let a: Vec<f64> = z.iter().map(|z| (z - lse).exp()).collect();
        let da: Vec<f64> =
            (0..s_len).map(|u| (0..width).map(|c| x.dy[row * width + c] * x.v[value(u) + c]).sum()).collect();
        let delta: f64 = a.iter().zip(&da).map(|(a, da)| a * da).sum();
        for u in 0..s_len {
            for c in 0..width {
                r[0][row * width + c] += a[u] * x.v[value(u) + c];
                r[4][value(u) + c] += a[u] * x.dy[row * width + c];
            }
            let dz = a[u] * (da[u] - delta);
            for c in 0..depth {
                r[2][row * depth + c] += d.scale * dz * x.k[key(u) + c];
                r[3][key(u) + c] += d.scale * dz * x.q[row * depth + c];
            }
            if x.bias.is_some() {
                r[5][from + u] += dz;
            }
        }
    }
    r
}

fn run<T: Real>(x: &Arrays<T>, d: &Dims, exec: &Exec) -> Results<T> {
    let inputs = Inputs { q: &x.q, k: &x.k, v: &x.v, bias: x.bias.as_deref() };
    let [mut o, mut lse, mut dq, mut dk, mut dv, mut dbias] =
        [d.o_len(), d.lse_len(), d.q_len(), d.k_len(), d.v_len(), d.bias_len()].map(unwritten::<T>);
    forward(inputs, &mut o, &mut lse, d, exec).unwrap();
    let bias = x.bias.is_some().then_some(&mut dbias[..]);
    let grads = Gradients { q: &mut dq, k: &mut dk, v: &mut dv, bias };
    backward(&x.dy, inputs, &lse, grads, d, exec).unwrap();
    [o, lse, dq, dk, dv, dbias]
}

fn dims([batch, heads, t, s, depth, width]: [usize; 6], bias: Option<[usize; 2]>) -> Dims {
    let bias = bias.map(|[period, h]| [period, h, t, s]);
    let (q, k, v) = ([batch, heads, t, depth], [batch, heads, s, depth], [batch, heads, s, width]);
    Dims::new(&q, &k, &v, bias.as_ref().map(|b| &b[..]), None).unwrap()
}

fn check<T: Real>(sizes: [usize; 6], bias: Option<[usize; 2]>, tolerance: f64) {
    let d = dims(sizes, bias);
    let bias = bias.map(|_| random::<T>(d.bias_len(), 4));
    let x = Arrays {
        q: random::<T>(d.q_len(), 1),
        k: random(d.k_len(), 2),
        v: random(d.v_len(), 3),
        bias,
        dy: random(d.o_len(), 5),
    };
    let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let bias = x.bias.as_ref().map(|b| wide(b));
    let expected = oracle(&Arrays { q: wide(&x.q), k: wide(&x.k), v: wide(&x.v), bias, dy: wide(&x.dy) }, &d);
    let expected = expected.map(|e| e.into_iter().map(T::from_f64).collect::<Vec<_>>());
    each_exec(|exec| {
        for (n, (got, expected)) in run(&x, &d, exec).iter().zip(&expected).enumerate() {
            let off = difference(got, expected);
            assert!(off < tolerance, "result {n} of {sizes:?} at {:?} is off by {off}", exec.level());
        }
    });
}

#[test]
fn standard() {
    for sizes in [
        [1, 1, 1, 1, 1, 1],
        [2, 2, 3, 5, 2, 3],
        [2, 3, 15, 33, 5, 35],
        [1, 2, 17, 31, 33, 1],
        [0, 2, 3, 4, 2, 2],
        [2, 0, 3, 4, 2, 2],
        [1, 2, 0, 4, 2, 2],
        [1, 2, 3, 4, 0, 2],
        [1, 2, 3, 4, 2, 0],
    ] {
        check::<f64>(sizes, None, 1e-13);
        check::<f32>(sizes, Some([1, 1]), 1e-4);
        check::<f64>(sizes, Some([1, sizes[1]]), 1e-13);
    }
    check::<f64>([6, 2, 9, 7, 3, 4], Some([3, 1]), 1e-13);
    check::<f32>([6, 2, 9, 7, 3, 4], Some([2, 2]), 1e-4);
}

#[test]
fn more_than_a_tile() {
    check::<f32>([1, 1, 30, 1100, 3, 2], Some([1, 1]), 1e-4);
    check::<f64>([1, 1, 300, 40, 2, 3], Some([1, 1]), 1e-12);
    check::<f64>([1, 1, 5, 6, 300, 270], None, 1e-12);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let d = dims([4, 2, 37, 41, 5, 6], Some([2, 1]));
    let [q, k, v, bias, dy] =
        [(d.q_len(), 1), (d.k_len(), 2), (d.v_len(), 3), (d.bias_len(), 4), (d.o_len(), 5)].map(|(n, s)| random(n, s));
    let x = Arrays { q, k, v, bias: Some(bias), dy };
    let mut seen: Vec<(String, Results<f32>)> = Vec::new();
    each_exec(|exec| {
        let (level, got) = (format!("{:?}", exec.level()), run(&x, &d, exec));
        match seen.iter().find(|(name, _)| *name == level) {
            Some((_, expected)) => assert_eq!(&got, expected, "{level}"),
            None => seen.push((level, got)),
        }
    });
}

#[test]
fn hidden_keys() {
    let d = dims([1, 1, 2, 1030, 1, 1], Some([1, 1]));
    let mut bias = vec![f64::NEG_INFINITY; 2 * 1030];
    bias[1029] = 0.0; // the first query sees the last key alone, the second nothing
    let x = Arrays { q: vec![1.0; 2], k: vec![1.0; 1030], v: random(1030, 3), bias: Some(bias), dy: vec![1.0; 2] };
    each_exec(|exec| {
        let [o, lse, dq, _, dv, dbias] = run(&x, &d, exec);
        assert_eq!((o[0], lse[0], dq[0], dbias[1028], dbias[1029]), (x.v[1029], 1.0, 0.0, 0.0, 0.0));
        assert!(o[1].is_nan() && lse[1].is_nan() && dv.iter().all(|x| x.is_nan()));
    });
}

/// A score that stands out takes all the weight wherever it stands, without overflow; a NaN spoils its query, whatever stands out.
#[test]
fn one_key_stands_out() {
    let keys = 70;
    for (at, biased) in (0..keys).flat_map(|at| [(at, true), (at, false)]) {
        let d = dims([1, 2, 1, keys, 1, 1], biased.then_some([1, 2]));
        let (mut high, v) = (vec![0f32; 2 * keys], random(2 * keys, 3));
        (high[at], high[keys + at], high[keys + (at + 37) % keys]) = (1e4, f32::NAN, 1e4);
        let (k, bias) = if biased { (vec![0.0; 2 * keys], Some(high)) } else { (high, None) };
        let x = Arrays { q: vec![1.0; 2], k, v, bias, dy: vec![1.0; 2] };
        each_exec(|exec| {
            let [o, lse, ..] = run(&x, &d, exec);
            assert_eq!((o[0], lse[0]), (x.v[at], 1e4), "key {at}");
            assert!(o[1].is_nan() && lse[1].is_nan(), "key {at}");
        });
    }
}

#[test]
fn constraints() {
    let x = [4, 2, 3, 5];
    let bias = |bias: &[usize]| Dims::new(&x, &x, &x, Some(bias), None);
    assert!(bias(&[2, 1, 3, 3]).is_ok() && bias(&[4, 2, 3, 3]).is_ok());
    for wrong in [&[3, 1, 3, 3][..], &[0, 1, 3, 3], &[1, 3, 3, 3], &[1, 1, 3, 4], &[1, 3, 3]] {
        assert!(bias(wrong).is_err(), "{wrong:?}");
    }
    assert!(Dims::new(&x, &[4, 2, 0, 5], &[4, 2, 0, 5], None, None).is_err());
    assert!(Dims::new(&x, &[4, 2, 3, 4], &x, None, None).is_err());
    assert!(Dims::new(&x, &x, &x, None, Some(f64::NAN)).is_err());
    let huge = [1, 1, 1 << 40, 0];
    assert!(Dims::new(&huge, &huge, &huge, None, None).is_err());
}
