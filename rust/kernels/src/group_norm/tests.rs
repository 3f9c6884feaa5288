use super::*;
use crate::testing::{each_exec, random, unwritten};

#[test]
fn mean_and_variance_of_every_group() {
    for (groups, channels, plane) in [(1, 1, 1), (2, 3, 7), (3, 1, 40), (1, 5, 1000)] {
        let shape = [2, groups * channels, 1, plane];
        let d = Dims::new(&shape, None, None, groups, 1e-5).unwrap();
        let len = shape.iter().product();
        let (x, dy) = (random::<f64>(len, 1), random::<f64>(len, 2));
        each_exec(|exec| {
            let (mut y, mut dx) = (unwritten::<f64>(len), unwritten::<f64>(len));
            let (mut m, mut r) = (unwritten::<f64>(2 * groups), unwritten::<f64>(2 * groups));
            forward(&x, None, None, &mut y, &mut m, &mut r, &d, exec).unwrap();
            for y in y.chunks(channels * plane) {
                assert!(y.iter().sum::<f64>().abs() < 1e-9);
            }
            backward(Saved { dy: &dy, x: &x, m: &m, r: &r }, None, &mut dx, None, None, &d, exec).unwrap();
            for (dx, y) in dx.chunks(channels * plane).zip(y.chunks(channels * plane)) {
                assert!(dx.iter().sum::<f64>().abs() < 1e-9);
                let along: f64 = dx.iter().zip(y).map(|(a, b)| a * b).sum();
                assert!(along.abs() < 1e-2, "{along}"); // zero but for eps
            }
        });
    }
    assert!(Dims::new(&[1, 3, 2, 2], None, None, 2, 1e-5).is_err());
    assert!(Dims::new(&[1, 3, 2, 0], None, None, 1, 1e-5).is_err());
    assert!(Dims::new(&[1, 3, 2, 2], Some(&[2]), None, 1, 1e-5).is_err());
    assert!(Dims::new(&[1, 3, 2, 2], None, None, 1, 0.0).is_err() && Dims::new(&[3], None, None, 1, 1.0).is_err());
}
