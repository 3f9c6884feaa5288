use super::*;
use crate::testing::{difference, each_exec, grid, random, serial, unwritten};

struct Case {
    /// N, C', heads, d
    sizes: [usize; 4],
    size: Pair,
    /// Attention window, convolution kernel.
    kernels: [usize; 2],
    stride: Pair,
    border: &'static str,
    order: &'static str,
    /// conv_p_weight, conv_p_bias, fc_bias and dep_conv_bias are there.
    optional: [bool; 4],
}

const CASE: Case = Case {
    sizes: [2, 3, 2, 2],
    size: (5, 6),
    kernels: [3, 3],
    stride: (1, 1),
    border: "reflect",
    order: "official",
    optional: [true; 4],
};

/// Owned arrays of a case, in the order of `lens`.
struct Data<T> {
    dims: Dims,
    arrays: Vec<Vec<T>>,
    dy: Vec<T>,
}

impl Case {
    /// Shapes in the order of the forward's arguments, absent ones empty.
    fn shapes(&self) -> Vec<Vec<usize>> {
        let [n, inputs, heads, d] = self.sizes;
        let (c, k) = (heads * d, self.kernels[1]);
        let optional = |index: usize, shape: Vec<usize>| if self.optional[index] { shape } else { vec![] };
        let mut shapes = vec![vec![n, inputs, self.size.0, self.size.1], vec![1], vec![1]];
        for _ in 0..3 {
            shapes.extend([vec![c, inputs, 1, 1], vec![c]]);
        }
        shapes.extend([vec![k * k, 3 * heads, 1, 1], vec![c, k * k, k, k]]);
        shapes.extend([
            optional(0, vec![d, 2, 1, 1]),
            optional(1, vec![d]),
            optional(2, vec![k * k]),
            optional(3, vec![c]),
        ]);
        shapes
    }

    fn config(&self) -> Config<'static> {
        let (heads, kernel_size) = (self.sizes[2], self.kernels[0]);
        Config { heads, kernel_size, stride: self.stride, border: self.border, channel_order: self.order }
    }

    fn data<T: Real>(&self) -> Data<T> {
        let shapes = self.shapes();
        let dims = Dims::new(&named(shapes.iter().map(|shape| &shape[..]), &self.optional), self.config()).unwrap();
        let len = |shape: &Vec<usize>| if shape.is_empty() { 0 } else { shape.iter().product() };
        let arrays = shapes.iter().zip(1..).map(|(shape, seed)| random(len(shape), seed)).collect();
        let dy = random(dims.output().iter().product(), 99);
        Data { dims, arrays, dy }
    }
}

/// `Arguments` from a list in the order of the forward.
fn named<A>(mut list: impl Iterator<Item = A>, optional: &[bool; 4]) -> Arguments<A> {
    let mut next = || list.next().unwrap();
    let required = std::array::from_fn(|_| next());
    Arguments::new(required, std::array::from_fn(|index| Some(next()).filter(|_| optional[index])))
}

fn borrowed<T>(saved: &Saved<Vec<T>>) -> Saved<&[T]> {
    let Saved { q, k, v, pe, lse, att, conv } = saved;
    Saved { q, k, v, pe: pe.as_deref(), lse, att, conv }
}

fn run_forward<T: Real>(case: &Case, data: &Data<T>, exec: &Exec) -> (Vec<T>, Saved<Vec<T>>) {
    let (d, arguments) = (&data.dims, named(data.arrays.iter().map(|a| &a[..]), &case.optional));
    let [mut y, mut att, mut conv] = [(); 3].map(|()| unwritten::<T>(data.dy.len()));
    let [mut q, mut k, mut v] = [(); 3].map(|()| unwritten::<T>(Dims::len(&d.projections())));
    let (mut lse, mut pe) = (unwritten::<T>(Dims::len(&d.lse())), unwritten::<T>(Dims::len(&d.pe())));
    let with_pe = case.optional[0];
    let saved = Saved {
        q: &mut q[..],
        k: &mut k[..],
        v: &mut v[..],
        pe: with_pe.then_some(&mut pe[..]),
        lse: &mut lse[..],
        att: &mut att[..],
        conv: &mut conv[..],
    };
    forward(&arguments, &mut y, saved, d, exec).unwrap();
    (y, Saved { q, k, v, pe: with_pe.then_some(pe), lse, att, conv })
}

