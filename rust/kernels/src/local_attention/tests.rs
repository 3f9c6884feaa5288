//! Against literal loops over the definition, in f64.

use super::*;
use crate::exec::Exec;
use crate::lanes::Level;
use crate::real::Real;

#[derive(Clone, Copy, Debug)]
struct Case {
    shape: [usize; 4],
    heads: usize,
    window: usize,
    stride: (usize, usize),
    border: &'static str,
    relative: bool,
}

impl Case {
    fn config(&self) -> Config<'static> {
        Config {
            heads: self.heads,
            kernel_size: self.window,
            stride: self.stride,
            border: self.border,
            scale: Some(0.7),
        }
    }

    fn dims(&self) -> Dims {
        let pe = [self.shape[1] / self.heads, self.shape[2], self.shape[3]];
        Dims::new(&self.shape, &self.shape, &self.shape, self.relative.then_some(&pe[..]), self.config()).unwrap()
    }
}

fn random<T: Real>(n: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        T::from_f64((state >> 40) as f64 / (1u64 << 23) as f64 - 1.0)
    };
    (0..n).map(|_| next()).collect()
}

struct Data<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    pe: Vec<T>,
    dy: Vec<T>,
}

impl<T: Real> Data<T> {
    fn new(d: &Dims) -> Self {
        Data {
            q: random(d.len, 1),
            k: random(d.len, 2),
            v: random(d.len, 3),
            pe: random(d.pe_len, 4),
            dy: random(d.out_len, 5),
        }
    }

    fn to_f64(&self) -> Data<f64> {
        let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect();
        Data { q: wide(&self.q), k: wide(&self.k), v: wide(&self.v), pe: wide(&self.pe), dy: wide(&self.dy) }
    }
}

/// o, lse, dq, dk, dv, dpe
type Results<T> = [Vec<T>; 6];

fn kernel<T: Real>(x: &Data<T>, d: &Dims, relative: bool, threads: usize, level: Level) -> Results<T> {
    let poll = || false;
    let exec = Exec::new(threads, level, &poll);
    let nan = |n| vec![T::NAN; n];
    let [mut o, mut lse, mut dq, mut dk, mut dv, mut dpe] =
        [nan(d.out_len), nan(d.lse_len), nan(d.len), nan(d.len), nan(d.len), nan(if relative { d.pe_len } else { 0 })];
    let inputs = Inputs { q: &x.q, k: &x.k, v: &x.v, pe: relative.then_some(&x.pe[..]) };
    forward(inputs, &mut o, &mut lse, d, &exec).unwrap();
    let grads = Gradients { q: &mut dq, k: &mut dk, v: &mut dv, pe: relative.then_some(&mut dpe[..]) };
    backward(&x.dy, inputs, &lse, grads, d, &exec).unwrap();
    [o, lse, dq, dk, dv, dpe]
}

