use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

/// The filter as a circular convolution with the kernel that the weights stand for, and its adjoints.
fn check<T: Real>(images: usize, channels: usize, (h, w): (usize, usize), tolerance: f64) {
    let (plane, half) = (h * w, w / 2 + 1);
    let (x, dy) = (random::<T>(images * channels * plane, 1), random::<T>(images * channels * plane, 2));
    let weight = random::<T>(channels * h * half * 2, 3);
    let waves = |u: usize, v: usize, a: usize, b: usize| {
        let columns = if v == 0 || 2 * v == w { 1.0 } else { 2.0 };
        let turn = (u * a % h) as f64 / h as f64 + (v * b % w) as f64 / w as f64;
        let angle = 2.0 * std::f64::consts::PI * turn;
        (columns * angle.cos() / plane as f64, columns * angle.sin() / plane as f64)
    };
    let mut y = vec![0.0; x.len()];
    let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    for c in 0..channels {
        let (mut kernel, mut dkernel) = (vec![0.0; plane], vec![0.0; plane]);
        let at = |u: usize, v: usize| ((c * h + u) * half + v) * 2;
        for (u, v, p) in crate::testing::grid([h, half, plane]) {
            let (cos, sin) = waves(u, v, p / w, p % w);
            kernel[p] += weight[at(u, v)].to_f64() * cos - weight[at(u, v) + 1].to_f64() * sin; // (F1) (F2) (F3)
        }
        for (n, i, p) in crate::testing::grid([images, plane, plane]) {
            let from = (i / w + h - p / w) % h * w + (i % w + w - p % w) % w;
            let (from, to) = ((n * channels + c) * plane + from, (n * channels + c) * plane + i);
            y[to] += kernel[p] * x[from].to_f64();
            dx[from] += kernel[p] * dy[to].to_f64(); // (B1) (B2)
            dkernel[p] += x[from].to_f64() * dy[to].to_f64();
        }
        for (u, v, p) in crate::testing::grid([h, half, plane]) {
            let (cos, sin) = waves(u, v, p / w, p % w);
            dweight[at(u, v)] += dkernel[p] * cos; // (B3)
            dweight[at(u, v) + 1] -= dkernel[p] * sin;
        }
    }
    let [y, dx, dweight] = [y, dx, dweight].map(|all| all.into_iter().map(T::from_f64).collect::<Vec<T>>());
    let d = Dims::new(&[images, channels, h, w], &[channels, h, half, 2]).unwrap();
    each_exec(|exec| {
        let (mut found, mut a, mut b) =
            (unwritten::<T>(y.len()), unwritten::<T>(dx.len()), unwritten::<T>(dweight.len()));
        forward(&x, &weight, &mut found, &d, exec).unwrap();
        backward(&dy, &x, &weight, &mut a, &mut b, &d, exec).unwrap();
        for (found, expected) in [(&found, &y), (&a, &dx), (&b, &dweight)] {
            assert!(difference(found, expected) < tolerance, "{h} x {w} at {:?}", exec.level());
        }
    });
}

#[test]
fn circular_convolution() {
    for h in 1..6 {
        for w in 1..8 {
            check::<f64>(2, 3, (h, w), 1e-13);
        }
    }
    check::<f32>(3, 17, (7, 7), 1e-5);
    check::<f32>(1, 33, (8, 6), 1e-5);
    check::<f64>(1, 1, (1, 600), 1e-12); // longer than the matrices that are kept
    check::<f64>(0, 3, (4, 4), 0.1);
}

#[test]
fn what_is_not_finite_fills_its_plane() {
    for (h, w) in [(1, 1), (1, 2), (2, 1), (2, 2), (4, 5)] {
        let (plane, half) = (h * w, w / 2 + 1);
        let d = Dims::new(&[2, 3, h, w], &[3, h, half, 2]).unwrap();
        for (special, at, spoils_x) in crate::testing::grid([3, 2 * h * half, 2]) {
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][special];
            let (mut x, mut weight) = (random::<f32>(6 * plane, 1), random::<f32>(6 * h * half, 2));
            // Plane 4 is channel 1 of the second image.
            let spoils_x = spoils_x == 1;
            let spoilt = if spoils_x { &mut x[4 * plane + at % plane] } else { &mut weight[2 * h * half + at] };
            *spoilt = special;
            each_exec(|exec| {
                let mut y = unwritten::<f32>(6 * plane);
                forward(&x, &weight, &mut y, &d, exec).unwrap();
                for (k, y) in y.iter().enumerate() {
                    let (image, channel) = (k / plane / 3, k / plane % 3);
                    assert_eq!(y.is_nan(), channel == 1 && (image == 1 || !spoils_x), "{special} in {h} x {w}");
                }
            });
        }
    }
}

#[test]
fn errors() {
    assert!(Dims::new(&[2, 3, 4, 6], &[3, 4, 3, 2]).is_err() && Dims::new(&[2, 3, 0, 6], &[3, 0, 4, 2]).is_err());
    assert!(Dims::new(&[3, 4, 6], &[3, 4, 4, 2]).is_err() && Dims::new(&[2, 2, 4, 6], &[3, 4, 4, 2]).is_err());
    assert!(Dims::new(&[2, 3, 4, 6], &[3, 4, 4, 2]).is_ok());
}
