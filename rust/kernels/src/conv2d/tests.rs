//! Against literal loops, for every option and all small sizes.

use super::*;
use crate::lanes::Level;
use crate::testing::{difference, each_exec, random, serial, unwritten};

/// Calls `f(index of y, index of x or none for padding, index of weight)` for every product of the sum (F3).
fn every_product(d: &Dims, mut f: impl FnMut(usize, Option<usize>, usize)) {
    let (o_per, c_per) = (d.outputs / d.groups, d.inputs / d.groups);
    let inside = |a: usize, pad: usize, len: usize| a.checked_sub(pad).filter(|&a| a < len);
    for y in 0..d.output().iter().product() {
        let (j, i) = (y % d.out_size.1, y / d.out_size.1 % d.out_size.0);
        let (n, o) = (y / d.out_size.1 / d.out_size.0 / d.outputs, y / d.out_size.1 / d.out_size.0 % d.outputs);
        for k in 0..d.depth() {
            let (c, p, q) = (k / d.taps(), k % d.taps() / d.kernel.1, k % d.kernel.1);
            let a = inside(i * d.stride.0 + p * d.dilation.0, d.padding.0, d.size.0);
            let b = inside(j * d.stride.1 + q * d.dilation.1, d.padding.1, d.size.1);
            let plane = n * d.inputs + o / o_per * c_per + c;
            f(y, a.zip(b).map(|(a, b)| (plane * d.size.0 + a) * d.size.1 + b), o * d.depth() + k);
        }
    }
}

struct Case<T> {
    d: Dims,
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    dy: Vec<T>,
}

#[derive(Clone, Debug, PartialEq)]
struct Results<T> {
    y: Vec<T>,
    dx: Vec<T>,
    dweight: Vec<T>,
    dbias: Vec<T>,
}

impl<T: Real> Case<T> {
    fn new(
        x: [usize; 4],
        weight: [usize; 4],
        (stride, padding, dilation): (Pair, Pair, Pair),
        groups: usize,
    ) -> Case<T> {
        let d = Dims::new(&x, &weight, Some(&[weight[0]]), stride, padding, dilation, groups).expect("sizes fit");
        let n = |shape: &[usize]| shape.iter().product();
        Case {
            d,
            x: random(n(&x), 1),
            weight: random(n(&weight), 2),
            bias: random(weight[0], 3),
            dy: random(n(&d.output()), 4),
        }
    }

    fn kernel(&self, exec: &Exec) -> Results<T> {
        let Case { d, x, weight, bias, dy } = self;
        let (mut y, mut dx) = (unwritten(dy.len()), unwritten(x.len()));
        let (mut dweight, mut dbias) = (unwritten(weight.len()), unwritten(bias.len()));
        forward(x, weight, Some(bias), &mut y, d, exec).expect("forward runs");
        backward(dy, x, weight, &mut dx, &mut dweight, Some(&mut dbias), d, exec).expect("backward runs");
        Results { y, dx, dweight, dbias }
    }

    fn oracle(&self) -> Results<T> {
        let Case { d, x, weight, bias, dy } = self;
        let zeros = |n| vec![T::ZERO; n];
        let mut r =
            Results { y: zeros(dy.len()), dx: zeros(x.len()), dweight: zeros(weight.len()), dbias: zeros(bias.len()) };
        every_product(d, |i, at, w| {
            r.y[i] += weight[w] * at.map_or(T::ZERO, |at| x[at]);
            r.dweight[w] += dy[i] * at.map_or(T::ZERO, |at| x[at]);
            if let Some(at) = at {
                r.dx[at] += weight[w] * dy[i];
            }
        });
        let plane = d.out_size.0 * d.out_size.1;
        for (i, (y, &g)) in r.y.iter_mut().zip(dy).enumerate() {
            *y += bias[i / plane % d.outputs];
            r.dbias[i / plane % d.outputs] += g;
        }
        r
    }

