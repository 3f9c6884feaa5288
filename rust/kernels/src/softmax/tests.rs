use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// The equations, element by element.
fn oracle<T: Real>(x: &[T], da: &[T], (outer, axis, inner): (usize, usize, usize)) -> (Vec<T>, Vec<T>) {
    let (mut a, mut dx) = (x.to_vec(), x.to_vec());
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * axis + k) * inner + i;
        let max = (0..axis).map(|k| x[at(k)]).fold(T::NEG_INFINITY, |m, v| if m > v { m } else { v });
        let sum = (0..axis).fold(T::ZERO, |s, k| s + (x[at(k)] - max).exp());
        (0..axis).for_each(|k| a[at(k)] = (x[at(k)] - max).exp() / sum);
        let c = (0..axis).fold(T::ZERO, |c, k| c + a[at(k)] * da[at(k)]);
        (0..axis).for_each(|k| dx[at(k)] = a[at(k)] * (da[at(k)] - c));
    }
    (a, dx)
}

fn check<T: Real>(tolerance: f64) {
    let mut shapes: Vec<_> = (0..3).flat_map(|o| (0..36).flat_map(move |k| [(o, k, 1), (o, 3, k)])).collect();
    shapes.extend([(2, 300, 3), (3, 5, 700), (1, 5000, 1)]);
    for shape @ (outer, axis, inner) in shapes {
        let n = outer * axis * inner;
        let (x, da) = (random::<T>(n, 1), random::<T>(n, 2));
        let (a_expected, dx_expected) = oracle(&x, &da, shape);
        let d = Dims::new(&[outer, axis, inner], 1).unwrap();
        each_exec(|exec| {
            let (mut a, mut dx) = (unwritten::<T>(n), unwritten::<T>(n));
            forward(&x, &mut a, &d, exec).unwrap();
            backward(&da, &a, &mut dx, &d, exec).unwrap();
            assert!(difference(&a, &a_expected) < tolerance, "{shape:?} {:?}", exec.level());
            assert!(difference(&dx, &dx_expected) < tolerance, "{shape:?} {:?}", exec.level());
        });
    }
}

#[test]
fn standard() {
    check::<f32>(1e-6);
    check::<f64>(1e-15);
}

#[test]
fn special_values_fill_their_row() {
    for (special, position) in [(f32::NAN, 20), (f32::INFINITY, 0), (f32::NAN, 36)] {
        for (inner, rows) in [(1, 2), (2, 1)] {
            let mut x = random::<f32>(74, 1);
            x[position * inner] = special;
            let d = Dims::new(&[rows, 37, inner], 1).unwrap();
            each_exec(|exec| {
                let mut a = unwritten::<f32>(74);
                forward(&x, &mut a, &d, exec).unwrap();
                let bad = |k: usize| if inner == 1 { k < 37 } else { k.is_multiple_of(2) };
                assert!((0..74).all(|k| a[k].is_nan() == bad(k)), "{a:?}");
            });
        }
    }
    each_exec(|exec| {
        let mut a = [0f32; 5];
        forward(&[f32::NEG_INFINITY; 5], &mut a, &Dims::new(&[5], 0).unwrap(), exec).unwrap();
        assert!(a.iter().all(|v| v.is_nan()));
    });
}

#[test]
fn c1_axis() {
    assert!(Dims::new(&[2, 3], 2).is_err() && Dims::new(&[2, 3], -3).is_err() && Dims::new(&[], 0).is_err());
    assert!(Dims::new(&[2, 3], isize::MIN).is_err() && Dims::new(&[2, 3], -1).is_ok());
}
