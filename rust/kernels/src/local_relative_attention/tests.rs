use super::*;
use crate::exec::Exec;
use crate::testing::{difference, each_exec, random, unwritten};

/// o, lse, dq, dk, dv, dtable.
type Results = [Vec<f64>; 6];

fn lens(d: &Dims) -> [usize; 6] {
    let (key, value) = (d.pairs * d.tokens * d.depth, d.pairs * d.tokens * d.width);
    [value, d.pairs * d.tokens, key, key, value, d.heads * d.entries]
}

/// The equations, with all keys in the loop and those far away left out.
fn oracle(x: Inputs<f64>, dy: &[f64], d: &Dims) -> Results {
    let (mut r, (n, depth, width), w) = (lens(d).map(|n| vec![0.0; n]), (d.tokens, d.depth, d.width), d.size.1);
    for (pair, t) in (0..d.pairs).flat_map(|pair| (0..n).map(move |t| (pair, t))) {
        let (row, token) = (pair * n + t, |u: usize| pair * n + u);
        let close = |a: usize, b: usize| a.abs_diff(b) <= d.radius;
        let keys: Vec<usize> = (0..n).filter(|u| close(t / w, u / w) && close(t % w, u % w)).collect();
        let side = 2 * d.radius + 1;
        let entry =
            |u: usize| pair % d.heads * side * side + (t / w + d.radius - u / w) * side + t % w + d.radius - u % w;
        let score = |&u: &usize| {
            let dot: f64 = (0..depth).map(|c| x.q[row * depth + c] * x.k[token(u) * depth + c]).sum();
            d.scale * dot + if d.post { 0.0 } else { x.table[entry(u)] }
        };
        let z: Vec<f64> = keys.iter().map(score).collect();
        let lse = z.iter().map(|z| z.exp()).sum::<f64>().ln();
        r[1][row] = lse;
        let a: Vec<f64> = z.iter().map(|z| (z - lse).exp()).collect();
        let product = |&u: &usize| (0..width).map(|c| dy[row * width + c] * x.v[token(u) * width + c]).sum();
        let dm: Vec<f64> = keys.iter().map(product).collect();
        let mean: f64 = a.iter().zip(&dm).map(|(a, dm)| a * dm).sum();
        for (p, &u) in keys.iter().enumerate() {
            let m = if d.post { a[p] + x.table[entry(u)] } else { a[p] };
            let dz = a[p] * (dm[p] - mean);
            r[5][entry(u)] += if d.post { dm[p] } else { dz };
            for c in 0..width {
                r[0][row * width + c] += m * x.v[token(u) * width + c];
                r[4][token(u) * width + c] += m * dy[row * width + c];
            }
            for c in 0..depth {
                r[2][row * depth + c] += d.scale * dz * x.k[token(u) * depth + c];
                r[3][token(u) * depth + c] += d.scale * dz * x.q[row * depth + c];
            }
        }
    }
    r
}

fn run(x: Inputs<f64>, dy: &[f64], d: &Dims, exec: &Exec) -> Results {
    let [mut o, mut lse, mut q, mut k, mut v, mut table] = lens(d).map(unwritten::<f64>);
    forward(x, &mut o, &mut lse, d, exec).unwrap();
    let grads = Gradients { q: &mut q, k: &mut k, v: &mut v, table: &mut table };
    backward(dy, x, &lse, grads, d, exec).unwrap();
    [o, lse, q, k, v, table]
}

#[test]
fn standard() {
    for ([b, heads, h, w, depth, width], radius) in [
        ([1, 1, 1, 1, 1, 1], 0),
        ([2, 2, 3, 5, 2, 3], 1),
        ([2, 1, 4, 3, 17, 33], 2),
        ([1, 2, 2, 9, 3, 2], 7),
        ([0, 2, 2, 3, 2, 2], 1),
        ([2, 0, 2, 3, 2, 2], 1),
        ([1, 2, 2, 3, 0, 2], 1),
        ([1, 2, 2, 3, 2, 0], 1),
    ] {
        let (q, v) = ([b, heads, h * w, depth], [b, heads, h * w, width]);
        let table = [heads, 2 * radius + 1, 2 * radius + 1];
        for form in ["pre", "post"] {
            let d = Dims::new(&q, &q, &v, &table, (h, w), radius, form, None).unwrap();
            let [value, _, key, ..] = lens(&d);
            let [q, k] = [1, 2].map(|seed| random::<f64>(key, seed));
            let [v, dy] = [3, 5].map(|seed| random::<f64>(value, seed));
            let table = random::<f64>(d.heads * d.entries, 4);
            let x = Inputs { q: &q, k: &k, v: &v, table: &table };
            let expected = oracle(x, &dy, &d);
            each_exec(|exec| {
                for (n, (got, expected)) in run(x, &dy, &d, exec).iter().zip(&expected).enumerate() {
                    let off = difference(got, expected);
                    assert!(off < 1e-13, "result {n} of {h}x{w} {form} at {:?} is off by {off}", exec.level());
                }
            });
        }
    }
}

#[test]
fn constraints() {
    let x = [2, 3, 6, 4];
    let new = |table: &[usize], size, radius, form| Dims::new(&x, &x, &x, table, size, radius, form, None).is_ok();
    assert!(new(&[3, 3, 3], (2, 3), 1, "pre") && new(&[3, 1, 1], (2, 3), 0, "post"));
    assert!(!new(&[3, 3, 3], (2, 4), 1, "pre") && !new(&[3, 3, 3], (2, 3), 2, "pre"));
    assert!(!new(&[3, 3, 3], (2, 3), usize::MAX, "pre") && !new(&[3, 9], (2, 3), 1, "pre"));
    assert!(!new(&[3, 3, 3], (2, 3), 1, "both"));
}