    fn check(&self) {
        let expected = self.oracle();
        let mut found: Vec<(Level, Results<T>)> = Vec::new();
        let tolerance = if size_of::<T>() == 4 { 1e-5 } else { 1e-13 };
        each_exec(|exec| {
            let r = self.kernel(exec);
            let name = || format!("{:?} {:?} {} threads", self.d, exec.level(), exec.threads());
            for (what, a, b) in [
                ("y", &r.y, &expected.y),
                ("dx", &r.dx, &expected.dx),
                ("dweight", &r.dweight, &expected.dweight),
                ("dbias", &r.dbias, &expected.dbias),
            ] {
                let error = difference(a, b);
                assert!(error < tolerance, "{what} {error:e} {}", name());
            }
            if let Some((level, before)) = found.last() {
                // Fused levels agree bit for bit where no lanes are added up; so do all numbers of threads.
                if *level == exec.level() {
                    assert!(format!("{before:?}") == format!("{r:?}"), "threads: {}", name());
                } else if *level != Level::PORTABLE {
                    assert!(same(&before.y, &r.y) && same(&before.dx, &r.dx), "levels: {}", name());
                }
            }
            found.push((exec.level(), r));
        });
    }
}

fn same<T: Real>(a: &[T], b: &[T]) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

const PLAIN: (Pair, Pair, Pair) = ((1, 1), (0, 0), (1, 1));

#[test]
fn all_small_sizes() {
    for (n, c, o) in crate::testing::grid([3, 3, 3]) {
        for (h, w, pad) in crate::testing::grid([4, 5, 2]) {
            for kernel in [(1, 1), (2, 1), (3, 3)] {
                if h + 2 * pad >= kernel.0 && w + 2 * pad >= kernel.1 {
                    Case::<f64>::new([n, c, h, w], [o, c, kernel.0, kernel.1], ((1, 1), (pad, pad), (1, 1)), 1).check();
                }
            }
        }
    }
}

#[test]
fn every_option() {
    for stride in [(1, 1), (2, 1), (1, 2), (3, 3)] {
        for padding in [(0, 0), (1, 2), (3, 1)] {
            for dilation in [(1, 1), (2, 1), (1, 3), (2, 2)] {
                for (groups, c, o) in [(1, 3, 5), (2, 4, 6), (3, 3, 3), (3, 3, 6)] {
                    Case::<f32>::new([2, c, 9, 8], [o, c / groups, 3, 2], (stride, padding, dilation), groups).check();
                }
            }
        }
    }
}

#[test]
fn tails_of_tiles_panels_and_blocks() {
    for o in [1, 5, 6, 7, 13, 14, 15, 29] {
        Case::<f32>::new([3, 5, 4, 5], [o, 5, 3, 3], ((1, 1), (1, 1), (1, 1)), 1).check();
        Case::<f64>::new([3, 5, 3, 3], [o, 5, 1, 1], PLAIN, 1).check();
    }
    for c in [31, 33, 65, 257] {
        Case::<f32>::new([2, c, 5, 7], [3, c, 1, 1], PLAIN, 1).check();
        Case::<f64>::new([2, c, 5, 4], [3, c, 3, 3], ((1, 1), (1, 1), (1, 1)), 1).check();
    }
    for w in [15, 16, 17, 31, 32, 33, 300] {
        Case::<f32>::new([2, 3, 2, w], [15, 3, 1, 3], ((1, 1), (0, 1), (1, 1)), 1).check();
        Case::<f32>::new([2, 3, 2, w], [15, 3, 1, 1], PLAIN, 1).check();
    }
    Case::<f32>::new([1, 2, 20, 19], [3, 2, 17, 17], PLAIN, 1).check(); // more taps than a block
    Case::<f64>::new([1, 2, 40, 50], [300, 2, 3, 3], PLAIN, 1).check(); // dx in several pieces and blocks
    // dweight in two regions of each image: the second leaves rows behind where the first of the next image has padding.
    let case = Case::<f32>::new([2, 32, 60, 40], [3, 32, 3, 3], ((1, 1), (1, 1), (1, 1)), 1);
    assert!((30..60).contains(&slab::Region::new(32, &case.d).unwrap().rows));
    case.check();
}

#[test]
fn depthwise() {
    for k in [3, 5, 7, 9] {
        for (n, h, w) in [(1, 4, 5), (3, 7, 7), (2, 9, 16), (5, 8, 33), (1, 1, 1)] {
            for (padding, each) in [(k / 2, 1), (k / 2, 2), (k, 1), (k - 1, 3)] {
                Case::<f32>::new([n, 3, h, w], [3 * each, 1, k, k], ((1, 1), (padding, padding), (1, 1)), 3).check();
            }
        }
        Case::<f64>::new([2, 2, 11, 70], [2, 1, k, k], ((1, 1), (0, 0), (1, 1)), 2).check();
        Case::<f64>::new([2, 2, 11, 9], [4, 1, k, k], ((2, 2), (k / 2, k / 2), (1, 1)), 2).check();
    }
    Case::<f32>::new([0, 3, 4, 4], [3, 1, 3, 3], ((1, 1), (1, 1), (1, 1)), 3).check();
}

