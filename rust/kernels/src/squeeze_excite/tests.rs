use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// y, and the gradients of x and of the weights, channel by channel.
#[allow(clippy::many_single_char_names)]
fn oracle(x: &[f64], v1: &[f64], v2: &[f64], dy: &[f64], [n, c, r, p]: [usize; 4]) -> [Vec<f64>; 4] {
    let sigma = |t: f64| 1.0 / (1.0 + (-t).exp());
    let mut out = [vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; v1.len()], vec![0.0; v2.len()]];
    for i in 0..n {
        let plane = |k: usize| (i * c + k) * p..(i * c + k + 1) * p;
        let u: Vec<f64> = (0..c).map(|k| x[plane(k)].iter().sum::<f64>() / p as f64).collect();
        let t: Vec<f64> = (0..r).map(|j| (0..c).map(|k| v1[j * c + k] * u[k]).sum()).collect();
        let e: Vec<f64> = (0..c).map(|k| (0..r).map(|j| v2[k * r + j] * t[j] * sigma(t[j])).sum()).collect();
        let de: Vec<f64> =
            (0..c).map(|k| plane(k).map(|a| dy[a] * x[a]).sum::<f64>() * sigma(e[k]) * sigma(-e[k])).collect();
        for j in 0..r {
            let slope = sigma(t[j]) * (1.0 + t[j] * sigma(-t[j]));
            let dt = slope * (0..c).map(|k| v2[k * r + j] * de[k]).sum::<f64>();
            for k in 0..c {
                out[2][j * c + k] += dt * u[k];
                out[3][k * r + j] += de[k] * t[j] * sigma(t[j]);
                plane(k).for_each(|a| out[1][a] += dt * v1[j * c + k] / p as f64);
            }
        }
        for k in 0..c {
            plane(k).for_each(|a| out[0][a] = x[a] * sigma(e[k]));
            plane(k).for_each(|a| out[1][a] += dy[a] * sigma(e[k]));
        }
    }
    out
}

#[test]
fn standard() {
    for [n, c, r, h, w] in
        [[1, 1, 1, 1, 1], [2, 5, 3, 4, 5], [3, 17, 4, 9, 8], [0, 3, 2, 2, 2], [2, 0, 0, 1, 2], [2, 3, 0, 2, 2]]
    {
        let shape = [n, c, h, w];
        let d = Dims::new(&shape, &[r, c], &[c, r], None, None, "silu").unwrap();
        let (x, v1, v2) = (random::<f64>(n * c * h * w, 1), random::<f64>(r * c, 2), random::<f64>(r * c, 3));
        let dy = random::<f64>(x.len(), 4);
        let expected = oracle(&x, &v1, &v2, &dy, [n, c, r, h * w]);
        each_exec(|exec| {
            let w = Network { reduce_weight: &v1, expand_weight: &v2, reduce_bias: None, expand_bias: None };
            let [mut y, mut dx, mut dv1, mut dv2] = [x.len(), x.len(), v1.len(), v2.len()].map(unwritten::<f64>);
            let mut u = unwritten(n * c);
            forward(&x, w, &mut y, &mut u, &d, exec).unwrap();
            let (reduce_weight, expand_weight) = (&mut dv1[..], &mut dv2[..]);
            let grads = Gradients { reduce_weight, expand_weight, reduce_bias: None, expand_bias: None };
            backward(&dy, &x, w, &u, &mut dx, grads, &d, exec).unwrap();
            for (got, expected) in [y, dx, dv1, dv2].iter().zip(&expected) {
                assert!(difference(got, expected) < 1e-13, "{shape:?} {:?}", exec.level());
            }
        });
    }
}

#[test]
fn constraints() {
    let x = [1, 3, 2, 2];
    assert!(Dims::new(&x, &[2, 3], &[3, 2], Some(&[2]), Some(&[3]), "relu").is_ok());
    assert!(Dims::new(&x[1..], &[2, 3], &[3, 2], None, None, "relu").is_err());
    assert!(Dims::new(&x, &[2, 3], &[3, 3], None, None, "relu").is_err());
    assert!(Dims::new(&x, &[2, 3], &[3, 2], Some(&[3]), None, "relu").is_err());
    assert!(Dims::new(&[1, 3, 0, 2], &[2, 3], &[3, 2], None, None, "relu").is_err());
    assert!(Dims::new(&x, &[2, 3], &[3, 2], None, None, "tanh").is_err());
}