fn oracle(x: &Data<f64>, d: &Dims, relative: bool) -> Results<f64> {
    let [mut o, mut lse, mut dq, mut dk, mut dv] = [d.out_len, d.lse_len, d.len, d.len, d.len].map(|n| vec![0.0; n]);
    let mut dpe = vec![0.0; if relative { d.pe_len } else { 0 }];
    let (depth, k) = (d.depth, d.window);
    for pair in 0..d.pairs {
        for i in 0..d.out_height {
            for j in 0..d.out_width {
                let at = |e: usize, a: usize, b: usize| ((pair * depth + e) * d.height + a) * d.width + b;
                let pe =
                    |e: usize, a: usize, b: usize| if relative { x.pe[(e * d.height + a) * d.width + b] } else { 0.0 };
                let out = |e: usize| ((pair * depth + e) * d.out_height + i) * d.out_width + j;
                let (a, b) = (i * d.stride.0, j * d.stride.1);
                // The pixel that tap m shows, if any.
                let seen = |m: usize| Some((d.shown(a + m / k, d.height)?, d.shown(b + m % k, d.width)?));
                let key =
                    |e: usize, m: usize| pe(e, a, b) + seen(m).map_or(0.0, |(y, z)| x.k[at(e, y, z)] - pe(e, y, z)); // (F2)
                let value = |e: usize, m: usize| seen(m).map_or(0.0, |(y, z)| x.v[at(e, y, z)]);
                let mut weights: Vec<f64> = (0..k * k)
                    .map(|m| (0..depth).map(|e| x.q[at(e, a, b)] * key(e, m)).sum::<f64>() * d.scale)
                    .zip((0..k * k).map(|m| d.border != Border::Mask || seen(m).is_some()))
                    .map(|(s, inside)| if inside { s } else { f64::NEG_INFINITY }) // (F3)
                    .collect();
                let top = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = top + weights.iter().map(|s| (s - top).exp()).sum::<f64>().ln(); // (F4)
                lse[(pair * d.out_height + i) * d.out_width + j] = log_sum;
                weights.iter_mut().for_each(|s| *s = (*s - log_sum).exp()); // (F5)
                let da: Vec<f64> = (0..k * k).map(|m| (0..depth).map(|e| x.dy[out(e)] * value(e, m)).sum()).collect(); // (B2)
                let mean: f64 = weights.iter().zip(&da).map(|(a, da)| a * da).sum();
                for e in 0..depth {
                    for m in 0..k * k {
                        let ds = d.scale * weights[m] * (da[m] - mean); // (B3)
                        o[out(e)] += weights[m] * value(e, m); // (F6)
                        dq[at(e, a, b)] += ds * key(e, m); // (B4)
                        if let Some((y, z)) = seen(m) {
                            dk[at(e, y, z)] += ds * x.q[at(e, a, b)]; // (B5) (B6)
                            dv[at(e, y, z)] += weights[m] * x.dy[out(e)]; // (B1) (B6)
                            if relative {
                                dpe[(e * d.height + y) * d.width + z] -= ds * x.q[at(e, a, b)]; // (B7)
                            }
                        }
                    }
                }
            }
        }
    }
    [o, lse, dq, dk, dv, dpe]
}

fn bits<T: Real>(results: &Results<T>) -> Vec<Vec<u64>> {
    results.iter().map(|x| x.iter().map(|x| x.to_f64().to_bits()).collect()).collect()
}

fn check<T: Real>(case: Case, epsilon: f64) {
    let d = case.dims();
    let data = Data::<T>::new(&d);
    let expected = oracle(&data.to_f64(), &d, case.relative);
    let mut levels = Vec::new();
    for level in Level::available() {
        let results = kernel(&data, &d, case.relative, 1, level);
        for (name, (x, y)) in ["o", "lse", "dq", "dk", "dv", "dpe"].into_iter().zip(results.iter().zip(&expected)) {
            assert_eq!(x.len(), y.len());
            let size = y.iter().fold(1.0, |m: f64, y| m.max(y.abs()));
            for (at, (x, y)) in x.iter().zip(y).enumerate() {
                let error = (x.to_f64() - y).abs(); // NaN fails
                assert!(error <= 40.0 * epsilon * size, "{case:?} {level:?} {name}[{at}]: {x:?} instead of {y}");
            }
        }
        for threads in [2, 3] {
            assert!(
                bits(&kernel(&data, &d, case.relative, threads, level)) == bits(&results),
                "{case:?} {level:?} {threads} threads"
            );
        }
        levels.push((level.name(), bits(&results)));
    }
    if let [.., (_, avx2), (_, avx512)] = &levels[1..] {
        assert!(avx2 == avx512, "{case:?}: levels differ");
    }
}

/// All borders and windows on all widths around the vectors; strides, heads and pe in turn.
fn cases() -> Vec<Case> {
    let sizes = [(1, 1), (1, 9), (6, 1), (4, 7), (5, 8), (7, 7), (9, 16), (6, 17), (8, 33), (3, 4), (11, 5)];
    let turns = [((1, 1), 1, 5, 1), ((2, 2), 2, 6, 3), ((1, 1), 3, 4, 2), ((3, 1), 1, 4, 2), ((1, 4), 3, 2, 1)];
    let mut cases = Vec::new();
    for border in ["reflect", "zero", "mask"] {
        for window in [1, 3, 5, 7, 9] {
            for (height, width) in sizes {
                if border != "reflect" || window == 1 || window / 2 < height.min(width) {
                    let (stride, images, channels, heads) = turns[cases.len() % turns.len()];
                    let relative = cases.len() % 3 > 0;
                    cases.push(Case {
                        shape: [images, channels, height, width],
                        heads,
                        window,
                        stride,
                        border,
                        relative,
                    });
                }
            }
        }
    }
    cases
}

#[test]
fn equals_the_loops_f32() {
    cases().into_iter().for_each(|case| check::<f32>(case, f64::from(f32::EPSILON)));
}

