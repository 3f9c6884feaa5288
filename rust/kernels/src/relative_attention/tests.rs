use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

struct Arrays<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    table: Vec<T>,
    dy: Vec<T>,
}

/// o, lse, dq, dk, dv, dtable.
type Results<T> = [Vec<T>; 6];

/// The equations, query by query.
fn oracle(x: &Arrays<f64>, d: &Dims, depth: usize, post: bool) -> Results<f64> {
    let (n, width, (h, w)) = (d.tokens, d.width, d.size);
    let lens = [x.dy.len(), d.batch * d.heads * n, x.q.len(), x.k.len(), x.v.len(), x.table.len()];
    let mut r: Results<f64> = lens.map(|n| vec![0.0; n]);
    let scale = (depth.max(1) as f64).powf(-0.5);
    for (pair, t) in (0..d.batch * d.heads).flat_map(|pair| (0..n).map(move |t| (pair, t))) {
        let (row, token) = (pair * n + t, |u: usize| pair * n + u);
        let entry = |u: usize| {
            let (from, to) = if d.from_key { (u, t) } else { (t, u) };
            let at = (to / w + h - 1 - from / w) * (2 * w - 1) + to % w + w - 1 - from % w;
            pair % d.heads * d.entries + at
        };
        let score = |u: usize| {
            let dot: f64 = (0..depth).map(|c| x.q[row * depth + c] * x.k[token(u) * depth + c]).sum();
            scale * dot + if post { 0.0 } else { x.table[entry(u)] }
        };
        let z: Vec<f64> = (0..n).map(score).collect();
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + z.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
        r[1][row] = lse;
        let a: Vec<f64> = z.iter().map(|z| (z - lse).exp()).collect();
        let product = |u: usize| (0..width).map(|c| x.dy[row * width + c] * x.v[token(u) * width + c]).sum();
        let dm: Vec<f64> = (0..n).map(product).collect();
        let delta: f64 = a.iter().zip(&dm).map(|(a, dm)| a * dm).sum();
        for u in 0..n {
            let m = if post { a[u] + x.table[entry(u)] } else { a[u] };
            for c in 0..width {
                r[0][row * width + c] += m * x.v[token(u) * width + c];
                r[4][token(u) * width + c] += m * x.dy[row * width + c];
            }
            let dz = a[u] * (dm[u] - delta);
            for c in 0..depth {
                r[2][row * depth + c] += scale * dz * x.k[token(u) * depth + c];
                r[3][token(u) * depth + c] += scale * dz * x.q[row * depth + c];
            }
            r[5][entry(u)] += if post { dm[u] } else { dz };
        }
    }
    r
}

fn run<T: Real>(x: &Arrays<T>, d: &Dims, exec: &Exec) -> Results<T> {
    let inputs = Inputs { q: &x.q, k: &x.k, v: &x.v, bias: None };
    let lens = [x.dy.len(), d.batch * d.heads * d.tokens, x.q.len(), x.k.len(), x.v.len(), x.table.len()];
    let [mut o, mut lse, mut dq, mut dk, mut dv, mut dtable] = lens.map(unwritten::<T>);
    forward(inputs, &x.table, &mut o, &mut lse, d, exec).unwrap();
    let grads = Gradients { q: &mut dq, k: &mut dk, v: &mut dv, bias: Some(&mut dtable) };
    backward(&x.dy, inputs, &x.table, &lse, grads, d, exec).unwrap();
    [o, lse, dq, dk, dv, dtable]
}

fn dims([batch, heads, h, w, depth, width]: [usize; 6], form: &str, sign: &str) -> Dims {
    let (q, v, table) = ([batch, heads, h * w, depth], [batch, heads, h * w, width], [heads, 2 * h - 1, 2 * w - 1]);
    Dims::new(&q, &q, &v, &table, (h, w), form, sign, None).unwrap()
}

fn arrays<T: Real>([batch, heads, h, w, depth, width]: [usize; 6]) -> Arrays<T> {
    let tokens = batch * heads * h * w;
    let [q, k] = [1, 2].map(|seed| random(tokens * depth, seed));
    let [v, dy] = [3, 5].map(|seed| random(tokens * width, seed));
    Arrays { q, k, v, dy, table: random(heads * (2 * h - 1) * (2 * w - 1), 4) }
}

fn check<T: Real>(sizes: [usize; 6], form: &str, sign: &str, tolerance: f64) {
    let (d, x) = (dims(sizes, form, sign), arrays::<T>(sizes));
    let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let exact = Arrays { q: wide(&x.q), k: wide(&x.k), v: wide(&x.v), table: wide(&x.table), dy: wide(&x.dy) };
    let expected = oracle(&exact, &d, sizes[4], form == "post");
    let expected = expected.map(|e| e.into_iter().map(T::from_f64).collect::<Vec<_>>());
    each_exec(|exec| {
        for (n, (got, expected)) in run(&x, &d, exec).iter().zip(&expected).enumerate() {
            let off = difference(got, expected);
            assert!(off < tolerance, "result {n} of {sizes:?} {form} at {:?} is off by {off}", exec.level());
        }
    });
}

#[test]
fn standard() {
    for sizes in [
        [1, 1, 1, 1, 1, 1],
        [2, 2, 3, 5, 2, 3],
        [2, 3, 1, 33, 5, 35],
        [1, 2, 17, 2, 33, 1],
        [0, 2, 3, 4, 2, 2],
        [2, 0, 3, 4, 2, 2],
        [1, 2, 3, 4, 0, 2],
        [1, 2, 3, 4, 2, 0],
    ] {
        check::<f64>(sizes, "pre", "query - key", 1e-13);
        check::<f64>(sizes, "post", "key - query", 1e-13);
    }
    check::<f32>([3, 2, 5, 7, 4, 3], "pre", "key - query", 1e-4);
    check::<f32>([3, 2, 5, 7, 4, 3], "post", "query - key", 1e-4);
}

#[test]
fn more_than_a_tile() {
    for form in ["pre", "post"] {
        check::<f64>([1, 1, 3, 400, 2, 3], form, "query - key", 1e-12);
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let sizes = [5, 2, 5, 8, 5, 6];
    let (d, x) = (dims(sizes, "pre", "query - key"), arrays::<f32>(sizes));
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
fn constraints() {
    let (x, table) = ([2, 3, 6, 4], [3, 3, 5]);
    let new = |table: &[usize], size, form, sign| Dims::new(&x, &x, &x, table, size, form, sign, None).is_ok();
    assert!(new(&table, (2, 3), "pre", "query - key") && new(&table, (2, 3), "post", "key - query"));
    assert!(!new(&table, (3, 2), "pre", "query - key") && !new(&table, (6, 1), "pre", "query - key"));
    assert!(!new(&table, (0, usize::MAX), "pre", "query - key") && !new(&table[1..], (2, 3), "pre", "query - key"));
    assert!(!new(&table, (2, 3), "both", "query - key") && !new(&table, (2, 3), "pre", "key"));
}