#[test]
fn steps_that_are_never_made() {
    let far = (usize::MAX / 2, usize::MAX);
    for groups in [1, 2] {
        Case::<f64>::new([1, 2, 4, 5], [2, 2 / groups, 4, 5], (far, (0, 0), (1, 1)), groups).check();
        Case::<f64>::new([1, 2, 4, 5], [2, 2 / groups, 1, 1], (far, (0, 0), far), groups).check();
        Case::<f64>::new([1, 2, 4, 5], [2, 2 / groups, 1, 1], ((1, 1), (2, 0), far), groups).check();
    }
}

#[test]
fn nan_shows_where_the_sum_has_it() {
    for (groups, k) in [(1, 3), (4, 3), (4, 5), (2, 3)] {
        let options = ((1, 1), (1, 1), (1, 1));
        let mut case = Case::<f64>::new([2, 4, 5, 6], [4, 4 / groups, k, k], options, groups);
        for at in [0, 4, 8, 13] {
            let (weight, x, dy) = (case.weight[at], case.x[at], case.dy[at]);
            case.weight[at] = f64::NAN;
            case.check_values();
            case.weight[at] = weight;
            case.x[at] = f64::INFINITY;
            case.check_values();
            case.x[at] = x;
            case.dy[at] = f64::NAN;
            case.check_values();
            case.dy[at] = dy;
        }
    }
}

impl Case<f64> {
    fn check_values(&self) {
        let expected = self.oracle();
        each_exec(|exec| {
            let r = self.kernel(exec);
            for (a, b) in [
                (&r.y, &expected.y),
                (&r.dx, &expected.dx),
                (&r.dweight, &expected.dweight),
                (&r.dbias, &expected.dbias),
            ] {
                assert!(difference(a, b) < 1e-12, "{:?} {:?}", self.d, exec.level());
            }
        });
    }
}

#[test]
fn an_image_does_not_know_its_batch() {
    for (groups, c) in [(1, 40), (40, 40), (5, 40)] {
        let options = ((1, 1), (1, 1), (1, 1));
        let all = Case::<f32>::new([5, c, 7, 7], [c, c / groups, 3, 3], options, groups);
        let whole = all.kernel(&serial());
        let mut one = Case::<f32>::new([1, c, 7, 7], [c, c / groups, 3, 3], options, groups);
        for n in 0..5 {
            let len = c * 49;
            one.x.copy_from_slice(&all.x[n * len..][..len]);
            one.dy.copy_from_slice(&all.dy[n * len..][..len]);
            each_exec(|exec| {
                let r = one.kernel(exec);
                if exec.level() == Level::PORTABLE {
                    assert!(same(&r.y, &whole.y[n * len..][..len]) && same(&r.dx, &whole.dx[n * len..][..len]));
                }
            });
        }
    }
}

#[test]
fn errors() {
    let new = |x: &[usize], w: &[usize], groups| Dims::new(x, w, None, (1, 1), (0, 0), (1, 1), groups);
    for bad in
        [new(&[1, 2, 3], &[1, 2, 1, 1], 1), new(&[1, 2, 3, 3], &[1, 2, 0, 1], 1), new(&[1, 2, 3, 3], &[1, 1, 1, 1], 1)]
    {
        assert!(matches!(bad, Err(Error::Shape(_))));
    }
    assert!(new(&[1, 3, 3, 3], &[2, 1, 1, 1], 2).is_err() && new(&[1, 2, 3, 3], &[2, 2, 4, 1], 1).is_err());
    assert!(new(&[1, 1, usize::MAX, 3], &[1, 1, 1, 1], 1).is_err());
    assert!(Dims::new(&[1, 1, 3, 3], &[1, 1, 1, 1], None, (1, 1), (usize::MAX / 2, 0), (1, 1), 1).is_err());
    let d = new(&[1, 1, 3, 3], &[1, 1, 1, 1], 1).expect("sizes fit");
    assert!(forward(&[0.0; 8], &[0.0], None, &mut [0.0; 9], &d, &serial()).is_err());
}