#[test]
fn equals_the_loops_f64() {
    cases().into_iter().for_each(|case| check::<f64>(case, f64::EPSILON));
}

#[test]
fn bands_do_not_change_bits() {
    for (stride, border, width) in
        [((1, 1), "reflect", 40), ((2, 3), "zero", 40), ((1, 1), "mask", 6), ((5, 1), "reflect", 40)]
    {
        check::<f32>(
            Case { shape: [1, 9, 70, width], heads: 1, window: 7, stride, border, relative: true },
            f64::from(f32::EPSILON),
        );
    }
}

#[test]
fn a_part_of_the_batch_gives_the_same_bits() {
    for width in [7, 20] {
        let whole =
            Case { shape: [3, 8, 9, width], heads: 2, window: 5, stride: (1, 1), border: "reflect", relative: true };
        let part = Case { shape: [1, 8, 9, width], ..whole };
        let (d, d1) = (whole.dims(), part.dims());
        let data = Data::<f32>::new(&d);
        let cut = |x: &[f32]| x[x.len() / 3..2 * x.len() / 3].to_vec();
        let one = Data { q: cut(&data.q), k: cut(&data.k), v: cut(&data.v), pe: data.pe.clone(), dy: cut(&data.dy) };
        let (all, one) = (kernel(&data, &d, true, 2, Level::best()), kernel(&one, &d1, true, 1, Level::best()));
        for (all, one) in all[..5].iter().zip(&one[..5]) {
            assert!(cut(all).iter().map(|x| x.to_bits()).eq(one.iter().map(|x| x.to_bits())));
        }
    }
}

#[test]
fn empty_arrays() {
    for shape in [[0, 4, 5, 5], [2, 0, 5, 5], [2, 4, 0, 5], [2, 4, 5, 0]] {
        for border in ["zero", "mask"] {
            check::<f64>(Case { shape, heads: 2, window: 3, stride: (2, 1), border, relative: true }, f64::EPSILON);
        }
    }
}

#[test]
fn masked_taps_and_nan() {
    let case = Case { shape: [1, 2, 6, 9], heads: 1, window: 3, stride: (1, 1), border: "mask", relative: false };
    let d = case.dims();
    for poison in [f32::NAN, f32::INFINITY] {
        let mut data = Data::<f32>::new(&d);
        data.k[2 * 9 + 4] = poison;
        data.q[2 * 9 + 4] = 1.0;
        for level in Level::available() {
            let [o, lse, ..] = kernel(&data, &d, false, 1, level);
            for i in 0..6usize {
                for j in 0..9usize {
                    let near = i.abs_diff(2) <= 1 && j.abs_diff(4) <= 1;
                    let minus = near && poison > 0.0 && data.q[i * 9 + j] < 0.0; // a score of −∞ is a weight of 0
                    assert_eq!(lse[i * 9 + j].is_nan(), near && !minus, "{level:?} {i} {j}");
                    assert_eq!(o[i * 9 + j].is_nan(), near && !minus);
                    assert_eq!(o[54 + i * 9 + j].is_nan(), near && !minus);
                }
            }
        }
    }
}

#[test]
fn constraints() {
    let good = Config { heads: 2, kernel_size: 3, stride: (1, 1), border: "reflect", scale: None };
    let shape = [1, 4, 5, 5];
    let label = |k: &[usize], pe: Option<&[usize]>, config| match Dims::new(&shape, k, &shape, pe, config) {
        Err(Error::Shape(text)) => text.chars().take(4).collect::<String>(),
        other => panic!("{other:?}"),
    };
    assert!(Dims::new(&shape, &shape, &shape, Some(&[2, 5, 5]), good).is_ok());
    assert_eq!(label(&[1, 4, 5, 6], None, good), "(C1)");
    assert_eq!(label(&shape, None, Config { heads: 3, ..good }), "(C2)");
    assert_eq!(label(&shape, Some(&[4, 5, 5]), good), "(C3)");
    assert_eq!(label(&shape, None, Config { kernel_size: 4, ..good }), "(C4)");
    assert_eq!(label(&shape, None, Config { border: "wrap", ..good }), "(C5)");
    assert_eq!(label(&shape, None, Config { kernel_size: 11, ..good }), "(C6)");
    assert_eq!(label(&shape, None, Config { scale: Some(f64::NAN), ..good }), "(C7)");
    assert!(
        Dims::new(&shape, &shape, &shape, None, Config { kernel_size: usize::MAX, border: "zero", ..good }).is_err()
    );
}
