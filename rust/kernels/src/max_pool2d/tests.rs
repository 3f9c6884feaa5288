use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

fn check<T: Real>(
    shape: [usize; 4],
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
    special: Option<T>,
) {
    for ceil in [false, true] {
        let Ok(d) = Dims::new(&shape, kernel, Some(stride), padding, ceil) else { continue };
        let (input, output) = d.plane();
        let mut x = random::<T>(d.planes * input, 1);
        if let Some(special) = special {
            x.iter_mut().step_by(3).for_each(|x| *x = special);
        }
        let dy = random::<T>(d.planes * output, 2);
        let (mut y_expected, mut dx_expected) = (unwritten::<T>(dy.len()), vec![T::ZERO; x.len()]);
        for n in 0..d.planes {
            each_wide(&x[n * input..][..input], &d, |at, from| {
                y_expected[n * output + at] = x[n * input + from];
                dx_expected[n * input + from] += dy[n * output + at];
            });
        }
        each_exec(|exec| {
            let (mut y, mut dx) = (unwritten::<T>(dy.len()), unwritten::<T>(x.len()));
            forward(&x, &mut y, &d, exec).unwrap();
            backward(&dy, &x, &mut dx, &d, exec).unwrap();
            assert!(difference(&y, &y_expected) == 0.0, "{shape:?} {kernel:?} {stride:?} {padding:?} {ceil}");
            assert!(difference(&dx, &dx_expected) == 0.0, "{shape:?} {kernel:?} {stride:?} {padding:?} {ceil}");
        });
    }
}

/// Against the plain look at every pixel; numbers in 512 steps have ties.
#[test]
fn standard() {
    for (h, w) in [(1, 1), (3, 5), (8, 37), (40, 6)] {
        for (kernel, padding) in
            [((1, 1), (0, 0)), ((2, 2), (0, 1)), ((3, 3), (1, 1)), ((2, 5), (1, 2)), ((7, 4), (0, 0))]
        {
            for stride in [(1, 1), (2, 2), (3, 1), (1, 9)] {
                check::<f32>([2, 3, h, w], kernel, stride, padding, None);
            }
        }
    }
    check::<f64>([3, 2, 11, 29], (3, 3), (2, 2), (1, 1), None);
    for special in [f64::NAN, f64::NEG_INFINITY, 0.0] {
        check::<f64>([1, 2, 6, 19], (3, 3), (2, 2), (1, 1), Some(special));
    }
    check::<f32>([1, 1, 70, 3], (65, 3), (1, 1), (32, 1), None);
    check::<f32>([0, 3, 5, 5], (2, 2), (2, 2), (0, 0), None);
}