fn run_backward<T: Real>(case: &Case, data: &Data<T>, saved: &Saved<Vec<T>>, exec: &Exec) -> Vec<Vec<T>> {
    let arguments = named(data.arrays.iter().map(|a| &a[..]), &case.optional);
    let mut gradients: Vec<Vec<T>> = data.arrays.iter().map(|a| unwritten(a.len())).collect();
    let named = named(gradients.iter_mut().map(|g| &mut g[..]), &case.optional);
    backward(&data.dy, &arguments, &borrowed(saved), named, &data.dims, exec).unwrap();
    gradients
}

/// The gradients are those of <y, dy>: a step along each argument changes it as they say. The same bits on any number of threads.
fn check(case: &Case) {
    let mut data = case.data::<f64>();
    let mut bits: Vec<(bool, Vec<f64>)> = Vec::new();
    each_exec(|exec| {
        let (y, saved) = run_forward(case, &data, exec);
        let gradients = run_backward(case, &data, &saved, exec);
        let all = [y, gradients.concat()].concat();
        let portable = exec.level().name() == "portable";
        match bits.iter().find(|(level, _)| *level == portable) {
            Some((_, bits)) => assert!(difference(bits, &all) == 0.0, "{:?}", exec.level()),
            None => bits.push((portable, all)),
        }
    });
    let (y, saved) = run_forward(case, &data, &serial());
    for (r, &y) in y.iter().enumerate() {
        assert!((data.arrays[1][0] * saved.att[r] + data.arrays[2][0] * saved.conv[r] - y).abs() < 1e-14);
    }
    let gradients = run_backward(case, &data, &saved, &serial());
    for (index, gradient) in gradients.iter().enumerate() {
        let direction = random::<f64>(gradient.len(), 7 + index as u64);
        let slope: f64 = gradient.iter().zip(&direction).map(|(g, e)| g * e).sum();
        let mut at = |step: f64| -> f64 {
            data.arrays[index].iter_mut().zip(&direction).for_each(|(x, e)| *x += step * e);
            let (y, _) = run_forward(case, &data, &serial());
            data.arrays[index].iter_mut().zip(&direction).for_each(|(x, e)| *x -= step * e);
            y.iter().zip(&data.dy).map(|(y, g)| y * g).sum()
        };
        let (h, scale) = (1e-5, 1.0 + slope.abs());
        let found = (at(h) - at(-h)) / (2.0 * h);
        assert!((found - slope).abs() < 1e-6 * scale, "argument {index}: {found} {slope} {:?}", case.sizes);
    }
}

#[test]
fn gradients() {
    check(&CASE);
    check(&Case { sizes: [3, 2, 1, 3], kernels: [5, 1], border: "zero", order: "head_major", ..CASE });
    check(&Case { sizes: [1, 1, 3, 1], size: (7, 4), stride: (2, 3), border: "mask", optional: [false; 4], ..CASE });
    check(&Case { size: (4, 5), kernels: [1, 5], stride: (2, 1), optional: [true, false, true, false], ..CASE });
}

#[test]
fn portions() {
    check(&Case { sizes: [3, 1, 1, 1], size: (370, 360), border: "zero", ..CASE });
}

#[test]
fn empty() {
    for (n, inputs, h) in grid([2, 2, 2]) {
        let case = Case { sizes: [n, inputs, 2, 1], size: (h, 3), border: "mask", ..CASE };
        let data = case.data::<f32>();
        let (y, saved) = run_forward(&case, &data, &serial());
        let gradients = run_backward(&case, &data, &saved, &serial());
        assert!(y.iter().chain(gradients.iter().flatten()).all(|g| !g.is_nan()), "{n} {inputs} {h}");
    }
}

#[test]
fn constraints() {
    let refused = |change: &dyn Fn(&mut Vec<Vec<usize>>)| {
        let mut shapes = CASE.shapes();
        change(&mut shapes);
        Dims::new(&named(shapes.iter().map(|shape| &shape[..]), &CASE.optional), CASE.config()).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|shapes| shapes[1] = vec![2]) && refused(&|shapes| shapes[2] = vec![])); // (C1)
    assert!(refused(&|shapes| shapes[5][0] = 2) && refused(&|shapes| shapes[8][0] = 3)); // (C2)
    assert!(refused(&|shapes| shapes[11][0] = 3) && refused(&|shapes| shapes[12][0] = 3)); // (C3)
    assert!(refused(&|shapes| shapes[9][0] = 4) && refused(&|shapes| shapes[0][2] = 1));
    let bare = named(CASE.shapes().leak().iter().map(|shape| &shape[..]), &[false, true, true, true]);
    assert!(Dims::new(&bare, CASE.config()).is_err()); // (C3)
}
