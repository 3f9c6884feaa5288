use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// y, dq, dk and dv, with the weight of every pair of query and key.
type Results = [Vec<f64>; 4];

/// Features of rows or columns, and the gradient by the numbers behind them.
fn feature(x: &[f64], elu: bool) -> Vec<f64> {
    let sum: f64 = x.iter().map(|x| x.exp()).sum();
    x.iter()
        .map(|&x| {
            if !elu {
                x.exp() / sum
            } else if x > 0.0 {
                x + 1.0
            } else {
                x.exp()
            }
        })
        .collect()
}

fn feature_gradient(x: &[f64], df: &[f64], elu: bool) -> Vec<f64> {
    let f = feature(x, elu);
    let mean: f64 = f.iter().zip(df).map(|(f, df)| f * df).sum();
    let each = x.iter().zip(&f).zip(df);
    each.map(|((&x, f), df)| if elu { df * x.min(0.0).exp() } else { f * (df - mean) }).collect()
}

fn oracle(q: &[f64], k: &[f64], v: &[f64], dy: &[f64], d: &Dims) -> Results {
    let (t_len, s_len, depth, width) = (d.queries, d.keys, d.depth, d.width);
    let mut r = [dy.len(), q.len(), k.len(), v.len()].map(|n| vec![0.0; n]);
    for pair in 0..d.batch * d.heads {
        let (q, k) = (plane(q, pair, t_len * depth), plane(k, pair, s_len * depth));
        let (v, dy) = (plane(v, pair, s_len * width), plane(dy, pair, t_len * width));
        let column = |x: &[f64], c: usize| x.iter().skip(c).step_by(depth).copied().collect::<Vec<_>>();
        let fq: Vec<f64> = q.chunks_exact(depth).flat_map(|row| feature(row, d.elu)).collect();
        let columns: Vec<Vec<f64>> = (0..depth).map(|c| feature(&column(k, c), d.elu)).collect();
        let (mut dfq, mut dfk) = (vec![0.0; q.len()], vec![vec![0.0; s_len]; depth]);
        for t in 0..t_len {
            let products: Vec<f64> =
                (0..s_len).map(|u| (0..depth).map(|c| fq[t * depth + c] * columns[c][u]).sum()).collect();
            let total = if d.elu { products.iter().sum::<f64>() + d.eps } else { 1.0 };
            let dw: Vec<f64> =
                (0..s_len).map(|u| (0..width).map(|c| dy[t * width + c] * v[u * width + c]).sum()).collect();
            let mean: f64 = products.iter().zip(&dw).map(|(p, dw)| p / total * dw).sum();
            for u in 0..s_len {
                for c in 0..width {
                    r[0][(pair * t_len + t) * width + c] += products[u] / total * v[u * width + c];
                    r[3][(pair * s_len + u) * width + c] += products[u] / total * dy[t * width + c];
                }
                let dp = (dw[u] - if d.elu { mean } else { 0.0 }) / total;
                for c in 0..depth {
                    dfq[t * depth + c] += dp * columns[c][u];
                    dfk[c][u] += dp * fq[t * depth + c];
                }
            }
        }
        for t in 0..t_len {
            let row = t * depth..(t + 1) * depth;
            let from = pair * t_len * depth;
            r[1][from..][row.clone()].copy_from_slice(&feature_gradient(&q[row.clone()], &dfq[row], d.elu));
        }
        for c in 0..depth {
            for (u, dk) in feature_gradient(&column(k, c), &dfk[c], d.elu).into_iter().enumerate() {
                r[2][(pair * s_len + u) * depth + c] = dk;
            }
        }
    }
    r
}

#[test]
fn standard() {
    for [b, heads, t, s, depth, width] in [
        [1, 1, 1, 1, 1, 1],
        [2, 2, 3, 5, 2, 3],
        [1, 2, 17, 33, 5, 35],
        [1, 1, 3, 300, 33, 2],
        [0, 2, 3, 4, 2, 2],
        [2, 0, 3, 4, 2, 2],
        [1, 2, 0, 4, 2, 2],
        [1, 2, 3, 4, 2, 0],
    ] {
        for (kind, eps) in [("elu", 0.0), ("elu", 0.25), ("efficient", 0.0)] {
            let shapes = ([b, heads, t, depth], [b, heads, s, depth], [b, heads, s, width]);
            let d = Dims::new(&shapes.0, &shapes.1, &shapes.2, kind, eps).unwrap();
            let pairs = b * heads;
            let (q, k) = (random::<f64>(pairs * t * depth, 1), random::<f64>(pairs * s * depth, 2));
            let (v, dy) = (random::<f64>(pairs * s * width, 3), random::<f64>(pairs * t * width, 4));
            let expected = oracle(&q, &k, &v, &dy, &d);
            each_exec(|exec| {
                let [mut y, mut dq, mut dk, mut dv] = [dy.len(), q.len(), k.len(), v.len()].map(unwritten::<f64>);
                forward(&q, &k, &v, &mut y, &d, exec).unwrap();
                let grads = Gradients { q: &mut dq, k: &mut dk, v: &mut dv };
                backward(&dy, &q, &k, &v, grads, &d, exec).unwrap();
                for (n, (got, expected)) in [y, dq, dk, dv].iter().zip(&expected).enumerate() {
                    let off = difference(got, expected);
                    assert!(off < 1e-13, "result {n} of {t}, {s}, {depth}, {width} {kind} is off by {off}");
                }
            });
        }
    }
}

#[test]
fn constraints() {
    let (x, y) = ([1, 2, 3, 4], [1, 2, 5, 4]);
    assert!(Dims::new(&x, &y, &y, "elu", 0.0).is_ok());
    assert!(Dims::new(&x, &y, &x, "elu", 0.0).is_err() && Dims::new(&x[1..], &y, &y, "elu", 0.0).is_err());
    assert!(Dims::new(&x, &[1, 2, 0, 4], &[1, 2, 0, 4], "elu", 0.0).is_err());
    assert!(Dims::new(&x, &y, &y, "softmax", 0.0).is_err() && Dims::new(&x, &y, &y, "elu", -1.0).is_err());
    assert!(Dims::new(&x, &y, &y, "elu", f64::NAN).is_err());
    let huge = [1, 1, usize::MAX / 16, 1];
    assert!(Dims::new(&huge, &huge, &huge, "elu", 0.0).is_err());
}
